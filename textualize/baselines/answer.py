"""The last part of a network: heads on what it made of the streams, beside a linear path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from textualize.baselines.batch import Batch
from textualize.baselines.layers import zeroed
from textualize.baselines.task import Task


@dataclass(frozen=True, slots=True, eq=False)
class LinearPath:
    """A linear layer of a network, what it reads of a batch, and the heads it is added to."""

    linear: nn.Linear
    inputs: Callable[[Batch], Tensor]
    heads: Sequence[nn.Module]

    @torch.no_grad()
    def start(self, weight: Tensor, bias: Tensor) -> None:
        """Set the layer, (outputs, F) and (outputs,); the heads start with an answer of 0."""
        self.linear.weight.copy_(weight)
        self.linear.bias.copy_(bias)
        for head in self.heads:
            last = [m for m in head.modules() if isinstance(m, nn.Linear)][-1]
            for parameter in last.parameters():
                nn.init.zeros_(parameter)


class Skip(nn.Module):
    """A linear path from the streams to the outputs, past all attention.

    widths: of the streams it reads. Of a clip it reads their functionals, `Batch.summaries`, so
    that a network with it holds logistic regression of the clip; of a step, the step's values.
    """

    def __init__(self, widths: Mapping[str, int], task: Task, dropout: float) -> None:
        super().__init__()
        self.streams, self.per_step = tuple(widths), task.per_step
        self.dropout = nn.Dropout(dropout)
        width = sum(widths.values()) * (1 if task.per_step else 2)  # see Batch.summaries
        self.linear = nn.Linear(width, task.outputs)

    def inputs(self, batch: Batch) -> Tensor:
        """Return what is read of a clip, (B, F), or of every step, (B, L, F)."""
        if not self.per_step:
            return torch.cat([batch.summaries[m] for m in self.streams], -1)
        return torch.cat([zeroed(batch.streams[m], batch.steps[m]) for m in self.streams], -1)

    def forward(self, batch: Batch) -> Tensor:
        """Return (B, outputs), or (B, L, outputs) per step."""
        out: Tensor = self.linear(self.dropout(self.inputs(batch)))
        return out


class Answer(nn.Module):
    """The sum of a head's outputs and a linear path's; several heads give their outputs in turn.

    widths: of the streams the linear path reads; empty, there is none.
    """

    def __init__(
        self, heads: Sequence[nn.Module], widths: Mapping[str, int], task: Task, dropout: float
    ) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)
        self.skip = Skip(widths, task, dropout) if widths else None

    def forward(self, fused: Tensor, batch: Batch) -> Tensor:
        """Return (..., outputs) of what the network made of the batch, (..., D)."""
        out = torch.cat([head(fused) for head in self.heads], -1)
        return out if self.skip is None else out + self.skip(batch)

    def linear_paths(self) -> list[LinearPath]:
        """Return the linear path, if there is one and it trains."""
        if self.skip is None or not self.skip.linear.weight.requires_grad:
            return []
        return [LinearPath(self.skip.linear, self.skip.inputs, list(self.heads))]
