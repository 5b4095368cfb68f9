"""Scores, agreement, calibration and votes, all accumulated in float64.

Class scores take integer class ids. The class list is explicit (`n_classes`), so a class that
never occurs still counts in a macro average, and a prediction of -1 (an answer that could not be
read) is simply wrong. Divisions by zero give 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from textualize.errors import TextualizeError, unknown

UNPARSED = -1  # the class id of an answer that could not be read

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Precision, recall, F1 and number of true clips of one class."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Bin:
    """One bar of a reliability diagram: mean confidence and accuracy of `count` predictions."""

    low: float
    high: float
    confidence: float
    accuracy: float
    count: int


# --- classes ------------------------------------------------------------------------------------


def confusion(y_true: ArrayLike, y_pred: ArrayLike, n_classes: int) -> Int64:
    """Return counts (C, C + 1): rows are true classes, the last column is unparsed answers.

    Raises:
        TextualizeError: lengths differ, or an id is outside the class list.

    >>> confusion([0, 0, 1], [0, -1, 0], 2).tolist()
    [[1, 0, 1], [1, 0, 0]]
    """
    true, predicted = _ids(y_true), _ids(y_pred)
    if true.shape != predicted.shape:
        raise TextualizeError(
            f"{len(true)} labels but {len(predicted)} predictions: give one prediction a label"
        )
    if true.size and (true.min() < 0 or true.max() >= n_classes):
        raise TextualizeError(
            f"a true class id is not in 0..{n_classes - 1}: drop unlabelled clips"
        )
    if true.size and (predicted.min() < UNPARSED or predicted.max() >= n_classes):
        raise TextualizeError(
            f"a predicted class id is not in 0..{n_classes - 1}, or -1 (unparsed)"
        )
    column = np.where(predicted == UNPARSED, n_classes, predicted)
    flat = np.bincount(true * (n_classes + 1) + column, minlength=n_classes * (n_classes + 1))
    return flat.reshape(n_classes, n_classes + 1).astype(np.int64)


def _ids(values: ArrayLike) -> Int64:
    return np.asarray(values, dtype=np.int64).ravel()


def _rates(counts: NDArray[Any]) -> tuple[Float64, Float64, Float64, Float64]:
    """Precision, recall, F1 and support (..., C) of confusion counts (..., C, C + 1)."""
    matrix = np.asarray(counts, dtype=np.float64)
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    support = matrix.sum(axis=-1)
    named = matrix[..., :-1].sum(axis=-2)
    return (
        _ratio(hits, named),
        _ratio(hits, support),
        _ratio(2.0 * hits, named + support),
        support,
    )


def _ratio(above: Float64, below: Float64) -> Float64:
    return np.divide(above, below, out=np.zeros_like(above, dtype=np.float64), where=below > 0)


def _accuracy(counts: NDArray[Any]) -> Float64:
    hits = np.trace(np.asarray(counts, dtype=np.float64), axis1=-2, axis2=-1)
    return _ratio(np.asarray(hits), np.asarray(counts, dtype=np.float64).sum(axis=(-2, -1)))


def _macro_f1(counts: NDArray[Any]) -> Float64:
    return cast(Float64, _rates(counts)[2].mean(axis=-1))


def _weighted_f1(counts: NDArray[Any]) -> Float64:
    _, _, f1, support = _rates(counts)
    return _ratio((f1 * support).sum(axis=-1), support.sum(axis=-1))


def _uar(counts: NDArray[Any]) -> Float64:
    return cast(Float64, _rates(counts)[1].mean(axis=-1))


# A score is a function of confusion counts (..., C, C + 1), so that a bootstrap can score all of
# its draws in one call.
SCORES: Mapping[str, Callable[[NDArray[Any]], Float64]] = {
    "accuracy": _accuracy,
    "macro_f1": _macro_f1,
    "weighted_f1": _weighted_f1,
    "uar": _uar,
}


def score_counts(name: str, counts: NDArray[Any]) -> Float64:
    """Return the named score of confusion counts (..., C, C + 1), shape (...).

    Raises:
        TextualizeError: there is no such score.
    """
    if name not in SCORES:
        raise unknown("score", name, SCORES)
    return SCORES[name](counts)


def score(name: str, y_true: ArrayLike, y_pred: ArrayLike, n_classes: int) -> float:
    """Return accuracy, macro_f1, weighted_f1 or uar (unweighted average recall), 0-1.

    `y_true` are class ids 0..n_classes-1; `y_pred` may hold -1 for an unparsed answer, which is
    wrong. Without any clip every score is 0.

    Raises:
        TextualizeError: unknown score, lengths differ, or an id is outside the class list.

    >>> round(score("macro_f1", [0, 0, 1, 1], [0, 1, 1, -1], 3), 4)
    0.3889
    >>> score("accuracy", [0, 1], [0, -1], 2)
    0.5
    """
    return float(score_counts(name, confusion(y_true, y_pred, n_classes)))


def per_class(y_true: ArrayLike, y_pred: ArrayLike, n_classes: int) -> list[ClassScore]:
    """Return precision, recall, F1 and support of every class, in class order."""
    rates = _rates(confusion(y_true, y_pred, n_classes))
    return [
        ClassScore(float(p), float(r), float(f), int(s)) for p, r, f, s in zip(*rates, strict=True)
    ]


# --- compounds and Other ------------------------------------------------------------------------


def without(counts: NDArray[Any], dropped: int) -> Float64:
    """Return confusion counts (..., C - 1, C) without the clips of one class.

    Another clip that was taken for the class is wrong, as an answer that could not be read.

    >>> without(np.array([[2, 1, 0], [3, 4, 0]]), 1).tolist()
    [[2.0, 1.0]]
    """
    kept = np.delete(np.asarray(counts, np.float64), dropped, axis=-2)
    named = np.delete(kept, dropped, axis=-1)
    named[..., -1] += kept[..., dropped]
    return named


def two_hot_f1(counts: NDArray[Any], members: ArrayLike) -> Float64:
    """Return the macro F1 over basics of confusion counts (..., C, C + 1), shape (...).

    A clip, and an answer, has every basic its class is made of: `members` is (C, K), 1 where class
    c is made of basic k. Half a compound right is then half right, where F1 over compounds counts
    it as wrong.

    >>> float(two_hot_f1(np.array([[0, 1, 0], [0, 0, 0]]), [[1, 1, 0], [0, 1, 1]]).round(3))
    0.333
    """
    matrix, member = np.asarray(counts, np.float64), np.asarray(members, np.float64)
    named = matrix[..., :-1]
    hits = np.einsum("...ij,ik,jk->...k", named, member, member)
    support = np.einsum("...i,ik->...k", matrix.sum(axis=-1), member)
    said = np.einsum("...j,jk->...k", named.sum(axis=-2), member)
    return cast(Float64, _ratio(2.0 * hits, support + said).mean(axis=-1))


# --- numbers ------------------------------------------------------------------------------------


def _pair(x: ArrayLike, y: ArrayLike, mask: ArrayLike | None) -> tuple[Float64, Float64]:
    first = np.asarray(x, dtype=np.float64).ravel()
    second = np.asarray(y, dtype=np.float64).ravel()
    if first.shape != second.shape:
        raise TextualizeError(f"{len(first)} values against {len(second)}: give pairs of values")
    if mask is None:
        return first, second
    keep = np.asarray(mask, dtype=bool).ravel()
    if keep.shape != first.shape:
        raise TextualizeError(f"mask has {len(keep)} entries for {len(first)} values")
    return first[keep], second[keep]


def ccc(x: ArrayLike, y: ArrayLike, mask: ArrayLike | None = None, *, ddof: int = 0) -> float:
    """Return Lin's concordance 2 cov / (var x + var y + (mean x - mean y)^2), -1 to 1.

    `mask` is true where a pair counts. `ddof` 0 uses population variances (the Aff-Wild2
    evaluation), 1 the unbiased ones (the form used in losses). When both are constant, or
    nothing is left, the value is 0 by convention.

    >>> round(ccc([.1, .4, -.2, .3], [0, .5, -.1, .1]), 10)
    0.8333333333
    >>> round(ccc([.1, .4, -.2, .3], [0, .5, -.1, .1], ddof=1), 10)
    0.8345752608
    """
    a, b = _pair(x, y, mask)
    n = len(a) - ddof
    if n <= 0:
        return 0.0
    da, db = a - a.mean(), b - b.mean()
    below = (da @ da + db @ db) / n + (a.mean() - b.mean()) ** 2
    return float(2.0 * (da @ db) / n / below) if below > 0 else 0.0


def pcc(x: ArrayLike, y: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Return Pearson's correlation, or NaN where it is undefined (a constant side).

    >>> round(pcc([1, 2, 3], [2, 4, 6]), 10)
    1.0
    """
    a, b = _pair(x, y, mask)
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    da, db = a - a.mean(), b - b.mean()
    return float((da @ db) / np.sqrt((da @ da) * (db @ db)))


def icc(x: ArrayLike, y: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Return ICC(3,1), two-way mixed, consistency, of two raters (Shrout & Fleiss 1979).

    (MS_rows - MS_error) / (MS_rows + MS_error); NaN with fewer than two pairs or no variance.

    >>> round(icc([1, 2, 3, 4, 5], [1, 3, 2, 5, 4]), 10)
    0.8
    """
    a, b = _pair(x, y, mask)
    if len(a) < 2:
        return float("nan")
    table = np.stack([a, b], axis=1)
    rows = table.mean(axis=1, keepdims=True)
    error = table - rows - table.mean(axis=0, keepdims=True) + table.mean()
    n, k = table.shape
    ms_rows = k * float(((rows - table.mean()) ** 2).sum()) / (n - 1)
    ms_error = float((error**2).sum()) / ((n - 1) * (k - 1))
    below = ms_rows + (k - 1) * ms_error
    return (ms_rows - ms_error) / below if below > 0 else float("nan")


def mae(x: ArrayLike, y: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Return the mean absolute error, NaN when no pair counts.

    >>> mae([1, 2], [2, 4])
    1.5
    """
    a, b = _pair(x, y, mask)
    return float(np.abs(a - b).mean()) if len(a) else float("nan")


def rmse(x: ArrayLike, y: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Return the root mean squared error, NaN when no pair counts.

    >>> rmse([0, 0], [3, -3])
    3.0
    """
    a, b = _pair(x, y, mask)
    return float(np.sqrt(((a - b) ** 2).mean())) if len(a) else float("nan")


# --- calibration --------------------------------------------------------------------------------


def reliability(y_true: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> list[Bin]:
    """Return the reliability diagram of the top class, equal-width bins; empty bins are left out.

    `probabilities` is (B, C). A row of zeros is an unparsed answer: confidence 0, wrong.
    """
    true, p = _probabilities(y_true, probabilities)
    top = p.max(axis=1, initial=0.0)
    right = (p.argmax(axis=1) == true) & (top > 0) if len(p) else np.zeros(0, dtype=bool)
    slot = np.minimum((top * bins).astype(np.int64), bins - 1)
    found = []
    for k in np.unique(slot):
        own = slot == k
        mean, hit = float(top[own].mean()), float(right[own].mean())
        found.append(Bin(int(k) / bins, (int(k) + 1) / bins, mean, hit, int(own.sum())))
    return found


def ece(y_true: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> float:
    """Return the expected calibration error: mean |accuracy - confidence| over clips.

    Guo et al. 2017, eq. 3. `probabilities` is (B, C); NaN without any clip.

    >>> ece([0, 1], [[1.0, 0.0], [1.0, 0.0]])
    0.5
    """
    found = reliability(y_true, probabilities, bins)
    total = sum(b.count for b in found)
    if not total:
        return float("nan")
    return sum(b.count * abs(b.accuracy - b.confidence) for b in found) / total


def brier(y_true: ArrayLike, probabilities: ArrayLike) -> float:
    """Return the multi-class Brier score, mean squared distance to one-hot, 0 (best) to 2.

    A row of zeros (unparsed) scores 1. NaN without any clip.

    >>> brier([0], [[0.5, 0.5]])
    0.5
    """
    true, p = _probabilities(y_true, probabilities)
    if not len(p):
        return float("nan")
    return float(((p - np.eye(p.shape[1])[true]) ** 2).sum(axis=1).mean())


def _probabilities(y_true: ArrayLike, probabilities: ArrayLike) -> tuple[Int64, Float64]:
    true, p = _ids(y_true), np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or len(p) != len(true):
        raise TextualizeError(
            f"probabilities of shape {p.shape} for {len(true)} labels: give one row a label"
        )
    return true, p


# --- votes --------------------------------------------------------------------------------------


def majority_vote(logits: ArrayLike) -> int:
    """Return the class most rows of `logits` (T, C) choose; a tie goes to the lowest class id.

    >>> majority_vote([[0, 1], [1, 0]])
    0
    """
    rows = _rows(logits)
    return int(np.bincount(rows.argmax(axis=1), minlength=rows.shape[1]).argmax())


def mean_logit_vote(logits: ArrayLike) -> int:
    """Return the class with the highest mean logit over the rows of `logits` (T, C).

    >>> mean_logit_vote([[9, 0, 0], [0, 1, 0], [0, 1, 0]])
    0
    """
    return int(_rows(logits).mean(axis=0).argmax())


def mean_probability_vote(logits: ArrayLike) -> int:
    """Return the class with the highest mean softmax probability over the rows of `logits`."""
    rows = _rows(logits)
    odds = np.exp(rows - rows.max(axis=1, keepdims=True))
    return int((odds / odds.sum(axis=1, keepdims=True)).mean(axis=0).argmax())


def _rows(logits: ArrayLike) -> Float64:
    rows = np.asarray(logits, dtype=np.float64)
    if rows.ndim != 2 or not rows.size:
        raise TextualizeError(f"a vote needs logits of shape (T, C), given {rows.shape}")
    return rows
