"""How far the attention of a trained au-guided network lies where it should, over many clips.

The map of the true class taught the attention, so agreement with it alone proves little. Beside it
stand what attention without any preference would score (the floor), agreement with the map of
another face of the same class, how often the point of highest attention lies in a region that is
no map, by default around the action units the face sensor saw active in the clip, and what becomes
of the answer when the picture is taken away where attention, or the class activation, is high
(`deletion`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from textualize.baselines.attended import Look, guided
from textualize.baselines.attention_metrics import (
    above_floor,
    floor_cosine,
    map_cosine,
    pointing,
    region,
)
from textualize.baselines.au_codebook import ACTIONS, selected
from textualize.baselines.au_guided import AuGuided
from textualize.baselines.au_map import heat_maps
from textualize.baselines.deletion import areas, like
from textualize.baselines.pictured import PictureMethod
from textualize.types import Record
from textualize.wording.face import au_scale
from textualize.wording.facs import read_column

Regions = Callable[[Record, Tensor, int], Tensor]

COLUMNS = (
    "att_cos", "att_cos_above_floor", "att_cos_other_face", "cam_cos", "cam_cos_above_floor",
    "cam_cos_said", "floor", "pointing", "pointing_by_chance",
    "deletion", "insertion", "cam_deletion", "cam_insertion",
    "deletion_by_chance", "insertion_by_chance",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Scores of every picture that has a map: `values` (n, len(COLUMNS)), NaN where none applies.

    clips: the clip of each row. left_out: pictures without a map. right: share of all clips that
    were taken for what they are. att_cos_other_face: with the landmarks of another face of the
    class. cam_cos_said: of the class it was taken for. pointing: 1 where the point of highest
    attention lies in its region, pointing_by_chance the region's share of the picture. deletion,
    insertion: areas under the curves of the probability of what the clip was taken for, in the
    order of the attention, of the class activation of what it was taken for (cam_), and of heat at
    random that is as fine (by_chance).
    """

    clips: tuple[str, ...]
    values: NDArray[np.float64]
    left_out: int
    right: float

    def mean(self, column: str) -> float:
        """Return the mean of a column over clips, each the mean of its pictures."""
        own = self.values[:, COLUMNS.index(column)]
        by_clip: dict[str, list[float]] = {}
        for clip, value in zip(self.clips, own.tolist(), strict=True):
            if np.isfinite(value):
                by_clip.setdefault(clip, []).append(value)
        return float(np.mean([np.mean(v) for v in by_clip.values()])) if by_clip else float("nan")


def measure(
    method: PictureMethod, looks: Sequence[Look], regions: Regions | None = None, seed: int = 0
) -> Measured:
    """Return how far attention lies on the maps, and what the answer rests on.

    Args:
        method: the au-guided method whose looks these are.
        looks: of the clips.
        regions: record, landmarks (n, 68, 2) and size to what there is to point at, (n, S, S)
            bool; by default `active_regions`.
        seed: draws each face's other one, and the heat at random.
    """
    network = cast(AuGuided, guided(method).network).eval()
    generator = torch.Generator().manual_seed(seed)
    mates = [_mate(looks, i, generator) for i in range(len(looks))]
    clips: list[str] = []
    rows: list[NDArray[np.float64]] = []
    left_out = 0
    for each, mate in zip(looks, mates, strict=True):
        drawn = each.maps.drawn
        left_out += int((~drawn).sum())
        if drawn.any():
            aims = (regions or active_regions)(each.record, each.points, each.pixels.shape[-1])
            columns = torch.stack(_columns(each, drawn, mate, aims), 1).cpu().numpy()
            rows.append(np.hstack([columns, _curves(network, each, drawn, generator)]))
            clips += [each.record.clip.id] * len(columns)
    values = np.concatenate(rows) if rows else np.empty((0, len(COLUMNS)))
    right = float(np.mean([each.true == each.said for each in looks])) if looks else float("nan")
    return Measured(tuple(clips), values, left_out, right)


def _curves(
    network: AuGuided, each: Look, drawn: Tensor, generator: torch.Generator
) -> NDArray[np.float64]:
    """Return the last six columns of a clip's pictures that have a map, (n, 6)."""
    pixels, attention = each.pixels[drawn], each.attention[drawn]
    classes = torch.full((len(pixels),), each.said, device=pixels.device)
    heats = (attention, each.cam_said[drawn], like(attention, generator))
    with torch.inference_mode():
        found = [areas(pixels, heat, classes, network.scores) for heat in heats]
    return np.stack([column for pair in found for column in pair], 1)


def _columns(each: Look, drawn: Tensor, mate: Look | None, aims: Tensor) -> list[Tensor]:
    """Return the columns of a clip's pictures that have a map, each (n,)."""
    maps, attention = each.maps.values[drawn], each.attention[drawn]
    att, cam, said = (map_cosine(x[drawn], maps) for x in (each.attention, each.cam, each.cam_said))
    nothing = torch.full_like(att, torch.nan)
    aims = aims[drawn]
    aimed = aims.flatten(1).any(1)
    return [
        att,
        above_floor(att, maps),
        nothing if mate is None else map_cosine(attention, _first_map(mate).expand_as(maps)),
        cam,
        above_floor(cam, maps),
        said,
        floor_cosine(maps),
        torch.where(aimed, pointing(attention, aims).double(), nothing),
        torch.where(aimed, aims.double().mean((1, 2)), nothing),
    ]


def _mate(looks: Sequence[Look], i: int, generator: torch.Generator) -> Look | None:
    """Return another clip of the same class that has a map, at random."""
    own = [
        x for j, x in enumerate(looks) if j != i and x.true == looks[i].true and x.maps.drawn.any()
    ]
    return own[int(torch.randint(len(own), (1,), generator=generator))] if own else None


def _first_map(mate: Look) -> Tensor:
    """Return the map of a clip's first picture that has one, (1, S, S)."""
    return mate.maps.values[mate.maps.drawn][:1]


def active_regions(record: Record, points: Tensor, size: int) -> Tensor:
    """Return where the action units are that the clip's sensor saw active, (n, S, S) bool.

    Active is what is worded: above the scale's threshold in the mean over the clip's seen frames.
    Empty without such a track.
    """
    track = record.tracks.get("aus")
    active: set[int] = set()
    if track is not None:
        seen = track.values[np.isfinite(track.values).any(1)]
        means = np.nanmean(seen, 0) if len(seen) else np.full(len(track.names), np.nan)
        for name, mean in zip(track.names, means.tolist(), strict=True):
            code, _ = read_column(name)
            if mean > au_scale(track).active and int(code[2:]) in ACTIONS:
                active.add(int(code[2:]))
    maps = heat_maps(points, selected(active).expand(len(points), -1), size)
    return region(maps.values) & maps.drawn[:, None, None]
