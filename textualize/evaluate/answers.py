"""A method's answers beside the truth: what is compared, and on which clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textualize.errors import TextualizeError
from textualize.evaluate.metrics import UNPARSED, Float64
from textualize.evaluate.tallies import tally
from textualize.labels import LabelSet, is_number
from textualize.types import Prediction, Record

Given = Sequence[Prediction] | Mapping[int, Sequence[Prediction]]  # of one run, or by seed


def by_seed(given: Given) -> dict[int | None, Sequence[Prediction]]:
    """Return a method's predictions by seed; those of one run without a seed are under None."""
    return {s: own for s, own in given.items()} if isinstance(given, Mapping) else {None: given}


def as_given(seeds: Mapping[int | None, Sequence[Prediction]]) -> Given:
    """Return predictions by seed as reports take them; the way back from `by_seed`."""
    return {s: own for s, own in seeds.items() if s is not None} or seeds[None]


def first_seed(given: Given) -> Sequence[Prediction]:
    """Return a method's predictions with its first seed, which is what is shown of one clip."""
    return next(iter(by_seed(given).values()))


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """One method's answers beside the truth, in the order of clip ids.

    `true` are class ids (B,), or numbers where `n_classes` is 0; `predicted` are answers (B,), or
    those of several seeds (S, B). The id -1 is an answer that could not be read. `groups` are the
    units that are resampled.
    """

    method: str
    ids: tuple[str, ...]
    true: NDArray[Any]
    predicted: NDArray[Any]
    groups: tuple[str, ...]
    n_classes: int

    @property
    def seeds(self) -> NDArray[Any]:
        """The answers of every seed, (S, B)."""
        return self.predicted if self.predicted.ndim == 2 else self.predicted[None]

    def only(self, ids: Sequence[str]) -> Answers:
        """Return the answers for these clips."""
        wanted = set(ids)
        keep = np.array([clip in wanted for clip in self.ids], dtype=bool)
        return Answers(
            self.method,
            tuple(c for c, k in zip(self.ids, keep, strict=True) if k),
            self.true[keep],
            self.predicted[..., keep],
            tuple(g for g, k in zip(self.groups, keep, strict=True) if k),
            self.n_classes,
        )

    def tallies(self) -> Float64:
        """Return what is counted of every seed and group, (S, G, ...)."""
        rows = [tally(self.true, row, self.groups, self.n_classes) for row in self.seeds]
        return np.asarray(rows, dtype=np.float64)


def answers(
    method: str, predictions: Sequence[Prediction], records: Sequence[Record], labels: LabelSet
) -> Answers:
    """Return a method's answers for the labelled records it predicted, in the order of clip ids.

    Predictions of several folds may be concatenated. Records without a label are left out.

    Raises:
        TextualizeError: a clip is predicted twice or is not among the records, a label is not in
            the label set, or a number is missing where labels are numbers.
    """
    by_id = {p.clip_id: p for p in predictions}
    if len(by_id) != len(predictions):
        raise TextualizeError(
            f"method '{method}' answers {len(predictions) - len(by_id)} clips twice: concatenate "
            "folds that share no clip, and give each seed its own name"
        )
    known = {r.clip.id: r.clip for r in records}
    strange = by_id.keys() - known.keys()
    if strange:
        raise TextualizeError(
            f"method '{method}' answers {len(strange)} clips that are not among the records "
            f"(first: '{min(strange)}'): evaluate the records that were predicted"
        )
    ids = sorted(clip for clip in by_id if known[clip].label is not None)
    read = _numbers if labels.numeric else _classes
    return Answers(
        method,
        tuple(ids),
        read(method, [(clip, known[clip].label) for clip in ids], labels, "label"),
        read(method, [(clip, by_id[clip].label) for clip in ids], labels, "answer"),
        tuple(known[clip].fold_group for clip in ids),
        len(labels),
    )


def answers_of(method: str, given: Given, records: Sequence[Record], labels: LabelSet) -> Answers:
    """Return a method's answers with all of its seeds; raises as `answers` and `together` do."""
    return together([answers(method, own, records, labels) for own in by_seed(given).values()])


def _classes(
    method: str, given: Sequence[tuple[str, str | float | None]], labels: LabelSet, what: str
) -> NDArray[Any]:
    ids = [UNPARSED if label is None else labels.index(label) for _, label in given]
    return np.array(ids, dtype=np.int64)


def _numbers(
    method: str, given: Sequence[tuple[str, str | float | None]], labels: LabelSet, what: str
) -> NDArray[Any]:
    wrong = [(clip, value) for clip, value in given if not is_number(value)]
    if wrong:
        raise TextualizeError(
            f"labels are numbers, but {len(wrong)} clips have another {what} (first: "
            f"'{wrong[0][0]}' {wrong[0][1]!r}, method '{method}'): predict numbers for all"
        )
    return np.array([value for _, value in given], dtype=np.float64)


def together(seeds: Sequence[Answers]) -> Answers:
    """Return the answers of several seeds of one method as one.

    Raises:
        TextualizeError: the seeds answer different clips.
    """
    first = seeds[0]
    if any(other.ids != first.ids for other in seeds[1:]):
        raise TextualizeError(
            f"the seeds of '{first.method}' answer different clips: predict the same with each"
        )
    rows = np.concatenate([s.seeds for s in seeds])
    return Answers(first.method, first.ids, first.true, rows, first.groups, first.n_classes)


def shared(
    methods: Sequence[Answers], *, intersect: bool = False
) -> tuple[tuple[Answers, ...], int]:
    """Return the methods on the clips they all answered, and how many clips that left out.

    Raises:
        TextualizeError: the clip sets differ and `intersect` is false, or no clip is shared.
    """
    every = {clip for method in methods for clip in method.ids}
    common = set(every).intersection(*(method.ids for method in methods))
    dropped = len(every) - len(common)
    if dropped and not intersect:
        missing = ", ".join(
            f"'{m.method}' lacks {len(every) - len(m.ids)}"
            for m in methods
            if len(m.ids) < len(every)
        )
        raise TextualizeError(
            f"the methods answer different clips: {dropped} of {len(every)} are not answered by "
            f"all ({missing}); predict the same clips, or pass intersect=True to leave them out"
        )
    if not common:
        raise TextualizeError("no labelled clip is answered by every method: nothing to compare")
    return tuple(method.only(sorted(common)) for method in methods), dropped
