"""What face sensors share: their columns, the way from frames to a track, who a box belongs to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from textualize.extract.video import Media
from textualize.types import Track, Unit

# `person` is the id of the face the row is from (1, 2, …), `speaking` how sure it is that this
# person speaks at that time (0-1), NaN where nobody tried to tell or could.
FACE_COLUMNS = (
    "score", "x_px", "y_px", "w_px", "h_px", "yaw_deg", "pitch_deg", "roll_deg",
    "person", "speaking",
)  # fmt: skip

Box = tuple[float, float, float, float]


def on_grid(
    media: Media,
    values: NDArray[np.floating[Any]],
    rows: NDArray[np.intp],
    names: tuple[str, ...],
    unit: Unit,
    source: str,
) -> Track:
    """Return a track on the media's grid from values per frame; NaN where no frame is near."""
    held = values[rows].astype(np.float32)
    held[rows < 0] = np.nan
    return Track(held, media.rate_hz, media.span.start, names, unit, source)


def nearest_rows(times: NDArray[np.floating[Any]], media: Media) -> NDArray[np.intp]:
    """Return, for each point of the media's grid, the index of its frame, -1 for none.

    A frame serves a point when it is the nearest and at most one grid step away.
    """
    grid = media.span.start + np.arange(media.rows) / media.rate_hz
    order = np.searchsorted(times, grid).clip(1, max(1, len(times) - 1))
    left = np.abs(times[order - 1] - grid)
    right = np.abs(times[np.minimum(order, len(times) - 1)] - grid)
    best = np.where(left <= right, order - 1, np.minimum(order, len(times) - 1))
    return np.where(np.minimum(left, right) <= 1 / media.rate_hz + 1e-6, best, -1)


def overlap(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes (x, y, w, h), 0-1.

    >>> overlap((0, 0, 2, 2), (1, 0, 2, 2)), overlap((0, 0, 1, 1), (5, 5, 1, 1))
    (0.3333333333333333, 0.0)
    """
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(0.0, wide) * max(0.0, high)
    whole = a[2] * a[3] + b[2] * b[3] - shared
    return shared / whole if whole > 0 else 0.0


def middle(box: Box) -> tuple[float, float]:
    """Return the middle (x, y) of a box."""
    return box[0] + box[2] / 2, box[1] + box[3] / 2


def inside(point: tuple[float, float], box: Box) -> bool:
    """Return whether a point (x, y) lies in a box."""
    x, y, w, h = box
    return x <= point[0] <= x + w and y <= point[1] <= y + h
