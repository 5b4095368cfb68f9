"""How a text method decides: its scores, less a share of what training made frequent.

A model fitted to frequent classes answers rare ones too seldom for an F1 score. Taking
`exponent` times the log of the training prior off the class scores (logit adjustment, Menon et
al. 2021, eq. 9) puts that right; 0 changes nothing, 1 decides as if all classes were as frequent.
The exponent is fitted on validation and kept in the run as `decision.json`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from textualize.evaluate.metrics import score
from textualize.files import read_json, write_json_atomic

EXPONENTS = tuple(round(0.05 * i, 2) for i in range(21))

Scores = NDArray[np.float64]


def class_bias(classes: Sequence[int], n_classes: int, exponent: float) -> Scores:
    """Return what is added to the class scores, (C,): -exponent log prior, one count smoothed.

    >>> class_bias([0, 0, 0, 1], 2, 0.0).tolist()
    [0.0, 0.0]
    >>> bias = class_bias([0, 0, 0, 1], 2, 1.0)
    >>> bool(bias[1] > bias[0])
    True
    """
    counts = Counter(classes)
    prior = np.array([counts[c] + 1.0 for c in range(n_classes)])
    return np.asarray(-exponent * np.log(prior / prior.sum()) + 0.0)


def fitted_exponent(
    probabilities: Scores, truth: Sequence[int], classes: Sequence[int], select: str
) -> tuple[float, float]:
    """Return the exponent with the best validation score, the smallest of equals, and that score.

    Args:
        probabilities: (N, C), of the validation clips.
        truth: their N classes.
        classes: the classes of the training clips.
        select: the score's name.
    """
    n_classes = probabilities.shape[1]
    logs = np.log(np.maximum(probabilities, 1e-300))
    tried = [
        (
            score(
                select, list(truth), (logs + class_bias(classes, n_classes, e)).argmax(1), n_classes
            ),
            -e,
        )
        for e in EXPONENTS
    ]
    best, exponent = max(tried)
    return abs(exponent), best


def save_bias(run: Path, labels: Sequence[str], bias: Scores, exponent: float) -> None:
    """Write decision.json."""
    about = {"prior_exponent": exponent, "bias": dict(zip(labels, bias.tolist(), strict=True))}
    write_json_atomic(run / "decision.json", about)


def load_bias(run: Path, labels: Sequence[str]) -> Scores:
    """Return the run's bias in the labels' order, zeros where it has none, (C,)."""
    path = run / "decision.json"
    if not path.is_file():
        return np.zeros(len(labels))
    stored = read_json(path, "decision of the run")["bias"]
    return np.array([float(stored[label]) for label in labels])
