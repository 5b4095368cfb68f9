"""Videos whose class shows in known ways, made from a seed: no one is in them.

Tracks of pixels (T, S, S, 3) of a clip that is "same" or "different":

    segment    96 pictures of stripes that slant either way; a few in a row, somewhere, are striped
               up and down ("same") or across ("different"), and nothing else tells the class
    speed      16 pictures of a dot that moves in any direction, slowly or twice as fast; one
               picture alone says nothing
    size       16 pictures of a dot that moves so, small or large, with as much light in it
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textualize.types import Track

Floats = NDArray[np.float64]
Uint8 = NDArray[np.uint8]

SIDE = 16
RATE_HZ = 8.0
LONG, SHORT = 96, 16  # pictures
TOLD = 8  # pictures that tell the class of `segment`
SPEEDS, SIZES = (0.5, 1.0), (1.5, 2.25)  # pixels a picture; the dot's spread in pixels
_STRIPE = 4.0  # pixels from one stripe to the next


def video_tracks(label: str, rng: np.random.Generator, source: str) -> dict[str, Track]:
    """Return the tracks of a clip that is "same" or "different"."""
    drawn = draw_videos(label == "same", rng).pixels
    return {
        name: Track(pixels, RATE_HZ, 0.0, (), "pixels", source)  # type: ignore[arg-type]
        for name, pixels in drawn.items()
    }


@dataclass(frozen=True, slots=True, eq=False)
class Videos:
    """Pixels of each track, and where in `segment` the pictures begin that tell the class."""

    pixels: dict[str, Uint8]
    told_from: int


def draw_videos(same: bool, rng: np.random.Generator, *, noise: float = 0.3) -> Videos:
    """Return one clip's videos; `noise` is the deviation of a pixel, of 1 from black to white."""
    told_from = int(rng.integers(LONG - TOLD + 1))
    found = {
        "segment": _segment(same, told_from, rng),
        "speed": _dot(SPEEDS[int(same)], SIZES[0], rng),
        "size": _dot(SPEEDS[0], SIZES[int(same)], rng),
    }
    pixels = {}
    for name, grey in found.items():
        seen = grey[..., None] + noise * rng.standard_normal((*grey.shape, 3))
        pixels[name] = (seen.clip(0, 1) * 255).astype(np.uint8)
    return Videos(pixels, told_from)


def _segment(same: bool, told_from: int, rng: np.random.Generator) -> Floats:
    turn = np.where(rng.random(LONG) < 0.5, np.pi / 4, 3 * np.pi / 4)
    turn[told_from : told_from + TOLD] = 0.0 if same else np.pi / 2
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    phase = rng.uniform(0, 2 * np.pi, LONG)
    along = np.cos(turn)[:, None, None] * x + np.sin(turn)[:, None, None] * y
    return np.asarray(0.5 + 0.25 * np.sin(2 * np.pi * along / _STRIPE + phase[:, None, None]))


def _dot(speed: float, spread: float, rng: np.random.Generator) -> Floats:
    """Return a dot that goes on where it leaves the picture on the other side, (T, S, S)."""
    turn = rng.uniform(0, 2 * np.pi)
    way = speed * np.arange(SHORT)
    at = rng.uniform(0, SIDE, 2) + way[:, None] * (np.cos(turn), np.sin(turn))
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    dx, dy = (
        (grid[None] - at[:, i, None, None] + SIDE / 2) % SIDE - SIDE / 2
        for i, grid in enumerate((x, y))
    )
    light = 0.9 * (SIZES[0] / spread) ** 2
    return np.asarray(0.1 + light * np.exp(-(dx**2 + dy**2) / (2 * spread**2)))
