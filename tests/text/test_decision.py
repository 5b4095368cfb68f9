import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from textualize.errors import TextualizeError
from textualize.evaluate.metrics import score
from textualize.text.decision import (
    Decision,
    class_bias,
    fitted_decision,
    fitted_exponent,
    fitted_temperature,
)


def test_exponent_zero_changes_nothing_and_one_cancels_the_prior():
    classes = [0] * 60 + [1] * 30 + [2] * 10
    assert not class_bias(classes, 3, 0.0).any()
    prior = np.array([61, 31, 11]) / 103
    flat = np.log(prior) + class_bias(classes, 3, 1.0)
    np.testing.assert_allclose(flat, 0.0, atol=1e-12)


def test_a_class_never_trained_keeps_a_finite_bias():
    assert np.isfinite(class_bias([0, 0], 3, 1.0)).all()


def test_the_fitted_exponent_is_never_worse_than_none_on_validation():
    p, truth = imbalanced()
    exponent, reached = fitted_exponent(p, truth, truth, "macro_f1")
    assert exponent > 0
    assert reached > score("macro_f1", truth, p.argmax(1), 3)


def imbalanced():
    rng = np.random.default_rng(0)
    truth = rng.choice(3, 400, p=[0.7, 0.2, 0.1])
    logits = 1.2 * np.eye(3)[truth] + rng.normal(size=(400, 3)) + np.log([0.7, 0.2, 0.1])
    return np.exp(log_softmax(logits, axis=1)), truth


def test_of_equals_the_smallest_is_taken():
    p = np.eye(2)[[0, 1, 0, 1]] * 0.98 + 0.01
    assert fitted_exponent(p, [0, 1, 0, 1], [0, 1], "accuracy") == (0.0, 1.0)


@pytest.mark.parametrize("exponent", [0.0, 0.5])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 7.0])
def test_probabilities_sum_to_one_and_a_temperature_changes_no_answer(exponent, temperature):
    logs = np.log([[0.3, 0.7], [0.45, 0.55]])
    bias = class_bias([0, 1, 1], 2, exponent)
    warm = Decision(bias, temperature).probabilities(logs)
    np.testing.assert_allclose(warm.sum(1), 1)
    assert (warm.argmax(1) == Decision(bias).probabilities(logs).argmax(1)).all()
    np.testing.assert_allclose(
        Decision(bias, temperature).again(np.array([[0.3, 0.7], [0.45, 0.55]])), warm
    )


def test_the_limits_of_temperature_are_uniform_and_certain():
    logs = np.log([[0.2, 0.5, 0.3]])
    hot, cold = (Decision(np.zeros(3), t).probabilities(logs) for t in (math.inf, 1e-6))
    np.testing.assert_allclose(hot, 1 / 3)
    np.testing.assert_allclose(cold, [[0, 1, 0]], atol=1e-12)


@given(st.floats(0.2, 8.0))
@settings(max_examples=20, deadline=None)
def test_an_overconfidence_is_found_and_taken_back(factor):
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4000, 4))
    p = np.exp(log_softmax(logits, axis=1))
    truth = [rng.choice(4, p=row) for row in p]
    honest = fitted_temperature(logits, truth)
    assert honest == pytest.approx(1.0, abs=0.1)
    assert fitted_temperature(logits * factor, truth) == pytest.approx(factor * honest, rel=1e-3)


def test_the_fitted_temperature_has_the_least_loss_of_a_grid():
    p, truth = imbalanced()
    fit = fitted_temperature(np.log(p) * 2.5, truth)

    def loss(t):
        return -log_softmax(np.log(p) * 2.5 / t, axis=1)[np.arange(len(p)), truth].mean()

    assert loss(fit) <= min(loss(t) for t in np.geomspace(0.05, 20, 200)) + 1e-7


@pytest.mark.parametrize("logs", [np.zeros((3, 1)), np.zeros((3, 4))])
def test_nothing_to_tell_apart_has_temperature_one(logs):
    assert fitted_temperature(logs, [0, 0, 0]) == 1.0


def test_only_what_is_asked_for_is_fitted():
    p, truth = imbalanced()
    nothing = fitted_decision(p, truth, truth, "macro_f1", prior=False, temperature=False)
    assert (nothing.exponent, nothing.temperature, nothing.bias.any()) == (0.0, 1.0, False)
    both = fitted_decision(p**3, truth, truth, "macro_f1", prior=True, temperature=True)
    assert both.exponent > 0
    assert both.temperature > 1.5


def test_round_trip_absence_and_runs_from_before(tmp_path):
    nothing = Decision.load(tmp_path, ("a", "b"))
    assert (nothing.bias.tolist(), nothing.temperature) == ([0.0, 0.0], 1.0)
    made = Decision(class_bias([0, 0, 1], 2, 0.35), 1.7, 0.35)
    made.save(tmp_path, ("a", "b"))
    again = Decision.load(tmp_path, ("b", "a"))
    np.testing.assert_array_equal(again.bias, made.bias[::-1])
    assert (again.temperature, again.exponent) == (1.7, 0.35)
    old = {"prior_exponent": 0.2, "bias": {"a": 0.1, "b": 0.3}}
    (tmp_path / "decision.json").write_text(json.dumps(old))
    assert Decision.load(tmp_path, ("a", "b")).temperature == 1.0


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"bias": {"a": 0.0}}, "labels are others"),
        ({"bias": {"a": 0.0, "b": 0.0}, "temperature": 0}, "expected above 0"),
    ],
)
def test_a_decision_that_is_not_the_runs_is_refused(tmp_path, stored, message):
    (tmp_path / "decision.json").write_text(json.dumps(stored))
    with pytest.raises(TextualizeError, match=message):
        Decision.load(tmp_path, ("a", "b"))
