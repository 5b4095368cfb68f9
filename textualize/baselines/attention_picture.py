"""Where a network looks, drawn over the face: map, attention and class activation side by side."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from textualize.baselines.attended import Look, guided, look
from textualize.baselines.attention_metrics import above_floor, map_cosine
from textualize.baselines.au_map import resized
from textualize.errors import TextualizeError
from textualize.files import write_bytes_atomic
from textualize.types import Record

Floats = NDArray[np.float64]

_INCHES = 1.7  # of one face
_COLUMNS = ("face", "action units", "attention", "class activation")
_FORMATS = (".png", ".svg", ".pdf")


def draw_attention(method: object, records: Sequence[Record], path: Path) -> None:
    """Write a row of pictures for each clip, see `draw_looks`.

    Raises:
        TextualizeError: the method is not au-guided, a clip has no pictures or another label.
    """
    own = guided(method)
    looks = []
    for record in records:
        found = look(own, record)
        if isinstance(found, str):
            raise TextualizeError(f"clip '{record.clip.id}' has no pictures: {found}")
        looks.append(found)
    draw_looks(looks, own.labels, path)


def draw_looks(looks: Sequence[Look], labels: Sequence[str], path: Path) -> None:
    """Write one row of pictures for each clip, of its middle picture.

    Face, map of the true class, attention, class activation of the true class and, where the clip
    was taken for another one, of that.

    Raises:
        TextualizeError: the file's name ends in no known format, or there is nothing to draw.
    """
    if path.suffix.lower() not in _FORMATS:
        raise TextualizeError(f"a picture's name should end in {', '.join(_FORMATS)}; given {path}")
    if not looks:
        raise TextualizeError("no clip with pictures to draw")
    wide = len(_COLUMNS) + any(each.true != each.said for each in looks)
    high = 1.25 * len(looks)
    figure = Figure(figsize=(_INCHES * wide, _INCHES * high), layout="constrained")
    rows = figure.subplots(len(looks), wide, squeeze=False)
    for row, each in zip(rows, looks, strict=True):
        _draw_row(row, each, labels)
    drawn = BytesIO()
    figure.savefig(drawn, format=path.suffix.lower().removeprefix("."), dpi=110)
    write_bytes_atomic(path, drawn.getvalue())


def _draw_row(row: Sequence[Axes], each: Look, labels: Sequence[str]) -> None:
    i = len(each.pixels) // 2
    face = each.pixels[i].permute(1, 2, 0).cpu().numpy().astype(float)
    heats: list[tuple[str, Tensor | None]] = [
        (f"{each.record.clip.id}: {labels[each.true]}", None),
        ("action units" if each.maps.drawn[i] else "no action units", each.maps.values[i]),
        (_scored("attention", each.attention, each, i), each.attention[i]),
        (_scored("class activation", each.cam, each, i), each.cam[i]),
    ]
    if each.true != each.said:
        heats.append((_scored(f"taken for {labels[each.said]}", each.cam_said, each, i),
                      each.cam_said[i]))  # fmt: skip
    for axes in row:
        axes.set_axis_off()
    for axes, (title, heat) in zip(row, heats, strict=False):
        axes.imshow(face if heat is None else _over(face, heat))
        axes.set_title(title, fontsize=7)


def _scored(what: str, attention: Tensor, each: Look, i: int) -> str:
    """Return a title with the cosine to the map, and what is above the floor."""
    if not each.maps.drawn[i]:
        return what
    maps = each.maps.values[i : i + 1]
    cosine = map_cosine(attention[i : i + 1], maps)
    return f"{what}\ncosine {float(cosine):.2f}, above floor {float(above_floor(cosine, maps)):.2f}"


def _over(face: Floats, heat: Tensor) -> Floats:
    """Return a face, greyed, under heat (h, w) from its lowest to its highest value."""
    side = face.shape[0]
    shown = resized(heat[None].double().cpu(), side)[0]
    spread = (shown.amax() - shown.amin()).clamp(min=torch.finfo().tiny)
    strength = ((shown - shown.amin()) / spread).numpy()[..., None]
    grey = 0.7 * face.mean(2, keepdims=True).repeat(3, 2)
    colour = colormaps["inferno"](strength[..., 0])[..., :3]
    return np.asarray(grey * (1 - 0.75 * strength) + 0.75 * strength * colour).clip(0, 1)
