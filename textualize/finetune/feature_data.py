"""Records to what the training loop of the feature methods reads: task, statistics, two batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from textualize.baselines.annotation import (
    annotated_values,
    clip_targets,
    standardised,
    step_targets,
)
from textualize.baselines.batch import Batch, Features, fit
from textualize.baselines.fusion import FeatureMethod, build, network_class
from textualize.baselines.network import Network
from textualize.baselines.pooling import summarise
from textualize.baselines.task import Kind, Objective, Task
from textualize.errors import TextualizeError, unknown
from textualize.finetune.feature_recipes import FeatureRecipe, NetworkRecipe
from textualize.labels import LabelSet
from textualize.types import Record


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """What is learned from and chosen on, and notes on what was missing."""

    task: Task
    features: Features
    train: Batch
    validation: Batch
    notes: tuple[str, ...]

    def build(self, settings: Mapping[str, Any]) -> Network:
        """Return the untrained network; `settings` see `settings_of`."""
        return build(self.features, self.task, settings)

    def method(self, network: Network, settings: Mapping[str, Any]) -> FeatureMethod:
        """Return what predicts with the trained network."""
        return FeatureMethod(self.task, self.features, network, settings)

    def effective(self) -> dict[str, Any]:
        """Return how wide and long what is read came out."""
        widths = self.features.widths or {"functionals": self.features.width}
        read = {"streams": widths, "steps": self.features.steps}
        return {**read, **people_counts(self.train.subjects)}


def people_counts(subjects: Tensor | None) -> dict[str, int]:
    """Return how many clips of training have labels and how many have none, see `Batch.subjects`.

    Nothing where nobody is adapted to.
    """
    if subjects is None:
        return {}
    labelled = int((subjects >= 0).sum())
    return {"training_clips": labelled, "unlabelled_clips": len(subjects) - labelled}


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
    asked = answers(recipe, labels, train, validation, timed)
    data, notes = features.batch(clips, asked.train, asked.weights)
    checked, held_notes = features.batch(held, asked.validation)
    if recipe.speaker_relative and not any(k.endswith("/relative") for k in features.scales):
        notes.append(f"{recipe.method}: no record has speaker statistics, own scales used")
    told = [f"{n} (training)" for n in notes] + [f"{n} (validation)" for n in held_notes]
    return Data(asked.task, features, data, checked, (*told, *asked.notes))


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What is to be answered: the task, what is right (see `Batch`), weights of the loss, notes."""

    task: Task
    train: Tensor
    validation: Tensor
    weights: list[float]
    notes: tuple[str, ...]


def answers(
    recipe: NetworkRecipe,
    labels: LabelSet,
    train: Sequence[Record],
    validation: Sequence[Record],
    timed: Sequence[str] = (),
) -> Answers:
    """Return what the records' labels, or their annotation, ask for; values are standardised.

    `timed` are the tracks whose length is the clip's, for an answer per step.

    Raises:
        TextualizeError: a label is unknown, the training records show one class or one value only,
            or nothing of the validation records is annotated.
    """
    task = _task(recipe, labels, train)
    targets, held = (_targets(recipe, task, labels, own, timed) for own in (train, validation))
    _check_annotated(recipe, task, targets, held)
    if task.kind == "values":
        values = annotated_values(targets)
        task = replace(task, values=values)
        targets, held = (standardised(t, values) for t in (targets, held))
    notes = [f"{n} (training)" for n in _targets_notes(recipe, task, targets)]
    notes += [f"{n} (validation)" for n in _targets_notes(recipe, task, held, absent=False)]
    return Answers(task, targets, held, _weights(recipe, task, targets), tuple(notes))


def _unread(recipe: FeatureRecipe) -> set[str]:
    return {t for m in recipe.training_only for t in recipe.groups.get(m, ())}


def _groups(recipe: FeatureRecipe) -> dict[str, list[str]]:
    if network_class(recipe.method).reads == "streams":
        return recipe.groups
    return {"all": recipe.tracks} if recipe.per_step else {}


def _task(recipe: NetworkRecipe, labels: LabelSet, train: Sequence[Record]) -> Task:
    kind: Kind = recipe.task or "classes"
    objective = recipe.loss or ("cross_entropy" if kind == "classes" else "mse")
    if isinstance(recipe, FeatureRecipe) and recipe.per_step is not None:
        return _task_per_step(recipe, recipe.per_step, kind, objective, labels, train)
    names = labels.labels if kind == "classes" else ("value",)
    _check_classes(recipe, kind, names)
    return Task(kind, False, len(names), names, objective=objective)


def _task_per_step(
    recipe: FeatureRecipe,
    track: str,
    kind: Kind,
    objective: Objective,
    labels: LabelSet,
    train: Sequence[Record],
) -> Task:
    own = next((r.tracks[track] for r in train if track in r.tracks), None)
    if own is None:
        raise TextualizeError(
            f"{recipe.method}: none of {len(train)} training records has the track "
            f"'{track}' of recipe key 'per_step'"
        )
    names, unit = labels.labels, own.unit if kind == "values" else "named"
    if kind == "values":
        names = own.names or tuple(str(i) for i in range(own.values.shape[1]))
    _check_classes(recipe, kind, names)
    return Task(
        kind,
        True,
        len(names),
        names,
        objective=objective,
        votes=recipe.votes,
        smooth_s=_windows(recipe.smooth_s, names),
        unit=unit,
    )


def _check_classes(recipe: NetworkRecipe, kind: Kind, names: Sequence[str]) -> None:
    if kind == "classes" and len(names) < 2:
        known = f"'{names[0]}' alone" if names else "none"
        raise TextualizeError(
            f"{recipe.method} needs at least two labels; the corpus has {known}: extract it with "
            "--labels, or give task: values"
        )


def _windows(smooth_s: float | dict[str, float], names: Sequence[str]) -> tuple[float, ...]:
    if not isinstance(smooth_s, dict):
        return (smooth_s,) * len(names) if smooth_s else ()
    for name in smooth_s:
        if name not in names:
            raise unknown("value in recipe key 'smooth_s'", name, names)
    return tuple(smooth_s.get(name, 0.0) for name in names)


def _targets(
    recipe: NetworkRecipe,
    task: Task,
    labels: LabelSet,
    records: Sequence[Record],
    timed: Sequence[str],
) -> Tensor:
    if not isinstance(recipe, FeatureRecipe) or recipe.per_step is None:
        return clip_targets(records, task, labels)
    return step_targets(records, recipe.per_step, task, recipe.steps, timed, recipe.invalid)


def _check_annotated(recipe: NetworkRecipe, task: Task, train: Tensor, held: Tensor) -> None:
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


def _weights(recipe: NetworkRecipe, task: Task, targets: Tensor) -> list[float]:
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
    recipe: NetworkRecipe, task: Task, targets: Tensor, *, absent: bool = True
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
