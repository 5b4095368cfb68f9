"""Whose clips a method learns from and whom it adapts to: the domains of subject adaptation.

A person adapted to gives clips and no labels. Labels are taken off before anything reads a record
(`finetune.train`), so that none can choose a pseudo-label, an epoch or a source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from textualize.baselines.batch import Batch
from textualize.baselines.pooling import summarise
from textualize.errors import TextualizeError
from textualize.finetune.feature_data import Data
from textualize.finetune.feature_recipes import FeatureRecipe
from textualize.types import Record


def with_subjects(
    data: Data, recipe: FeatureRecipe, train: Sequence[Record], unlabelled: Sequence[Record]
) -> Data:
    """Return training data that knows its subjects, the unlabelled clips behind the labelled.

    They are scaled as the labelled ones are, and targets say of them that there is no annotation.

    Raises:
        TextualizeError: there is nobody to adapt to, or a record without subject.
    """
    if not unlabelled:
        raise TextualizeError(
            f"{recipe.method} adapts to clips without labels and was given none: give --folds "
            "subjects, or leave the clips of who is to be adapted to without a label"
        )
    sources, targets = (_numbered(recipe.method, own) for own in (train, unlabelled))
    clips = [summarise(r, recipe.tracks, recipe.steps) for r in unlabelled]
    extra, notes = data.features.batch(clips, _unknown(data.train.targets, len(clips)))
    subjects = torch.tensor([*sources, *(-1 - i for i in targets)])
    return replace(
        data,
        train=replace(_behind(data.train, extra), subjects=subjects),
        notes=(*data.notes, *(f"{n} (unlabelled)" for n in notes)),
    )


def adaptation_note(method: str, unlabelled: Sequence[Record], tested: Sequence[str]) -> str:
    """Return in one line to whom a run adapted, and whether on clips it is tested on."""
    seen = sum(r.clip.id in set(tested) for r in unlabelled)
    people = len({r.clip.subject for r in unlabelled})
    which = f"{seen} of them are tested" if seen else "none of them is tested"
    return (
        f"{method}: adapted to {people} subject{'s' * (people > 1)} by {len(unlabelled)} clips "
        f"without their labels; {which}"
    )


def _numbered(method: str, records: Sequence[Record]) -> list[int]:
    without = [r.clip.id for r in records if r.clip.subject is None]
    if without:
        raise TextualizeError(
            f"{method} needs the subject of every clip; {len(without)} of {len(records)} have none "
            f"(first: {without[0]})"
        )
    subjects = [str(r.clip.subject) for r in records]
    number = {s: i for i, s in enumerate(sorted(set(subjects)))}
    return [number[s] for s in subjects]


def _unknown(like: Tensor, count: int) -> Tensor:
    """Return targets of so many clips that say there is no annotation."""
    nothing = float("nan") if like.is_floating_point() else -1
    return torch.full((count, *like.shape[1:]), nothing, dtype=like.dtype)


def _behind(one: Batch, other: Batch) -> Batch:
    return Batch(
        {m: torch.cat([x, other.streams[m]]) for m, x in one.streams.items()},
        {m: torch.cat([x, other.steps[m]]) for m, x in one.steps.items()},
        torch.cat([one.functionals, other.functionals]),
        torch.cat([one.targets, other.targets]),
        torch.cat([one.weights, other.weights]),
        summaries={m: torch.cat([x, other.summaries[m]]) for m, x in one.summaries.items()},
    )
