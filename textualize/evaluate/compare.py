"""How sure a score is, and whether two methods really differ.

Clips of one speaker or one source video are not independent, so intervals resample whole groups
(the cluster bootstrap), and two methods are compared on the same clips under the same draws. A
method that was trained with several seeds has the mean of their scores, and each draw resamples
its seeds too: another seed would have come out otherwise, as other people would.
Everything works on tallies of groups (`tallies.py`), which makes a draw a weighted sum.

Percentiles of few groups' draws are too close together: on simulated clustered clips (three
classes, eight clips a group) 95 % intervals from 10 groups held the truth 88 to 90 times of 100,
from 20 groups 91 to 92. So the percentiles are taken further out, where a t interval's would be
(Hesterberg 2015, the "expanded" percentile interval): 93 to 94 times, where bias correction and
acceleration (BCa) changed nothing. `pytest -m slow tests/evaluate/test_compare.py` counts it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest, norm
from scipy.stats import t as student_t

from textualize.errors import TextualizeError
from textualize.evaluate.answers import Answers, shared
from textualize.evaluate.metrics import Float64
from textualize.evaluate.tallies import LOWER_IS_BETTER, score_tallies

DRAWS = 2000
FEW_GROUPS = 10  # below this even an expanded percentile interval is too narrow
LEVEL = 0.95
COUNTED = 10  # draws beyond 0 from which on their share is a measurement
Statistic = str | Callable[[Float64], Float64]
_CHUNK = 250  # draws whose weights are held at once


class UndefinedScoreError(TextualizeError):
    """A correlation where a method answers the same everywhere, or in some groups alone."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A score and its 95 % interval over resampled groups, and over seeds where several.

    `few_groups` marks an interval from fewer than FEW_GROUPS groups: read it as too narrow.
    """

    value: float
    low: float
    high: float
    groups: int
    few_groups: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """The score of method `a` less that of method `b` on the same clips.

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
    mcnemar_p: float | None
    only_a: int | None
    only_b: int | None
    clips: int
    groups: int
    few_groups: bool
    dropped: int

    @property
    def clear(self) -> bool:
        """True when the interval leaves out 0 and the corrected p is below 0.05."""
        return (self.low > 0 or self.high < 0) and self.p_holm < 0.05

    @property
    def favours(self) -> str:
        """The method with the better score; of an error the lower is better."""
        return self.a if (self.value > 0) != (self.statistic in LOWER_IS_BETTER) else self.b


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

    `n_classes` 0 takes labels and predictions as numbers.

    Raises:
        TextualizeError: no clip, lengths differ, an unknown statistic or class id, or a
            correlation of a constant.

    >>> cluster_bootstrap([0, 1], [0, 1], ["s1", "s2"], "accuracy", n_classes=2)
    Interval(value=1.0, low=1.0, high=1.0, groups=2, few_groups=True)
    """
    kind = np.int64 if n_classes else np.float64
    true, predicted = np.asarray(y_true, kind), np.asarray(y_pred, kind)
    own = Answers("the method", (), true, predicted, tuple(groups), n_classes)
    return interval(own, statistic, draws=draws, seed=seed)


def interval(
    method: Answers, statistic: Statistic, *, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Return a method's score, the mean over its seeds, with its interval; see the module.

    A statistic is a score's name, or a function of tallies (..., C, C + 1), shape (...).

    Raises:
        TextualizeError: what `cluster_bootstrap` raises.
    """
    (value,), (drawn,) = scores_under_draws([method], statistic, draws=draws, seed=seed)
    return interval_of(drawn, float(value), len(set(method.groups)))


def scores_under_draws(
    methods: Sequence[Answers], statistic: Statistic, *, draws: int = DRAWS, seed: int = 0
) -> tuple[Float64, Float64]:
    """Return methods' scores (M,), and these under the same resampled groups, (M, draws).

    Raises:
        TextualizeError: the methods have other groups, or what `interval` raises.
    """
    if any(m.groups != methods[0].groups for m in methods):
        raise TextualizeError("methods of other clips or groups cannot be drawn together")
    tallies = [m.tallies() for m in methods]
    values = [_value(m, t, statistic) for m, t in zip(methods, tallies, strict=True)]
    return np.array(values), _drawn(methods, tallies, statistic, draws, seed)


def interval_of(drawn: Float64, value: float, groups: int) -> Interval:
    """Return a value with the interval of its draws (draws,), made from so many groups."""
    low, high = _percentiles(drawn, value, groups)
    return Interval(value, low, high, groups, groups < FEW_GROUPS)


def _scored(statistic: Statistic, tallies: Float64, n_classes: int) -> Float64:
    if callable(statistic):
        return statistic(tallies)
    return score_tallies(statistic, tallies, n_classes)


def _value(method: Answers, tallies: Float64, statistic: Statistic) -> float:
    """The mean over seeds of the score of all clips."""
    value = float(_scored(statistic, tallies.sum(axis=1), method.n_classes).mean())
    if np.isnan(value):
        raise UndefinedScoreError(
            f"{statistic} of '{method.method}' is undefined: it answers the same everywhere"
        )
    return value


def _drawn(
    methods: Sequence[Answers],
    tallies: Sequence[Float64],
    statistic: Statistic,
    draws: int,
    seed: int,
) -> Float64:
    """Scores (M, draws) under the same resampled groups; each method's seeds are resampled too."""
    n_groups = tallies[0].shape[1]
    seeds = np.random.default_rng([seed, 1])  # another stream: groups are drawn as with one seed
    scores: list[list[Float64]] = [[] for _ in methods]
    for weights in _weights(n_groups, draws, seed):
        for own, method, given in zip(scores, methods, tallies, strict=True):
            flat = given.reshape(len(given), n_groups, -1)
            drawn = (weights @ flat).reshape(len(given), len(weights), *given.shape[2:])
            each = _scored(statistic, drawn, method.n_classes)  # (S, chunk)
            chosen = seeds.integers(len(given), size=each.shape)
            own.append(np.take_along_axis(each, chosen, axis=0).mean(axis=0))
    return np.stack([np.concatenate(own) for own in scores])


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


def _widening(groups: int) -> float:
    """How much larger the spread of a mean of groups is than that of its draws."""
    return math.sqrt(groups / (groups - 1))


def tail(groups: int) -> float:
    """Return the share of draws left out at either end of a 95 % interval from so many groups.

    Phi(-sqrt(G / (G - 1)) t), t the 97.5 % point of Student's t with G - 1 degrees of freedom
    (Hesterberg 2015). One group alone says nothing of its spread: 0.025.

    >>> round(tail(10), 4), round(tail(1000), 4)
    (0.0086, 0.0248)
    """
    outside = (1 - LEVEL) / 2
    if groups < 2:
        return outside
    return float(norm.sf(_widening(groups) * student_t.isf(outside, groups - 1)))


def _two_sided(change: Float64, value: float, groups: int) -> float:
    """The p at which the interval just reaches 0, of a difference and its draws.

    Where fewer than `COUNTED` draws lie on the other side of 0, how many is chance: the tail is
    then that of a normal distribution with the draws' spread.
    """
    side = min(int((change <= 1e-12).sum()), int((change >= -1e-12).sum()))
    share = (side + 1) / (len(change) + 1)
    if share >= 0.5 or groups < 2:
        return min(1.0, 2.0 * share)
    spread = float(change.std())
    far = abs(value) / spread if side < COUNTED and spread > 0 else float(norm.isf(share))
    return float(2.0 * student_t.sf(far / _widening(groups), groups - 1))


def _percentiles(drawn: Float64, value: float, groups: int) -> tuple[float, float]:
    if np.isnan(drawn).any():
        raise UndefinedScoreError(
            f"the score is undefined in {int(np.isnan(drawn).sum())} of {drawn.size} draws: some "
            "groups alone have one answer"
        )
    outside = 100 * tail(groups)
    low, high = np.percentile(drawn, [outside, 100 - outside])
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
    """Return the score of `a` less that of `b`, on the same clips under the same resampled groups.

    With several seeds a score is their mean, and each draw resamples the seeds of both methods.
    The counts of clips and McNemar's test, which has no place for seeds, are of the first seeds;
    for numbers, which are not right or wrong, they are None.

    The p-value is that at which the interval would just reach 0: from the smaller share of draws
    with d <= 0 or d >= 0, counting one more than was drawn (Davison & Hinkley 1997, eq. 4.11), and
    widened for few groups as the interval is. Where next to no draw is there, so that 2000 draws
    cannot tell 0.005 from 0.00001 and a correction for many comparisons could never be passed, the
    tail is the normal one of the draws' spread.

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
    scores, drawn = scores_under_draws([a, b], statistic, draws=draws, seed=seed)
    change = drawn[0] - drawn[1]
    found = interval_of(change, float(scores[0] - scores[1]), len(set(a.groups)))
    p = _two_sided(change, found.value, found.groups)
    only_a, only_b = _only(a, b) if a.n_classes else (None, None)
    return Difference(
        a=a.method,
        b=b.method,
        statistic=statistic,
        value=found.value,
        low=found.low,
        high=found.high,
        p=p,
        p_holm=p,
        mcnemar_p=None if only_a is None or only_b is None else mcnemar(only_a, only_b),
        only_a=only_a,
        only_b=only_b,
        clips=len(a.ids),
        groups=found.groups,
        few_groups=found.few_groups,
        dropped=dropped,
    )


def _only(a: Answers, b: Answers) -> tuple[int, int]:
    """How many clips only the first seed of `a`, and only that of `b`, has right."""
    right_a, right_b = a.seeds[0] == a.true, b.seeds[0] == b.true
    return int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())


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
