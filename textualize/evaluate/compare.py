"""How sure a score is, and whether two methods really differ.

Clips of one speaker or one source video are not independent, so intervals resample whole groups
(the cluster bootstrap), and two methods are compared on the same clips under the same draws.
Everything works on confusion counts a group, which makes a draw a weighted sum of matrices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest

from textualize.errors import TextualizeError
from textualize.evaluate.metrics import UNPARSED, Float64, Int64, confusion, score_counts
from textualize.labels import LabelSet
from textualize.types import Prediction, Record

DRAWS = 2000
FEW_GROUPS = 10  # below this a percentile interval is known to be too narrow
_CHUNK = 250  # draws whose weights are held at once


@dataclass(frozen=True, slots=True)
class Interval:
    """A score and its 95 % percentile interval over resampled groups.

    `few_groups` marks an interval from fewer than FEW_GROUPS groups: read it as too narrow.
    """

    value: float
    low: float
    high: float
    groups: int
    few_groups: bool


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """One method's answers beside the truth, in the order of clip ids.

    `true` and `predicted` are class ids (B,); -1 is an answer that could not be read. `groups`
    are the units that are resampled.
    """

    method: str
    ids: tuple[str, ...]
    true: Int64
    predicted: Int64
    groups: tuple[str, ...]
    n_classes: int

    def only(self, ids: Sequence[str]) -> Answers:
        """Return the answers for these clips."""
        wanted = set(ids)
        keep = np.array([clip in wanted for clip in self.ids], dtype=bool)
        return Answers(
            self.method,
            tuple(c for c, k in zip(self.ids, keep, strict=True) if k),
            self.true[keep],
            self.predicted[keep],
            tuple(g for g, k in zip(self.groups, keep, strict=True) if k),
            self.n_classes,
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better method `a` is than method `b` on the same clips.

    `value`, `low`, `high` are a - b in `statistic` with its 95 % interval; `p` is the two-sided
    bootstrap p-value and `p_holm` the same after Holm's correction over all pairs compared (equal
    to `p` for a single pair). `only_a` and `only_b` count clips that just one of them has right;
    `mcnemar_p` is the exact test on these, which takes clips as independent. `dropped` counts
    clips left out because only one of the two answered them.
    """

    a: str
    b: str
    statistic: str
    value: float
    low: float
    high: float
    p: float
    p_holm: float
    mcnemar_p: float
    only_a: int
    only_b: int
    clips: int
    groups: int
    few_groups: bool
    dropped: int

    @property
    def clear(self) -> bool:
        """True when the interval leaves out 0 and the corrected p is below 0.05."""
        return (self.low > 0 or self.high < 0) and self.p_holm < 0.05


def answers(
    method: str, predictions: Sequence[Prediction], records: Sequence[Record], labels: LabelSet
) -> Answers:
    """Return a method's answers for the labelled records it predicted, in the order of clip ids.

    Predictions of several folds may be concatenated. Records without a label are left out.

    Raises:
        TextualizeError: a clip is predicted twice or is not among the records, or a label is not
            in the label set.
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
    true = [labels.index(known[clip].label) for clip in ids]
    said = [by_id[clip].label for clip in ids]
    predicted = [UNPARSED if label is None else labels.index(label) for label in said]
    return Answers(
        method,
        tuple(ids),
        np.array(true, dtype=np.int64),
        np.array(predicted, dtype=np.int64),
        tuple(known[clip].fold_group for clip in ids),
        len(labels),
    )


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


# --- resampling ---------------------------------------------------------------------------------


def cluster_bootstrap(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    groups: Sequence[str],
    statistic: str,
    *,
    n_classes: int,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Return a score with its 95 % interval, resampling whole groups with replacement.

    Cameron, Gelbach & Miller 2008 call it the pairs cluster bootstrap. Groups of one clip make it
    the ordinary bootstrap. The interval is widened to hold the score itself, which a percentile
    interval of a biased score such as macro F1 may miss when groups are few.

    Raises:
        TextualizeError: no clip, lengths differ, or an unknown statistic or class id.

    >>> cluster_bootstrap([0, 1], [0, 1], ["s1", "s2"], "accuracy", n_classes=2)
    Interval(value=1.0, low=1.0, high=1.0, groups=2, few_groups=True)
    """
    counts = _group_counts(y_true, y_pred, groups, n_classes)
    value = float(score_counts(statistic, counts.sum(axis=0)))
    drawn = _draws(counts[None], statistic, draws, seed)[0]
    low, high = _percentiles(drawn, value)
    return Interval(value, low, high, len(counts), len(counts) < FEW_GROUPS)


def _group_counts(
    y_true: ArrayLike, y_pred: ArrayLike, groups: Sequence[str], n_classes: int
) -> Int64:
    """Confusion counts of every group, (G, C, C + 1), in the order of group names."""
    total = confusion(y_true, y_pred, n_classes)  # checks lengths and ids
    true, predicted = np.asarray(y_true, np.int64), np.asarray(y_pred, np.int64)
    if len(groups) != len(true):
        raise TextualizeError(f"{len(groups)} groups for {len(true)} clips: give every clip one")
    if not len(true):
        raise TextualizeError("no clip to score: give at least one labelled clip")
    names, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    column = np.where(predicted == UNPARSED, n_classes, predicted)
    cell = (group * n_classes + true) * (n_classes + 1) + column
    counts = np.bincount(cell, minlength=len(names) * total.size)
    return counts.reshape(len(names), *total.shape).astype(np.int64)


def _draws(counts: Int64, statistic: str, draws: int, seed: int) -> Float64:
    """Scores (M, draws) of M methods' counts (M, G, C, C + 1) under the same resampled groups."""
    methods, n_groups, *shape = counts.shape
    flat = counts.reshape(methods, n_groups, -1).astype(np.float64)
    scores = [
        score_counts(statistic, (weights @ flat).reshape(methods, len(weights), *shape))
        for weights in _weights(n_groups, draws, seed)
    ]
    return np.concatenate(scores, axis=1)


def _weights(n_groups: int, draws: int, seed: int) -> Iterator[Float64]:
    """How often each group is drawn, (chunk, G) at a time."""
    if draws < 1:
        raise TextualizeError(f"draws is {draws}: give at least 1, {DRAWS} is usual")
    rng = np.random.default_rng(seed)
    for start in range(0, draws, _CHUNK):
        chunk = min(_CHUNK, draws - start)
        drawn = (
            rng.integers(n_groups, size=(chunk, n_groups)) + np.arange(chunk)[:, None] * n_groups
        )
        counted = np.bincount(drawn.ravel(), minlength=chunk * n_groups)
        yield counted.reshape(chunk, n_groups).astype(np.float64)


def _percentiles(drawn: Float64, value: float) -> tuple[float, float]:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return min(float(low), value), max(float(high), value)


# --- two methods --------------------------------------------------------------------------------


def paired_difference(
    a: Answers,
    b: Answers,
    statistic: str = "macro_f1",
    *,
    draws: int = DRAWS,
    seed: int = 0,
    intersect: bool = False,
) -> Difference:
    """Return how much better `a` is than `b`, on the same clips under the same resampled groups.

    The bootstrap p-value is 2 min(P(d <= 0), P(d >= 0)) over the draws, counting one more than was
    drawn on either side (Davison & Hinkley 1997, eq. 4.11), at most 1.

    Raises:
        TextualizeError: the clip sets differ and `intersect` is false, or the two were scored
            against different labels or groups.
    """
    (a, b), dropped = shared([a, b], intersect=intersect)
    if a.groups != b.groups or not np.array_equal(a.true, b.true):
        raise TextualizeError(
            f"'{a.method}' and '{b.method}' were scored against different labels or groups: "
            "read both with the same records"
        )
    counts = np.stack([_group_counts(m.true, m.predicted, m.groups, m.n_classes) for m in (a, b)])
    whole = score_counts(statistic, counts.sum(axis=1))
    value = float(whole[0] - whole[1])
    drawn = _draws(counts, statistic, draws, seed)
    change = drawn[0] - drawn[1]
    low, high = _percentiles(change, value)
    side = min(int((change <= 1e-12).sum()), int((change >= -1e-12).sum()))
    p = min(1.0, 2.0 * (side + 1) / (draws + 1))
    right_a, right_b = a.predicted == a.true, b.predicted == b.true
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    n_groups = counts.shape[1]
    return Difference(
        a=a.method,
        b=b.method,
        statistic=statistic,
        value=value,
        low=low,
        high=high,
        p=p,
        p_holm=p,
        mcnemar_p=mcnemar(only_a, only_b),
        only_a=only_a,
        only_b=only_b,
        clips=len(a.ids),
        groups=n_groups,
        few_groups=n_groups < FEW_GROUPS,
        dropped=dropped,
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the exact two-sided McNemar p-value of two discordant counts.

    >>> mcnemar(0, 0), mcnemar(5, 0)
    (1.0, 0.0625)
    """
    if only_a + only_b == 0:
        return 1.0
    return float(binomtest(only_a, only_a + only_b, 0.5).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's (1979) step-down corrected p-values, in the given order.

    >>> [round(p, 4) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected = [0.0] * len(p_values)
    running = 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = running
    return corrected
