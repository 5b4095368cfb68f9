"""Subject-based multi-source domain adaptation: every person is a domain of their own.

Zeeshan et al., "Subject-Based Domain Adaptation for Facial Expression Recognition", FG 2024. With
features f, cross-entropy CE, a discrepancy D (`discrepancy.py`) and T a subject without labels:

    source   CE(S1) + CE(S2) + gamma D(f(S1), f(S2))            S1, S2 two labelled subjects
    adapt    CE(S) + CE(T, pseudo-labels) + gamma_T D(f(S), f(T))

Pseudo-labels are the network's own answers where it is sure of a clip and of another view of it.
They are made again every few epochs, from all clips of T, and the sureness asked for falls.

All of this is in `adaptation.py`; here a clip is what it is on the whole, in numbers, and in
`subject_pictures.py` it is its pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from textualize.baselines.adaptation import Adaptation
from textualize.baselines.answer import LinearPath
from textualize.baselines.batch import Batch
from textualize.baselines.task import Task


class SubjectMSDA(Adaptation):
    """Functionals x of every track; features f = (W x, MLP(x)), outputs W x + V MLP(x).

    What is made alike between subjects is all the outputs are made of, the linear part too.
    noise: deviation of what is added to the standardised features for the other view. adapting:
    see `Adaptation`.
    """

    reads = "functionals"

    def __init__(
        self,
        widths: Mapping[str, int],
        task: Task,
        *,
        steps: int = 1,
        hidden: int = 128,
        dropout: float = 0.3,
        noise: float = 0.3,
        **adapting: Any,
    ) -> None:
        """Take the widths of what is concatenated; it answers clips, whatever `steps`."""
        super().__init__(widths, task, **adapting)
        width = sum(widths.values())
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, task.outputs)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout))
        self.head = nn.Linear(hidden, task.outputs, bias=False)
        self.noise = noise

    def linear_paths(self) -> list[LinearPath]:
        """Return W, where it begins: adapting goes on from what the sources taught."""
        if self.stage != "source":
            return []
        return [LinearPath(self.linear, lambda batch: batch.functionals, [self.head])]

    def parts(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return f, (B, outputs + hidden), and (B, outputs)."""
        x = self.dropout(batch.functionals)
        direct, hidden = self.linear(x), self.mlp(x)
        return torch.cat([direct, hidden], -1), direct + self.head(hidden)

    def other_view(self, batch: Batch) -> Batch:
        """Return the clips under noise."""
        x = batch.functionals
        return replace(batch, functionals=x + self.noise * torch.randn(x.shape).to(x))

    def whole(self, data: Batch, rows: Tensor) -> list[Batch]:
        """Return the clips at once: they are in memory."""
        return [data.take(rows)]
