"""Facial action units read from MediaPipe's 478 landmarks: geometry and one linear table.

Every frame's mesh is turned to the front and scaled to the distance of the outer eye corners;
fifteen points that hardly any expression moves (eye corners, nose bridge, temples, ears) carry
the turn. 32 coordinates are read, left and right averaged. An action unit is a weighted sum of how
far they lie from the clip's own neutral: 0 is the neutral face, 1 a full action. These are
estimates from landmarks, not FACS codes, and `CONFIDENCE` says which to trust. AU 6, 7, 9, 11, 14,
23, 24 and 28 move skin more than landmarks and are not given.

The table was fitted on drawn faces (`textualize.demo.face`), whose actions are known: ridge
regression on eight subjects, 512 frames of random mixtures of all actions under turned heads and
32 demo clips. The coordinates were chosen by orthogonal matching pursuit; each column was scaled
until a full drawn action reads 1 (the weak ones keep the regression's shrinkage). On four other
subjects r = 0.67 (AU 4) to 0.95 (AU 25). On 319 frames of real faces (14 sentences), what py-feat
says of the same meshes correlates (Spearman) 0.92 for AU 12, 0.87 AU 2, 0.86 AU 1, 0.80 AU 5,
0.69 AU 10, 0.63 AU 25, 0.55 AU 20, 0.53 AU 15, 0.22 AU 26, 0.2 AU 43 and AU 4, -0.4 AU 17; within
a sentence 0.79 for AU 25 and 0.70 for AU 43.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from textualize.types import Float32

Float64 = NDArray[np.float64]

VERSION = "1"
NAMES = (
    "AU01", "AU02", "AU04", "AU05", "AU10", "AU12", "AU15", "AU17", "AU20", "AU25", "AU26", "AU43",
)  # fmt: skip
CONFIDENCE: Mapping[str, Literal["strong", "weak"]] = {
    name: "weak" if name in ("AU04", "AU17") else "strong" for name in NAMES
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
    (10, 10, 1, -0.642, (5.2, 2.6, 3.8, -1.3, 3.5, -2.0, -0.8, 0.0, 1.5, -0.3, -1.5, -1.6)),
    (107, 336, 1, -0.252, (-9.7, 1.7, 1.5, 0.1, -3.7, 0.0, 0.5, -0.1, 0.8, -0.2, -0.8, 0.1)),
    (52, 282, 1, -0.224, (0.2, -4.9, -3.5, -0.3, 2.2, 0.3, 0.2, 1.3, 0.1, 0.1, 0.7, -2.3)),
    (21, 251, 0, -0.737, (-8.3, -0.4, -9.8, -0.4, -4.3, -4.9, -3.1, -4.2, 0.5, -1.7, -0.7, 0.2)),
    (70, 300, 0, -0.647, (8.5, 2.8, 18.1, 3.4, -4.2, 0.2, 0.0, 2.9, 0.6, 3.2, -1.6, 2.7)),
    (70, 300, 1, -0.181, (3.1, -5.0, 3.2, 1.4, 0.8, 0.0, 0.3, -1.9, -0.9, 0.4, -0.1, 1.7)),
    (55, 285, 0, -0.149, (-2.5, 2.5, 1.4, 4.2, -1.3, 0.4, -0.5, -0.6, 0.3, 0.0, 1.2, 3.2)),
    (27, 257, 1, -0.127, (0.7, -2.2, 4.2, -11.8, 1.4, 1.0, 1.7, 0.1, 0.7, -0.1, 2.7, -2.0)),
    (159, 386, 1, -0.050, (0.8, 1.0, -2.0, -0.9, 2.1, 0.2, 0.3, -1.5, -0.2, 0.2, -1.6, 8.5)),
    (130, 359, 1, 0.002, (-3.9, 2.5, -5.2, 2.4, -0.1, 2.3, 0.6, 2.3, -0.6, 0.7, 0.3, -5.3)),
    (33, 263, 0, -0.499, (-5.1, -2.8, -7.6, -11.9, -4.9, -1.9, 0.7, -1.7, 0.0, -2.4, 1.1, -3.7)),
    (243, 463, 1, 0.022, (7.2, 1.7, 4.3, -0.8, 5.6, 0.0, 0.4, -0.4, 1.5, 0.6, 7.7, -2.3)),
    (133, 362, 0, -0.189, (-4.9, 0.2, -2.8, -4.1, -3.6, -0.8, 0.2, -1.3, 0.8, -1.0, 3.1, -2.3)),
    (143, 372, 1, 0.060, (-1.8, 0.2, -1.3, -2.1, -5.1, 0.6, 1.0, -1.0, -1.1, 0.6, -3.4, 0.1)),
    (143, 372, 0, -0.691, (0.9, 1.4, 3.2, 1.7, -3.5, 1.1, 1.1, 1.6, 0.1, 0.5, 1.3, 0.5)),
    (145, 374, 1, 0.043, (3.2, 4.5, 2.8, 10.7, 7.4, -1.0, -1.2, 0.6, 1.0, 0.6, -3.4, 0.8)),
    (22, 252, 0, -0.287, (3.6, 0.0, 6.8, 5.5, -2.4, 0.1, 0.5, 2.0, 0.5, 1.9, 1.7, 6.9)),
    (119, 348, 0, -0.377, (0.2, -0.5, -0.8, 6.4, 1.9, -0.1, -0.1, -0.4, -0.1, 0.2, 0.3, 0.1)),
    (93, 323, 0, -0.757, (-0.5, -1.1, 0.8, 0.8, -1.9, -2.3, -1.6, -0.5, 0.6, -0.2, -1.9, -0.5)),
    (64, 294, 0, -0.219, (-1.6, 0.4, 0.6, -7.1, 1.3, 3.8, 2.7, 0.1, -2.0, 0.1, -8.2, -5.3)),
    (164, 164, 1, 0.613, (-1.0, -1.0, 4.2, -4.2, -7.6, -1.5, -0.6, -3.0, 0.9, 2.1, 1.9, -0.8)),
    (213, 433, 0, -0.653, (-0.2, -1.5, -0.2, -2.8, -1.2, -0.3, 0.7, -7.3, -0.1, -0.5, 8.5, 2.3)),
    (40, 270, 0, -0.208, (2.6, -0.3, 7.0, 0.6, -2.6, 3.2, 0.9, 2.9, -4.9, 1.2, -1.0, 1.7)),
    (38, 268, 1, 0.810, (-0.2, 0.1, -4.3, -1.9, -9.7, -0.7, -1.9, -2.6, -0.7, -5.3, -3.3, -2.6)),
    (183, 407, 0, -0.218, (-3.8, -0.6, -5.1, -0.8, 0.3, -8.4, -2.6, -0.1, -6.4, -3.1, 1.9, -0.9)),
    (178, 402, 1, 0.827, (-1.5, -0.9, -0.2, -4.7, -4.6, 0.3, 0.5, -1.4, 0.6, -0.6, 1.5, -2.0)),
    (61, 291, 1, 0.819, (0.0, -0.1, -1.5, 2.5, 3.6, -0.7, 7.4, 0.3, 3.7, -1.4, 0.1, 0.9)),
    (43, 273, 1, 0.895, (0.6, 1.6, 2.3, 2.0, 0.8, -4.2, -0.9, 1.3, 1.8, 0.7, -3.1, -0.2)),
    (181, 405, 1, 0.922, (3.3, 1.5, 3.2, 3.2, -4.0, -1.3, -1.5, 1.9, -0.5, 8.5, -0.4, 1.8)),
    (18, 18, 1, 1.034, (0.0, -0.6, -1.0, 0.4, 4.9, 1.4, -1.3, -2.6, -2.2, 1.1, -0.5, 0.1)),
    (150, 379, 0, -0.419, (-4.3, -2.5, -12.0, -2.0, 1.7, 0.2, -0.7, -7.6, -1.4, -2.9, 0.1, -3.2)),
    (152, 152, 1, 1.338, (-0.5, 0.5, -1.4, 1.2, 0.4, 4.0, 1.7, 1.0, 0.1, -4.1, 7.4, -0.3)),
)
# fmt: on
_LEFT = tuple(row[0] for row in _READOUT)
_RIGHT = tuple(row[1] for row in _READOUT)
_AXIS = tuple(row[2] for row in _READOUT)
_AVERAGE: Float64 = np.array([row[3] for row in _READOUT])
_WEIGHTS: Float64 = np.array([row[4] for row in _READOUT])

_STILL = 0.06  # what a resting drawn face shows in an action; its 95 % quantile is 0.03-0.13
_CALM = 0.10  # of a clip's frames is its neutral: 97 % of those so chosen were drawn at rest
_CALM_FRAMES = 3
_OWN_NEUTRAL_FRAMES = 8  # a shorter clip may hold one expression throughout
_JUDGED = np.array([CONFIDENCE[name] == "strong" for name in NAMES])


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

    >>> head_angles(np.eye(3)[None]).round(1).tolist()
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
    nearest to it. At least three frames; AU 4 and 17 have no say.
    """
    above = np.maximum(raw - np.quantile(raw, 0.05, axis=0), 0.0)[:, _JUDGED].sum(axis=1)
    count = max(_CALM_FRAMES, round(_CALM * len(raw)))
    return np.argsort(above, kind="stable")[:count]


def action_units(
    landmarks: NDArray[np.floating[Any]],
) -> tuple[Float32, Literal["own", "average"]]:
    """Return deviations, (T, 12), of meshes (T, 478, 3) in pixels, and which neutral was used.

    0 is the neutral face, 1 a full action; a face cannot act less than not at all, so values
    start at 0. Rows without a mesh (NaN) stay NaN. The neutral is the clip's own (the median of
    `calm_frames`) or, with fewer than 8 meshes, an average face's, which is much coarser: people
    differ from it at rest by 0.1 to 0.6 of a full action.
    """
    mesh = np.asarray(landmarks, np.float64)
    known = ~np.isnan(mesh[:, 0, 0])
    result = np.full((len(mesh), len(NAMES)), np.nan, np.float32)
    if not known.any():
        return result, "average"
    raw = (coordinates(frontal(mesh[known])[0]) - _AVERAGE) @ _WEIGHTS
    own = len(raw) >= _OWN_NEUTRAL_FRAMES
    if own:
        raw -= np.median(raw[calm_frames(raw)], axis=0)
    result[known] = np.maximum(raw - _STILL, 0.0) / (1.0 - _STILL)
    return result, "own" if own else "average"
