"""Words and features together: late fusion of two finished methods, fitted on validation.

    classes   p ∝ p_words^a p_tracks^b, weights a, b >= 0 of least validation log loss: a
              logarithmic pool whose weights are inverse temperatures, hence calibrated
    numbers   a words + b tracks + c of least squares on validation

Each fold and seed has weights of its own, from its own runs' validation clips. An answer that
could not be read says nothing of the classes: its probabilities count as equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from textualize.errors import TextualizeError
from textualize.evaluate.answers import Answers
from textualize.evaluate.compare import Difference, Interval, interval, paired_difference
from textualize.evaluate.metrics import Float64
from textualize.evaluate.spoken import difference_text, interval_text
from textualize.labels import LabelSet
from textualize.types import Prediction, Record

METHOD = "combination"
_LEAST = 1e-6  # a probability below counts as this much, so that its logarithm is finite
_START = (0.5, 0.5)


@dataclass(frozen=True, slots=True)
class Combined:
    """Two methods combined: its score, and its gain over either one.

    `better` is the one of the two that was better on validation; `weights` are (of a, of b) of
    every fold and seed.
    """

    name: str
    a: str
    b: str
    better: str
    score: Interval
    gains: tuple[Difference, ...]
    weights: tuple[tuple[float, ...], ...] = field(default=())

    @property
    def gain(self) -> Difference:
        """The gain over the one that was better on validation."""
        return next(g for g in self.gains if g.b == self.better)


@dataclass(frozen=True, slots=True)
class Part:
    """One run's answers on its validation and its tested clips."""

    validation: Sequence[Prediction]
    tested: Sequence[Prediction]


def fused(
    a: Part, b: Part, records: Mapping[str, Record], labels: LabelSet
) -> tuple[list[Prediction], tuple[float, ...]]:
    """Return the combination's answers for the tested clips, and its fitted weights.

    Args:
        a: one method's answers.
        b: the other's, for the same clips.
        records: the labelled records by clip id.
        labels: the label set.

    Raises:
        TextualizeError: the two answer different clips, or one gives no class probabilities.
    """
    for one, other in ((a.validation, b.validation), (a.tested, b.tested)):
        if {p.clip_id for p in one} != {p.clip_id for p in other}:
            raise TextualizeError("two methods to combine answer different clips: predict the same")
    ids = [p.clip_id for p in a.validation]
    asked = [p.clip_id for p in a.tested]
    if labels.numeric:
        truth = np.array([records[i].clip.label for i in ids], np.float64)
        design = _numbers(a.validation, b.validation, ids)
        found = np.linalg.lstsq(design, truth, rcond=None)[0]
        answers = _numbers(a.tested, b.tested, asked) @ found
        numbers = [Prediction(i, METHOD, float(x)) for i, x in zip(asked, answers, strict=True)]
        return numbers, tuple(found.tolist())
    true = np.array([labels.index(str(records[i].clip.label)) for i in ids])
    weights = fitted(_logs(a.validation, ids, labels), _logs(b.validation, ids, labels), true)
    pool = pooled(_logs(a.tested, asked, labels), _logs(b.tested, asked, labels), weights)
    silent = {p.clip_id for p in a.tested if p.label is None}
    silent &= {p.clip_id for p in b.tested if p.label is None}
    return [
        Prediction(i, METHOD, None, {})
        if i in silent
        else Prediction(
            i,
            METHOD,
            labels.labels[int(row.argmax())],
            dict(zip(labels.labels, row.tolist(), strict=True)),
        )
        for i, row in zip(asked, pool, strict=True)
    ], weights


def fitted(words: Float64, tracks: Float64, true: Any) -> tuple[float, float]:
    """Return the two weights of least log loss; log-probabilities (B, C), class ids (B,)."""

    def loss(weights: Any) -> float:
        logs = _log_pool(words, tracks, weights)
        return -float(logs[np.arange(len(true)), true].mean())

    found = minimize(loss, _START, method="L-BFGS-B", bounds=[(0.0, 10.0)] * 2)
    return float(found.x[0]), float(found.x[1])


def pooled(words: Float64, tracks: Float64, weights: Sequence[float]) -> Float64:
    """Return the pool's probabilities (B, C)."""
    return np.asarray(np.exp(_log_pool(words, tracks, weights)), np.float64)


def _log_pool(words: Float64, tracks: Float64, weights: Sequence[float]) -> Float64:
    return np.asarray(log_softmax(weights[0] * words + weights[1] * tracks, axis=1), np.float64)


def _logs(predictions: Sequence[Prediction], ids: Sequence[str], labels: LabelSet) -> Float64:
    """Log-probabilities (B, C); those of an unreadable answer are equal."""
    by_id = {p.clip_id: p for p in predictions}
    rows = []
    for clip in ids:
        scores = by_id[clip].scores
        if not scores and by_id[clip].label is not None:
            raise TextualizeError(
                f"method '{by_id[clip].method}' gives no class probabilities: it cannot be combined"
            )
        rows.append([scores.get(c, 0.0) if scores else 1.0 / len(labels) for c in labels.labels])
    return np.asarray(np.log(np.maximum(np.asarray(rows), _LEAST)), np.float64)


def _numbers(a: Sequence[Prediction], b: Sequence[Prediction], ids: Sequence[str]) -> Float64:
    """The answers of both and a one, (B, 3)."""
    one, other = ({p.clip_id: p.label for p in own} for own in (a, b))
    return np.array([[float(one[i] or 0), float(other[i] or 0), 1.0] for i in ids], np.float64)


def combined_of(
    name: str,
    own: Answers,
    a: Answers,
    b: Answers,
    *,
    better: str,
    statistic: str,
    draws: int,
    seed: int,
    weights: Sequence[Sequence[float]] = (),
) -> Combined:
    """Return a combination's score and its paired gains over both of its methods."""
    return Combined(
        name,
        a.method,
        b.method,
        better,
        interval(own, statistic, draws=draws, seed=seed),
        tuple(paired_difference(own, x, statistic, draws=draws, seed=seed) for x in (a, b)),
        tuple(tuple(round(x, 4) for x in w) for w in weights),
    )


def combined_table(found: Combined) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of a combination: its score, and its gain over either one."""
    rows = [[found.name, interval_text(found.score), ""]]
    rows += [
        [
            f"gain over {g.b}" + (" (better on validation)" if g.b == found.better else ""),
            difference_text(g),
            f"{g.p:.3f}",
        ]
        for g in found.gains
    ]
    return ["", found.gains[0].statistic.replace("_", " "), "p"], rows


def combined_from_json(value: Mapping[str, Any] | None) -> Combined | None:
    """Return the combination whose `asdict` this is."""
    if value is None:
        return None
    return Combined(
        **{
            **value,
            "score": Interval(**value["score"]),
            "gains": tuple(Difference(**g) for g in value["gains"]),
            "weights": tuple(tuple(w) for w in value["weights"]),
        }
    )


def of_seeds(a: Mapping[int | None, Any], b: Mapping[int | None, Any]) -> dict[int | None, Any]:
    """Return pairs by seed: the same seed of both, or the only one of a method with one."""
    seeds = list(a) if len(a) >= len(b) else list(b)
    first = {id_: next(iter(own.values())) for id_, own in (("a", a), ("b", b))}
    return {s: (a.get(s, first["a"]), b.get(s, first["b"])) for s in seeds}
