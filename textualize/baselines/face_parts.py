"""A clip's pictures without one part of the face: what a method of pixels rests on.

A part is where its action units show (`au_map`), blurred until nothing can be read from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import Delaunay
from torch import Tensor

from textualize.baselines.au_codebook import selected
from textualize.baselines.au_map import heat_maps
from textualize.baselines.deletion import blurred
from textualize.baselines.reading import Reading, open_reel
from textualize.baselines.reels import TrackReel
from textualize.errors import TextualizeError
from textualize.extract.face.ibug import OF_MESH
from textualize.types import Float32, Record

PARTS: Mapping[str, tuple[int, ...]] = {
    "brows": (1, 2),
    "eyes": (43,),
    "cheeks": (6,),
    "nose": (9,),
    "mouth": (12, 25, 26),
    "chin": (17,),
}
_SURROUNDINGS = "what is around the face"
_AT_LEAST = 0.25  # of a map's highest value: what is blurred


def without_each_part(record: Record, reading: Reading) -> Iterator[tuple[str, Record]]:
    """Yield (name, record whose pictures have that part blurred) for every part of the face.

    Where a picture's landmarks are unknown nothing is blurred.

    Raises:
        TextualizeError: the pictures are no track, or no picture has landmarks.
    """
    reel = open_reel(record, reading)
    points = _landmarks(reel) if isinstance(reel, TrackReel) else None
    if not isinstance(reel, TrackReel) or points is None or not np.isfinite(points).any():
        lacks = reel if isinstance(reel, str) else "no landmarks"
        raise TextualizeError(
            f"clip '{record.clip.id}': {lacks}; to explain pictures, parts of the face are blurred:"
            " that takes crops and landmarks (extract --sensors mediapipe:crops=112:landmarks=true)"
        )
    track, side = record.tracks[reading.pictures], reel.pixels.shape[1]
    pixels = torch.from_numpy(reel.pixels).permute(0, 3, 1, 2).float()
    soft = blurred(pixels)
    for name, mask in _masks(points, side):
        shown = torch.where(mask[:, None], soft, pixels).permute(0, 2, 3, 1)
        values: NDArray[Any] = shown.round().to(torch.uint8).numpy()
        # a blank row stays blank: it is how a picture without a face is known
        yield (
            f"{reading.pictures}: {name}",
            replace(
                record, tracks={**record.tracks, reading.pictures: replace(track, values=values)}
            ),
        )


def _landmarks(reel: TrackReel) -> Float32:
    """Return the 68 landmarks of every row, (T, 68, 2) in sides; NaN where unknown."""
    found = np.full((len(reel.pixels), len(OF_MESH), 2), np.nan, np.float32)
    _, points = reel.read(0, reel.length)
    found[reel.at[: reel.length]] = points[:, list(OF_MESH)] / reel.size
    return found


def _masks(points: Float32, side: int) -> Iterator[tuple[str, Tensor]]:
    """Yield every part's name and where it is, (T, S, S) bool."""
    placed = torch.from_numpy(points)
    for name, actions in PARTS.items():
        maps = heat_maps(placed, selected(actions).expand(len(placed), -1), side)
        yield name, (maps.values > _AT_LEAST) & maps.drawn[:, None, None]
    y, x = (np.mgrid[0:side, 0:side] + 0.5) / side
    grid = np.stack([x.ravel(), y.ravel()], 1)
    around = np.zeros((len(points), side, side), bool)
    for row, own in enumerate(points):
        if np.isfinite(own).all():
            around[row] = (Delaunay(own).find_simplex(grid) < 0).reshape(side, side)
    yield _SURROUNDINGS, torch.from_numpy(around)
