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
from textualize.evaluate.answers import Answers, Given, answers_of, as_given, by_seed
from textualize.evaluate.cells import Answered, Cell
from textualize.evaluate.compare import interval
from textualize.evaluate.findings import Report, Weakened
from textualize.files import digest_of, read_json, write_json_atomic
from textualize.labels import LabelSet
from textualize.methods import load, read_with
from textualize.types import Float32, Record, Track

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
    methods: tuple[str, ...] | None = None
    """of the suite's; None: all that read tracks"""


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


@dataclass(frozen=True, slots=True)
class Lost:
    """What a method answers about every tested clip without a modality, with one seed.

    `shares` are those of the clips that lose it, for each of which the method is scored.
    """

    method: str
    modality: str
    how: How
    seed: int | None
    shares: tuple[float, ...]
    answers: Mapping[str, str | float | None]


def lost_answers(
    spec: Weakening,
    done: Sequence[Answered],
    records: Mapping[str, Record],
    say: Callable[[str], None],
) -> tuple[Lost, ...]:
    """Return what every method that reads tracks answers without each modality it reads.

    What a run answered without it is kept in its folder, `weakened.json`.

    Raises:
        TextualizeError: a modality's track is in no record.
    """
    tested = [records[i] for a in done for i in a.cell.asked]
    for name, tracks in spec.modalities.items():
        if not any(t in r.tracks for r in tested for t in tracks):
            raise TextualizeError(
                f"robustness: no tested clip has track {' or '.join(tracks)} of '{name}'"
            )
    shares = (0.0, *spec.shares)
    found = []
    for name in dict.fromkeys(a.cell.name for a in done):
        own = [a.cell for a in done if a.cell.name == name]
        seeds = list(dict.fromkeys(cell.seed for cell in own))[: spec.seeds]
        recipe = own[0].recipe
        if read_with(recipe.method, recipe.model_dump()) != "tracks":
            continue
        if spec.methods is not None and name not in spec.methods:
            continue
        for modality, tracks in spec.modalities.items():
            if not set(tracks) & set(getattr(recipe, "tracks", tracks)):
                continue
            for how in spec.hows:
                say(f"{name}: {modality} {how}")
                for seed in seeds:
                    answers: dict[str, str | float | None] = {}
                    for cell in (c for c in own if c.seed == seed):
                        answers |= _answers(cell, modality, tracks, how, records)
                    found.append(Lost(name, modality, how, seed, shares, answers))
    return tuple(found)


def weakened_scores(
    lost: Sequence[Lost],
    predictions: Mapping[str, Given],
    tested: Sequence[Record],
    labels: LabelSet,
    report: Report,
) -> tuple[Weakened, ...]:
    """Return the report's statistic of every method as a modality is lost in a share of the clips.

    A method that reads none of a modality's tracks is not scored for it. Methods are in the order
    of the report.
    """
    order = _order({r.clip.id for r in tested}, report.seed)
    names = [row.name for row in report.rows]
    ways: dict[tuple[str, str, How], list[Lost]] = {}
    for one in sorted(lost, key=lambda x: names.index(x.method)):
        ways.setdefault((one.method, one.modality, one.how), []).append(one)
    found = []
    for (method, modality, how), own in ways.items():
        for share in own[0].shares:
            chosen = set(order[: round(share * len(order))])
            mixed = _mixed(predictions[method], own, chosen, tested, labels)
            score = interval(mixed, report.statistic, draws=report.draws, seed=report.seed)
            found.append(Weakened(method, modality, how, share, score))
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
    given: Given,
    lost: Sequence[Lost],
    chosen: set[str],
    tested: Sequence[Record],
    labels: LabelSet,
) -> Answers:
    """Return the answers of all seeds, those without the modality for the chosen clips."""
    seeds = by_seed(given)
    mixed = {
        weak.seed: [
            replace(p, label=weak.answers[p.clip_id], scores={}) if p.clip_id in chosen else p
            for p in seeds[weak.seed]
        ]
        for weak in lost
    }
    return answers_of(lost[0].method, as_given(mixed), tested, labels)
