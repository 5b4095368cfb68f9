"""Vectors that come in time, averaged per window as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from textualize.errors import TextualizeError
from textualize.extract.sensor import Reading
from textualize.extract.video import grid_length
from textualize.types import Float32, Status, Track

if TYPE_CHECKING:
    from textualize.extract.video import Media

Float64 = NDArray[np.float64]


class Windows:
    """The rows of one clip: running means of the vectors that fall into each window."""

    def __init__(self, media: Media, window: float, model: str) -> None:
        """Cover the clip's span with windows of `window` seconds."""
        self.span, self.window = media.span, window
        self._model = model
        self._rows = grid_length(media.span, 1 / window)
        self._worth = np.zeros(self._rows)
        self._values: Float32 | None = None

    def rows(self, times: Float64) -> NDArray[np.int64]:
        """Return the window of each moment; what lies outside the clip is in its end windows."""
        at = np.floor((times - self.span.start) / self.window + 1e-6)
        rows: NDArray[np.int64] = np.clip(at, 0, self._rows - 1).astype(np.int64)
        return rows

    def add(self, times: Float64, vectors: Float32, worth: float = 1.0) -> None:
        """Add vectors (N, D) at moments (N,), each worth as much in the mean.

        Raises TextualizeError for vectors that are not finite.
        """
        if not np.isfinite(vectors).all():
            raise TextualizeError(
                f"model '{self._model}' gives numbers that are not finite: give another"
            )
        if self._values is None:
            self._values = np.zeros((self._rows, vectors.shape[1]), np.float32)
        at = self.rows(times)
        for row in np.unique(at):
            chosen = vectors[at == row]
            self._worth[row] += worth * len(chosen)
            share = worth * len(chosen) / self._worth[row]
            mean = chosen.mean(axis=0, dtype=np.float64)
            self._values[row] += share * (mean - self._values[row])

    def reading(self, track: str, source: str, nothing: str) -> Reading:
        """Return the track, or absent because of `nothing` if no vector was added."""
        if self._values is None:
            return Reading(Status("absent", source, nothing))
        self._values[self._worth == 0] = np.nan
        made = Track(self._values, 1 / self.window, self.span.start, (), "embedding", source)
        return Reading(Status("observed", source), {track: made})
