"""What methods are worth as a modality is lost: missing, or replaced by noise, in some clips.

The noise has, column by column, the mean and the spread of the fold's training clips, and what was
unseen stays unseen. A clip is weakened in the same way for every method and seed, and the clips
weakened at a share are among those of every higher share.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from textualize.errors import TextualizeError
from textualize.evaluate.answers import Answers, answers, together
from textualize.evaluate.cells import Answered, Cell
from textualize.evaluate.compare import interval
from textualize.evaluate.findings import Report, Weakened
from textualize.files import digest_of, read_json, write_json_atomic
from textualize.labels import LabelSet
from textualize.methods import entry, load
from textualize.types import Float32, Prediction, Record, Track

How = Literal["missing", "noise"]
Moments = tuple[Float32, Float32]  # mean and spread of a track's columns over training, each (D,)


@dataclass(frozen=True, slots=True)
class Weakening:
    """Which tracks make up a modality, how clips lose it, and in which shares of the clips."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    modalities: dict[str, list[str]]
    hows: tuple[How, ...] = ("missing", "noise")
    shares: tuple[float, ...] = (0.25, 0.5, 1.0)
    seeds: int | None = None
    """only the first so many seeds of each method; None: all"""


def weakened(
    record: Record, tracks: Sequence[str], how: How, noise: Mapping[str, Moments]
) -> Record:
    """Return the record without these tracks, or with noise in their place.

    noise: mean and spread of each track's columns; drawn anew for each clip, the same each time.
    """
    kept = {name: t for name, t in record.tracks.items() if name not in tracks}
    if how == "noise":
        lost = {n: t for n, t in record.tracks.items() if n in tracks}
        kept |= {n: _noise(record.clip.id, n, t, *noise[n]) for n, t in sorted(lost.items())}
    return replace(record, tracks=kept)


def _noise(clip: str, name: str, track: Track, mean: Float32, std: Float32) -> Track:
    rng = np.random.default_rng(int(digest_of([clip, name])[:16], 16))
    drawn = mean + std * rng.standard_normal(track.values.shape)
    values = np.where(np.isfinite(track.values), drawn, np.nan).astype(np.float32)
    return replace(track, values=values, source=f"{track.source}, replaced by noise")


def moments(records: Sequence[Record], tracks: Sequence[str]) -> dict[str, Moments]:
    """Return mean and spread of every column of the tracks over all rows of the records."""
    found = {}
    for name in tracks:
        rows = [r.tracks[name].values for r in records if name in r.tracks]
        if rows:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # a column that was never seen
                stacked = np.concatenate(rows).astype(np.float64)
                mean, std = np.nanmean(stacked, 0), np.nanstd(stacked, 0)
            found[name] = (
                np.nan_to_num(mean).astype(np.float32),
                np.nan_to_num(std).astype(np.float32),
            )
    return found


def weakened_scores(
    spec: Weakening,
    done: Sequence[Answered],
    records: Mapping[str, Record],
    labels: LabelSet,
    report: Report,
    say: Callable[[str], None],
) -> tuple[Weakened, ...]:
    """Return the report's statistic of every method that reads tracks, as it loses a modality.

    A method that reads none of a modality's tracks is not scored for it. What a run answered
    without it is kept in its folder, `weakened.json`.

    Raises:
        TextualizeError: a modality's track is in no record.
    """
    tested = [records[i] for a in done for i in a.cell.asked]
    for name, tracks in spec.modalities.items():
        if not any(t in r.tracks for r in tested for t in tracks):
            raise TextualizeError(
                f"robustness: no tested clip has track {' or '.join(tracks)} of '{name}'"
            )
    order = _order({r.clip.id for r in tested}, report.seed)
    found = []
    for row in report.rows:
        kept = (row.seeds or (None,))[: spec.seeds]
        own = [a for a in done if a.cell.name == row.name and a.cell.seed in kept]
        for modality, tracks in spec.modalities.items():
            if entry(own[0].cell.recipe.method).reads != "tracks":
                continue
            if not set(tracks) & set(getattr(own[0].cell.recipe, "tracks", tracks)):
                continue
            for how in spec.hows:
                say(f"{row.name}: {modality} {how}")
                lost = [_answers(a.cell, modality, tracks, how, records) for a in own]
                for share in (0.0, *spec.shares):
                    chosen = set(order[: round(share * len(order))])
                    mixed = _mixed(own, lost, chosen, tested, labels)
                    score = interval(mixed, report.statistic, draws=report.draws, seed=report.seed)
                    found.append(Weakened(row.name, modality, how, share, score))
    return tuple(found)


def _order(clips: set[str], seed: int) -> list[str]:
    """The clips in the order in which they lose the modality."""
    return sorted(clips, key=lambda clip: digest_of([seed, clip]))


def _answers(
    cell: Cell, modality: str, tracks: Sequence[str], how: How, records: Mapping[str, Record]
) -> dict[str, str | float | None]:
    """Return a run's answer for every clip of its test part without the modality; kept."""
    path = cell.where / "weakened.json"
    kept = read_json(path, "answers without a modality") if path.is_file() else {}
    key = f"{modality} {how} {digest_of([list(tracks), list(cell.asked)])[:16]}"
    if key not in kept:
        noise = moments([records[i] for i in cell.fold.train], tracks) if how == "noise" else {}
        asked = [weakened(records[i], tracks, how, noise) for i in cell.asked]
        kept[key] = {p.clip_id: p.label for p in load(cell.where).predict(asked)}
        write_json_atomic(path, kept)
    return dict(kept[key])


def _mixed(
    own: Sequence[Answered],
    lost: Sequence[Mapping[str, str | float | None]],
    chosen: set[str],
    tested: Sequence[Record],
    labels: LabelSet,
) -> Answers:
    """Return the answers of all seeds, those without the modality for the chosen clips."""
    seeds: dict[int | None, list[Prediction]] = {}
    for each, weak in zip(own, lost, strict=True):
        mixed = [
            replace(p, label=weak[p.clip_id], scores={}) if p.clip_id in chosen else p
            for p in each.predictions
        ]
        seeds.setdefault(each.cell.seed, []).extend(mixed)
    name = own[0].cell.name
    return together([answers(name, p, tested, labels) for p in seeds.values()])
