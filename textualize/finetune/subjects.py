"""Whose clips a method learns from and whom it adapts to: the domains of subject adaptation.

A person adapted to gives clips and no labels. Labels are taken off before anything reads a record
(`finetune.train`), so that none can choose a pseudo-label, an epoch or a source. An oracle alone
keeps them, to choose its epochs by; it says so wherever it is told of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from textualize.baselines.annotation import clip_targets, standardised
from textualize.baselines.batch import Batch
from textualize.baselines.pictures import PictureSource
from textualize.baselines.pooling import summarise
from textualize.baselines.reading import open_reels
from textualize.errors import TextualizeError
from textualize.finetune.feature_data import Data
from textualize.finetune.feature_recipes import FeatureRecipe, NetworkRecipe
from textualize.finetune.picture_data import PictureData, at_once
from textualize.finetune.picture_recipes import PictureRecipe
from textualize.finetune.subject_recipes import Adapting
from textualize.labels import LabelSet
from textualize.types import Record

ORACLE = "oracle: epochs chosen with labels of the person adapted to"


def with_subjects(
    data: Data | PictureData,
    recipe: NetworkRecipe,
    train: Sequence[Record],
    unlabelled: Sequence[Record],
) -> tuple[Data | PictureData, list[Record]]:
    """Return training data that knows its subjects, and those it adapts to that can be read.

    The unlabelled clips stand behind the labelled ones and are scaled as those are; targets say of
    them that there is no annotation.

    Raises:
        TextualizeError: there is nobody to adapt to, a record without subject, or a subject with
            too few clips for the discrepancy.
    """
    if not unlabelled:
        raise TextualizeError(
            f"{recipe.method} adapts to clips without labels and was given none: give --folds "
            "subjects, or leave the clips of who is to be adapted to without a label"
        )
    if isinstance(data, PictureData):
        return _with_pictures(data, cast(PictureRecipe, recipe), train, unlabelled)
    return _with_features(data, cast(FeatureRecipe, recipe), train, unlabelled)


def _with_features(
    data: Data, recipe: FeatureRecipe, train: Sequence[Record], unlabelled: Sequence[Record]
) -> tuple[Data, list[Record]]:
    subjects, told = _people(recipe, train, unlabelled)
    clips = [summarise(r, recipe.tracks, recipe.steps) for r in unlabelled]
    extra, notes = data.features.batch(clips, _unknown(data.train.targets, len(clips)))
    known = replace(_behind(data.train, extra), subjects=subjects)
    notes = [*told, *(f"{n} (unlabelled)" for n in notes)]
    return replace(data, train=known, notes=(*data.notes, *notes)), list(unlabelled)


def _with_pictures(
    data: PictureData, recipe: PictureRecipe, train: Sequence[Record], unlabelled: Sequence[Record]
) -> tuple[PictureData, list[Record]]:
    kept, reels, notes = open_reels(unlabelled, data.reading)
    record = {r.clip.id: r for r in train}
    learned, adapted = [record[i] for i in data.clips], [unlabelled[i] for i in kept]
    subjects, told = _people(recipe, learned, adapted)
    one, every = data.train, [*data.train.reels, *reels]
    known = PictureSource(
        every,
        torch.cat([one.targets, _unknown(one.targets, len(kept))]),
        torch.cat([one.weights, torch.ones(len(kept))]),
        frames=one.frames,
        augment=one.augment,
        workers=one.workers,
        at_once=at_once(recipe, every),
        subjects=subjects,
    )
    notes = [*told, *(f"{recipe.method}: {n} (unlabelled)" for n in notes)]
    ids = (*data.clips, *(r.clip.id for r in adapted))
    return replace(data, train=known, notes=(*data.notes, *notes), clips=ids), adapted


def oracle_targets(
    data: Data | PictureData, recipe: NetworkRecipe, adapted: Sequence[Record], labels: LabelSet
) -> Tensor:
    """Return what is right of every training clip, of those adapted to as well.

    Raises:
        TextualizeError: one of these has no label.
    """
    without = [r.clip.id for r in adapted if r.clip.label is None]
    if without:
        raise TextualizeError(
            f"{recipe.method}: choose oracle needs the labels of the clips adapted to; "
            f"{len(without)} of {len(adapted)} have none (first: {without[0]})"
        )
    own = clip_targets(adapted, data.task, labels)
    if data.task.values is not None:
        own = standardised(own, data.task.values)
    return torch.cat([data.train.targets[: -len(adapted)], own])


def oracle_note(method: str) -> str:
    """Return in one line what an oracle's score is not."""
    return f"{method}: {ORACLE}: it is no rival of methods that do without these"


def adaptation_note(method: str, unlabelled: Sequence[Record], tested: Sequence[str]) -> str:
    """Return in one line to whom a run adapted, and whether on clips it is tested on."""
    seen = sum(r.clip.id in set(tested) for r in unlabelled)
    people = len({r.clip.subject for r in unlabelled})
    which = f"{seen} of them are tested" if seen else "none of them is tested"
    return (
        f"{method}: adapted to {people} subject{'s' * (people > 1)} by {len(unlabelled)} clips "
        f"without their labels; {which}"
    )


def _people(
    recipe: NetworkRecipe, learned: Sequence[Record], adapted: Sequence[Record]
) -> tuple[Tensor, list[str]]:
    """Return whose every clip is, see `Batch.subjects`, and notes on who has little to show."""
    sources, targets = (_by_subject(recipe.method, own) for own in (learned, adapted))
    few = [s for s, own in (sources | targets).items() if len(own) < 2]
    many = len(sources) + len(targets)
    if few and cast(Adapting, recipe).discrepancy == "coral":
        raise TextualizeError(
            f"{recipe.method}: discrepancy coral needs two clips of every subject; {len(few)} of "
            f"{many} have one (first: '{few[0]}'): give discrepancy mmd, or leave these clips out"
        )
    notes = [f"{len(few)} of {many} subjects have one clip (first: '{few[0]}')"] if few else []
    alike = [s for s, own in sources.items() if len({r.clip.label for r in own}) == 1]
    if alike:
        notes.append(
            f"{len(alike)} of {len(sources)} subjects learned from show one class or value only "
            f"(first: '{alike[0]}')"
        )
    places = [{s: i for i, s in enumerate(own)} for own in (sources, targets)]
    numbers = [places[0][str(r.clip.subject)] for r in learned]
    numbers += [-1 - places[1][str(r.clip.subject)] for r in adapted]
    return torch.tensor(numbers), [f"{recipe.method}: {n}" for n in notes]


def _by_subject(method: str, records: Sequence[Record]) -> dict[str, list[Record]]:
    """Return the records of every subject, in the order of their names."""
    without = [r.clip.id for r in records if r.clip.subject is None]
    if without:
        raise TextualizeError(
            f"{method} needs the subject of every clip; {len(without)} of {len(records)} have none "
            f"(first: {without[0]})"
        )
    found = defaultdict[str, list[Record]](list)
    for record in records:
        found[str(record.clip.subject)].append(record)
    return dict(sorted(found.items()))


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
