"""Drawn faces whose class shows in known places, made from a seed: no one is in them.

What tells the classes apart is where a face is striped: "same" at the cheeks and the corners of the
mouth, "different" at the brows and the chin. As many stripes, at random places, are in the
background: they say nothing. A face comes as the face sensor gives one, upright with its eyes in
their place: tracks "crops" (1, S, S, 3) and "landmarks" (1, 1434), of whose mesh only the points
are known that stand for the 68 landmarks of iBUG.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textualize.extract.face.ibug import MESH, MIRROR, OF_MESH, POINTS
from textualize.types import Track

Floats = NDArray[np.float64]

SIDE = 48
INTEROCULAR = 1 / 2.2  # of the side: outer corners of the eyes of an upright crop
EYE_LINE = 0.36
STRIPED: Mapping[str, tuple[tuple[tuple[int, ...], float], ...]] = {
    # label -> (landmarks whose mean is the middle of a patch, how far it lies below), in sides
    "same": (((41,), 0.15), ((46,), 0.15), ((48,), 0.0), ((54,), 0.0)),
    "different": (((19,), -0.02), ((24,), -0.02), ((57, 8), 0.0)),
}
_PATCH = 0.075  # spread of a patch, in sides
_STRIPE = 0.07  # from one stripe to the next, in sides


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A drawn face: pixels (S, S, 3) uint8, landmarks (68, 2) in sides."""

    pixels: NDArray[np.uint8]
    points: Floats


def template() -> Floats:
    """Return the 68 landmarks of the mean drawn face, (68, 2) in sides, its own mirror image."""
    half: dict[int, tuple[float, float]] = {
        **{i: (0.5 - 0.34 * np.cos(np.pi * i / 16), _jaw(i)) for i in range(8)},
        17: (0.190, 0.270), 18: (0.230, 0.245), 19: (0.275, 0.230), 20: (0.335, 0.228),
        21: (0.405, 0.240), 31: (0.405, 0.575), 32: (0.450, 0.590),
        36: (0.5 - INTEROCULAR / 2, EYE_LINE), 37: (0.315, 0.343), 38: (0.365, 0.343),
        39: (0.405, EYE_LINE), 40: (0.365, 0.377), 41: (0.315, 0.377),
        48: (0.370, 0.705), 49: (0.415, 0.680), 50: (0.460, 0.670), 58: (0.455, 0.750),
        59: (0.410, 0.735), 60: (0.385, 0.705), 61: (0.455, 0.698), 67: (0.455, 0.715),
    }  # fmt: skip
    middle = {8: _jaw(8), 27: 0.340, 28: 0.410, 29: 0.480, 30: 0.540, 33: 0.600, 51: 0.675,
              57: 0.755, 62: 0.698, 66: 0.716}  # fmt: skip
    points = np.full((POINTS, 2), np.nan)
    for i, (x, y) in half.items():
        points[i], points[MIRROR[i]] = (x, y), (1 - x, y)
    for i, y in middle.items():
        points[i] = 0.5, y
    return points


def _jaw(i: int) -> float:
    return 0.33 + 0.63 * float(math.sin(math.pi * i / 16) ** 0.8)


def draw_face(label: str, rng: np.random.Generator, *, noise: float = 0.12) -> Face:
    """Return a face of a class, another one with every draw.

    noise: deviation of a pixel, of 1 from black to white.
    """
    points = _own_points(rng)
    y, x = (np.mgrid[0:SIDE, 0:SIDE] + 0.5) / SIDE
    grey = rng.uniform(0.25, 0.6) + rng.uniform(-0.2, 0.2) * (x - 0.5)
    skin = rng.uniform(0.55, 0.8)
    jaw = points[:17]
    inside = _ellipse(x, y, (0.5, 0.5), (jaw[16, 0] - jaw[0, 0]) / 2, jaw[8, 1] - 0.5)
    for place in rng.uniform(0.03, 0.97, (24, 2)):
        if np.hypot(*((place - 0.5) / (0.42, 0.55))) > 1:  # beside the face
            grey = grey + _stripes(x, y, place, rng)
    grey = grey * (1 - inside) + skin * inside
    dark = rng.uniform(0.1, 0.3)
    for parts, wide, high in _FEATURES:
        cx, cy = points[list(parts)].mean(0)
        grey = grey + (dark - grey) * 0.8 * _ellipse(x, y, (cx, cy), wide, high)
    for centre in middles(points, label):
        grey = grey + _stripes(x, y, centre, rng)
    tint = rng.uniform(0.85, 1.0, 3)
    pixels = grey[..., None] * tint + noise * rng.standard_normal((SIDE, SIDE, 3))
    return Face((pixels.clip(0, 1) * 255).astype(np.uint8), points)


# landmarks whose mean is the middle of an ellipse, its half axes in sides: eyes, brows, nose, mouth
_FEATURES = (
    ((36, 39), 0.055, 0.022), ((42, 45), 0.055, 0.022),
    ((19, 20), 0.090, 0.014), ((23, 24), 0.090, 0.014),
    ((33,), 0.050, 0.014), ((51, 57), 0.110, 0.025),
)  # fmt: skip


def middles(points: Floats, label: str) -> Floats:
    """Return the middles of the striped patches of a face of a class, (n, 2) in sides."""
    return np.array([points[list(at)].mean(0) + (0.0, below) for at, below in STRIPED[label]])


def striped(points: Floats, label: str, size: int) -> NDArray[np.bool_]:
    """Return where a face of a class is striped, (size, size) bool: what there is to point at."""
    y, x = (np.mgrid[0:size, 0:size] + 0.5) / size
    near = [np.hypot(x - cx, y - cy) < 1.2 * _PATCH for cx, cy in middles(points, label)]
    return np.asarray(np.any(near, axis=0))


def face_tracks(label: str, rng: np.random.Generator, source: str) -> dict[str, Track]:
    """Return a face of a class as tracks of one row, as a face sensor gives it."""
    face = draw_face(label, rng)
    mesh = np.full((MESH, 3), np.nan, np.float32)
    mesh[list(OF_MESH), :2] = face.points * SIDE
    names = tuple(f"{axis}{i}_px" for i in range(MESH) for axis in "xyz")
    pixels: NDArray[Any] = face.pixels[None]
    return {
        "crops": Track(pixels, 1.0, 0.0, (), "pixels", source),
        "landmarks": Track(mesh.reshape(1, -1), 1.0, 0.0, names, "named", source),
    }


def _own_points(rng: np.random.Generator) -> Floats:
    """Return one face's landmarks; the corners of the eyes are where an upright crop has them."""
    points = template()
    corners = [36, 39, 42, 45]
    held = points[corners]
    for rows, across, down in (
        (range(17, 27), 0.01, 0.015), (range(27, 36), 0.008, 0.015),
        (range(48, 68), 0.012, 0.02), (range(0, 17), 0.008, 0.012),
    ):  # fmt: skip
        points[list(rows)] += rng.normal(size=2) * (across, down)
    points += 0.004 * rng.standard_normal(points.shape)
    points[corners] = held
    return points


def _ellipse(x: Floats, y: Floats, middle: tuple[float, float], wide: float, high: float) -> Floats:
    """Return 1 inside an ellipse, 0 outside, soft over a pixel or two."""
    r2 = ((x - middle[0]) / wide) ** 2 + ((y - middle[1]) / high) ** 2
    return np.asarray(np.exp(-(r2**4)))


def _stripes(x: Floats, y: Floats, middle: Floats, rng: np.random.Generator) -> Floats:
    """Return one striped patch, of any direction."""
    turn, phase = rng.uniform(0, 2 * np.pi, 2)
    dx, dy = x - middle[0], y - middle[1]
    wave = np.sin(2 * np.pi * (dx * np.cos(turn) + dy * np.sin(turn)) / _STRIPE + phase)
    return np.asarray(0.35 * wave * np.exp(-0.5 * (dx**2 + dy**2) / (0.6 * _PATCH) ** 2))
