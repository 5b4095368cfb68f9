"""The 68 landmarks of pictures of faces: those of a batch, and how many pictures lack them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from textualize.baselines.pictures import Pictures
from textualize.baselines.reels import POINTS, FileReel, Reel, TrackReel, rows_at
from textualize.extract.face.ibug import OF_MESH


def landmarks_of(batch: Pictures) -> Tensor:
    """Return the 68 landmarks of every picture there is, (n, 68, 2) in sides of it."""
    return batch.landmarks[batch.seen][:, list(OF_MESH)] / batch.pixels.shape[-1]


def landmark_notes(reels: Sequence[Reel]) -> list[str]:
    """Return a note on how many pictures have no landmarks; none where all have them."""
    lacking = np.array([_lacking(reel) for reel in reels])
    if not lacking.any():
        return []
    pictures = sum(reel.length for reel in reels)
    return [
        f"{lacking.sum()} of {pictures} pictures have no landmarks, in {(lacking > 0).sum()} of "
        f"{len(reels)} clips: they are classified only"
    ]


def _lacking(reel: Reel) -> int:
    """Return how many of a clip's pictures have not all the landmarks a map is drawn from."""
    mesh = reel.mesh if isinstance(reel, TrackReel | FileReel) else None
    if mesh is None:
        return reel.length
    points = rows_at(mesh, reel.seconds()).reshape(-1, POINTS, 3)
    return int((~np.isfinite(points[:, list(OF_MESH), :2]).all((1, 2))).sum())
