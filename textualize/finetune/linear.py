"""The linear floor of the feature methods: what needs no network must not be lost to.

Logistic regression of a clip's functionals, or ridge regression where labels are numbers, fitted by
scikit-learn to the very numbers `concat` reads, and kept as `concat` without its hidden layer.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge

from textualize.baselines.concat import Concat
from textualize.baselines.fusion import FeatureMethod, settings_of
from textualize.baselines.logistic import fit_logistic
from textualize.baselines.task import Task, better
from textualize.errors import TextualizeError
from textualize.finetune.feature_data import Data, prepare
from textualize.finetune.feature_recipes import LinearRecipe
from textualize.finetune.run_folder import RunFolder
from textualize.types import Record

MAX_ITERATIONS = 5000
Array = NDArray[Any]
Arrays = tuple[Array, Array]  # weights (outputs, F), bias (outputs,)


def train_linear(
    recipe: LinearRecipe, train: Sequence[Record], validation: Sequence[Record], run: RunFolder
) -> FeatureMethod:
    """Return the trained method after filling a begun run folder.

    The strength is the one with the best validation score `recipe.select` (ties: the stronger
    regularisation); the model is fitted on the training records only.

    Raises:
        TextualizeError: a track is nowhere, a label is unknown, or there is nothing to train or
            validate on.
    """
    started = time.time()
    if not train or not validation:
        raise TextualizeError(
            f"linear needs training and validation records; given {len(train)} and "
            f"{len(validation)}"
        )
    recipe = recipe.resolved(run.labels)
    data = prepare(recipe, run.labels, train, validation)
    settings = settings_of("linear", recipe)
    network = cast(Concat, data.build(settings))
    method = data.method(network, settings)
    lines: list[dict[str, Any]] = []
    fitted: list[Arrays] = []
    notes = list(data.notes)
    for strength in sorted(recipe.strengths):
        fitted.append(fit_linear(*_clips(data), data.task, strength, notes))
        _put(network, fitted[-1])
        score = _score(network, data, recipe.select)
        lines.append({"strength": strength, f"validation_{recipe.select}": round(score, 6)})
    scores = [line[f"validation_{recipe.select}"] for line in lines]
    chosen = 0
    for i in range(1, len(scores)):
        if better(recipe.select, scores[i], scores[chosen]):
            chosen = i
    _put(network, fitted[chosen])
    method.save(run.path)
    run.write_metrics([{**line, "selected": i == chosen} for i, line in enumerate(lines)])
    run.write_validation(validation, [p.label for p in method.predict(validation)])
    run.write_fitted({"scales and weights": (train, ("train",))})
    summary = {
        "parameters": sum(p.numel() for p in network.parameters()),
        "strength C": lines[chosen]["strength"],
        f"validation {recipe.select}": round(scores[chosen], 4),
        "seconds": round(time.time() - started, 1),
    }
    run.finish(summary, notes, started)
    return method


def _clips(data: Data) -> tuple[Array, Array, Array]:
    train = data.train
    return (
        train.functionals.double().numpy(),
        train.targets.numpy(),
        train.weights.double().numpy(),
    )


def fit_linear(
    x: Array,
    y: Array,
    weights: Array,
    task: Task,
    strength: float,
    notes: list[str],
    iterations: int = MAX_ITERATIONS,
) -> Arrays:
    """Return weights (outputs, F) and bias (outputs,) of logistic, or of ridge, regression.

    x: (N, F), y: (N,) class ids or (N, V) values, NaN without annotation, weights: (N,).
    strength: C, or 1 / alpha. A fit that did not converge adds a note.
    """
    if task.kind == "values":
        return _ridge(x, y.astype(np.float64), weights, strength)
    model = LogisticRegression(C=strength, max_iter=iterations)
    coefficients, intercept = fit_logistic(model, x, y, "linear", notes, weights)
    every = np.zeros((task.outputs, x.shape[1]))
    bias = np.full(task.outputs, intercept.min() - 50.0)  # a class training never showed
    every[model.classes_], bias[model.classes_] = coefficients, intercept
    return every, bias


def _ridge(x: Array, y: Array, weights: Array, strength: float) -> Arrays:
    """Return ridge regression of every value by itself: steps may be annotated with some only."""
    every, bias = np.zeros((y.shape[1], x.shape[1])), np.zeros(y.shape[1])
    for v, column in enumerate(y.T):
        known = np.isfinite(column)
        if known.any():
            own = Ridge(alpha=1 / strength).fit(x[known], column[known], weights[known])
            every[v], bias[v] = own.coef_, own.intercept_
    return every, bias


def _put(network: Concat, fitted: Arrays) -> None:
    with torch.no_grad():
        network.linear.weight.copy_(torch.from_numpy(fitted[0]))
        network.linear.bias.copy_(torch.from_numpy(fitted[1]))


def _score(network: Concat, data: Data, select: str) -> float:
    network.eval()
    with torch.no_grad():
        out = network(data.validation)
    return data.task.score(select, out, data.validation.targets)
