"""Where a network looks, drawn over the face: map, attention and class activation side by side."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from textualize.baselines.activation import CamKind
from textualize.baselines.attended import Look, guided, look
from textualize.baselines.attention_metrics import above_floor, map_cosine
from textualize.baselines.au_map import resized
from textualize.errors import TextualizeError
from textualize.files import write_bytes_atomic
from textualize.types import Record

Floats = NDArray[np.float64]

_INCHES = 1.5  # of one face
_FORMATS = (".png", ".svg", ".pdf")
_SMALL = 6.5


def draw_attention(
    method: object, records: Sequence[Record], path: Path, cam: CamKind = "cam"
) -> None:
    """Write a row of pictures for each clip, see `draw_looks`.

    Raises:
        TextualizeError: the method is not au-guided, a clip has no pictures or another label.
    """
    own = guided(method)
    looks = []
    for record in records:
        found = look(own, record, cam)
        if isinstance(found, str):
            raise TextualizeError(f"clip '{record.clip.id}' has no pictures: {found}")
        looks.append(found)
    draw_looks(looks, own.labels, path, cam)


def draw_each_label(
    method: object,
    records: Sequence[Record],
    path: Path,
    cam: CamKind = "cam",
    trained: Collection[str] = (),
) -> str:
    """Write the first face with landmarks of each label; return which labels, and what is amiss.

    `trained` are the ids of the clips that were trained on: others come first.

    Raises:
        TextualizeError: the method is not au-guided, or no clip has a label and a face with
            landmarks.
    """
    own = guided(method)
    ordered = sorted(records, key=lambda r: r.clip.id in trained)
    looks: dict[str, Look] = {}
    for record in ordered:
        label = str(record.clip.label)
        if label in own.labels and label not in looks:
            found = look(own, record, cam)
            if isinstance(found, Look) and _landmarked(found).any():
                looks[label] = found
    draw_looks([looks[label] for label in own.labels if label in looks], own.labels, path, cam)
    without = [label for label in own.labels if label not in looks]
    known = sum(each.record.clip.id in trained for each in looks.values())
    told = f"one face of each of {len(looks)} labels"
    told += f", {known} of them trained on" if known else ""
    return told + (f"; no face with landmarks of {', '.join(without)}" if without else "")


def draw_looks(
    looks: Sequence[Look], labels: Sequence[str], path: Path, cam: CamKind = "cam"
) -> None:
    """Write one row of pictures for each clip, of its middle picture that has landmarks.

    Face, map of the true class, attention, class activation of the true class and, where the clip
    was taken for another one, of that; under a heat its cosine to the map.

    Raises:
        TextualizeError: the file's name ends in no known format, or there is nothing to draw.
    """
    if path.suffix.lower() not in _FORMATS:
        raise TextualizeError(f"a picture's name should end in {', '.join(_FORMATS)}; given {path}")
    if not looks:
        raise TextualizeError("no clip with a face to draw")
    heads = ["face", "action units", "attention", f"{cam} of its label"]
    if any(each.true != each.said for each in looks):
        heads.append(f"{cam} of what it\nwas taken for")
    size = (_INCHES * len(heads) + 0.4, 1.2 * _INCHES * len(looks) + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    rows = figure.subplots(len(looks), len(heads), squeeze=False)
    for axes, head in zip(rows[0], heads, strict=True):
        axes.set_title(head, fontsize=8, fontweight="bold")
    for row, each in zip(rows, looks, strict=True):
        _draw_row(row, each, labels)
    figure.supxlabel("each heat from its lowest (grey) to its highest (yellow)", fontsize=_SMALL)
    drawn = BytesIO()
    figure.savefig(drawn, format=path.suffix.lower().removeprefix("."), dpi=130)
    write_bytes_atomic(path, drawn.getvalue())


def _landmarked(each: Look) -> Tensor:
    """Return which pictures of a clip have landmarks, (n,) bool."""
    return each.points.flatten(1).isfinite().all(1)


def _shown(each: Look) -> int:
    """Return the picture nearest to the middle of those with landmarks, or of all."""
    known = torch.nonzero(_landmarked(each))[:, 0]
    places = known if len(known) else torch.arange(len(each.pixels))
    return int(places[len(places) // 2])


def _draw_row(row: Sequence[Axes], each: Look, labels: Sequence[str]) -> None:
    i = _shown(each)
    face = each.pixels[i].permute(1, 2, 0).cpu().numpy().astype(float)
    drawn = bool(each.maps.drawn[i])
    panels: list[tuple[str, Tensor | None]] = [
        (each.record.clip.id, None),
        ("" if drawn else "no map", each.maps.values[i] if drawn else None),
        (_scored(each.attention, each, i), each.attention[i]),
        (_scored(each.cam, each, i), each.cam[i]),
    ]
    if each.true != each.said:
        said = labels[each.said]
        panels.append((f"{said}\n{_scored(each.cam_said, each, i)}".strip(), each.cam_said[i]))
    for axes in row:
        axes.set(xticks=[], yticks=[])
        axes.set_frame_on(False)
    row[0].set_ylabel(labels[each.true], fontsize=8)
    for axes, (below, heat) in zip(row, panels, strict=False):
        axes.imshow(face if heat is None else _over(face, heat))
        axes.set_xlabel(below, fontsize=_SMALL, labelpad=2)


def _scored(heat: Tensor, each: Look, i: int) -> str:
    """Return the cosine to the map, and what is above the floor; nothing without a map."""
    if not each.maps.drawn[i]:
        return ""
    maps = each.maps.values[i : i + 1]
    cosine = map_cosine(heat[i : i + 1], maps)
    return f"cosine {float(cosine):.2f}, above floor {float(above_floor(cosine, maps)):.2f}"


def _over(face: Floats, heat: Tensor) -> Floats:
    """Return a face, greyed, under heat (h, w) from its lowest to its highest value."""
    side = face.shape[0]
    shown = resized(heat[None].double().cpu(), side)[0]
    spread = (shown.amax() - shown.amin()).clamp(min=torch.finfo().tiny)
    strength = ((shown - shown.amin()) / spread).numpy()[..., None]
    grey = 0.7 * face.mean(2, keepdims=True).repeat(3, 2)
    colour = colormaps["inferno"](strength[..., 0])[..., :3]
    return np.asarray(grey * (1 - 0.75 * strength) + 0.75 * strength * colour).clip(0, 1)
