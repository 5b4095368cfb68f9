import numpy as np
import pytest

from textualize.evaluate.metrics import score
from textualize.text.decision import class_bias, fitted_exponent, load_bias, save_bias


def test_exponent_zero_changes_nothing_and_one_cancels_the_prior():
    classes = [0] * 60 + [1] * 30 + [2] * 10
    assert not class_bias(classes, 3, 0.0).any()
    prior = np.array([61, 31, 11]) / 103
    flat = np.log(prior) + class_bias(classes, 3, 1.0)
    np.testing.assert_allclose(flat, 0.0, atol=1e-12)


def test_a_class_never_trained_keeps_a_finite_bias():
    assert np.isfinite(class_bias([0, 0], 3, 1.0)).all()


def test_the_fitted_exponent_is_never_worse_than_none_on_validation():
    rng = np.random.default_rng(0)
    truth = rng.choice(3, 400, p=[0.7, 0.2, 0.1])
    logits = 1.2 * np.eye(3)[truth] + rng.normal(size=(400, 3)) + np.log([0.7, 0.2, 0.1])
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    exponent, reached = fitted_exponent(p, truth, truth, "macro_f1")
    assert exponent > 0
    assert reached > score("macro_f1", truth, p.argmax(1), 3)


def test_of_equals_the_smallest_is_taken():
    p = np.eye(2)[[0, 1, 0, 1]] * 0.98 + 0.01
    assert fitted_exponent(p, [0, 1, 0, 1], [0, 1], "accuracy") == (0.0, 1.0)


def test_round_trip_and_absence(tmp_path):
    assert load_bias(tmp_path, ("a", "b")).tolist() == [0.0, 0.0]
    bias = class_bias([0, 0, 1], 2, 0.35)
    save_bias(tmp_path, ("a", "b"), bias, 0.35)
    np.testing.assert_array_equal(load_bias(tmp_path, ("b", "a")), bias[::-1])


@pytest.mark.parametrize("exponent", [0.0, 0.5])
def test_probabilities_still_sum_to_one(exponent):
    bias = class_bias([0, 1, 1], 2, exponent)
    logs = np.log([[0.3, 0.7]]) + bias
    p = np.exp(logs) / np.exp(logs).sum()
    assert np.isclose(p.sum(), 1)
