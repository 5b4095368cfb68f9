"""Answers at every step against a track of annotation: scores over its rows, and of three votes.

A step's answer holds for every annotated row within it. All rows of all clips are scored together,
as Aff-Wild2 is, not averaged over clips; intervals resample whole fold groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from textualize.errors import TextualizeError
from textualize.evaluate.compare import Interval, cluster_bootstrap
from textualize.evaluate.metrics import (
    Float64,
    majority_vote,
    mean_logit_vote,
    mean_probability_vote,
)
from textualize.evaluate.sealed import log_sealed, refuse_sealed
from textualize.finetune.run_folder import RunFolder
from textualize.methods import load
from textualize.types import Prediction, Record, Track

VALUE_SCORES = ("ccc", "pcc", "mae", "rmse")
CLASS_SCORES = ("macro_f1", "weighted_f1", "accuracy")
VOTES = {
    "majority": majority_vote,
    "mean_logit": mean_logit_vote,
    "mean_probability": mean_probability_vote,
}


@dataclass(frozen=True, slots=True)
class StepScores:
    """The scores of one thing that was answered: a value, the rows' class, or a vote of clips.

    `count` annotated rows (or clips, of a vote) were scored, `beyond` are outside the series.
    """

    what: str
    count: int
    beyond: int
    scores: Mapping[str, Interval]


def answers_per_step(run: Path) -> str | None:
    """Return the track of annotation a run answers at every step; None for another run."""
    track = RunFolder(run).recipe_values.get("per_step")
    return None if track is None else str(track)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run answers at every step: values or classes of a track of annotation.

    `labels` are the classes; `invalid` is the value of rows that are not annotated.
    """

    task: str
    track: str
    labels: tuple[str, ...] = ()
    invalid: float | None = None


def ask_run(
    run: Path, read: Sequence[Record], split: str | None = None, *, open_test: bool = False
) -> tuple[Asked, list[Record], list[Prediction]]:
    """Return what a run is asked, the annotated clips of its test part or a split, and its answers.

    Without a test part these are all annotated clips it has not seen. Clips of the corpus' own
    split named test need `open_test`, and that is written down.

    Raises:
        TextualizeError: the run does not answer per step, no clip is annotated, or the test split
            is sealed.
    """
    folder, track = RunFolder(run), answers_per_step(run)
    if track is None:
        raise TextualizeError(f"{run} does not answer per step: its recipe has no 'per_step'")
    records = _records(folder, read, track, split)
    refuse_sealed(records, open_test=open_test)
    predictions = load(run).predict(records)
    log_sealed(run, run.name, records)
    recipe = folder.recipe_values
    values = recipe["task"] == "values"
    labels = () if values else folder.labels.labels
    asked = Asked(recipe["task"], track, labels, recipe["invalid"] if values else None)
    return asked, records, list(predictions)


def step_scores(
    asked: Asked, predictions: Sequence[Prediction], records: Sequence[Record]
) -> list[StepScores]:
    """Return the scores of a run's answers; see `value_scores` and `class_scores`."""
    if asked.task == "values":
        return value_scores(predictions, records, asked.track, asked.invalid)
    return class_scores(predictions, records, asked.track, asked.labels)


def _records(
    folder: RunFolder, read: Sequence[Record], track: str, split: str | None
) -> list[Record]:
    parts = folder.parts
    seen, test = {*parts["train"], *parts["validation"]}, set(parts["test"])
    found = [r for r in read if track in r.tracks]
    if split not in (None, "test"):
        found = [r for r in found if r.clip.split == split]
    elif test:
        found = [r for r in found if r.clip.id in test]
    else:
        found = [r for r in found if r.clip.id not in seen]
    used = sum(r.clip.id in seen for r in found)
    if used:
        raise TextualizeError(
            f"{folder.path} was trained or chosen on {used} of these clips: evaluate others"
        )
    if not found:
        raise TextualizeError(
            f"the corpus has no clip with the annotation '{track}' that {folder.path} has not seen"
        )
    return found


def value_scores(
    predictions: Sequence[Prediction],
    records: Sequence[Record],
    track: str,
    invalid: float | None,
) -> list[StepScores]:
    """Return CCC, PCC, MAE and RMSE of every value over its annotated rows.

    Raises:
        TextualizeError: a prediction has no series, or nothing is annotated within one.
    """
    found = []
    for value, name in enumerate(_series(predictions[0]).names):
        true, said, groups, beyond = [], [], [], 0
        for prediction, record in zip(predictions, records, strict=True):
            rows = np.asarray(record.tracks[track].values, np.float64)[:, value]
            known = np.isfinite(rows) if invalid is None else np.isfinite(rows) & (rows != invalid)
            at, inside = steps_of(record.tracks[track], _series(prediction))
            beyond += int((known & ~inside).sum())
            kept = known & inside
            true.append(rows[kept])
            said.append(np.asarray(_series(prediction).values, np.float64)[at[kept], value])
            groups += [record.clip.fold_group] * int(kept.sum())
        found.append(_scored(name, true, said, groups, beyond, VALUE_SCORES, 0))
    return found


def class_scores(
    predictions: Sequence[Prediction],
    records: Sequence[Record],
    track: str,
    labels: Sequence[str],
) -> list[StepScores]:
    """Return the scores of the rows' classes, and of the clips' by three votes where labelled.

    Raises:
        TextualizeError: a prediction has no series, or nothing is annotated within one.
    """
    true, said, groups, beyond = [], [], [], 0
    for prediction, record in zip(predictions, records, strict=True):
        ids = np.nan_to_num(np.asarray(record.tracks[track].values, np.float64)[:, 0], nan=-1.0)
        at, inside = steps_of(record.tracks[track], _series(prediction))
        beyond += int(((ids >= 0) & ~inside).sum())
        kept = (ids >= 0) & inside
        true.append(ids[kept])
        said.append(_series(prediction).values.argmax(1)[at[kept]].astype(np.float64))
        groups += [record.clip.fold_group] * int(kept.sum())
    found = [_scored("rows", true, said, groups, beyond, CLASS_SCORES, len(labels))]
    named = [
        (p, r) for p, r in zip(predictions, records, strict=True) if r.clip.label in set(labels)
    ]
    for rule, vote in VOTES.items() if named else ():
        # log-probabilities differ from the logits by a number a step: every vote is the same
        rows = [np.log(np.maximum(_series(p).values.astype(float), 1e-30)) for p, _ in named]
        answers = [np.array([vote(r)], np.float64) for r in rows]
        truth = [np.array([labels.index(str(r.clip.label))], np.float64) for _, r in named]
        owners = [r.clip.fold_group for _, r in named]
        what = f"clips, {rule}"
        found.append(_scored(what, truth, answers, owners, 0, CLASS_SCORES, len(labels)))
    return found


def steps_of(annotation: Track, series: Track) -> tuple[Any, Any]:
    """Return the step each row of annotation falls into, (T,), and whether there is one, (T,)."""
    at = np.floor((annotation.times - series.start) * series.rate_hz + 1e-6).astype(int)
    inside = (at >= 0) & (at < len(series.values))
    return np.clip(at, 0, len(series.values) - 1), inside


def _series(prediction: Prediction) -> Track:
    if prediction.series is None:
        raise TextualizeError(
            f"the prediction of '{prediction.clip_id}' has no series: predict with a run that "
            "answers per step"
        )
    return prediction.series


def _scored(
    what: str,
    true: Sequence[Float64],
    said: Sequence[Float64],
    groups: Sequence[str],
    beyond: int,
    scores: Sequence[str],
    n_classes: int,
) -> StepScores:
    every, answers = np.concatenate(true), np.concatenate(said)
    if not len(every):
        raise TextualizeError(f"nothing is annotated within the answers ({what})")
    kind = np.int64 if n_classes else np.float64
    found = {
        name: cluster_bootstrap(
            every.astype(kind), answers.astype(kind), groups, name, n_classes=n_classes
        )
        for name in scores
    }
    return StepScores(what, len(every), beyond, found)
