"""How far a network's attention lies where it should: what aligns it, and what measures that.

Attention T and a map A are (B, h, w) of the same size. Belharbi et al. 2024 train with one of
`CRITERIA` and report the cosine. The same map is then teacher and judge, and attention that is the
same everywhere already scores mean(A) / rms(A): so a cosine stands beside that floor, corrected for
it, beside what it is against another face's map, and beside a pointing game on regions that were
not trained on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from textualize.baselines.au_map import resized
from textualize.errors import TextualizeError, unknown

Criterion = Literal["cosine", "standardised_cosine", "l1", "l2", "kl", "log_barrier"]

_TINY = 1e-8
_INSIDE = 0.5  # of a map's highest value: its region
_LEAST_COSINE, _BARRIER = 0.8, 5.0  # of the log-barrier: what is asked for, and t; ours


# --- what aligns --------------------------------------------------------------------------------


def alignment(attention: Tensor, maps: Tensor, drawn: Tensor, criterion: Criterion) -> Tensor:
    """Return the mean criterion over the pictures that have a map, a scalar; 0 where none has.

    Args:
        attention: T, (B, h, w).
        maps: A, (B, S, S), brought to T's size.
        drawn: (B,) bool, which maps count.
        criterion: one of `CRITERIA`.

    >>> T, A = torch.tensor([[[1.0, 2], [3, 4]]]), torch.tensor([[[0, 0], [0.5, 1]]])
    >>> round(float(alignment(T.double(), A.double(), torch.tensor([True]), "cosine")), 10)
    0.101853761
    """
    if criterion not in CRITERIA:
        raise unknown("criterion", criterion, CRITERIA)
    if attention.shape[1] != attention.shape[2]:
        raise TextualizeError(f"attention should be square; given {tuple(attention.shape[1:])}")
    aims = resized(maps, attention.shape[-1])[drawn]
    each = CRITERIA[criterion](attention[drawn].flatten(1), aims.to(attention.dtype).flatten(1))
    return each.sum() / max(1, len(each))


def _standardised(x: Tensor) -> Tensor:
    return x - x.mean(1, keepdim=True)


def from_0_to_1(x: Tensor) -> Tensor:
    """Return x (B, N) with the lowest of each row 0 and the highest 1; 0 where all are alike."""
    low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)
    return (x - low) / (high - low).clamp(min=_TINY)


def _kl(attention: Tensor, maps: Tensor) -> Tensor:
    """Return KL(A / sum A || softmax T); a softmax, so that attention below 0 has a place."""
    aim = maps / maps.sum(1, keepdim=True).clamp(min=_TINY)
    return F.kl_div(attention.log_softmax(1), aim, reduction="none").sum(1)


def log_barrier(z: Tensor, t: float) -> Tensor:
    """Return the extended log-barrier of constraints z <= 0 (Kervadec et al., arXiv 1904.04205).

    -log(-z) / t up to z = -1/t^2, from there its tangent, so that what breaks the constraint has a
    gradient too; the larger t, the nearer a wall at 0.

    >>> [round(float(x), 4) for x in log_barrier(torch.tensor([-0.5, -0.04, 0.0, 1.0]), 5.0)]
    [0.1386, 0.6438, 0.8438, 5.8438]
    """
    edge = 1 / t**2
    inside = -torch.log((-z).clamp(min=edge)) / t
    beyond = t * z - math.log(edge) / t + 1 / t
    return torch.where(z <= -edge, inside, beyond)


def _barrier(attention: Tensor, maps: Tensor) -> Tensor:
    """Return the barrier of a cosine asked to be above `_LEAST_COSINE`; 0 where it is 1."""
    short = _LEAST_COSINE - F.cosine_similarity(attention, maps, 1)
    return log_barrier(short / (1 - _LEAST_COSINE), _BARRIER)


# (B, h*w) attention and map -> (B,), least where they agree. For l1 and l2 attention is brought to
# 0 and 1 as the map is: else its scale would decide.
CRITERIA: Mapping[Criterion, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": lambda t, a: 1 - F.cosine_similarity(t, a, 1),
    "standardised_cosine": lambda t, a: (
        1 - F.cosine_similarity(_standardised(t), _standardised(a), 1)
    ),
    "l1": lambda t, a: (from_0_to_1(t) - a).abs().mean(1),
    "l2": lambda t, a: (from_0_to_1(t) - a).square().mean(1),
    "kl": _kl,
    "log_barrier": _barrier,
}


# --- what measures ------------------------------------------------------------------------------


def class_map(features: Tensor, weight: Tensor, classes: Tensor) -> Tensor:
    """Return the class activation map of each picture's class, lowest 0 and highest 1, (B, h, w).

    sum over k of weight[class, k] * features[k], of a linear head on averaged features (Zhou et
    al. 2016). features: (B, K, h, w) of the last layer. weight: (C, K). classes: (B,).
    """
    found = torch.einsum("bkhw,bk->bhw", features, weight[classes])
    return from_0_to_1(found.flatten(1)).view_as(found)


def map_cosine(attention: Tensor, maps: Tensor) -> Tensor:
    """Return ATT-COS (of a class activation map: CAM-COS) of each picture, (B,), float64.

    The cosine between A (B, S, S) and attention (B, h, w) brought to its size, raised by its
    lowest value where that is below 0.
    """
    shown = resized(attention.double(), maps.shape[-1]).flatten(1)
    shown = shown - shown.amin(1, keepdim=True).clamp(max=0)
    return F.cosine_similarity(shown, maps.double().flatten(1), 1)


def floor_cosine(maps: Tensor) -> Tensor:
    """Return what attention that is the same everywhere scores, (B,), float64: mean(A) / rms(A)."""
    flat = maps.double().flatten(1)
    return flat.mean(1) / flat.square().mean(1).sqrt().clamp(min=_TINY)


def above_floor(cosine: Tensor, maps: Tensor) -> Tensor:
    """Return (c - c0) / (1 - c0), c0 the floor: 0 is no attention at all, 1 is the map.

    >>> flat = torch.tensor([[[0.0, 1], [1, 1]]])
    >>> [round(float(above_floor(map_cosine(x, flat), flat)), 6) for x in (flat, flat * 0 + 1)]
    [1.0, 0.0]
    """
    floor = floor_cosine(maps)
    return (cosine - floor) / (1 - floor).clamp(min=_TINY)


def pointing(attention: Tensor, regions: Tensor) -> Tensor:
    """Return whether each picture's point of highest attention lies in its region, (B,) bool.

    regions: (B, S, S) bool; a region is empty where there is nothing to point at: leave it out.
    """
    shown = resized(attention.double(), regions.shape[-1]).flatten(1)
    return regions.flatten(1).gather(1, shown.argmax(1, keepdim=True))[:, 0]


def region(maps: Tensor) -> Tensor:
    """Return where maps are above half of their highest value, bool."""
    return maps > _INSIDE * maps.amax((1, 2), keepdim=True)


def others(count: int, generator: torch.Generator | None = None) -> Tensor:
    """Return for each of so many faces another one at random, (count,), for a control.

    No face gets itself, unless there is one only.
    """
    order = torch.randperm(count, generator=generator)
    found = torch.empty(count, dtype=torch.long)
    found[order] = order.roll(1)
    return found
