"""Facial action units read from MediaPipe's 478 landmarks: geometry only, no learned model.

Every frame's mesh is turned to the front and scaled to the distance of the outer eye corners;
fifteen points that no expression moves (eye corners, nose bridge, temples, ears) carry the turn.
Thirteen distances follow; an action unit is how far its distance lies from the clip's own
neutral, in units of a full action: 0 is the neutral face, 1 a full action. These are estimates
from landmarks, not FACS codes, and `CONFIDENCE` says which to trust. AU 6, 7, 9, 11, 14, 23, 24
and 28 move skin rather than landmarks and are not given.
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

_INNER_BROW, _OUTER_BROW = (55, 107, 66, 285, 336, 296), (46, 70, 53, 276, 300, 283)
_UPPER_LID, _LOWER_LID = (159, 158, 160, 386, 385, 387), (145, 153, 144, 374, 380, 373)
_LEFT_CORNER, _RIGHT_CORNER = (61, 291)
_UPPER_LIP, _LOWER_LIP, _CHIN = (0, 37, 267), (17, 84, 314), (152, 148, 377)
_INNER_UPPER, _INNER_LOWER = (13, 82, 312), (14, 87, 317)
_OWN_NEUTRAL_FRAMES = 8
_REST = 0.2
_FULL: Float64 = np.array([0.10, 0.10, 0.10, 0.06, 0.06, 0.15, 0.06, 0.06, 0.12, 0.15, 0.15, 0.10])
_AVERAGE: Float64 = np.zeros(len(NAMES))


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


def measures(turned: Float64) -> Float64:
    """Return one signed measure per action unit, (T, 12), from frontal meshes (T, 478, 3).

    Each grows with its action; the unit is the distance of the outer eye corners.
    """
    inner, outer = _height(turned, _INNER_BROW), _height(turned, _OUTER_BROW)
    gap = turned[:, 285, 0] - turned[:, 55, 0]
    aperture = _height(turned, _UPPER_LID) - _height(turned, _LOWER_LID)
    upper, lower = _height(turned, _UPPER_LIP), _height(turned, _LOWER_LIP)
    corner = _height(turned, (_LEFT_CORNER, _RIGHT_CORNER))
    width = turned[:, _RIGHT_CORNER, 0] - turned[:, _LEFT_CORNER, 0]
    lips = _height(turned, _INNER_UPPER) - _height(turned, _INNER_LOWER)
    chin = _height(turned, _CHIN)
    columns = [
        inner,
        outer,
        -(inner + outer) / 2 - gap / 2,
        aperture,
        upper - corner / 2,
        corner + width / 2,
        -(corner - upper),
        lower,
        width - 2 * np.maximum(corner, 0),
        lips,
        -chin,
        -aperture,
    ]
    return np.stack(columns, axis=1)


def _height(turned: Float64, points: tuple[int, ...]) -> Float64:
    """Return how high the points lie on average, (T,): y runs down in the mesh."""
    return -np.asarray(turned[:, points, 1].mean(axis=1))


def action_units(landmarks: NDArray[np.floating[Any]]) -> tuple[Float32, Literal["own", "average"]]:
    """Return deviations, (T, 12), of meshes (T, 478, 3) in pixels, and which neutral was used.

    0 is the neutral face, 1 a full action; a face cannot act less than not at all, so values
    start at 0. Rows without a mesh (NaN) stay NaN. The neutral is the clip's own, or, with fewer
    than 8 meshes, an average face's.
    """
    mesh = np.asarray(landmarks, np.float64)
    known = ~np.isnan(mesh[:, 0, 0])
    result = np.full((len(mesh), len(NAMES)), np.nan, np.float32)
    if not known.any():
        return result, "average"
    measured = measures(frontal(mesh[known])[0])
    own = len(measured) >= _OWN_NEUTRAL_FRAMES
    base = neutral(measured) if own else _AVERAGE
    result[known] = np.maximum((measured - base) / _FULL, 0.0)
    return result, "own" if own else "average"


def neutral(measured: Float64) -> Float64:
    """Return a clip's resting measures, (12,), from its measures (T, 12)."""
    return np.asarray(np.quantile(measured, _REST, axis=0))
