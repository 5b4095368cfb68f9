"""Channel attention of any number of streams over causal temporal convolutions.

The second feature fusion of Richet et al., "Textualized and Feature-based Models for Compound
Multimodal Emotion Recognition in the Wild", 2024, arXiv 2407.12927: all features of all streams
compete for one softmax at every step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from textualize.baselines.answer import Answer
from textualize.baselines.batch import Batch
from textualize.baselines.layers import (
    MaskedBatchNorm,
    StreamEncoders,
    attendable,
    mean_over,
    zeroed,
)
from textualize.baselines.network import Network
from textualize.baselines.task import Task


class ChannelAttention(nn.Module):
    """The fusion: x = all streams through a Linear each, side by side; out = softmax(W x + b) * x.

    The softmax is over all M * hidden entries of a step; those of an unseen stream have no share.
    """

    def __init__(self, widths: Sequence[int], hidden: int) -> None:
        super().__init__()
        self.hidden, self.width = hidden, len(widths) * hidden
        self.project = nn.ModuleList(nn.Linear(d, hidden) for d in widths)
        self.score = nn.Linear(self.width, self.width)

    def weigh(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return the weights of x (..., M * hidden): their sum is 1, or 0 where nothing is seen.

        seen: (..., M) bool.
        """
        open_entries = attendable(seen).repeat_interleave(self.hidden, -1)
        weights = self.score(x).masked_fill(~open_entries, -torch.inf).softmax(-1)
        out: Tensor = weights * seen.any(-1, keepdim=True)
        return out

    def forward(self, streams: Sequence[Tensor], seen: Sequence[Tensor]) -> Tensor:
        """Return (B, L, M * hidden) of streams (B, L, d_m) and masks (B, L)."""
        x = torch.cat(
            [zeroed(f(x), own) for f, x, own in zip(self.project, streams, seen, strict=True)], -1
        )
        return self.weigh(x, torch.stack(list(seen), -1)) * x


class CAN(Network):
    """Causal TCN of each stream, channel attention, then Linear, batch norm, LeakyReLU, Linear.

    channels: levels of the encoders, for all streams or by stream. A clip's output is the mean
    over the steps at which any stream was seen. Beyond the publication: `skip`, a linear path
    from the streams, and dropout of whole input features.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        task: Task,
        *,
        steps: int,
        channels: Mapping[str, Sequence[int]] | Sequence[int] = (128, 128, 64, 64),
        kernel: int = 5,
        hidden: int = 128,
        skip: bool = True,
        dropout: float = 0.2,
    ) -> None:
        """Raises TextualizeError where the channels do not fit the streams."""
        super().__init__(widths, task)
        self.encoders = StreamEncoders(widths, channels, kernel=kernel, dropout=dropout)
        self.fusion = ChannelAttention(self.encoders.widths, hidden)
        self.inner = nn.Linear(self.fusion.width, hidden, bias=False)  # the norm has a bias
        self.norm = MaskedBatchNorm(hidden)
        self.activation = nn.LeakyReLU()
        self.answer = Answer(
            [nn.Linear(hidden, task.outputs)], widths if skip else {}, task, dropout
        )

    def forward(self, batch: Batch) -> Tensor:
        """Return class scores or values, (B, outputs) or (B, L, outputs)."""
        encoded, seen = self.encoders(batch)
        some = torch.stack(seen).any(0)
        fused = self.activation(self.norm(self.inner(self.fusion(encoded, seen)), some))
        if not self.task.per_step:
            fused = mean_over(fused, some)
        out: Tensor = self.answer(fused, batch)
        return out
