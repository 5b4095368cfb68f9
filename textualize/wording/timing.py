"""When something happened: a curve over a clip as "briefly at the end", "twice", "growing".

A track says nothing about time unless it has rows enough; every limit is in the table below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textualize.types import Float32, Span

Floats = NDArray[np.floating[Any]]

ENOUGH_ROWS = 10  # fewer say how strong, not when; ours
ENOUGH_S = 1.0  # nothing in a shorter clip is brief, early or late; ours
GAP_S = 0.25  # a shorter dip does not end an episode: a blink or a bad frame; ours
FLICKER_S = 0.1  # a shorter rise is no episode: two frames at 20 Hz; ours
BRIEF_S = 0.5  # the longest micro-expression, Yan et al. 2013, J. Nonverbal Behavior 37
THROUGHOUT = 0.8  # of the seen time; ours
CHANGING = 0.5  # of the seen time: an action seen for less comes and goes rather than grows; ours
# Shares of the seen time, the first that fits; ours.
_PLACES = (
    (0.0, 1 / 3, "at the start"),
    (2 / 3, 1.0, "at the end"),
    (1 / 3, 2 / 3, "in the middle"),
    (0.0, 0.5, "in the first half"),
    (0.5, 1.0, "in the second half"),
)
_ROUNDING = 1e-6
_COUNTS = {1: "", 2: "twice", 3: "three times"}


@dataclass(frozen=True, slots=True)
class Timing:
    """When a curve was above its limit.

    `episodes` are the stretches above, in seconds; `seen` is the time looked at; `share` of the
    seen rows are above; `change` is the mean of the last third minus that of the first, from the
    first onset to the last offset.
    """

    seen: Span
    episodes: tuple[Span, ...]
    share: float
    change: float

    @property
    def span(self) -> Span | None:
        """From the first onset to the last offset; None where that is all there is."""
        if not self.episodes:
            return None
        whole = Span(self.episodes[0].start, self.episodes[-1].end)
        return None if whole.duration >= self.seen.duration - _ROUNDING else whole

    def words(self, step: float) -> str:
        """Return when it happened, empty where there is nothing to say about it.

        A change of at least `step` (one grade of the scale) in what lasts is worded first.

        >>> Timing(Span(0, 9), (Span(8.5, 8.9),), 0.04, 0.0).words(1.0)
        'briefly at the end'
        >>> Timing(Span(0, 9), (Span(1, 9),), 0.9, 2.0).words(1.0)
        'growing'
        """
        if not self.episodes:
            return ""
        if self.share >= CHANGING and abs(self.change) >= step:
            return "growing" if self.change > 0 else "fading"
        if self.share >= THROUGHOUT:
            return "throughout"
        count = _COUNTS.get(len(self.episodes), "repeatedly")
        if not count and self.episodes[0].duration <= BRIEF_S + _ROUNDING:
            count = "briefly"
        return f"{count} {self._place()}".strip()

    def _place(self) -> str:
        """Return the smallest part of the seen time, of those in _PLACES, that holds it all."""
        first, last = self.episodes[0].start, self.episodes[-1].end
        for low, high, words in _PLACES:
            within = Span(*(self.seen.start + x * self.seen.duration for x in (low, high)))
            if within.start <= first + _ROUNDING and last <= within.end + _ROUNDING:
                return words
        return ""


def timing(values: Float32, times: Floats, rate_hz: float, limit: float) -> Timing | None:
    """Return when a curve (T,) was above `limit`; None where it has too few seen rows to tell.

    Rows that were not seen (NaN) neither begin nor end an episode.
    """
    seen = np.flatnonzero(np.isfinite(values))
    if len(seen) < ENOUGH_ROWS:
        return None
    row_s = 1 / rate_hz
    at = np.asarray(times)[seen]
    looked = Span(float(at[0]), float(at[-1] + row_s))
    if looked.duration < ENOUGH_S - _ROUNDING or row_s > GAP_S:
        return None
    above = values[seen] > limit
    found = _episodes(above, rate_hz)
    episodes = tuple(Span(float(at[a]), float(at[b - 1] + row_s)) for a, b in found)
    moved = change(values[seen][found[0][0] : found[-1][1]]) if found else float("nan")
    return Timing(looked, episodes, float(above.mean()), moved)


def _episodes(above: NDArray[np.bool_], rate_hz: float) -> list[tuple[int, int]]:
    """Return the stretches of rows above, (first, one past the last), gaps closed."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], above.astype(np.int8), [0]])))
    runs = list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
    joined = _joined(runs, GAP_S * rate_hz)
    shortest = max(2.0, FLICKER_S * rate_hz) - _ROUNDING
    return [(a, b) for a, b in joined if b - a >= shortest]


def _joined(runs: Sequence[tuple[int, int]], gap: float) -> list[tuple[int, int]]:
    starts = [runs[0][0]] if runs else []
    ends = []
    for (_, before), (after, _) in pairwise(runs):
        if after - before > gap:
            ends.append(before)
            starts.append(after)
    return list(zip(starts, [*ends, runs[-1][1]], strict=True)) if runs else []


def change(values: Floats) -> float:
    """Return the mean of the last third of the finite values minus that of the first third.

    NaN for fewer than three.

    >>> change(np.array([1.0, 1.0, 5.0, 2.0, 4.0, 4.0]))
    3.0
    """
    finite = np.asarray(values, np.float64)[np.isfinite(values)]
    third = len(finite) // 3
    if not third:
        return float("nan")
    return float(finite[-third:].mean() - finite[:third].mean())
