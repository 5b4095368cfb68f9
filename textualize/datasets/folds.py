"""Folds that never split a group, and the digest that says two runs used the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textualize.errors import TextualizeError
from textualize.store import digest_of
from textualize.types import Clip

Array = NDArray[Any]

PUBLISHED_SHARE = 0.1  # of the training groups, where the corpus names train and test only
VALIDATION_SHARE = 0.2  # of the groups that are not tested, in grouped folds


@dataclass(frozen=True, slots=True)
class Fold:
    """Clip ids of one split; `name` says where it came from."""

    name: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def digest(self) -> str:
        """sha256 of the three lists."""
        return digest_of([self.train, self.validation, self.test])


def grouped_folds(clips: Sequence[Clip], count: int = 4, seed: int = 0) -> list[Fold]:
    """Return `count` folds, stratified by label, whole groups in one part.

    Each clip is in the test part of exactly one fold; validation is a fold of the remaining
    groups, so that no choice is ever made on the test part.

    Raises:
        TextualizeError: fewer groups than folds + 1, or an unlabelled clip.
    """
    clips = sorted(clips, key=lambda c: c.id)  # the order of extraction must not change a score
    labels, groups = _arrays(clips)
    found = len(set(groups))
    if count < 2 or found < count + 1:
        raise TextualizeError(
            f"{count} folds need at least {max(3, count + 1)} groups (subjects, videos, "
            f"dialogues); these {len(clips)} clips have {found}"
        )
    ids = np.array([c.id for c in clips])
    folds = []
    for index, (rest, test) in enumerate(_split(labels, groups, count, seed)):
        parts = max(2, round(1 / VALIDATION_SHARE))
        parts = min(parts, len(set(groups[rest])))
        train, validation = next(iter(_split(labels[rest], groups[rest], parts, seed + index)))
        folds.append(
            _fold(f"{index + 1}/{count}", ids[rest][train], ids[rest][validation], ids[test])
        )
    _check(folds, clips)
    return folds


def published_fold(clips: Sequence[Clip], test: str = "test", seed: int = 0) -> Fold:
    """Return the corpus' own split, reporting on the split named `test`.

    A validation split of the corpus is used where there is one and it is not the one reported
    on; otherwise whole groups of the training split are held out. A corpus with train and
    validation only gives a fold without a test part.

    Raises:
        TextualizeError: a split is missing, or groups overlap.
    """
    clips = sorted(clips, key=lambda c: c.id)
    present = sorted({c.split for c in clips if c.split})
    wanted_splits = {"train"} if present == ["train", "validation"] else {"train", test}
    for wanted in sorted(wanted_splits):
        if wanted not in present:
            raise TextualizeError(
                f"the corpus has no split '{wanted}' (splits: {', '.join(present) or 'none'}); "
                "use --folds for grouped folds"
            )
    held = [c for c in clips if c.split == test]
    rest = [c for c in clips if c.split == "train"]
    validation = [c for c in clips if c.split == "validation" and test != "validation"]
    train = rest
    if not validation:
        labels, groups = _arrays(rest)
        parts = min(round(1 / PUBLISHED_SHARE), len(set(groups)))
        kept, out = next(iter(_split(labels, groups, parts, seed)))
        train, validation = [rest[i] for i in kept], [rest[i] for i in out]
    fold = Fold(
        f"train/{test}" if held else "train/validation",
        tuple(c.id for c in train),
        tuple(c.id for c in validation),
        tuple(c.id for c in held),
    )
    _check([fold], clips)
    return fold


def _arrays(clips: Sequence[Clip]) -> tuple[Array, Array]:
    without = [c.id for c in clips if c.label is None]
    if without:
        raise TextualizeError(f"{len(without)} clips have no label (first: {without[0]})")
    return np.array([str(c.label) for c in clips]), np.array([c.fold_group for c in clips])


def _split(labels: Array, groups: Array, parts: int, seed: int) -> list[tuple[Array, Array]]:
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    return list(splitter.split(np.zeros(len(labels)), labels, groups))


def _fold(name: str, train: Array, validation: Array, test: Array) -> Fold:
    return Fold(name, tuple(train.tolist()), tuple(validation.tolist()), tuple(test.tolist()))


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
        if not (fold.train and fold.validation):
            raise TextualizeError(f"fold {fold.name} has an empty part: too few groups")


def chosen_fold(
    clips: Sequence[Clip], folds: int | None, fold: int, test: str, seed: int = 0
) -> Fold:
    """Return the fold a command line names.

    With `folds` None the corpus' own splits are used where it has them, else four grouped folds.

    Raises:
        TextualizeError: the fold's number is out of range, or the clips cannot be split so.
    """
    if folds is None and any(c.split for c in clips):
        return published_fold(clips, test, seed)
    made = grouped_folds(clips, folds or 4, seed)
    if not 1 <= fold <= len(made):
        raise TextualizeError(f"--fold should be 1 to {len(made)}; given {fold}")
    return made[fold - 1]
