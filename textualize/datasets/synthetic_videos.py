"""Videos whose class shows in known ways, made from a seed: no one is in them.

Tracks of pixels (T, S, S, 3) of a clip that is "same" or "different":

    segment    48 pictures of stripes that slant either way; a few in a row, somewhere, are striped
               up and down ("same") or across ("different"), and nothing else tells the class
    speed      8 pictures of blobs that drift in any direction, slowly or three times as fast; one
               picture alone says nothing
    size       8 pictures of blobs that drift slowly, small or large, of the same contrast
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
LONG, SHORT = 48, 8  # pictures
TOLD = 4  # pictures that tell the class of `segment`
SPEEDS, SIZES = (0.5, 1.5), (1.0, 1.5)  # pixels a picture; a blob's spread in pixels
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


def draw_videos(same: bool, rng: np.random.Generator, *, noise: float = 0.2) -> Videos:
    """Return one clip's videos.

    noise: the deviation of a pixel, of 1 from black to white; of blobs it is half of it.
    """
    told_from = int(rng.integers(LONG - TOLD + 1))
    found = {
        "segment": _pixels(_segment(same, told_from, rng), noise, rng),
        "speed": _pixels(_blobs(SPEEDS[int(same)], SIZES[0], rng), noise / 2, rng),
        "size": _pixels(_blobs(SPEEDS[0], SIZES[int(same)], rng), noise / 2, rng),
    }
    return Videos(found, told_from)


def _pixels(grey: Floats, noise: float, rng: np.random.Generator) -> Uint8:
    seen = grey[..., None] + noise * rng.standard_normal((*grey.shape, 3))
    return (seen.clip(0, 1) * 255).astype(np.uint8)


def _segment(same: bool, told_from: int, rng: np.random.Generator) -> Floats:
    turn = np.where(rng.random(LONG) < 0.5, np.pi / 4, 3 * np.pi / 4)
    turn[told_from : told_from + TOLD] = 0.0 if same else np.pi / 2
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    phase = rng.uniform(0, 2 * np.pi, LONG)
    along = np.cos(turn)[:, None, None] * x + np.sin(turn)[:, None, None] * y
    return np.asarray(0.5 + 0.25 * np.sin(2 * np.pi * along / _STRIPE + phase[:, None, None]))


def _blobs(speed: float, spread: float, rng: np.random.Generator) -> Floats:
    """Return smoothed noise that drifts out of the picture and in again opposite, (T, S, S)."""
    fy, fx = (2 * np.pi * f for f in np.meshgrid(*[np.fft.fftfreq(SIDE)] * 2, indexing="ij"))
    wave = np.fft.fft2(rng.standard_normal((SIDE, SIDE)))
    wave *= np.exp(-0.5 * spread**2 * (fx**2 + fy**2))
    wave[0, 0] = 0.0
    turn = rng.uniform(0, 2 * np.pi)
    way = speed * np.arange(SHORT)[:, None, None]
    drift = np.exp(-1j * way * (fx * np.cos(turn) + fy * np.sin(turn)))
    seen = np.fft.ifft2(wave * drift).real
    return np.asarray(0.5 + 0.15 * seen / seen.std())
