"""What is predicted: classes or values, once a clip or at every step; its loss, score and answer.

Targets by kind, see `Batch.targets`: (B,) class ids, (B, V) values, (B, L) class ids, (B, L, V)
values. An id below 0 and a value that is NaN are no annotation: they enter neither loss nor score.
Values are standardised for the networks by the training annotation; `Task.numbers` takes them back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from textualize.baselines.batch import Targeted
from textualize.baselines.losses import ccc_loss
from textualize.errors import TextualizeError
from textualize.evaluate import metrics
from textualize.types import Unit

Kind = Literal["classes", "values"]
Objective = Literal["cross_entropy", "ccc", "mse", "mae"]
Votes = Literal["majority", "mean_logit", "mean_probability"]
Float64 = NDArray[np.float64]

OBJECTIVES: Mapping[Kind, tuple[Objective, ...]] = {
    "classes": ("cross_entropy",),
    "values": ("ccc", "mse", "mae"),
}
SELECTIONS: Mapping[Kind, tuple[str, ...]] = {
    "classes": ("macro_f1", "weighted_f1", "accuracy"),
    "values": ("ccc", "mae", "rmse"),
}
LOWER_IS_BETTER = ("mae", "rmse")
VOTES: tuple[Votes, ...] = ("majority", "mean_logit", "mean_probability")


@dataclass(frozen=True, slots=True)
class Values:
    """How the V values were annotated in training: mean, spread and ends, each of length V."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """What a network predicts.

    outputs: C classes or V values, called `names`. objective: the loss. votes: how the classes of
    the steps become a clip's. values: how values were annotated; None leaves them as they are.
    smooth_s: seconds of the moving average over values per step, one for each (none: not at all).
    unit: of the values' track.
    """

    kind: Kind = "classes"
    per_step: bool = False
    outputs: int = 2
    names: tuple[str, ...] = ()
    objective: Objective = "cross_entropy"
    votes: Votes = "mean_probability"
    values: Values | None = None
    smooth_s: tuple[float, ...] = ()
    unit: Unit = "named"

    def __post_init__(self) -> None:
        """Refuse a loss that is for the other kind of task."""
        if self.objective not in OBJECTIVES[self.kind]:
            raise TextualizeError(
                f"loss '{self.objective}' is not for {self.kind}: give "
                f"{' or '.join(OBJECTIVES[self.kind])}"
            )

    def loss(self, out: Tensor, batch: Targeted) -> Tensor:
        """Return the mean loss over what is annotated, a scalar; 0 where nothing is.

        out: (B, outputs), or (B, L, outputs) per step. Every annotated clip or step counts by its
        clip's weight; CCC is of all annotated ones together, 1 - CCC, the mean over the V values.
        """
        out = out.float()
        if self.kind == "classes":
            return _cross_entropy(out, batch.targets, batch.weights)
        if self.objective == "ccc":
            return _concordance(out, batch.targets)
        return _distance(out, batch.targets, batch.weights, self.objective)

    def annotated(self, targets: Tensor) -> Tensor:
        """Return where there is an annotation, bool: (B,), (B, L), or with V behind for values."""
        return targets >= 0 if self.kind == "classes" else torch.isfinite(targets)

    def numbers(self, out: Tensor) -> Float64:
        """Return values (…, V) in the units of the annotation, within its range in training."""
        found = out.detach().double().cpu().numpy()
        if self.values is None:
            return cast(Float64, found)
        mean, std, low, high = (
            np.asarray(getattr(self.values, k)) for k in ("mean", "std", "low", "high")
        )
        return cast(Float64, np.clip(found * std + mean, low, high))

    def smoothed(self, values: Float64, rate_hz: float) -> Float64:
        """Return values per step (L, V) after the moving average the task asks for."""
        if not self.smooth_s:
            return values
        columns = [
            smooth(values[:, v : v + 1], rate_hz, window) for v, window in enumerate(self.smooth_s)
        ]
        return np.concatenate(columns, axis=1)

    def to_json(self) -> dict[str, Any]:
        """Return the task as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Task:
        """Return the task `to_json` wrote."""
        stored: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in value.items()
        }
        if stored["values"] is not None:
            stored["values"] = Values(**{k: tuple(v) for k, v in stored["values"].items()})
        return cls(**stored)

    def score(self, select: str, out: Tensor, targets: Tensor) -> float:
        """Return a score of `SELECTIONS` over all that is annotated; the mean over V values.

        Per step, every annotated step counts once: videos are not averaged.
        """
        valid = self.annotated(targets).cpu().numpy()
        if self.kind == "classes":
            said, true = out.argmax(-1).cpu().numpy()[valid], targets.cpu().numpy()[valid]
            return metrics.score(select, true, said, self.outputs)
        measure = {"ccc": metrics.ccc, "mae": metrics.mae, "rmse": metrics.rmse}[select]
        said, true = self.numbers(out), self.numbers(targets)
        per_value = [
            measure(said[..., v], true[..., v], valid[..., v]) for v in range(self.outputs)
        ]
        return float(np.mean(per_value))


def better(select: str, one: float, other: float) -> bool:
    """Return whether a score is better than another.

    >>> better("ccc", 0.5, 0.4), better("mae", 0.5, 0.4)
    (True, False)
    """
    return one < other if select in LOWER_IS_BETTER else one > other


def vote(logits: Float64, rule: Votes) -> Float64:
    """Return a clip's class scores (C,), summing to 1, from logits of its steps (L, C).

    majority: the share of steps that choose a class. mean_logit: softmax of the mean logits.
    mean_probability: the mean softmax. The class is the highest; of equals the lowest id.
    """
    rows = np.asarray(logits, np.float64)
    if rule == "majority":
        return np.bincount(rows.argmax(1), minlength=rows.shape[1]) / len(rows)
    if rule == "mean_logit":
        return softmax(rows.mean(0))
    return cast(Float64, softmax(rows).mean(0))


def softmax(logits: Float64) -> Float64:
    """Return class probabilities over the last axis."""
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    return cast(Float64, odds / odds.sum(-1, keepdims=True))


def smooth(values: Float64, rate_hz: float, window_s: float) -> Float64:
    """Return the moving average over time of (T, V) values; at the ends, of the rows there are.

    A window that holds one row or less changes nothing; one of an even number of rows takes the
    row more from before.

    >>> smooth(np.array([[0.0], [3.0], [6.0]]), 1.0, 3.0)[:, 0].tolist()
    [1.5, 3.0, 4.5]
    """
    width = round(window_s * rate_hz)
    if width <= 1 or len(values) < 2:
        return values
    before, after = width // 2, width - width // 2  # rows before this one; it and those after
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, 0)])
    at = np.arange(len(values))
    low, high = np.maximum(at - before, 0), np.minimum(at + after, len(values))
    return cast(Float64, (total[high] - total[low]) / (high - low)[:, None])


def _cross_entropy(out: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    valid = targets >= 0
    each = F.cross_entropy(out.flatten(0, -2), targets.clamp(min=0).flatten(), reduction="none")
    share = _share(valid, weights)
    return (each.view_as(targets) * share).sum() / share.sum().clamp(min=torch.finfo().tiny)


def _distance(out: Tensor, targets: Tensor, weights: Tensor, objective: Objective) -> Tensor:
    valid = torch.isfinite(targets)
    off = out - torch.where(valid, targets, out.detach())
    each = off.square() if objective == "mse" else off.abs()
    share = _share(valid, weights)
    return (each * share).sum() / share.sum().clamp(min=torch.finfo().tiny)


def _share(valid: Tensor, weights: Tensor) -> Tensor:
    return valid * weights.view(-1, *[1] * (valid.ndim - 1))


def _concordance(out: Tensor, targets: Tensor) -> Tensor:
    flat, true = out.flatten(0, -2), targets.flatten(0, -2)
    valid = torch.isfinite(true)
    return torch.stack(
        [ccc_loss(flat[:, v], true[:, v], valid[:, v]) for v in range(flat.shape[-1])]
    ).mean()
