"""Joint cross-attention of two streams (Praveen et al., CVPRW 2022), for classification.

R. Gnana Praveen et al., "A Joint Cross-Attention Model for Audio-Visual Fusion in Dimensional
Emotion Recognition", CVPRW 2022. Wired as the paper's text says: both attended streams reach the
head (the released head takes one attended stream beside the raw visual features).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from textualize.baselines.batch import Batch

STREAMS = ("visual", "audio")


def joint_correlation(x: Tensor, joint: Tensor, w_joint: Tensor) -> Tensor:
    """Return C = tanh(X W_j Jᵀ / √d_J), the correlation of a stream with the joint features.

    x: (B, d, L), joint: (B, 2d, L), w_joint: (L, L).  Returns (B, d, 2d), inside (-1, 1).
    Time is mixed by W_j and summed out; there is no softmax over time.
    """
    return torch.tanh(x @ w_joint @ joint.transpose(1, 2) / math.sqrt(joint.shape[1]))


def attend(
    x: Tensor, joint: Tensor, w_joint: Tensor, w_corr: Tensor, w_stream: Tensor, w_out: Tensor
) -> Tensor:
    """Return one stream attended by the joint features, (B, d, L).

        C     = tanh(X W_j Jᵀ / √d_J)         (B, d, 2d)
        H     = ReLU(C W_cᵀ + X W_mᵀ)         (B, d, k)
        X_att = H W_hᵀ + X                    (B, d, L)

    x: (B, d, L), joint: (B, 2d, L), w_joint: (L, L), w_corr: (k, 2d), w_stream: (k, L),
    w_out: (L, k); Praveen et al. 2022, eq. 1-5. No weight has a bias.
    """
    c = joint_correlation(x, joint, w_joint)
    h = torch.relu(c @ w_corr.T + x @ w_stream.T)
    return h @ w_out.T + x


class StreamAttention(nn.Module):
    """The four weights of one stream; see `attend`."""

    def __init__(self, steps: int, width: int, attention: int) -> None:
        super().__init__()
        self.w_joint = nn.Parameter(torch.empty(steps, steps))
        self.w_corr = nn.Parameter(torch.empty(attention, 2 * width))
        self.w_stream = nn.Parameter(torch.empty(attention, steps))
        self.w_out = nn.Parameter(torch.empty(steps, attention))
        for weight in self.parameters():
            nn.init.xavier_uniform_(weight)

    def forward(self, x: Tensor, joint: Tensor) -> Tensor:
        """Return the attended stream, (B, d, L)."""
        return attend(x, joint, self.w_joint, self.w_corr, self.w_stream, self.w_out)


class JointCrossAttention(nn.Module):
    """The block: two streams (B, d, L) in, both attended (B, d, L) out.

    J = [X_a ; X_v] stacked over features for both streams. A step that is zero in a stream
    multiplies its row and column of that stream's (L, L) and (k, L) weights by zero, so what is
    masked adds nothing to C or H; the remaining weights are not rescaled, as if the stream were
    silent at that step.
    """

    def __init__(self, steps: int, width: int, attention: int) -> None:
        super().__init__()
        self.visual = StreamAttention(steps, width, attention)
        self.audio = StreamAttention(steps, width, attention)

    def forward(self, visual: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Return (X_att,v, X_att,a), each (B, d, L)."""
        joint = torch.cat([audio, visual], dim=1)
        return self.visual(visual, joint), self.audio(audio, joint)


class JCA(nn.Module):
    """Per-step projection, joint cross-attention, masked mean over steps, MLP head.

    widths: features per step of "visual" and "audio". Masked steps are zeroed after the
    projection; a step counts in the mean when either stream was seen at it.
    """

    reads = "streams"

    def __init__(
        self,
        widths: Mapping[str, int],
        n_classes: int,
        *,
        steps: int,
        hidden: int,
        attention: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.project = nn.ModuleDict({m: nn.Linear(widths[m], hidden) for m in STREAMS})
        self.block = JointCrossAttention(steps, hidden, attention)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Sequential(
            nn.Linear(2 * hidden, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, n_classes),
        )

    def forward(self, batch: Batch) -> Tensor:
        """Return logits, (B, C)."""
        x = {}
        for m in STREAMS:
            seen = batch.steps[m].unsqueeze(-1)
            values = torch.where(seen, batch.streams[m], 0.0)
            x[m] = (self.project[m](self.dropout(values)) * seen).transpose(1, 2)
        attended = torch.cat(self.block(x["visual"], x["audio"]), dim=1)
        seen = (batch.steps["visual"] | batch.steps["audio"]).unsqueeze(1)
        total = (attended * seen).sum(-1)
        logits: Tensor = self.head(self.dropout(total / seen.sum(-1).clamp(min=1)))
        return logits

    def loss(self, batch: Batch) -> Tensor:
        """Return the weighted cross-entropy, a scalar."""
        each = F.cross_entropy(self(batch), batch.targets, reduction="none")
        return (each * batch.weights).sum() / batch.weights.sum()
