"""A network's own answers as labels, where it is sure of a clip and of another view of it."""

from __future__ import annotations

import torch
from torch import Tensor


def threshold_at(epoch: int, start: float, fall: float, every: int) -> float:
    """Return the sureness asked for in an epoch, from 0: it falls every so many epochs, never to 0.

    >>> [round(threshold_at(e, 0.9, 0.02, 20), 2) for e in (0, 19, 20, 40)]
    [0.9, 0.9, 0.88, 0.86]
    """
    return max(start - fall * (epoch // every), 0.0)


def confident_labels(views: Tensor, threshold: float, *, agreement: bool = True) -> Tensor:
    """Return the class ids (N,) of clips that are sure enough, -1 for the others.

    views: (V, N, C) class probabilities of V views of N clips. A clip is kept where the mean over
    views of the highest probability is above the threshold (not at it), and, with `agreement`,
    every view has the same class. It is the class of the surest view, of equals the last one's.

    >>> views = torch.tensor([[[0.95, 0.05], [0.03, 0.97]], [[0.91, 0.09], [0.98, 0.02]]])
    >>> confident_labels(views, 0.9).tolist()
    [0, -1]
    >>> confident_labels(views, 0.9, agreement=False).tolist()
    [0, 0]
    """
    sure, said = views.max(-1)
    kept = sure.mean(0) > threshold
    if agreement:
        kept &= (said == said[0]).all(0)
    surest = len(views) - 1 - sure.flip(0).argmax(0)
    return torch.where(kept, said.gather(0, surest.unsqueeze(0))[0], -1)


def information(probabilities: Tensor) -> float:
    """Return the mutual information of clips and answers (N, C) in nats: 0 to log C.

        H(mean p) - mean H(p)

    High where every answer is sure and not all are the same.
    """
    mean = probabilities.mean(0, keepdim=True)
    entropies = [torch.special.entr(p).sum(-1).mean() for p in (mean, probabilities)]
    return float(entropies[0] - entropies[1])
