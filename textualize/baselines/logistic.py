"""Logistic regression by scikit-learn with a row a class, whatever the number of classes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression


def fit_logistic(
    model: LogisticRegression, x: Any, y: Any, name: str, notes: list[str], weights: Any = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return coefficients (K, F) and intercepts (K,) of the K classes in `model.classes_`.

    Args:
        model: what is fitted.
        x: (N, F), sparse or not.
        y: class ids, (N,).
        name: the method's; a fit that did not converge adds a note that begins with it.
        notes: where to.
        weights: of the rows, (N,).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, y, weights)
    if int(np.max(model.n_iter_)) >= model.max_iter:
        notes.append(f"{name}: C={model.C} stopped after {model.max_iter} iterations")
    coefficients, intercept = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # one row of a sigmoid is two of a softmax
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercept = np.concatenate([-intercept, intercept]) / 2
    return coefficients, intercept
