"""Facial action units read from MediaPipe's 478 landmarks: geometry and one linear table.

Every frame's mesh is turned to the front and scaled to the distance of the outer eye corners;
fifteen points that hardly any expression moves (eye corners, nose bridge, temples, ears) carry
the turn. 32 coordinates are read, left and right averaged. An action unit is a weighted sum of how
far they lie from the clip's own neutral: 0 is the neutral face, 1 a full action. These are
estimates from landmarks, not FACS codes, and `CONFIDENCE` says which to trust. AU 6, 7, 9, 11, 14,
23, 24 and 28 move skin more than landmarks and are not given.

The table was fitted on drawn faces (`textualize.demo`), whose actions are known: ridge regression
on eight of the demo's subjects, 512 frames of random mixtures of all actions under turned heads
and 112 clips. The coordinates were chosen by orthogonal matching pursuit; each column was scaled
until a full drawn action reads 1 (the weak ones keep the regression's shrinkage). On the clips of
the four other subjects Spearman's rho between drawn and measured frames is 0.95 for AU 1, 0.93
AU 2, 0.87 AU 4, 0.80 AU 5, 0.85 AU 10, 0.90 AU 12, 0.85 AU 15, 0.60 AU 17, 0.56 AU 20, 0.89 AU 25,
0.94 AU 26 and 0.80 AU 43. One action drawn alone in eleven steps from 0 to 1, with four resting
frames, is followed on each of the twelve subjects: the lowest rho is 0.85 for AU 4, 0.86 AU 15,
AU 17 and AU 43, 0.87 AU 20, 0.92 AU 26, at least 0.95 for the others.

On 319 frames of real faces (14 sentences) rho of the uncalibrated values with what py-feat says of
the same meshes is 0.86 for AU 1, 0.89 AU 2, 0.40 AU 4, 0.74 AU 5, 0.71 AU 10, 0.89 AU 12, 0.52
AU 15, -0.37 AU 17, 0.55 AU 20, 0.63 AU 25, 0.22 AU 26 and 0.18 AU 43. Within a sentence, against
its own neutral, the mean rho is 0.69 for AU 25, 0.48 AU 12, 0.47 AU 10, 0.44 AU 43, 0.41 AU 2, 0.38
AU 1, but 0.06 for AU 4 and nothing for AU 5 and AU 15.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from textualize.types import Float32

Float64 = NDArray[np.float64]

VERSION = "3"
NAMES = (
    "AU01", "AU02", "AU04", "AU05", "AU10", "AU12", "AU15", "AU17", "AU20", "AU25", "AU26", "AU43",
)  # fmt: skip
CONFIDENCE: Mapping[str, Literal["strong", "weak"]] = {
    name: "weak" if name in ("AU04", "AU17", "AU26") else "strong" for name in NAMES
}

# The stable points and where they lie on a frontal face: x right, y down, z away from the
# camera, outer eye corners one apart, origin between them. Mean of the meshes MediaPipe finds
# in 450 frames of six people who face the camera, made symmetric.
_STABLE = (33, 133, 263, 362, 168, 6, 197, 195, 127, 356, 162, 389, 234, 454, 10)
_FRONTAL: Float64 = np.array(
    [
        [-0.500, 0.000, 0.000],
        [-0.189, 0.018, -0.061],
        [0.500, 0.000, 0.000],
        [0.189, 0.018, -0.061],
        [0.000, -0.051, -0.250],
        [0.000, 0.038, -0.300],
        [0.000, 0.121, -0.358],
        [0.000, 0.198, -0.421],
        [-0.784, 0.073, 0.565],
        [0.784, 0.073, 0.565],
        [-0.772, -0.114, 0.452],
        [0.772, -0.114, 0.452],
        [-0.775, 0.248, 0.616],
        [0.775, 0.248, 0.616],
        [0.000, -0.639, -0.190],
    ]
)

# One coordinate a row: landmark, its mirror image, axis (0 x, 1 y), where it lies on the average
# neutral face (of the same six people), and what it adds to each action unit per unit of distance.
# fmt: off
_READOUT: tuple[tuple[int, int, int, float, tuple[float, ...]], ...] = (
    (10, 10, 1, -0.642, (6.1, 3.7, 2.3, -0.6, 2.4, -1.0, 0.1, 0.5, 1.3, -0.1, -1.9, -0.9)),
    (107, 336, 1, -0.252, (-10.2, 2.4, 0.6, 0.3, -2.9, 0.5, 0.7, -0.1, 0.2, -0.5, -0.5, -0.5)),
    (52, 282, 1, -0.224, (-2.4, -6.5, -6.9, 0.9, 2.6, -0.9, 0.1, 0.1, 0.5, -0.5, 1.6, -0.2)),
    (21, 251, 0, -0.737, (-7.2, -1.6, -8.7, 2.5, -3.4, -6.3, -2.2, -5.0, 0.7, -1.1, -0.9, 1.2)),
    (70, 300, 0, -0.647, (8.8, 2.6, 22.2, 2.3, -2.8, -0.5, -0.4, 2.8, 0.5, 2.8, -3.4, 2.5)),
    (70, 300, 1, -0.181, (2.6, -5.6, 2.8, 1.1, -0.6, 1.0, 0.2, -0.2, -0.7, 0.5, -0.5, 0.0)),
    (55, 285, 0, -0.149, (2.5, 5.1, 1.2, 2.1, -1.2, 0.9, -0.2, 0.8, -0.2, 0.5, 0.5, 1.8)),
    (27, 257, 1, -0.127, (1.0, -3.6, 13.0, -12.2, -1.1, 2.4, 1.5, 1.3, 1.2, 0.5, 2.7, -1.6)),
    (159, 386, 1, -0.050, (-0.2, 1.2, -6.3, -1.3, 1.8, -0.1, 0.5, -1.2, -0.6, 0.3, -1.6, 7.8)),
    (130, 359, 1, 0.002, (-2.0, 3.1, -8.2, 3.4, 2.1, 2.8, 0.3, 1.8, -0.1, 0.3, -0.1, -1.6)),
    (33, 263, 0, -0.499, (-7.9, -4.9, -11.7, -8.0, -3.3, -3.5, 0.1, -3.2, 0.6, -2.3, 3.4, -2.0)),
    (243, 463, 1, 0.022, (7.3, 2.0, 2.3, -3.2, 3.4, 0.2, 0.6, 2.5, 1.3, 1.6, 3.6, -2.0)),
    (133, 362, 0, -0.189, (-2.2, 1.2, 4.2, -9.6, -3.6, -0.8, 0.5, -2.2, 0.0, 0.0, -1.0, -2.3)),
    (143, 372, 1, 0.060, (-0.2, 3.4, -0.9, -1.4, -4.0, -0.2, 0.6, -1.3, -1.0, 0.7, -2.9, -1.3)),
    (143, 372, 0, -0.691, (-0.3, 2.8, -0.1, 2.6, -1.9, 1.9, 0.4, -0.4, -0.1, 0.8, 0.8, -0.5)),
    (145, 374, 1, 0.043, (5.0, 5.5, -1.1, 13.2, 7.4, -0.6, -0.6, 2.1, 0.9, -0.2, -1.3, -0.1)),
    (22, 252, 0, -0.287, (4.4, 0.4, 3.8, 7.2, -1.0, 0.9, 0.3, 2.8, 0.4, 0.9, 1.9, 4.8)),
    (119, 348, 0, -0.377, (2.9, 0.7, 3.2, 7.5, 2.0, 0.2, -0.3, -0.3, 0.1, 0.7, -1.3, 1.4)),
    (93, 323, 0, -0.757, (-0.4, -0.1, -0.4, -1.9, -1.5, -1.1, -0.7, 1.1, 0.8, 0.2, -3.9, -0.1)),
    (64, 294, 0, -0.219, (-3.0, -0.9, -0.9, -5.6, 1.9, 3.6, 1.4, 1.5, -2.7, -0.8, -8.1, -3.2)),
    (164, 164, 1, 0.613, (-2.0, -1.1, 1.2, -3.3, -7.6, 0.3, -0.7, -2.1, 0.8, 1.1, 2.1, -0.2)),
    (213, 433, 0, -0.653, (-0.1, -1.1, 2.4, -2.1, -2.3, -2.5, 0.4, -9.4, 0.4, -0.7, 10.4, 1.6)),
    (40, 270, 0, -0.208, (1.3, -0.3, 4.4, 1.2, -2.2, 8.9, 0.5, 4.7, -5.4, -0.9, 0.5, 0.5)),
    (38, 268, 1, 0.810, (-0.1, 0.0, -1.7, -1.9, -8.6, -1.1, -1.1, -4.9, -1.0, -5.1, -2.4, -1.6)),
    (183, 407, 0, -0.218, (-2.2, -0.6, -4.2, -0.9, 0.9, -12.0, -1.6, -1.3, -6.3, -2.1, 0.3, -0.2)),
    (178, 402, 1, 0.827, (-2.5, -1.2, -2.4, -2.9, -3.2, -1.8, -0.8, -2.1, 1.1, -0.3, 1.4, -1.6)),
    (61, 291, 1, 0.819, (1.1, 0.5, 1.0, 1.5, 2.2, -0.2, 7.3, 0.9, 3.4, -0.9, 0.3, 0.8)),
    (43, 273, 1, 0.895, (-1.2, 0.1, -2.0, 2.6, 2.6, -5.6, -0.1, 1.5, 2.9, 0.5, -4.7, -0.7)),
    (181, 405, 1, 0.922, (4.5, 2.3, 6.0, 3.5, -3.1, 1.8, -0.2, 0.4, -2.0, 9.2, -1.3, 2.3)),
    (18, 18, 1, 1.034, (0.8, -0.2, 1.2, -1.4, 1.4, 0.2, -1.3, 0.0, -0.9, 0.4, 2.1, 0.0)),
    (150, 379, 0, -0.419, (-5.2, -4.6, -15.7, -2.6, 0.0, 1.4, -0.7, -7.2, -1.3, -1.7, 0.1, -3.1)),
    (152, 152, 1, 1.338, (-1.9, -0.2, -3.9, 0.2, 1.8, 4.9, 0.7, -0.3, -0.7, -4.2, 5.6, -0.7)),
)
# fmt: on
_LEFT = tuple(row[0] for row in _READOUT)
_RIGHT = tuple(row[1] for row in _READOUT)
_AXIS = tuple(row[2] for row in _READOUT)
_AVERAGE: Float64 = np.array([row[3] for row in _READOUT])
_WEIGHTS: Float64 = np.array([row[4] for row in _READOUT])

# What an action shows at rest while others play (drawn faces; the part of cross-talk that the table
# leaves): below this it is taken for nothing, above it the scale still ends at 1.
_STILL: Float64 = np.array([0.10, 0.15, 0.15, 0.27, 0.20, 0.25, 0.25, 0.15, 0.15, 0.06, 0.20, 0.06])
# What a full action, drawn alone, adds to the raw action units: a row for each action. Mean over
# eight drawn subjects of levels 0.8 to 1, divided by 0.9. Below zero is what makes an action look
# calmer than the neutral face elsewhere: a frown lowers AU 1, a smile AU 15, a jaw drop AU 25.
# fmt: off
_ALONE: Float64 = np.array(
    [
        [0.86, 0.14, 0.06, 0.15, 0.01, 0.08, 0.02, -0.02, -0.01, 0.05, -0.06, 0.07],
        [0.01, 0.92, -0.08, 0.24, -0.03, 0.04, 0.05, 0.04, 0.06, -0.02, 0.04, 0.08],
        [-0.26, -0.19, 0.45, -0.08, -0.07, 0.02, 0.03, 0.09, 0.04, 0.00, 0.01, -0.01],
        [0.13, 0.05, -0.02, 0.74, 0.10, -0.06, -0.02, 0.03, 0.06, 0.00, 0.00, -0.17],
        [0.03, 0.05, 0.08, 0.10, 0.70, 0.09, 0.21, 0.28, 0.08, -0.01, 0.06, 0.06],
        [-0.05, 0.04, -0.19, -0.01, 0.14, 0.84, -0.63, 0.03, 0.31, -0.13, 0.15, -0.05],
        [0.09, 0.04, 0.18, 0.12, 0.09, -0.20, 0.88, 0.06, 0.11, -0.02, 0.00, 0.01],
        [0.07, 0.08, 0.12, 0.06, 0.30, 0.10, -0.10, 0.32, -0.23, -0.02, -0.12, 0.06],
        [0.05, 0.07, 0.14, 0.09, 0.00, 0.16, 0.25, 0.03, 0.73, 0.09, -0.15, 0.06],
        [0.14, 0.06, 0.27, 0.06, -0.09, 0.02, -0.03, -0.05, 0.06, 0.84, 0.16, 0.06],
        [-0.18, -0.07, -0.17, 0.06, 0.26, 0.02, 0.12, 0.02, -0.14, -0.35, 0.68, 0.01],
        [0.13, 0.06, 0.28, -0.25, 0.04, 0.01, 0.12, 0.05, 0.01, 0.07, -0.05, 1.11],
    ]
)
# fmt: on
_RIDGE = 0.3  # keeps the noise of weak actions small when raw values are taken apart into actions
_APART: Float64 = _ALONE.T @ np.linalg.inv(_ALONE @ _ALONE.T + _RIDGE**2 * np.eye(len(NAMES)))

_CALM = 0.10  # of a clip's frames make its neutral
_CALM_FRAMES = 3
_REST = 0.20  # of a clip's frames, the lowest in an action, say where the action rests
_UNEVEN = 1.5  # one action of 0.4 is further from neutral than four of 0.1: noise is spread out
_OWN_NEUTRAL_FRAMES = 8  # a shorter clip may hold one expression throughout


def frontal(landmarks: NDArray[np.floating[Any]]) -> tuple[Float64, Float64]:
    """Return the meshes turned to the front, (T, 478, 3), and the head's rotations, (T, 3, 3).

    `landmarks` is (T, 478, 3) in pixels (z in pixels as well). The similarity that best lays
    the stable points on the frontal face (Umeyama 1991, eq. 40-42) is undone; a rotation takes
    the frontal face to the head as seen.
    """
    mesh = np.asarray(landmarks, np.float64)
    points = mesh[:, _STABLE, :]
    centre, home = points.mean(axis=1, keepdims=True), _FRONTAL.mean(axis=0)
    spread, frame = _FRONTAL - home, points - centre
    left, size, right = np.linalg.svd(np.einsum("tni,nj->tij", frame, spread))
    flip = np.ones_like(size)
    flip[:, 2] = np.sign(np.linalg.det(left @ right))
    rotation = left * flip[:, None, :] @ right
    scale = (size * flip).sum(axis=1) / (spread**2).sum()
    turned = np.einsum("tni,tij->tnj", mesh - centre, rotation)
    return turned / scale[:, None, None] + home, rotation


def head_angles(rotation: Float64) -> Float64:
    """Return yaw, pitch, roll in degrees, (T, 3), from `frontal`'s rotations.

    Yaw > 0 turns to the right of the image, pitch > 0 up, roll > 0 clockwise in the image.

    >>> np.abs(head_angles(np.eye(3)[None])).tolist()
    [[0.0, 0.0, 0.0]]
    """
    forward = -rotation[:, :, 2]
    yaw = np.arctan2(forward[:, 0], -forward[:, 2])
    pitch = np.arcsin(np.clip(-forward[:, 1], -1.0, 1.0))
    roll = np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])
    return np.asarray(np.degrees(np.stack([yaw, pitch, roll], axis=1)))


def coordinates(turned: Float64) -> Float64:
    """Return the read coordinates, (T, 32), of frontal meshes (T, 478, 3), sides averaged."""
    left, right = turned[:, _LEFT, _AXIS], turned[:, _RIGHT, _AXIS]
    return np.asarray(np.where(np.array(_AXIS) == 0, left - right, left + right) / 2)


def calm_frames(raw: Float64) -> NDArray[np.intp]:
    """Return the indices of a clip's calmest frames from raw action units (T, 12).

    Actions only add to a neutral face, so the frames that lie lowest in all actions together are
    nearest to it. Raw values are first taken apart into the actions that explain them: one action
    lowers the raw values of others, and a frown would pass for calm. At least three frames.
    """
    actions = raw @ _APART
    lowest = max(1, round(_REST * len(raw)))
    rest = np.sort(actions, axis=0)[:lowest].mean(axis=0)
    above = (np.maximum(actions - rest, 0.0) ** _UNEVEN).sum(axis=1)
    count = max(_CALM_FRAMES, round(_CALM * len(raw)))
    return np.argsort(above, kind="stable")[:count]


def raw(turned: Float64) -> Float64:
    """Return uncalibrated action units, (T, 12), of frontal meshes (T, 478, 3)."""
    return np.asarray((coordinates(turned) - _AVERAGE) @ _WEIGHTS)


def calibrated(measured: Float64) -> tuple[Float32, Literal["own", "average"]]:
    """Return deviations, (T, 12), of one person's `raw` values, and which neutral was used.

    0 is the neutral face, 1 a full action; a face cannot act less than not at all, so values
    start at 0. The neutral is the person's own in this clip (the median of `calm_frames`) or, with
    fewer than 8 meshes, an average face's, which is much coarser: people differ from it at rest
    by 0.1 to 0.6 of a full action.
    """
    own = len(measured) >= _OWN_NEUTRAL_FRAMES
    neutral = np.median(measured[calm_frames(measured)], axis=0) if own else 0.0
    values = np.maximum(measured - neutral - _STILL, 0.0) / (1.0 - _STILL)
    return values.astype(np.float32), "own" if own else "average"


def action_units(
    landmarks: NDArray[np.floating[Any]],
) -> tuple[Float32, Literal["own", "average"]]:
    """Return `calibrated` deviations, (T, 12), of one person's meshes (T, 478, 3) in pixels.

    Rows without a mesh (NaN) stay NaN.
    """
    mesh = np.asarray(landmarks, np.float64)
    known = ~np.isnan(mesh[:, 0, 0])
    result = np.full((len(mesh), len(NAMES)), np.nan, np.float32)
    if not known.any():
        return result, "average"
    result[known], neutral = calibrated(raw(frontal(mesh[known])[0]))
    return result, neutral
