"""From times as files give them to the regular rows of a track."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textualize.errors import TextualizeError
from textualize.types import Span, Track

Float64 = NDArray[np.float64]
Rows = NDArray[np.intp]

_GAPS_AT_MOST = 100  # rows this many times further apart than usual are not one clip


def regular(times: Float64, fallback_hz: float, what: str) -> tuple[float, Rows]:
    """Return the rate of rows at these times and, per regular grid point, the index of its row.

    -1 stands where a row is missing; one row alone takes `fallback_hz`. Raises TextualizeError
    for times that go back, or leap so far that it cannot be one clip; `what` names the file.

    >>> rate, rows = regular(np.array([0.0, 0.5, 1.0, 2.0]), 1.0, "a table")
    >>> rate, rows.tolist()
    (2.0, [0, 1, 2, -1, 3])
    """
    if not np.isfinite(times).all():
        raise TextualizeError(f"{what} has rows without a time; give one row a frame")
    if len(times) < 2:
        return fallback_hz, np.arange(len(times))
    steps = np.diff(times)
    usual = float(np.median(steps))
    if not usual > 0 or steps.min() < 0:
        worst = int(np.argmin(steps))
        raise TextualizeError(
            f"times in {what} do not increase: {times[worst + 1]:g} s after {times[worst]:g} s; "
            "give one row a frame"
        )
    at = np.concatenate([[0], np.cumsum(np.maximum(1, np.round(steps / usual)))]).astype(np.intp)
    if at[-1] > _GAPS_AT_MOST * len(times):
        raise TextualizeError(f"times in {what} leap; cut the file at the gap")
    order = np.full(at[-1] + 1, -1)
    order[at] = np.arange(len(times))
    # over the whole file: single steps are rounded to milliseconds
    return float(at[-1] / (times[-1] - times[0])), order


def gathered(values: NDArray[np.floating[Any]], order: Rows) -> NDArray[np.float32]:
    """Return the rows (N, D) in the order of a grid, (T, D), NaN where one is missing."""
    held = values[order].astype(np.float32)
    held[order < 0] = np.nan
    return held


def covering(spans: Sequence[Span], span: Span, rate_hz: float) -> Rows:
    """Return for each point of a regular grid over `span` the index of the span it lies in, or -1.

    Of overlapping spans the one that begins last is taken.

    >>> covering([Span(0.0, 1.0), Span(1.0, 2.0)], Span(0.0, 3.0), 1.0).tolist()
    [0, 1, -1]
    """
    rows = np.full(max(1, round(span.duration * rate_hz)), -1)
    # the middle of a row's time says what it shows
    middles = span.start + (np.arange(len(rows)) + 0.5) / rate_hz
    for i in sorted(range(len(spans)), key=lambda i: spans[i].start):
        rows[(middles >= spans[i].start) & (middles < spans[i].end)] = i
    return rows


def cut(track: Track, span: Span | None) -> Track | None:
    """Return the rows of a track that lie in a span; None where there are none.

    A track of one row is taken to be about the whole clip.
    """
    if span is None or len(track.values) == 1:
        return track
    times = track.times
    inside = np.flatnonzero((times >= span.start - 1e-6) & (times < span.end - 1e-6))
    if not len(inside):
        return None
    first = int(inside[0])
    return replace(
        track, values=track.values[first : int(inside[-1]) + 1], start=float(times[first])
    )
