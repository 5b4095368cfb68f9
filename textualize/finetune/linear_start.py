"""The start of a network's linear path: a fitted linear model, which training then goes on from.

Trained from chance along with the rest, that path overfits where features are many and clips few;
regularised to what validation bears it is as good as the linear floor, and the rest of the network
learns what it leaves.
"""

from __future__ import annotations

import torch
from torch import Tensor

from textualize.baselines.answer import LinearPath
from textualize.baselines.batch import Batch
from textualize.baselines.task import Task, better
from textualize.finetune.feature_data import Data
from textualize.finetune.linear import Array, Arrays, fit_linear

ITERATIONS = 200  # training goes on from here
ROWS = 20_000  # steps to fit, evenly out of more
STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


def start_path(path: LinearPath, data: Data, select: str) -> float:
    """Start a linear path from logistic or ridge regression of what it reads; return its C.

    The strength is the one with the best validation score `select` (ties: the stronger
    regularisation), the model is fitted to training clips, or to their annotated steps.
    """
    train, held = path.inputs(data.train), path.inputs(data.validation)
    x, y, weights = _annotated_rows(train, data.train, data.task)
    best: tuple[float, float, Arrays] | None = None
    for strength in STRENGTHS:
        fitted = fit_linear(x, y, weights, data.task, strength, [], ITERATIONS)
        weight, bias = (torch.from_numpy(part).to(held) for part in fitted)
        score = data.task.score(select, held @ weight.T + bias, data.validation.targets)
        if best is None or better(select, score, best[0]):
            best = score, strength, fitted
    assert best is not None
    path.start(*(torch.from_numpy(part) for part in best[2]))
    return best[1]


def _annotated_rows(x: Tensor, batch: Batch, task: Task) -> tuple[Array, Array, Array]:
    """Return rows (N, F), their targets (N,) or (N, V) and weights (N,): clips, or steps."""
    targets = batch.targets.flatten(0, 1) if task.per_step else batch.targets
    weights = batch.weights.repeat_interleave(x.shape[1]) if task.per_step else batch.weights
    known = task.annotated(targets)
    rows = (known if task.kind == "classes" else known.any(-1)).nonzero()[:, 0]
    rows = rows[:: -(-len(rows) // ROWS) or 1]
    x = x.flatten(0, 1) if task.per_step else x
    found = x[rows].double(), targets[rows], weights[rows].double()
    return tuple(part.cpu().numpy() for part in found)  # type: ignore[return-value]
