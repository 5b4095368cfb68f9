"""Folds from lists of ids: what leaks in them is counted, and the file that keeps them.

    folds.json   {"schema": 1, "about": {…}, "folds": [{"name", "train", "validation", "test",
                 "digest", "leaks"}, …]}

A list that puts one group on two sides is refused, but for published folds that are to be
repeated as they are: then what leaks is said, in numbers, wherever the fold goes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from textualize.errors import TextualizeError
from textualize.files import digest_of, read_json, write_json_atomic
from textualize.types import Clip

SCHEMA = 1
PARTS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Fold:
    """Clip ids of one split; `name` says where it came from.

    `leaks` are sentences about what was let through on request: parts that share clips or groups,
    ids of a published list that have no clip. They go wherever the fold goes. `unlabelled` are
    clips of tested subjects that are given to methods that adapt, without their labels.
    """

    name: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    leaks: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """sha256 of the lists."""
        lists = [self.train, self.validation, self.test]
        return digest_of([*lists, self.unlabelled] if self.unlabelled else lists)

    def check_parts(self) -> None:
        """Raise TextualizeError if there is nothing to learn from or to choose on."""
        if not (self.train and self.validation):
            raise TextualizeError(f"fold {self.name} has an empty part: too few groups or clips")


def given_fold(
    name: str,
    train: Sequence[str],
    validation: Sequence[str],
    test: Sequence[str],
    clips: Sequence[Clip],
    *,
    unlabelled: Sequence[str] = (),
    allow_overlap: bool = False,
    allow_absent: bool = False,
) -> Fold:
    """Return a fold from lists of ids, in their order.

    Args:
        name: how the fold is called in reports.
        train: ids of clips to learn from.
        validation: ids choices are made on.
        test: ids reported on; may be empty.
        clips: the clips there are; their groups and labels say what leaks.
        unlabelled: ids given to methods that adapt, without their labels; may be empty.
        allow_overlap: let parts share clips or groups; what they share then stands in the fold's
            `leaks`. Only for repeating published folds.
        allow_absent: leave out ids that have no clip; how many also stands in `leaks`.

    Raises:
        TextualizeError: an empty part, an id twice in one part, or any of the above.
    """
    known = {c.id: c for c in clips}
    lists = {"train": train, "validation": validation, "test": test, "unlabelled": unlabelled}
    for part, ids in lists.items():
        twice = [i for i, n in Counter(ids).items() if n > 1]
        if twice:
            raise TextualizeError(f"fold {name}: {part} lists '{twice[0]}' twice")
    absent = sorted({i for ids in lists.values() for i in ids} - known.keys())
    kept = {part: tuple(i for i in ids if i in known) for part, ids in lists.items()}
    fold = Fold(name, **kept)
    fold.check_parts()
    shared = leaks(fold, clips)
    if shared and not allow_overlap:
        raise TextualizeError(f"fold {name}: {'; '.join(shared)}; give folds that share nothing")
    gone = f"{len(absent)} of the listed clips are not there (first: {absent[0]})" if absent else ""
    if gone and not allow_absent:
        raise TextualizeError(f"fold {name}: {gone}; list the labelled clips of this corpus")
    return replace(fold, leaks=(*shared, gone) if gone else shared)


def leaks(fold: Fold, clips: Sequence[Clip]) -> tuple[str, ...]:
    """Return what the parts of a fold share, one sentence each; empty for an honest fold.

    >>> clips = [Clip(x, None, group=x[0], label="joy") for x in ("a1", "a2", "b1")]
    >>> leaks(Fold("f", ("a1",), ("a2", "b1"), ("a2", "b1")), clips)[0]
    '1 of 2 validation clips share their group with training, 1 of them the label too'
    """
    known = {c.id: c for c in clips}
    said: list[str] = []
    for part, other in (("validation", "train"), ("test", "train"), ("test", "validation")):
        ids, others = getattr(fold, part), getattr(fold, other)
        same = set(ids) & set(others)
        if same:
            named = "training" if other == "train" else other
            said.append(f"{len(same)} of {len(ids)} {part} clips are {named} clips")
        shared, labelled = shared_groups([i for i in ids if i not in same], others, known)
        if shared:
            named = "training" if other == "train" else other
            also = f", {labelled} of them the label too" if labelled else ""
            said.append(f"{shared} of {len(ids)} {part} clips share their group with {named}{also}")
    return tuple(said)


def shared_groups(
    ids: Sequence[str], others: Sequence[str], clips: Mapping[str, Clip]
) -> tuple[int, int]:
    """Return how many of `ids` have their group among `others`, and how many their label with it.

    Args:
        ids: the clips counted.
        others: the clips of the other part.
        clips: every clip by its id.
    """
    groups = {clips[i].fold_group for i in others}
    pairs = {(clips[i].fold_group, clips[i].label) for i in others}
    shared = [i for i in ids if clips[i].fold_group in groups]
    return len(shared), sum((clips[i].fold_group, clips[i].label) in pairs for i in shared)


def fold_json(fold: Fold) -> dict[str, object]:
    """Return a fold as JSON values."""
    lists = {part: list(getattr(fold, part)) for part in PARTS}
    if fold.unlabelled:
        lists["unlabelled"] = list(fold.unlabelled)
    return {"name": fold.name, **lists, "digest": fold.digest, "leaks": list(fold.leaks)}


def write_folds(path: Path, folds: Sequence[Fold], about: Mapping[str, object]) -> None:
    """Write a file of folds atomically; `about` says where they come from."""
    value = {"schema": SCHEMA, "about": dict(about), "folds": [fold_json(f) for f in folds]}
    write_json_atomic(path, value)


def read_folds(path: Path, clips: Sequence[Clip]) -> list[Fold]:
    """Return the folds of a file, with what leaks in them among these clips.

    Listed clips that are not there are left out, which stands in the fold's `leaks`.

    Raises:
        TextualizeError: no such file, one that was changed by hand, or folds that leak without
            saying so.
    """
    value = read_json(path, "file of folds")
    if value.get("schema") != SCHEMA or not isinstance(value.get("folds"), list):
        raise TextualizeError(f"{path} is no file of folds: write one with textualize corpus split")
    made = []
    for given in value["folds"]:
        try:
            lists = {part: tuple(given[part]) for part in PARTS}
            lists["unlabelled"] = tuple(given.get("unlabelled", ()))
            stored = Fold(str(given["name"]), **lists)
            intact, leaky = stored.digest == given["digest"], bool(given["leaks"])
        except (LookupError, TypeError) as error:
            raise TextualizeError(f"{path}: a fold has no {error}") from None
        if not intact:
            raise TextualizeError(
                f"{path}: fold {stored.name} is not what its digest says: it was changed by hand"
            )
        parts = (stored.train, stored.validation, stored.test)
        made.append(
            given_fold(
                stored.name,
                *parts,
                clips,
                unlabelled=stored.unlabelled,
                allow_overlap=leaky,
                allow_absent=True,
            )
        )
    return made
