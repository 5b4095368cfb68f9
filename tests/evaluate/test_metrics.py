"""pytest tests/evaluate/test_metrics.py"""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    mean_absolute_error,
    precision_recall_fscore_support,
    root_mean_squared_error,
)
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from textualize.errors import TextualizeError
from textualize.evaluate import metrics

PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 4)), min_size=1, max_size=60)


@settings(deadline=None, max_examples=60)
@given(PAIRS)
def test_scores_equal_scikit_learn(pairs):
    true, predicted = map(list, zip(*pairs, strict=True))
    # scikit-learn has no "unparsed": a class of its own that is left out of the averages
    classes = list(range(5))
    options = {"labels": classes, "zero_division": 0}
    assert metrics.score("macro_f1", true, predicted, 5) == pytest.approx(
        f1_score(true, predicted, average="macro", **options)
    )
    assert metrics.score("weighted_f1", true, predicted, 5) == pytest.approx(
        f1_score(true, predicted, average="weighted", **options)
    )
    assert metrics.score("accuracy", true, predicted, 5) == pytest.approx(
        accuracy_score(true, predicted)
    )
    expected = precision_recall_fscore_support(true, predicted, **options)
    own = metrics.per_class(true, predicted, 5)
    for i, c in enumerate(own):
        assert (c.precision, c.recall, c.f1, c.support) == pytest.approx(
            tuple(e[i] for e in expected)
        )


def test_uar_is_balanced_accuracy_when_every_class_occurs():
    true, predicted = [0, 0, 0, 1, 2, 2], [0, 1, 0, 1, 0, 2]
    assert metrics.score("uar", true, predicted, 3) == pytest.approx(
        balanced_accuracy_score(true, predicted)
    )


def test_absent_class_counts():
    assert metrics.score("macro_f1", [0, 1], [0, 1], 4) == 0.5
    assert metrics.score("uar", [0, 1], [0, 1], 4) == 0.5


@pytest.mark.parametrize("name", sorted(metrics.SCORES))
def test_unparsed_is_wrong(name):
    true = [0, 1, 2, 0, 1, 2]
    assert metrics.score(name, true, true, 3) == 1.0
    assert metrics.score(name, true, [-1, 1, 2, 0, 1, 2], 3) < 1.0
    assert metrics.score(name, true, [-1] * 6, 3) == 0.0
    assert metrics.score(name, [], [], 3) == 0.0


def test_bad_input_is_refused():
    with pytest.raises(TextualizeError, match="macro_f1"):
        metrics.score("macro_f2", [0], [0], 2)
    with pytest.raises(TextualizeError, match="2 labels but 1 predictions"):
        metrics.score("accuracy", [0, 1], [0], 2)
    with pytest.raises(TextualizeError, match="predicted class id"):
        metrics.score("accuracy", [0, 1], [0, 2], 2)
    with pytest.raises(TextualizeError, match="true class id"):
        metrics.score("accuracy", [0, -1], [0, 1], 2)


def test_concordance_hand_values():
    x, y = [0.1, 0.4, -0.2, 0.3], [0.0, 0.5, -0.1, 0.1]
    assert metrics.ccc(x, y) == pytest.approx(0.8333333333, abs=1e-10)
    assert metrics.ccc(x, y, ddof=1) == pytest.approx(0.8345752608, abs=1e-10)
    assert metrics.ccc([1, 1, 1], [1, 1, 1]) == 0.0
    assert metrics.ccc([0.3, 0.3], [0.1, 0.9]) == 0.0
    masked = metrics.ccc([*x, -5.0], [*y, 0.7], [True] * 4 + [False])
    assert masked == pytest.approx(metrics.ccc(x, y))


def test_intraclass_correlation_hand_values():
    a, b = np.arange(1.0, 6.0), np.array([1.0, 3, 2, 5, 4])
    assert metrics.icc(a, b) == pytest.approx(0.8)
    assert metrics.icc(a, b + 1) == pytest.approx(0.8)
    assert metrics.icc(a, 2 * a) == pytest.approx(0.8)
    assert metrics.pcc(a, 2 * a) == pytest.approx(1.0)
    assert math.isnan(metrics.icc([1, 1], [1, 1]))


def test_errors_and_undefined_values():
    assert metrics.mae([1, 2, 9], [2, 4, 0], [True, True, False]) == 1.5
    assert metrics.rmse([0, 0], [3, -3]) == 3.0
    assert math.isnan(metrics.pcc([1, 1, 1], [1, 2, 3]))
    assert math.isnan(metrics.mae([], []))
    assert metrics.ccc([], []) == 0.0
    with pytest.raises(TextualizeError, match="mask has 1"):
        metrics.mae([1, 2], [1, 2], [True])


def _series(seed, n=40):
    rng = np.random.default_rng(seed)
    return rng.normal(1.0, 2.0, n), rng.normal(0.5, 1.0, n) + 0.3 * rng.normal(1.0, 2.0, n)


@pytest.mark.parametrize("seed", range(5))
def test_numbers_agree_with_scipy_and_scikit_learn(seed):
    x, y = _series(seed)
    assert metrics.pcc(x, y) == pytest.approx(scipy.stats.pearsonr(x, y).statistic)
    assert metrics.mae(x, y) == pytest.approx(mean_absolute_error(y, x))
    assert metrics.rmse(x, y) == pytest.approx(root_mean_squared_error(y, x))
    slope = scipy.stats.linregress(x, y).slope
    # Lin's own decomposition: correlation times how near slope and mean are to the diagonal
    v, u = x.std() / y.std(), (x.mean() - y.mean()) / np.sqrt(x.std() * y.std())
    near = 2 / (v + 1 / v + u * u)
    assert metrics.ccc(x, y) == pytest.approx(slope * x.std() / y.std() * near)


@pytest.mark.parametrize("seed", range(3))
def test_intraclass_correlation_is_that_of_the_two_way_anova(seed):
    x, y = _series(seed)
    table = pd.DataFrame(
        {
            "score": np.concatenate([x, y]),
            "clip": np.tile(np.arange(len(x)), 2),
            "rater": np.repeat([0, 1], len(x)),
        }
    )
    fitted = anova_lm(ols("score ~ C(clip) + C(rater)", table).fit())
    squares = fitted["sum_sq"] / fitted["df"]
    rows, error = squares["C(clip)"], squares["Residual"]
    assert metrics.icc(x, y) == pytest.approx((rows - error) / (rows + error))


@pytest.mark.parametrize("name", ["ccc", "pcc", "icc", "mae", "rmse"])
def test_a_mask_is_the_same_as_leaving_out(name):
    x, y = _series(9)
    keep = np.arange(len(x)) % 3 > 0
    x[~keep] = -5.0  # how Aff-Wild2 marks what is not annotated
    measure = getattr(metrics, name)
    assert measure(x, y, keep) == pytest.approx(measure(x[keep], y[keep]))
    assert measure(x, y, keep) != pytest.approx(measure(x, y), abs=1e-3)


def test_the_three_votes_differ():
    logits = [[6, 0, 5], [3, 2, 2], [1, 6, 3], [0, 6, 3], [4, 1, 3]]
    assert metrics.majority_vote(logits) == 0
    assert metrics.mean_probability_vote(logits) == 1
    assert metrics.mean_logit_vote(logits) == 2
    assert metrics.majority_vote([[0, 0, 9], [0, 9, 0]]) == 1  # a tie goes to the lowest id
    with pytest.raises(TextualizeError, match="vote"):
        metrics.majority_vote([])


def test_perfectly_calibrated_answers_have_no_error():
    # 8 of 10 right at confidence 0.8
    p = np.tile([0.8, 0.2], (10, 1))
    true = [0] * 8 + [1] * 2
    assert metrics.ece(true, p) == pytest.approx(0.0)
    assert metrics.brier(true, p) == pytest.approx((8 * 0.08 + 2 * 1.28) / 10)
    (only,) = metrics.reliability(true, p)
    assert (only.count, only.accuracy, only.confidence) == (10, 0.8, pytest.approx(0.8))


def test_unparsed_row_counts_as_wrong_with_no_confidence():
    p = np.array([[0.0, 0.0], [1.0, 0.0]])
    low, high = metrics.reliability([0, 0], p)
    assert (low.confidence, low.accuracy, high.accuracy) == (0.0, 0.0, 1.0)
    assert metrics.brier([0, 0], p) == 0.5
    assert math.isnan(metrics.ece([], np.zeros((0, 2))))
