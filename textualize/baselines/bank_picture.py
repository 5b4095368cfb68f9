"""The score bank over training, drawn: where in its videos a network came to look, epoch by epoch.

A map for each video that the run kept (`bank_history.py`): to the right where a piece begins, down
the epochs, in colour the weight of that start, white where it is that of drawing evenly, red above,
blue below; a ring where the epoch's piece was drawn. Below, the share of starts that still counted,
of all videos.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from textualize.baselines.bank_history import Watched, read_history
from textualize.errors import TextualizeError
from textualize.files import read_json, write_bytes_atomic
from textualize.finetune.run_folder import RunFolder

FORMATS = (".png", ".svg", ".pdf")
_WIDE, _HIGH, _BELOW = 8.0, 1.15, 1.9  # inches: the figure, one video, the share below
_COLOURS = "RdBu_r"  # white: even; red: drawn more; blue: less
_LEAST = 2.0  # times an even weight that the scale reaches at least
_RINGS = 80  # epochs up to which the drawn pieces are told apart


def draw_bank(run: Path, path: Path) -> None:
    """Write the picture of a stochastic-softmax run.

    Raises:
        TextualizeError: the file's name ends in no known format, or the run kept no bank.
    """
    if path.suffix.lower() not in FORMATS:
        raise TextualizeError(f"a picture's name should end in {', '.join(FORMATS)}; given {path}")
    settings = read_json(run / "model.json", "picture model")["settings"]
    lines = RunFolder(run).metrics()
    figure = drawn(read_history(run), RunFolder(run).labels.labels, lines, settings)
    made = BytesIO()
    figure.savefig(made, format=path.suffix.lower().removeprefix("."), dpi=110)
    write_bytes_atomic(path, made.getvalue())


def drawn(
    videos: Sequence[Watched],
    labels: Sequence[str],
    lines: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
) -> Figure:
    """Return the figure; `lines` are those of the epochs, `settings` the network's."""
    high = _HIGH * len(videos)
    figure = Figure(figsize=(_WIDE, high + _BELOW), layout="constrained")
    rows = figure.subplots(
        len(videos) + 1, 1, squeeze=False, height_ratios=[*[_HIGH] * len(videos), _BELOW]
    )[:, 0]
    phases = (int(settings["warm_up"]), int(settings["exploration"]))
    most = max(_LEAST, *(float(_relative(v).max()) for v in videos))
    norm = LogNorm(1 / most, most)
    for axes, video in zip(rows, videos, strict=False):
        mesh = _draw_video(axes, video, labels[video.target], norm, phases)
        axes.set_xlabel("start of piece (s)" if video is videos[-1] else "", fontsize=8)
    figure.supylabel("epoch", fontsize=8)
    bar = figure.colorbar(
        mesh,
        ax=list(rows[:-1]),
        shrink=min(1.0, 3.0 / high),
        aspect=25,
        extend="min",
    )
    ticks = [2.0**k for k in range(-12, 13) if 1 / most <= 2.0**k <= most]
    bar.set_ticks(ticks, labels=[f"{t:g}" if t >= 1 else f"1/{1 / t:g}" for t in ticks])
    bar.ax.minorticks_off()
    bar.ax.tick_params(labelsize=7)
    bar.set_label("weight (even = 1)", fontsize=8)
    _draw_share(rows[-1], lines, phases)
    return figure


def _relative(video: Watched) -> NDArray[np.float32]:
    """Return the weights in terms of an even one, (V, n)."""
    return np.asarray(video.weights.numpy() * len(video.seconds))


def _draw_video(
    axes: Axes, video: Watched, label: str, norm: LogNorm, phases: tuple[int, int]
) -> QuadMesh:
    at, found = video.seconds.numpy(), _relative(video)
    visits = len(found)
    step = float(np.median(np.diff(at)))  # a video that is watched has two starts or more
    edges = np.append(at, at[-1] + step)
    mesh = axes.pcolormesh(edges, np.arange(visits + 1) + 0.5, found, norm=norm, cmap=_COLOURS)
    if visits <= _RINGS:
        middle = at[video.starts.numpy()] + step / 2
        axes.plot(middle, np.arange(visits) + 1, "o", ms=3, mfc="none", mec="black", mew=0.6)
    for after in np.cumsum(phases):
        axes.axhline(after + 0.5, color="black", lw=0.6, ls=":")
    axes.set_ylim(visits + 0.5, 0.5)
    axes.set_title(f"{video.clip}: {label}", fontsize=8, loc="left", pad=2)
    axes.tick_params(labelsize=7)
    return mesh


def _draw_share(axes: Axes, lines: Sequence[Mapping[str, Any]], phases: tuple[int, int]) -> None:
    """Draw the effective share of starts over the epochs, and which phase they are of."""
    told = [(x["epoch"], x["effective_share"]) for x in lines if "effective_share" in x]
    axes.plot([e for e, _ in told], [s for _, s in told], color="#7b2382", lw=1.5)
    last = max([x["epoch"] for x in lines], default=1)
    begins = 0
    for name, ends in zip(
        ("evenly", "explored", "by score"), (*np.cumsum(phases).tolist(), last), strict=True
    ):
        ends = min(ends, last)
        if ends > begins:
            axes.text((begins + ends) / 2 + 0.5, 0.03, name, fontsize=7, ha="center", color="0.4")
            axes.axvline(ends + 0.5, color="0.7", lw=0.6, ls=":")
        begins = ends
    chosen = next((x["epoch"] for x in lines if x.get("selected")), None)
    if chosen is not None:
        axes.axvline(chosen, color="0.3", lw=0.8)
        axes.text(chosen, 1.12, " chosen", fontsize=7, va="top", color="0.3")
    axes.set_xlim(0.5, last + 0.5)
    axes.set_ylim(0, 1.15)
    axes.set_xlabel("epoch", fontsize=8)
    axes.set_ylabel("share of starts\nthat count", fontsize=8)
    axes.tick_params(labelsize=7)
