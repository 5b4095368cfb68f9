"""Charts as inline SVG, written by hand.

Rows of a chart place their marks in percent of the width, so that text and dots keep their size
from a telephone to a wide screen; curves are stretched paths. Colours are CSS classes: `text`,
`features`, `floor`. All text is escaped.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike, NDArray

from textualize.evaluate.metrics import Bin

MAX_POINTS = 200  # a curve's points after downsampling
WIDTH, HEIGHT = 1000, 100  # of a stretched path's coordinates

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Mark:
    """One line of an interval chart: a dot with whiskers, its label and its numbers as text."""

    label: str
    value: float
    low: float
    high: float
    kind: str
    numbers: str


@dataclass(frozen=True, slots=True)
class Axis:
    """A value axis from `low` to `high` with its tick values."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def percent(self, value: float) -> float:
        """Return where `value` is, in percent of the width, kept inside 0-100.

        >>> Axis(0.0, 2.0, ()).percent(0.5)
        25.0
        """
        share = (value - self.low) / (self.high - self.low)
        return round(100.0 * min(1.0, max(0.0, share)), 2)


def axis_for(values: Sequence[float]) -> Axis:
    """Return an axis of 4-7 round ticks that holds all values.

    >>> axis_for([0.12, 0.58]).ticks
    (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    """
    low, high = min(values), max(values)
    if high - low <= 1e-6 * max(1.0, abs(low), abs(high)):
        margin = 0.05 * max(1.0, abs(low))
        low, high = low - margin, high + margin
    raw = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(raw))
    step = min((s * size for s in (1, 2, 5, 10)), key=lambda s: abs(s - raw))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(k * step, 10) + 0.0 for k in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], ticks)


def intervals(marks: Sequence[Mark], caption: str, *, zero: bool = False) -> Markup:
    """Return a forest plot as a table: a line a mark with dot, whiskers and numbers.

    With `zero`, the axis holds 0 and a line marks it.
    """
    if not marks:
        return Markup("")
    values = [x for m in marks for x in (m.low, m.high)] + ([0.0] if zero else [])
    axis = axis_for(values)
    rows = Markup("").join(_interval_row(mark, axis, zero) for mark in marks)
    ticks = Markup("").join(_tick(axis, value) for value in axis.ticks)
    return Markup(
        '<table class="forest"><caption>{}</caption><tbody>{}</tbody>'
        '<tfoot><tr aria-hidden="true"><th></th><td><svg class="ticks">{}</svg></td><td></td></tr>'
        "</tfoot></table>"
    ).format(caption, rows, ticks)


def _interval_row(mark: Mark, axis: Axis, zero: bool) -> Markup:
    guide = Markup('<line class="zero" x1="{0}%" x2="{0}%" y1="0" y2="100%"/>').format(
        axis.percent(0.0)
    )
    return Markup(
        '<tr class="{kind}"><th scope="row">{label}</th><td><svg class="interval" '
        'aria-hidden="true">{guide}<line class="whisker" x1="{low}%" x2="{high}%" y1="50%" '
        'y2="50%"/><circle cx="{value}%" cy="50%" r="4.5"/></svg></td>'
        '<td class="num">{numbers}</td></tr>'
    ).format(
        kind=mark.kind,
        label=mark.label,
        guide=guide if zero else Markup(""),
        low=axis.percent(mark.low),
        high=axis.percent(mark.high),
        value=axis.percent(mark.value),
        numbers=mark.numbers,
    )


def _tick(axis: Axis, value: float) -> Markup:
    at = axis.percent(value)
    anchor = "start" if at < 1 else "end" if at > 99 else "middle"
    return Markup(
        '<line x1="{0}%" x2="{0}%" y1="0" y2="4"/>'
        '<text x="{0}%" y="16" text-anchor="{1}">{2}</text>'
    ).format(at, anchor, f"{value:g}")


def reliability(bins: Sequence[Bin], kind: str) -> Markup:
    """Return a reliability diagram: accuracy against confidence, dots grow with the count."""
    most = max((b.count for b in bins), default=1)
    dots = Markup("").join(
        Markup('<circle cx="{}" cy="{}" r="{}"><title>{}</title></circle>').format(
            round(b.confidence * 100, 1),
            round(100 - b.accuracy * 100, 1),
            round(1.5 + 3.5 * math.sqrt(b.count / most), 1),
            f"confidence {b.confidence:.2f}, accuracy {b.accuracy:.2f}, {b.count} clips",
        )
        for b in bins
    )
    return Markup(
        '<svg class="reliability {}" viewBox="-6 -6 112 112" role="img" aria-label="accuracy '
        'against confidence"><rect x="0" y="0" width="100" height="100"/>'
        '<line x1="0" y1="100" x2="100" y2="0"/>{}</svg>'
    ).format(kind, dots)


# --- curves over time ---------------------------------------------------------------------------


def downsample(values: ArrayLike, limit: int = MAX_POINTS, *, peak: bool = False) -> Float64:
    """Return at most `limit` points of a (T,) curve: means, or peaks, of equal stretches.

    NaN (nothing seen) is left out of a stretch, and stays where a stretch holds nothing else.

    >>> downsample([0.0, 1.0, 2.0, 3.0], 2).tolist(), downsample([0.0, 1.0, 2.0], 2).tolist()
    ([0.5, 2.5], [0.0, 1.5])
    """
    curve = np.asarray(values, dtype=np.float64)
    if len(curve) <= limit:
        return curve
    edges = np.linspace(0, len(curve), limit + 1).astype(int)
    stretches = [curve[a:b] for a, b in zip(edges[:-1], edges[1:], strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an unseen stretch is NaN by contract
        return np.array([np.nanmax(s) if peak else np.nanmean(s) for s in stretches])


def strip(
    values: ArrayLike, low: float, high: float, *, filled: bool = False, peak: bool = False
) -> Markup:
    """Return one curve (T,) as a stretched path; unseen stretches are left open and shaded."""
    curve = downsample(values, peak=peak)
    seen = np.isfinite(curve)
    width = WIDTH / max(1, len(curve))
    x = ((np.arange(len(curve)) + 0.5) * width).round().astype(int)
    share = np.clip((np.where(seen, curve, low) - low) / ((high - low) or 1.0), 0.0, 1.0)
    y = (HEIGHT - share * HEIGHT).round().astype(int)
    paths = Markup("").join(_path(x[a:b], y[a:b], filled) for a, b in _runs(seen))
    gaps = Markup("").join(
        Markup('<rect class="gap" x="{}" y="0" width="{}" height="{}"/>').format(
            round(a * width), max(1, round((b - a) * width)), HEIGHT
        )
        for a, b in _runs(~seen)
    )
    return Markup(
        '<svg class="strip" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">'
        "{}{}</svg>"
    ).format(WIDTH, HEIGHT, gaps, paths)


def _path(x: NDArray[Any], y: NDArray[Any], filled: bool) -> Markup:
    points = " ".join(f"{a},{b}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
    if filled:
        return Markup('<path class="area" d="M{},{} {} {},{}z"/>').format(
            x[0], HEIGHT, points, x[-1], HEIGHT
        )
    if len(x) == 1:  # a lone point has no length: draw a dash
        points = f"{x[0] - 2},{y[0]} {x[0] + 2},{y[0]}"
    return Markup('<path class="line" d="M{}"/>').format(points)


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Half-open runs of true flags.

    >>> _runs(np.array([True, False, True, True]))
    [(0, 1), (2, 4)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def blocks(spans: Sequence[tuple[float, float]], start: float, end: float) -> Markup:
    """Return stretches of time (seconds) as blocks on the axis from `start` to `end`."""
    axis = Axis(start, max(end, start + 1e-6), ())
    rects = Markup("").join(
        Markup('<rect x="{}%" y="20%" width="{}%" height="60%" rx="2"/>').format(
            axis.percent(a), max(0.4, round(axis.percent(b) - axis.percent(a), 2))
        )
        for a, b in spans
    )
    return Markup('<svg class="blocks" aria-hidden="true">{}</svg>').format(rects)


def time_axis(start: float, end: float) -> Markup:
    """Return a time axis in seconds; its ticks are round numbers inside [start, end]."""
    round_ticks = axis_for([start, max(end, start + 0.1)]).ticks
    axis = Axis(start, max(end, start + 1e-6), ())
    inside = [t for t in round_ticks if start - 1e-9 <= t <= end + 1e-9]
    return Markup('<svg class="ticks" aria-hidden="true">{}</svg>').format(
        Markup("").join(_tick(axis, t) for t in inside)
    )
