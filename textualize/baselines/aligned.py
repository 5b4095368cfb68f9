"""What a training of au-guided tells of an epoch: how near attention came, how much had a map."""

from __future__ import annotations

from torch import Tensor

from textualize.baselines.au_map import HeatMaps
from textualize.errors import TextualizeError


class Aligned:
    """Counts the alignment of batches."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._criterion, self._drawn, self._pictures = 0.0, 0, 0

    def add(self, aligned: Tensor, maps: HeatMaps) -> None:
        """Count a batch."""
        drawn = int(maps.drawn.sum())
        self._criterion += float(aligned.detach()) * drawn
        self._drawn, self._pictures = self._drawn + drawn, self._pictures + len(maps.drawn)

    def told(self) -> dict[str, float]:
        """Return what was counted since it was last asked for."""
        if self._pictures and not self._drawn:
            raise TextualizeError(
                f"au-guided: none of {self._pictures} pictures of an epoch has landmarks and a "
                "class with action units: extract with --sensors "
                "mediapipe:crops=112:landmarks=true, or set weight to 0"
            )
        if not self._pictures:
            return {}
        share = self._drawn / self._pictures
        found = {"alignment": self._criterion / self._drawn, "with_map": share}
        self._begin()
        return found
