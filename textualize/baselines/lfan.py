"""Leader-follower attention of any number of streams over causal temporal convolutions.

A feature fusion of Richet et al., "Textualized and Feature-based Models for Compound Multimodal
Emotion Recognition in the Wild", 2024, arXiv 2407.12927: every stream is encoded for itself, the
streams of a step attend one another, and what comes of it follows the leader, one stream's own
encoding, into a linear layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from textualize.baselines.answer import Answer
from textualize.baselines.batch import Batch
from textualize.baselines.layers import StreamEncoders, attendable, mean_over
from textualize.baselines.network import Network
from textualize.baselines.task import Task
from textualize.errors import TextualizeError, unknown


def leader_follower(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
    """Return softmax(q kᵀ / √d) v + v among the streams of each step, (..., H, M, d).

    q, k, v: (..., H, M, d). seen: (..., M) bool; an unseen stream is not attended and gives 0.
    """
    open_keys = attendable(seen).unsqueeze(-2).unsqueeze(-2)
    logits = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).masked_fill(~open_keys, -torch.inf)
    return (logits.softmax(-1) @ v + v) * seen.unsqueeze(-1).unsqueeze(-3)


class Follower(nn.Module):
    """The follower vector of M streams: (B, L, d_m) each in, (B, L, M * width) out.

    Each stream has its own Linear d_m -> 3 * width for q, k and v of `heads` heads; the attended
    values of all streams go side by side through Linear, dropout and LayerNorm.
    """

    def __init__(self, widths: Sequence[int], *, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise TextualizeError(
                f"lfan: recipe key 'width' {width} is not a multiple of 'heads' {heads}"
            )
        self.heads, self.width = heads, len(widths) * width
        self.qkv = nn.ModuleList(nn.Linear(d, 3 * width) for d in widths)
        self.out = nn.Linear(self.width, self.width)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(self.width)

    def forward(self, streams: Sequence[Tensor], seen: Sequence[Tensor]) -> Tensor:
        """Return the follower of every step. seen: (B, L) bool each."""
        rows = torch.stack([f(x) for f, x in zip(self.qkv, streams, strict=True)], 2)
        batch, steps, count = rows.shape[:3]
        q, k, v = (
            part.reshape(batch, steps, count, self.heads, -1).transpose(2, 3)
            for part in rows.chunk(3, -1)
        )
        found = leader_follower(q, k, v, torch.stack(list(seen), 2)).transpose(2, 3)
        out: Tensor = self.norm(self.dropout(self.out(found.reshape(batch, steps, -1))))
        return out


class LFAN(Network):
    """Causal TCN of each stream, then a linear layer on [leader ; follower] of a step.

    channels: levels of the encoders, for all streams or by stream. width: of a stream in the
    follower. leader: a stream, by default the first; only its encoding goes on by itself. A
    clip's output is the mean over the steps at which any stream was seen. Beyond the publication:
    `skip`, a linear path from the streams, and dropout of whole input features. Its tanh on
    regressed values is left out: values are standardised here, and returned within the range of
    the annotation.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        task: Task,
        *,
        steps: int,
        channels: Mapping[str, Sequence[int]] | Sequence[int] = (128, 128, 64, 64),
        kernel: int = 5,
        heads: int = 2,
        width: int = 32,
        leader: str | None = None,
        skip: bool = True,
        dropout: float = 0.1,
    ) -> None:
        """Raises TextualizeError where the leader or the channels do not fit the streams."""
        super().__init__(widths, task)
        names = tuple(widths)
        if leader is not None and leader not in names:
            raise unknown("lfan leader", leader, names)
        self.leader = names.index(leader) if leader is not None else 0
        self.encoders = StreamEncoders(widths, channels, kernel=kernel, dropout=dropout)
        own = self.encoders.widths
        self.follower = Follower(own, width=width, heads=heads, dropout=dropout)
        head = nn.Linear(own[self.leader] + self.follower.width, task.outputs)
        self.answer = Answer([head], widths if skip else {}, task, dropout)

    def forward(self, batch: Batch) -> Tensor:
        """Return class scores or values, (B, outputs) or (B, L, outputs)."""
        encoded, seen = self.encoders(batch)
        fused = torch.cat([encoded[self.leader], self.follower(encoded, seen)], -1)
        if not self.task.per_step:
            fused = mean_over(fused, torch.stack(seen).any(0))
        out: Tensor = self.answer(fused, batch)
        return out
