"""Charts of a report: matplotlib draws them, as SVG that stands inside the page.

The text stays text in the page's own type, colours are the page's (so that a dark page has dark
charts), and the same figures give the same bytes. A figure is as wide as a telephone; on a wide
screen the page lets it grow. What a chart shows is also told in its label, for who cannot see it.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from textualize.evaluate.metrics import Bin

MAX_POINTS = 160  # a curve's points after downsampling: one every two units of the width
WIDTH = 4.8  # inches
LEFT, SHARE = 0.02, 0.96  # where a time axis begins, and its length, as shares of the width
LONGEST = 40  # characters of a label

Float64 = NDArray[np.float64]

_INKS = {  # what is drawn -> the page's colour
    "text": "#2457b8",
    "features": "#a8500f",
    "floor": "#6b7280",
    "ink": "#1d2125",
    "soft": "#5f676f",
    "line": "#d9dcdf",
}
_STYLE = {
    "svg.fonttype": "none",
    "font.size": 9.5,
    "text.parse_math": False,  # a name may hold a dollar sign
    "text.color": _INKS["ink"],
    "xtick.color": _INKS["soft"],
    "ytick.color": _INKS["soft"],
    "axes.labelcolor": _INKS["soft"],
    "axes.edgecolor": _INKS["line"],
}


@dataclass(frozen=True, slots=True)
class Mark:
    """One line of an interval chart: a dot with whiskers, its label and its numbers as text.

    `kind` is text, features or floor, or open for what is not decided.
    """

    label: str
    value: float
    low: float
    high: float
    kind: str
    numbers: str


@dataclass(frozen=True, slots=True)
class Band:
    """One curve (T,) over a clip's time, between `low` and `high`; NaN where nothing was seen.

    `note` stands at its right; `filled` draws an area from `low` up, else a taller line.
    """

    label: str
    values: ArrayLike
    low: float
    high: float
    note: str
    filled: bool = True


def intervals(marks: Sequence[Mark], caption: str, *, zero: bool = False) -> Markup:
    """Return a forest plot as a figure: a line a mark with dot, whiskers and numbers.

    With `zero`, the axis holds 0 and a line marks it. Empty without marks.
    """
    if not marks:
        return Markup("")
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(0.42 * len(marks) + 0.36, left=0.03, width=0.94)
        for row, mark in enumerate(marks):
            ink = _INKS.get(mark.kind, _INKS["soft"])
            axes.plot([mark.low, mark.high], [row, row], color=ink, linewidth=2)
            axes.plot([mark.value], [row], "o", color=ink, markersize=6)
            _names(axes, row - 0.22, _short(mark.label), mark.numbers, ink)
        if zero:
            rows = np.arange(len(marks))
            axes.vlines(
                0.0 * rows, rows - 0.15, rows + 0.3, color=_INKS["soft"], linewidth=1, zorder=0
            )
        axes.set_ylim(len(marks) - 0.6, -0.55)
        told = "; ".join(f"{m.label} {m.numbers}" for m in marks)
        drawn = _inline(figure, f"{caption}: {told}")
    return Markup('<figure class="chart"><figcaption>{}</figcaption>{}</figure>').format(
        caption, drawn
    )


def reliability(bins: Sequence[Bin], kind: str, name: str) -> Markup:
    """Return a method's reliability diagram: accuracy against confidence.

    A dot's area grows with the number of clips.
    """
    most = max((b.count for b in bins), default=1)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(2.3, 2.3))
        axes = figure.add_axes((0.2, 0.18, 0.76, 0.76))
        axes.plot([0, 1], [0, 1], color=_INKS["soft"], linewidth=0.8, linestyle=(0, (3, 3)))
        axes.scatter(
            [b.confidence for b in bins],
            [b.accuracy for b in bins],
            [12 + 60 * b.count / most for b in bins],
            color=_INKS.get(kind, _INKS["soft"]),
            clip_on=False,
            zorder=3,
        )
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        axes.set(xlabel="confidence", ylabel="accuracy")
        told = "; ".join(
            f"confidence {b.confidence:.2f}, accuracy {b.accuracy:.2f}, {b.count} clips"
            for b in bins
        )
        return _inline(figure, f"Accuracy against confidence of {name}: {told}")


def timeline(
    bands: Sequence[Band],
    spans: Sequence[tuple[float, float]],
    start: float,
    end: float,
    label: str,
) -> Markup:
    """Return curves over [start, end] seconds under one another, `spans` (words) as blocks below.

    Stretches in which nothing was seen are shaded. Empty without anything to draw.
    """
    if not bands and not spans:
        return Markup("")
    end = max(end, start + 0.1)
    tall = [1.0 if b.filled else 2.4 for b in bands]
    lines = sum(0.8 + height for height in tall) + (1.8 if spans else 0.3)
    drawn = _Drawn([], [], [], [])
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(0.2 * lines + 0.3, left=LEFT, width=SHARE)
        at = 0.0
        for band, height in zip(bands, tall, strict=True):
            _names(axes, at + 0.62, _short(band.label), band.note, _INKS["ink"])
            at += 0.8 + height
            drawn.draw(band, at, 0.92 * height, start, end)
        if spans:
            _names(axes, at + 0.62, "words", str(len(spans)), _INKS["ink"])
            edges = [(max(a, start), min(b, end)) for a, b in spans]
            drawn.blocks.extend(_box(a, b, at + 1.5, 0.6) for a, b in edges)
        drawn.put(axes)
        axes.set_xlim(start, end)
        axes.set_ylim(lines, 0.0)
        return _inline(figure, label)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """All shapes of a timeline: four collections are drawn much faster than fifty."""

    gaps: list[Float64]
    areas: list[Float64]
    lines: list[Float64]
    blocks: list[Float64]

    def draw(self, band: Band, base: float, height: float, start: float, end: float) -> None:
        """Add a curve above `base`, its unseen stretches shaded."""
        curve = downsample(band.values, peak=band.filled)
        seen = np.isfinite(curve)
        step = (end - start) / max(1, len(curve))
        share = (np.where(seen, curve, band.low) - band.low) / (band.high - band.low or 1.0)
        share = np.clip(share, 0.0, 1.0)
        for a, b in runs(~seen):
            self.gaps.append(_box(start + a * step, start + b * step, base, height))
        for a, b in runs(seen):
            middles = start + (np.arange(a, b) + 0.5) * step
            x = np.concatenate([[start + a * step], middles, [start + b * step]])
            y = base - height * np.concatenate([share[a : a + 1], share[a:b], share[b - 1 : b]])
            if band.filled:
                x, y = np.append(x, [x[-1], x[0]]), np.append(y, [base, base])
            (self.areas if band.filled else self.lines).append(np.column_stack([x, y]))

    def put(self, axes: Axes) -> None:
        """Put the shapes on the axes, whose limits are set otherwise."""
        filled = {"line": self.gaps, "features": self.areas, "text": self.blocks}
        for ink, shapes in filled.items():
            shapes_drawn = PolyCollection(shapes, facecolors=_INKS[ink], linewidths=0)
            axes.add_collection(shapes_drawn, autolim=False)
        drawn = LineCollection(self.lines, colors=_INKS["features"], linewidths=1.1)
        axes.add_collection(drawn, autolim=False)


def _box(left: float, right: float, base: float, height: float) -> Float64:
    return np.array([(left, base), (left, base - height), (right, base - height), (right, base)])


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


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the half-open runs of true flags.

    >>> runs(np.array([True, False, True, True]))
    [(0, 1), (2, 4)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


# --- figures as part of a page ------------------------------------------------------------------


def _figure(inches: float, *, left: float, width: float) -> tuple[Figure, Axes]:
    """A figure of one axis along the bottom; rows are counted from the top."""
    figure = Figure(figsize=(WIDTH, inches))
    axes = figure.add_axes((left, 0.28 / inches, width, 1 - 0.28 / inches))
    axes.set_yticks([])
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    return figure, axes


def _names(axes: Axes, row: float, left: str, right: str, ink: str) -> None:
    place: dict[str, Any] = {
        "transform": axes.get_yaxis_transform(),
        "va": "baseline",
        "clip_on": False,
    }
    axes.text(0.0, row, left, color=ink, **place)
    axes.text(1.0, row, right, color=_INKS["soft"], ha="right", **place)


def _short(label: str) -> str:
    return label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…"


def _inline(figure: Figure, label: str) -> Markup:
    """Return a figure as an <svg> element that needs nothing and whose ids are its own."""
    for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
        patch.set_visible(False)
    for artist in figure.findobj():
        artist.set_clip_on(False)  # nothing lies outside, and a clip path costs more than a curve
    stream = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.hashsalt": label}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's fonts count, not ours
        figure.savefig(stream, format="svg", metadata=nothing)
    root = ElementTree.fromstring(stream.getvalue())
    root.attrib = {"viewBox": root.attrib["viewBox"]}
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):  # a style would hold for all the page
                parent.remove(child)
        _plain(parent)
    text = ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)
    return Markup('<svg role="img" aria-label="{}"').format(label) + Markup(
        text.removeprefix("<svg")  # matplotlib's and escaped by ElementTree
    )


def _plain(element: ElementTree.Element) -> None:
    """Leave of an element what a page needs: no namespace, short numbers, the page's colours."""
    element.tag = element.tag.rpartition("}")[2]
    element.tail = None
    if element.tag != "text":
        element.text = None
    given, element.attrib = element.attrib, {}
    for name, value in given.items():
        name = name.rpartition("}")[2]
        if name == "style":
            value = _style(value)
        elif name == "d":
            value = re.sub(" +", " ", value if "C" in value else value.replace("L ", "")).strip()
        elif name == "transform" and value.startswith("rotate(-0 "):
            continue
        elif name == "id" and element.tag == "g":
            continue
        if name != "id" and name != "href" and name != "style":
            value = re.sub(r"-?\d+\.\d+", lambda m: f"{float(m[0]):.1f}".removesuffix(".0"), value)
        element.set(name, value)


def _style(value: str) -> str:
    value = re.sub(r"font(?:-size)?: ([\d.]+px)[^;]*", r"font-size: \1", value)
    value = re.sub(r"; font-family: [^;]*", "", value)
    for name, colour in _INKS.items():
        value = value.replace(colour, f"var(--{name})")
    return value
