"""Folds that never split a group: grouped, by subject, the corpus' own, or from a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from textualize.datasets.given import Fold, given_fold, leaks, read_folds
from textualize.datasets.stratify import equal_parts, held_out, strata
from textualize.errors import TextualizeError
from textualize.types import Clip

__all__ = [
    "Fold", "chosen_fold", "given_fold", "grouped_folds", "leaks", "leave_one_subject_out",
    "made_folds", "published_fold", "read_folds", "subject_folds",
]  # fmt: skip

COUNT = 4  # grouped folds where no number is given

PUBLISHED_PARTS = 10  # one of them is validation, where the corpus names train and test only
VALIDATION_PARTS = 5  # one of them is validation, of the groups that are not tested


def grouped_folds(clips: Sequence[Clip], count: int = 4, seed: int = 0) -> list[Fold]:
    """Return `count` folds, stratified by label, whole groups in one part.

    Each clip is in the test part of exactly one fold; validation is one of five parts of the
    remaining groups, so that no choice is ever made on the test part.

    Raises:
        TextualizeError: fewer groups than folds + 1, or an unlabelled clip.
    """
    clips, labels = _labelled(clips)
    groups = [c.fold_group for c in clips]
    found = len(set(groups))
    if count < 2 or found < count + 1:
        raise TextualizeError(
            f"{count} folds need at least {max(3, count + 1)} groups (subjects, videos, "
            f"dialogues); these {len(clips)} clips have {found}"
        )
    part = equal_parts(labels, groups, count, seed)
    folds = [
        _with_validation(f"{i + 1}/{count}", clips, labels, groups, part == i, seed + i)
        for i in range(count)
    ]
    _check(folds, clips)
    return folds


def leave_one_subject_out(clips: Sequence[Clip], seed: int = 0) -> list[Fold]:
    """Return one fold per subject, in sorted order: tested on that subject's clips alone.

    Validation are whole subjects too.

    Raises:
        TextualizeError: a clip without subject or label, fewer than three subjects, or a group
            (dialogue, video) with clips of several subjects, which would be on both sides.
    """
    clips, labels = _labelled(clips)
    without = [c.id for c in clips if not c.subject]
    if without:
        raise TextualizeError(f"{len(without)} clips have no subject (first: {without[0]})")
    subjects = [c.subject or "" for c in clips]
    mixed = _mixed_groups(clips)
    if mixed:
        raise TextualizeError(
            f"{len(mixed)} groups hold clips of several subjects (first: '{mixed[0]}'): leaving a "
            "subject out would split them; use a number of grouped folds"
        )
    if len(set(subjects)) < 3:
        raise TextualizeError(f"leave-one-subject-out needs three subjects; {len(set(subjects))}")
    folds = [
        _with_validation(s, clips, labels, subjects, np.array([x == s for x in subjects]), seed + i)
        for i, s in enumerate(sorted(set(subjects)))
    ]
    _check(folds, clips)
    return folds


def subject_folds(clips: Sequence[Clip], seed: int = 0) -> list[Fold]:
    """Return `leave_one_subject_out` with half of the subject's clips to adapt to.

    In the order of their ids every other clip is given without its label, beginning with the first;
    the rest is tested.

    Raises:
        TextualizeError: what `leave_one_subject_out` raises, or a subject with one clip.
    """
    folds = leave_one_subject_out(clips, seed)
    alone = [f.name for f in folds if len(f.test) < 2]
    if alone:
        raise TextualizeError(
            f"{len(alone)} subjects have one clip (first: '{alone[0]}'): adapting to a subject "
            "and testing on them needs two or more"
        )
    return [replace(f, unlabelled=f.test[::2], test=f.test[1::2]) for f in folds]


def published_fold(clips: Sequence[Clip], test: str = "test", seed: int = 0) -> Fold:
    """Return the corpus' own split, reporting on the split named `test`.

    A validation split of the corpus is used where there is one and it is not the one reported
    on; otherwise whole groups of the training split are held out. A corpus of train alone, or of
    train and validation, gives a fold without a test part.

    Raises:
        TextualizeError: a split is missing, or groups overlap.
    """
    clips = sorted(clips, key=lambda c: c.id)
    present = sorted({c.split for c in clips if c.split} - {"unlabelled"})
    untested = test == "test" and set(present) <= {"train", "validation"}
    wanted_splits = {"train"} if untested else {"train", test}
    for wanted in sorted(wanted_splits):
        if wanted not in present:
            raise TextualizeError(
                f"the corpus has no split '{wanted}' (splits: {', '.join(present) or 'none'}); "
                "use --folds for grouped folds"
            )
    held = [c for c in clips if c.split == test]
    unlabelled = [c for c in clips if c.split == "unlabelled"]
    train = [c for c in clips if c.split == "train"]
    validation = [c for c in clips if c.split == "validation" and test != "validation"]
    if not validation:
        train, labels = _labelled(train)
        groups = [c.fold_group for c in train]
        parts = min(PUBLISHED_PARTS, len(set(groups)))
        if parts < 2:
            raise TextualizeError("the training split is one group: nothing to hold out of it")
        out = held_out(labels, groups, parts, seed)
        validation = [c for c, o in zip(train, out, strict=True) if o]
        train = [c for c, o in zip(train, out, strict=True) if not o]
    name = f"train/{test}" if held else "train/validation"
    fold = Fold(name, _ids(train), _ids(validation), _ids(held), unlabelled=_ids(unlabelled))
    _check([fold], clips)
    return fold


def made_folds(
    clips: Sequence[Clip],
    folds: int | str | None = None,
    *,
    test: str = "test",
    seed: int = 0,
    published: Path | None = None,
) -> list[Fold]:
    """Return the folds of a preset.

    Args:
        clips: labelled clips.
        folds: a number or "grouped" (four): grouped and stratified; "loso": each subject in turn;
            "subjects": so too, half of the subject's clips to adapt to; "published": the corpus'
            own, whatever leaks in them; a `.json` file of folds; None:
            the corpus' own splits where it has them, else grouped.
        test: with the corpus' own splits, the one reported on.
        seed: another assignment of the groups.
        published: the file that holds the corpus' published folds, if it has any.

    Raises:
        TextualizeError: no such preset, or the clips cannot be split so.
    """
    text = "" if folds is None else str(folds)
    if text.lstrip("-").isdigit():
        return grouped_folds(clips, int(text), seed)
    if text.endswith(".json"):
        return read_folds(Path(text), clips)
    if text == "loso":
        return leave_one_subject_out(clips, seed)
    if text == "subjects":
        return subject_folds(clips, seed)
    if text == "published" and published is not None and published.is_file():
        return read_folds(published, clips)
    if text == "published" or (not text and any(c.split for c in clips)):
        return [published_fold(clips, test, seed)]
    if text in ("", "grouped"):
        return grouped_folds(clips, COUNT, seed)
    raise TextualizeError(
        f"folds should be a number, grouped, published, loso, subjects or a .json file; given "
        f"'{text}'"
    )


def chosen_fold(
    clips: Sequence[Clip],
    folds: int | str | None,
    fold: int,
    test: str,
    seed: int = 0,
    published: Path | None = None,
) -> Fold:
    """Return the fold a command line names: number `fold`, from 1, of `made_folds`.

    Raises:
        TextualizeError: the fold's number is out of range, or the clips cannot be split so.
    """
    made = made_folds(clips, folds, test=test, seed=seed, published=published)
    if not 1 <= fold <= len(made):
        raise TextualizeError(f"--fold should be 1 to {len(made)}; given {fold}")
    return made[fold - 1]


def _labelled(clips: Sequence[Clip]) -> tuple[list[Clip], list[str]]:
    """Return the clips in the order of their ids, and what they are stratified by."""
    without = [c.id for c in clips if c.label is None]
    if without:
        raise TextualizeError(f"{len(without)} clips have no label (first: {without[0]})")
    ordered = sorted(clips, key=lambda c: c.id)  # the order of extraction must not change a score
    return ordered, strata([c.label for c in ordered])


def _with_validation(
    name: str,
    clips: Sequence[Clip],
    labels: Sequence[str],
    groups: Sequence[str],
    test: NDArray[np.bool_],
    seed: int,
) -> Fold:
    rest = np.flatnonzero(~test)
    own = [groups[i] for i in rest]
    parts = min(VALIDATION_PARTS, len(set(own)))
    if parts < 2:
        raise TextualizeError(
            f"fold {name} leaves one group for train and validation: make more folds"
        )
    out = held_out([labels[i] for i in rest], own, parts, seed)
    return Fold(
        name,
        _ids([clips[i] for i in rest[~out]]),
        _ids([clips[i] for i in rest[out]]),
        _ids([clips[i] for i in np.flatnonzero(test)]),
    )


def _mixed_groups(clips: Sequence[Clip]) -> list[str]:
    subjects: dict[str, set[str | None]] = {}
    for clip in clips:
        subjects.setdefault(clip.group or clip.id, set()).add(clip.subject)
    return sorted(g for g, found in subjects.items() if len(found) > 1)


def _ids(clips: Sequence[Clip]) -> tuple[str, ...]:
    return tuple(c.id for c in clips)


def _check(folds: Sequence[Fold], clips: Sequence[Clip]) -> None:
    group = {c.id: c.fold_group for c in clips}
    for fold in folds:
        parts = [{group[i] for i in part} for part in (fold.train, fold.validation, fold.test)]
        shared = (parts[0] & parts[1]) | (parts[0] & parts[2]) | (parts[1] & parts[2])
        if shared:
            raise TextualizeError(
                f"fold {fold.name}: {len(shared)} groups are on both sides "
                f"(first: '{sorted(shared)[0]}')"
            )
        fold.check_parts()
