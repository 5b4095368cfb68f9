"""The labels of a table as one label set, or as numbers: spelling settled once for all rows."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from textualize.errors import TextualizeError
from textualize.labels import LABEL_SETS, LabelSet, labels_of

Kind = Literal["class", "number"]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_CLASS_ID = re.compile(r"\d+", re.ASCII)
_IDS_NEED_NAMES = "class ids need their names: a column mapping with labels: {0: …, 1: …}"
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Labelling:
    """What becomes of each label as it was written: its value, or why it has none."""

    labels: LabelSet | None
    values: Mapping[str, str | float] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def plain(label: str) -> str:
    """Return a label without what spellings differ in: case, dashes, underscores, blanks.

    >>> plain("Happily-Surprised"), plain(" happily_surprised ")
    ('happily surprised', 'happily surprised')
    """
    return " ".join(re.split(r"[\s_-]+", label.casefold())).strip() or label


def labelling(
    written: Mapping[str, int], labels: LabelSet | None = None, kind: Kind | None = None
) -> Labelling:
    """Return one spelling for every label a table holds.

    Labels of a given set take its spelling, and so do labels that all belong to one shipped set.
    Other spellings of one label become the most frequent of them. Labels that are all numbers,
    and could not be class ids, are scores (regression).

    Args:
        written: how often each label is written so; order does not matter.
        labels: the set every label must belong to.
        kind: "number" for scores, "class" for names; by default the labels decide.

    Raises:
        TextualizeError: the labels are whole numbers, which may be either.
    """
    if not written:
        return Labelling(labels)
    if kind == "number":
        return _numbers(written)
    if labels is not None:
        return _of_set(written, labels)
    if all(_CLASS_ID.fullmatch(label) for label in written):
        ids = sorted(written, key=lambda i: (len(i), i))
        raise TextualizeError(
            f"labels are whole numbers ({', '.join(ids[:_SHOWN])}): {_IDS_NEED_NAMES}; "
            "scores need label_kind: number there"
        )
    if kind is None and all(_NUMBER.fullmatch(label) for label in written):
        return _numbers(written)
    return _own(written)


def _numbers(written: Mapping[str, int]) -> Labelling:
    values: dict[str, float] = {}
    problems: dict[str, str] = {}
    for label in written:
        value = float(label) if _NUMBER.fullmatch(label) else math.nan
        if math.isfinite(value):
            values[label] = value
        else:
            problems[label] = f"label should be a number; given {label!r}"
    ends = (min(values.values()), max(values.values())) if values else (0.0, 0.0)
    note = f"labels are numbers, {ends[0]:g} to {ends[1]:g}"
    return Labelling(None, values, problems, (note,) if values else ())


def _of_set(written: Mapping[str, int], labels: LabelSet) -> Labelling:
    spelled = {plain(name): name for name in labels.labels}
    exact = {name: name for name in labels.labels}  # a set may tell two apart by case only
    values: dict[str, str | float] = {}
    problems: dict[str, str] = {}
    for label in written:
        name = exact.get(label) or spelled.get(plain(label))
        if name is not None:
            values[label] = name
            continue
        try:
            labels.index(label)
        except TextualizeError as error:
            hint = f"; {_IDS_NEED_NAMES}" if _CLASS_ID.fullmatch(label) else ""
            problems[label] = f"{error}{hint}"
    return Labelling(labels, values, problems, _respelled(values))


def _own(written: Mapping[str, int]) -> Labelling:
    forms = {plain(label) for label in written}
    for known in LABEL_SETS.values():
        if forms <= {plain(name) for name in known.labels}:
            found = _of_set(written, known)
            return Labelling(labels_of(found.values.values()), found.values, {}, found.notes)
    spellings: dict[str, list[str]] = {}
    for label in written:
        spellings.setdefault(plain(label), []).append(label)
    usual = {f: min(same, key=lambda x: (-written[x], x)) for f, same in spellings.items()}
    values: dict[str, str | float] = {label: usual[plain(label)] for label in written}
    return Labelling(labels_of(values.values()), values, {}, _respelled(values))


def _respelled(values: Mapping[str, str | float]) -> tuple[str, ...]:
    changed = sorted(f"{label} -> {name}" for label, name in values.items() if label != name)
    if not changed:
        return ()
    more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
    return (f"labels respelled: {', '.join(changed[:_SHOWN])}{more}",)
