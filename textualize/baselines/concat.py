"""Concatenation: what a clip is on average, without attention; the plain feature baseline."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from textualize.baselines.answer import LinearPath
from textualize.baselines.batch import Batch
from textualize.baselines.network import Network
from textualize.baselines.task import Task


class Concat(Network):
    """Concatenated features: outputs = W x + MLP(x).

    x are the standardised functionals of every track, or, for a task per step, every stream's
    features at that step. hidden 0 leaves the MLP out: logistic, or linear, regression.
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
    ) -> None:
        """Take the widths of what is concatenated; a step knows of no other, whatever `steps`."""
        super().__init__(widths, task)
        features = sum(widths.values())
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(features, task.outputs)
        self.mlp: nn.Sequential | None = None
        if hidden:
            self.mlp = nn.Sequential(
                nn.Linear(features, hidden),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(hidden, task.outputs, bias=False),
            )

    def forward(self, batch: Batch) -> Tensor:
        """Return (B, outputs), or (B, L, outputs) per step."""
        x = self.dropout(self._concatenated(batch))
        out: Tensor = self.linear(x)
        return out if self.mlp is None else out + self.mlp(x)

    def linear_paths(self) -> list[LinearPath]:
        """Return W, beside which the MLP stands."""
        return [LinearPath(self.linear, self._concatenated, [self.mlp] if self.mlp else [])]

    def _concatenated(self, batch: Batch) -> Tensor:
        if not self.task.per_step:
            return batch.functionals
        shown = [
            torch.where(batch.steps[m].unsqueeze(-1), batch.streams[m], 0.0) for m in self.widths
        ]
        return torch.cat(shown, dim=-1)
