"""What is counted of a group's answers, so that any score of any resample is a function of sums.

    classes   confusion counts (C, C + 1), the last column the answers that could not be read
    numbers   eight sums of pairs (answer, truth), see `SUMS`

A bootstrap draw is then a weighted sum of the groups' tallies, and all draws are scored at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from textualize.errors import TextualizeError, unknown
from textualize.evaluate.metrics import SCORES, UNPARSED, Float64, confusion

NUMBERS = 0  # the number of classes where answers are numbers
LOWER_IS_BETTER = frozenset({"mae", "rmse"})
SUMS = ("n", "x", "y", "xx", "yy", "xy", "absolute", "squared")  # x answers, y truth, less a shift


def tally(
    y_true: ArrayLike, y_pred: ArrayLike, groups: Sequence[str], n_classes: int
) -> NDArray[Any]:
    """Return the tallies of every group, (G, C, C + 1) or (G, 8), in the order of group names.

    Args:
        y_true: class ids, or numbers where `n_classes` is 0, (B,).
        y_pred: likewise; -1 for an answer that could not be read.
        groups: the unit each clip belongs to, (B,).
        n_classes: C, or 0 for numbers.

    Raises:
        TextualizeError: no clip, lengths differ, an id outside the class list, or a number that
            is not finite.
    """
    if n_classes == NUMBERS:
        return _number_sums(y_true, y_pred, groups)
    total = confusion(y_true, y_pred, n_classes)  # checks lengths and ids
    true, predicted = np.asarray(y_true, np.int64), np.asarray(y_pred, np.int64)
    names, group = _groups(groups, len(true))
    column = np.where(predicted == UNPARSED, n_classes, predicted)
    cell = (group * n_classes + true) * (n_classes + 1) + column
    counts = np.bincount(cell, minlength=len(names) * total.size)
    return counts.reshape(len(names), *total.shape).astype(np.int64)


def _groups(groups: Sequence[str], clips: int) -> tuple[NDArray[Any], NDArray[Any]]:
    if len(groups) != clips:
        raise TextualizeError(f"{len(groups)} groups for {clips} clips: give every clip one")
    if not clips:
        raise TextualizeError("no clip to score: give at least one labelled clip")
    names, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    return names, group


def _number_sums(y_true: ArrayLike, y_pred: ArrayLike, groups: Sequence[str]) -> Float64:
    y, x = np.asarray(y_true, np.float64), np.asarray(y_pred, np.float64)
    if x.shape != y.shape:
        raise TextualizeError(
            f"{len(y)} labels but {len(x)} predictions: give one prediction a label"
        )
    names, group = _groups(groups, len(y))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise TextualizeError("a label or an answer is not a finite number: leave such clips out")
    shift = y.mean()  # sums of squares of large, close numbers would lose their digits
    x, y = x - shift, y - shift
    each = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y, np.abs(x - y), (x - y) ** 2], 1)
    sums = np.zeros((len(names), len(SUMS)))
    np.add.at(sums, group, each)
    return sums


# --- scores of numbers --------------------------------------------------------------------------


def _moments(sums: Float64) -> tuple[Float64, Float64, Float64, Float64]:
    """Centred sums of squares of answers and truth, of their products, and n (mean - mean)^2."""
    n, x, y, xx, yy, xy = (sums[..., i] for i in range(6))
    return _spread(xx, x * x / n), _spread(yy, y * y / n), xy - x * y / n, (x - y) ** 2 / n


def _spread(squares: Float64, mean: Float64) -> Float64:
    """A centred sum of squares; that of a constant, which is 0 but for rounding, is 0."""
    return np.where(squares - mean > 1e-12 * squares, squares - mean, 0.0)


def _ratio(above: Float64, below: Float64, undefined: float) -> Float64:
    out = np.full(np.shape(above), undefined, np.float64)
    return np.divide(above, below, out=out, where=below > 0)


def _ccc(sums: Float64) -> Float64:
    sxx, syy, sxy, apart = _moments(sums)
    return _ratio(2 * sxy, sxx + syy + apart, 0.0)


def _pcc(sums: Float64) -> Float64:
    sxx, syy, sxy, _ = _moments(sums)
    return _ratio(sxy, np.sqrt(sxx * syy), np.nan)


def _icc(sums: Float64) -> Float64:
    """ICC(3,1) of two raters, (MS_rows - MS_error) / (MS_rows + MS_error) = 2 Sxy / (Sxx + Syy)."""
    sxx, syy, sxy, _ = _moments(sums)
    return _ratio(2 * sxy, sxx + syy, np.nan)


def _mae(sums: Float64) -> Float64:
    return cast(Float64, sums[..., 6] / sums[..., 0])


def _rmse(sums: Float64) -> Float64:
    return cast(Float64, np.sqrt(sums[..., 7] / sums[..., 0]))


# Population CCC (0 for a constant), PCC and ICC(3,1) (NaN for a constant), see `metrics`.
NUMBER_SCORES: Mapping[str, Callable[[Float64], Float64]] = {
    "ccc": _ccc,
    "pcc": _pcc,
    "icc": _icc,
    "mae": _mae,
    "rmse": _rmse,
}
CLASS_SCORES = ("accuracy", "macro_f1", "weighted_f1", "uar")  # in the order of a report


def score_names(n_classes: int) -> tuple[str, ...]:
    """Return the scores there are of C classes, or of numbers where C is 0.

    >>> score_names(0)
    ('ccc', 'pcc', 'icc', 'mae', 'rmse')
    """
    return tuple(NUMBER_SCORES) if n_classes == NUMBERS else CLASS_SCORES


def score_tallies(name: str, tallies: NDArray[Any], n_classes: int) -> Float64:
    """Return the named score of tallies (..., C, C + 1) or (..., 8), shape (...).

    Raises:
        TextualizeError: there is no such score of classes, or of numbers.
    """
    scores = NUMBER_SCORES if n_classes == NUMBERS else SCORES
    if name not in scores:
        kind = "score of numbers" if n_classes == NUMBERS else "score"
        raise unknown(kind, name, scores)
    return scores[name](tallies)
