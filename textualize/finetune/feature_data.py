"""Records to what the training loop of the feature methods reads: task, statistics, two batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from textualize.baselines.annotation import (
    annotated_values,
    clip_targets,
    standardised,
    step_targets,
)
from textualize.baselines.batch import Batch, Features, fit
from textualize.baselines.fusion import network_class
from textualize.baselines.pooling import summarise
from textualize.baselines.task import Kind, Task
from textualize.errors import TextualizeError, unknown
from textualize.finetune.feature_recipes import FeatureRecipe
from textualize.labels import LabelSet
from textualize.types import Record, Unit


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """What is learned from and chosen on, and notes on what was missing."""

    task: Task
    features: Features
    train: Batch
    validation: Batch
    notes: tuple[str, ...]


def prepare(
    recipe: FeatureRecipe,
    labels: LabelSet,
    train: Sequence[Record],
    validation: Sequence[Record],
) -> Data:
    """Return batches standardised, targets too, by the training records alone.

    Raises:
        TextualizeError: a track is nowhere, a label is unknown, the training records show one
            class or one value only, or nothing of the validation records is annotated.
    """
    timed = [t for t in recipe.tracks if t not in _unread(recipe)]
    clips, held = (
        [summarise(r, recipe.tracks, recipe.steps, timed) for r in own]
        for own in (train, validation)
    )
    features = fit(
        clips,
        recipe.method,
        recipe.tracks,
        _groups(recipe),
        recipe.steps,
        recipe.speaker_relative,
        recipe.normalise == "standard",
        recipe.training_only,
    )
    task = _task(recipe, labels, train)
    targets, held_targets = (
        _targets(recipe, task, labels, own, timed) for own in (train, validation)
    )
    _check_annotated(recipe, task, targets, held_targets)
    if task.kind == "values":
        values = annotated_values(targets)
        task = replace(task, values=values)
        targets, held_targets = (standardised(t, values) for t in (targets, held_targets))
    weights = _weights(recipe, task, targets)
    data, notes = features.batch(clips, targets, weights)
    checked, held_notes = features.batch(held, held_targets)
    notes += _targets_notes(recipe, task, targets)
    held_notes += _targets_notes(recipe, task, held_targets, absent=False)
    if recipe.speaker_relative and not any(k.endswith("/relative") for k in features.scales):
        notes.append(f"{recipe.method}: no record has speaker statistics, own scales used")
    told = [f"{n} (training)" for n in notes] + [f"{n} (validation)" for n in held_notes]
    return Data(task, features, data, checked, tuple(told))


def _unread(recipe: FeatureRecipe) -> set[str]:
    return {t for m in recipe.training_only for t in recipe.groups.get(m, ())}


def _groups(recipe: FeatureRecipe) -> dict[str, list[str]]:
    if network_class(recipe.method).reads == "streams":
        return recipe.groups
    return {"all": recipe.tracks} if recipe.per_step else {}


def _task(recipe: FeatureRecipe, labels: LabelSet, train: Sequence[Record]) -> Task:
    kind: Kind = recipe.task or "classes"
    names = labels.labels
    unit: Unit = "named"
    if kind == "values" and recipe.per_step is None:
        names = ("value",)
    elif recipe.per_step is not None:
        own = next((r.tracks[recipe.per_step] for r in train if recipe.per_step in r.tracks), None)
        if own is None:
            raise TextualizeError(
                f"{recipe.method}: none of {len(train)} training records has the track "
                f"'{recipe.per_step}' of recipe key 'per_step'"
            )
        if kind == "values":
            names = own.names or tuple(str(i) for i in range(own.values.shape[1]))
            unit = own.unit
    if kind == "classes" and len(names) < 2:
        known = f"'{names[0]}' alone" if names else "none"
        raise TextualizeError(
            f"{recipe.method} needs at least two labels; the corpus has {known}: extract it with "
            "--labels, or give task: values"
        )
    return Task(
        kind,
        recipe.per_step is not None,
        len(names),
        names,
        objective=recipe.loss or ("cross_entropy" if kind == "classes" else "mse"),
        votes=recipe.votes,
        smooth_s=_windows(recipe.smooth_s, names),
        unit=unit,
    )


def _windows(smooth_s: float | dict[str, float], names: Sequence[str]) -> tuple[float, ...]:
    if not isinstance(smooth_s, dict):
        return (smooth_s,) * len(names) if smooth_s else ()
    for name in smooth_s:
        if name not in names:
            raise unknown("value in recipe key 'smooth_s'", name, names)
    return tuple(smooth_s.get(name, 0.0) for name in names)


def _targets(
    recipe: FeatureRecipe,
    task: Task,
    labels: LabelSet,
    records: Sequence[Record],
    timed: Sequence[str],
) -> Tensor:
    if recipe.per_step is None:
        return clip_targets(records, task, labels)
    return step_targets(records, recipe.per_step, task, recipe.steps, timed, recipe.invalid)


def _check_annotated(recipe: FeatureRecipe, task: Task, train: Tensor, held: Tensor) -> None:
    for part, targets in (("training", train), ("validation", held)):
        if not task.annotated(targets).any():
            raise TextualizeError(f"{recipe.method}: no {part} record has an annotation")
    if task.kind == "classes":
        shown = sorted(set(train[task.annotated(train)].tolist()))
        if len(shown) < 2:
            raise TextualizeError(
                f"{recipe.method} needs at least two labels; all training records are "
                f"'{task.names[shown[0]]}'"
            )


def _weights(recipe: FeatureRecipe, task: Task, targets: Tensor) -> list[float]:
    if not recipe.class_balanced:
        return [1.0] * len(targets)
    if task.kind != "classes" or task.per_step:
        raise TextualizeError(
            f"{recipe.method}: recipe key 'class_balanced' weights clips by their class; "
            f"the task is {task.kind}{' per step' * task.per_step}: set it to 0"
        )
    ids = targets.tolist()
    count = Counter(ids)
    return [(len(ids) / (len(count) * count[t])) ** recipe.class_balanced for t in ids]


def _targets_notes(
    recipe: FeatureRecipe, task: Task, targets: Tensor, *, absent: bool = True
) -> list[str]:
    """Return what is not annotated, and (of training) the classes that never occur."""
    known = task.annotated(targets)
    notes = []
    if task.kind == "classes" and absent:
        shown = set(targets[known].tolist())
        missing = [name for i, name in enumerate(task.names) if i not in shown]
        if missing:
            notes.append(f"{recipe.method}: no clip or step of {', '.join(missing)}")
    without = int((~known).sum())
    if without:
        what = "values" if task.kind == "values" else "steps"
        notes.append(f"{recipe.method}: {without} of {known.numel()} {what} without annotation")
    empty = int((~known.flatten(1).any(1)).sum()) if task.per_step else 0
    if empty:
        notes.append(f"{recipe.method}: {empty} of {len(targets)} records without any annotation")
    return notes
