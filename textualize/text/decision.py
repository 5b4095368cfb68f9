"""How a text method decides: its scores, less what training made frequent, at a temperature.

A model fitted to frequent classes answers rare ones too seldom for an F1 score. Taking
`exponent` times the log of the training prior off the class scores (logit adjustment, Menon et
al. 2021, eq. 9) puts that right; 0 changes nothing, 1 decides as if all classes were as frequent.
What is left is divided by a temperature (Guo et al. 2017, eq. 9), which changes no answer, only
how sure it is. Both are fitted on validation and kept in the run as `decision.json`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from textualize.errors import TextualizeError
from textualize.evaluate.metrics import score
from textualize.files import read_json, write_json_atomic

EXPONENTS = tuple(round(0.05 * i, 2) for i in range(21))
COLDEST, HOTTEST = 0.05, 20.0  # temperatures that are tried

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What turns class scores into probabilities: `bias` (C,) is added, `temperature` divides."""

    bias: Scores
    temperature: float = 1.0
    exponent: float = 0.0

    @classmethod
    def neutral(cls, n_classes: int) -> Decision:
        """Return the decision that changes nothing."""
        return cls(np.zeros(n_classes))

    def probabilities(self, log_scores: Scores) -> Scores:
        """Return probabilities (N, C) of log scores (N, C); an infinite temperature knows nothing.

        >>> Decision(np.zeros(2), math.inf).probabilities(np.array([[-1.0, -9.0]])).tolist()
        [[0.5, 0.5]]
        """
        return np.asarray(softmax((log_scores + self.bias) / self.temperature, axis=1))

    def again(self, undecided: Scores) -> Scores:
        """Return probabilities (N, C) of those that the neutral decision gave."""
        return self.probabilities(_logs(undecided))

    def save(self, run: Path, labels: Sequence[str]) -> None:
        """Write decision.json into the run folder."""
        about = {
            "prior_exponent": self.exponent,
            "bias": dict(zip(labels, self.bias.tolist(), strict=True)),
            "temperature": self.temperature,
        }
        write_json_atomic(run / "decision.json", about)

    @classmethod
    def load(cls, run: Path, labels: Sequence[str]) -> Decision:
        """Return the run's decision in the labels' order; the neutral one where it has none.

        Raises:
            TextualizeError: decision.json is damaged or has other labels.
        """
        path = run / "decision.json"
        if not path.is_file():
            return cls.neutral(len(labels))
        stored = read_json(path, "decision of the run")
        bias = stored.get("bias", {})
        if not isinstance(bias, dict) or set(bias) != set(labels):
            raise TextualizeError(f"{path} is not of this run: its labels are others")
        temperature = float(stored.get("temperature", 1.0))  # runs from before temperatures
        if not temperature > 0:
            raise TextualizeError(f"{path} has temperature {temperature:g}, expected above 0")
        exponent = float(stored.get("prior_exponent", 0.0))
        return cls(np.array([float(bias[label]) for label in labels]), temperature, exponent)


def fitted_decision(
    probabilities: Scores,
    truth: Sequence[int],
    classes: Sequence[int],
    select: str,
    *,
    prior: bool,
    temperature: bool,
) -> Decision:
    """Return the decision that validation asks for.

    Args:
        probabilities: (N, C), undecided, of the validation clips.
        truth: their N classes.
        classes: the classes of the training clips.
        select: the score's name.
        prior: fit the share of the training prior that is taken off.
        temperature: fit the temperature, after that.
    """
    n_classes = probabilities.shape[1]
    exponent = 0.0
    if prior:
        exponent, _ = fitted_exponent(probabilities, truth, classes, select)
    bias = class_bias(classes, n_classes, exponent)
    logs = _logs(probabilities) + bias
    heat = fitted_temperature(logs, truth) if temperature else 1.0
    return Decision(bias, heat, exponent)


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
    logs = _logs(probabilities)
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


def fitted_temperature(log_scores: Scores, truth: Sequence[int]) -> float:
    """Return the temperature under which the truth is most likely, within COLDEST and HOTTEST.

    `log_scores` is (N, C). One class, or none of the answers to be told apart, gives 1.
    """
    rows = np.arange(len(log_scores))
    if np.ptp(log_scores, axis=1).max(initial=0.0) == 0:
        return 1.0

    def loss(log_temperature: float) -> float:
        logs = log_softmax(log_scores / math.exp(log_temperature), axis=1)
        return float(-logs[rows, list(truth)].mean())

    found = minimize_scalar(
        loss, bounds=(math.log(COLDEST), math.log(HOTTEST)), method="bounded",
        options={"xatol": 1e-5},
    )  # fmt: skip
    return float(math.exp(found.x))


def _logs(probabilities: Scores) -> Scores:
    return np.asarray(np.log(np.maximum(probabilities, 1e-300)))
