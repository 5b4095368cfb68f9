"""What the parts of a fold share: clips, groups, subjects, texts, media, and names that tell.

All of it is found from `Material` alone, so that `textualize verify` can find it again.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from textualize.datasets.given import Fold, shared_groups
from textualize.evaluate.label_words import forms_of, found_in
from textualize.evaluate.material import SILENT, Kind, Leak, Material, Said, leak
from textualize.types import Clip

LONG = 4  # words from which a text said twice is hardly chance

SPEAKERS = "speakers"  # where a note on their statistics is
_PAIRS = (("validation", "train"), ("test", "train"), ("test", "validation"))
_LEARNED = {"train": "training", "validation": "validation"}
_OF_MATERIAL = frozenset({
    "group across folds", "subject across folds", "clip across folds", "validation is test",
    "duplicate text", "duplicate media", "test split", "unchecked", "label in name",
})  # fmt: skip


def material_leaks(
    material: Material, folds: Sequence[Fold], tested: Sequence[Clip], compared: Sequence[str]
) -> Iterator[Leak]:
    """Yield what folds share, names that tell, and who is read beside statistics of a speaker.

    Args:
        material: the clips of all parts.
        folds: the parts; ids without a clip in `material` are left out of what needs one.
        tested: the clips that are scored.
        compared: ids of those that unlabelled statistics of their speaker stand beside.
    """
    for fold in folds:
        yield from fold_leaks(fold, material)
    yield from name_leaks(tested)
    text = "tested clips are read beside unlabelled statistics of all clips of their speaker"
    yield from leak("statistics", SPEAKERS, sorted(compared), len(tested), text, "note")


def found_again(one: Leak) -> bool:
    """Return whether `material_leaks` finds such a leak, and no prompt or run folder is needed."""
    return one.kind in _OF_MATERIAL or one.where == SPEAKERS


def fold_leaks(fold: Fold, material: Material) -> Iterator[Leak]:
    """Yield what the parts of a fold share: clips, groups, subjects, texts, media."""
    where = f"fold {fold.name}"
    known = material.clips
    listed = sorted({*fold.train, *fold.validation, *fold.test})
    absent = [i for i in listed if i not in known]
    text = "clips are not at hand: their groups, texts and media were not compared"
    yield from leak("unchecked", where, absent, len(listed), text, "note")
    for part, other in _PAIRS:
        ids, others = ([i for i in getattr(fold, p) if i in known] for p in (part, other))
        named = _LEARNED[other]
        there = set(getattr(fold, other))
        same = [i for i in getattr(fold, part) if i in there]
        kind: Kind = "validation is test" if other == "validation" else "clip across folds"
        yield from leak(kind, where, same, len(getattr(fold, part)), f"{part} clips are {named} "
                         "clips")  # fmt: skip
        rest = [i for i in ids if i not in there]
        pair = _Pair(where, part, rest, others, named, material)
        yield from _groups(pair, len(ids))
        yield from _texts(pair)
        yield from _media(pair)
    yield from _own_test(fold, known)


@dataclass(frozen=True, slots=True)
class _Pair:
    """The clips at hand of a part, but for those in both, and of one it has to be apart from.

    `named` is what the other is called.
    """

    where: str
    part: str
    ids: Sequence[str]
    others: Sequence[str]
    named: str
    material: Material


def _groups(pair: _Pair, of: int) -> Iterator[Leak]:
    known, part, where = pair.material.clips, pair.part, pair.where
    groups = {known[i].fold_group for i in pair.others}
    shared = [i for i in pair.ids if known[i].fold_group in groups]
    _, labelled = shared_groups(pair.ids, pair.others, known)
    also = f", {labelled} of them the label too" if labelled else ""
    text = f"{part} clips share their group with {pair.named}{also}"
    yield from leak("group across folds", where, shared, of, text)
    subjects = {known[i].subject for i in pair.others} - {None}
    people = [
        i for i in pair.ids if known[i].subject in subjects and known[i].fold_group not in groups
    ]
    text = f"{part} clips are of a subject of {pair.named}, in another group"
    yield from leak("subject across folds", where, people, of, text, "note")


def _texts(pair: _Pair) -> Iterator[Leak]:
    """A text that was learned with one label only gives that label away to who remembers it."""
    material, ids, part, named = pair.material, pair.ids, pair.part, pair.named
    learned: dict[Said, set[str | float | None]] = defaultdict(set)
    for i in pair.others:
        learned[material.said(i)].add(material.clips[i].label)
    learned.pop(SILENT, None)
    twice = [i for i in ids if material.said(i) in learned]
    telling = [
        i
        for i in twice
        if material.said(i).words >= LONG and learned[material.said(i)] == {material.clips[i].label}
    ]
    text = f"{part} clips say, in {LONG} words or more, what {named} has under their label alone"
    yield from leak("duplicate text", pair.where, telling, len(ids), text)
    told = set(telling)
    rest = [i for i in twice if i not in told]
    text = f"{part} clips say what {named} says too, shortly or under other labels"
    yield from leak("duplicate text", pair.where, rest, len(ids), text, "note")


def _media(pair: _Pair) -> Iterator[Leak]:
    """Clips whose files have the same content, at the same time."""
    material = pair.material
    by_digest: dict[str, list[Clip]] = defaultdict(list)
    for i in pair.others:
        by_digest[material.media.get(i, "")].append(material.clips[i])
    by_digest.pop("", None)
    copies = [
        i
        for i in pair.ids
        if any(
            _at_once(material.clips[i], other)
            for other in by_digest.get(material.media.get(i, ""), ())
        )
    ]
    text = f"{pair.part} clips are copies of {pair.named} clips: the same bytes at the same time"
    yield from leak("duplicate media", pair.where, copies, len(pair.ids), text)


def _at_once(one: Clip, other: Clip) -> bool:
    return one.span is None or other.span is None or bool(one.span & other.span)


def _own_test(fold: Fold, known: Mapping[str, Clip]) -> Iterator[Leak]:
    """The corpus' own test split is learned from, as where folds are made of all clips."""
    for part in ("train", "validation"):
        ids = getattr(fold, part)
        own = [i for i in ids if i in known and known[i].split == "test"]
        text = f"{part} clips are of the corpus' own split named test"
        yield from leak("test split", f"fold {fold.name}", own, len(ids), text, "note")


def name_leaks(clips: Sequence[Clip]) -> Iterator[Leak]:
    """Yield how many clips have their own label in their id, file or folder: a note."""
    telling = [
        c.id
        for c in sorted(clips, key=lambda c: c.id)
        if isinstance(c.label, str)
        and (forms := forms_of(c.label))
        and found_in(re.sub(r"[\W\d_]+", " ", _name(c)), forms)
    ]
    text = "clips have their label in their id or file name; no method may be given it"
    yield from leak("label in name", "clips", telling, len(clips), text, "note")


def _name(clip: Clip) -> str:
    return f"{clip.id} {'/'.join(clip.video.parts[-2:]) if clip.video else ''}"
