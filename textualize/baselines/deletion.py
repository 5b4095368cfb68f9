"""Deletion and insertion: does what a heat map shows as important decide the answer?

After Petsiuk et al., "RISE", 2018, arXiv 1806.07421. The points of a picture go in the order of
their heat: blurred first where it is highest, then ever more (deletion), or sharp first there, all
else blurred (insertion). What is read is the probability of one class, so that no map of action
units has a part in it; the curve's area is low for a faithful deletion, high for an insertion. What
a heat map without any knowledge scores comes from `like`, of the same smoothness.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import auc
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from textualize.baselines.au_map import resized

Floats = NDArray[np.float64]
Scores = Callable[[Tensor], Tensor]

STEPS = 10  # shares of the picture that are taken one after the other
_BLUR = 4  # the blur is over a square of a fourth of the picture's side


def areas(pixels: Tensor, heat: Tensor, classes: Tensor, scores: Scores) -> tuple[Floats, Floats]:
    """Return the areas under deletion and insertion curves of each picture, (n,) and (n,), 0 to 1.

    Args:
        pixels: (n, 3, S, S).
        heat: (n, h, w), brought to S.
        classes: (n,) whose probability is read.
        scores: pictures (m, 3, S, S) to class scores (m, C), not yet probabilities.
    """
    shares = torch.linspace(0, 1, STEPS + 1, device=pixels.device, dtype=torch.float64)
    ranks = _ranks(resized(heat.double(), pixels.shape[-1]))
    found = []
    for own in zip(pixels, blurred(pixels), ranks, classes.tolist(), strict=True):
        sharp, soft, rank, wanted = own
        hottest = rank < shares[:, None, None]
        gone = torch.cat([hottest, ~hottest]).unsqueeze(1)
        answers = scores(torch.where(gone, soft, sharp)).double().softmax(1)[:, wanted]
        curves = answers.view(2, -1).cpu().numpy()
        found.append([auc(shares.cpu().numpy(), curve) for curve in curves])
    deletion, insertion = np.array(found).reshape(-1, 2).T
    return deletion, insertion


def like(heat: Tensor, generator: torch.Generator) -> Tensor:
    """Return heat at random, as fine as the given (n, h, w)."""
    return torch.rand(heat.shape, generator=generator).to(heat.device)


def blurred(pixels: Tensor) -> Tensor:
    """Return pictures (n, 3, S, S) as means over a square of a fourth of their side."""
    wide = 2 * (pixels.shape[-1] // (2 * _BLUR)) + 1
    edges = F.pad(pixels, (wide // 2,) * 4, mode="replicate")
    return F.avg_pool2d(edges, wide, 1)


def _ranks(heat: Tensor) -> Tensor:
    """Return each point's place from the highest of its picture, (n, S, S), 0 to below 1."""
    flat = heat.flatten(1)
    order = flat.argsort(dim=1, descending=True, stable=True)
    places = torch.arange(flat.shape[1], device=heat.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view_as(heat) / flat.shape[1]
