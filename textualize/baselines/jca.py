"""Joint cross-attention of two streams (Praveen et al., CVPRW 2022).

R. Gnana Praveen et al., "A Joint Cross-Attention Model for Audio-Visual Fusion in Dimensional
Emotion Recognition", CVPRW 2022. The paper regresses one value per step with both attended
streams before the head; the released head reads the raw visual features beside the attended
visual ones and never the attended audio. `wiring` names these, and the control.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from textualize.baselines.answer import Answer
from textualize.baselines.batch import Batch
from textualize.baselines.layers import mean_over, mlp, zeroed
from textualize.baselines.network import Network
from textualize.baselines.task import Task
from textualize.errors import TextualizeError, unknown

Wiring = Literal["fixed", "paper", "released", "vanilla"]
WIRINGS: tuple[Wiring, ...] = ("fixed", "paper", "released", "vanilla")


def joint_correlation(x: Tensor, joint: Tensor, w_joint: Tensor) -> Tensor:
    """Return C = tanh(X W_j Jᵀ / √d_J), the correlation of a stream with the joint features.

    x: (B, d, L), joint: (B, d_J, L), w_joint: (L, L).  Returns (B, d, d_J), inside (-1, 1).
    Time is mixed by W_j and summed out; there is no softmax over time.
    """
    return torch.tanh(x @ w_joint @ joint.transpose(1, 2) / math.sqrt(joint.shape[1]))


def attend(
    x: Tensor, joint: Tensor, w_joint: Tensor, w_corr: Tensor, w_stream: Tensor, w_out: Tensor
) -> Tensor:
    """Return one stream attended by the joint features, (B, d, L).

        C     = tanh(X W_j Jᵀ / √d_J)         (B, d, d_J)
        H     = ReLU(C W_cᵀ + X W_mᵀ)         (B, d, k)
        X_att = H W_hᵀ + X                    (B, d, L)

    x: (B, d, L), joint: (B, d_J, L), w_joint: (L, L), w_corr: (k, d_J), w_stream: (k, L),
    w_out: (L, k); Praveen et al. 2022, eq. 1-5. No weight has a bias.
    """
    c = joint_correlation(x, joint, w_joint)
    h = torch.relu(c @ w_corr.T + x @ w_stream.T)
    return h @ w_out.T + x


class StreamAttention(nn.Module):
    """The four weights of one stream; see `attend`. joint: width d_J of what it is attended by."""

    def __init__(self, steps: int, joint: int, attention: int) -> None:
        super().__init__()
        self.w_joint = nn.Parameter(torch.empty(steps, steps))
        self.w_corr = nn.Parameter(torch.empty(attention, joint))
        self.w_stream = nn.Parameter(torch.empty(attention, steps))
        self.w_out = nn.Parameter(torch.empty(steps, attention))
        for weight in self.parameters():
            nn.init.xavier_uniform_(weight)

    def forward(self, x: Tensor, joint: Tensor) -> Tensor:
        """Return the attended stream, (B, d, L)."""
        return attend(x, joint, self.w_joint, self.w_corr, self.w_stream, self.w_out)


class JointCrossAttention(nn.Module):
    """The block: two streams (B, d, L) in, both attended (B, d, L) out.

    J = [X_a ; X_v] stacked over features for both streams; with `vanilla` each stream is attended
    by the other alone. A step that is zero in a stream multiplies its row and column of that
    stream's (L, L) and (k, L) weights by zero, so what is masked adds nothing to C or H; the
    remaining weights are not rescaled, as if the stream were silent at that step.
    """

    def __init__(self, steps: int, width: int, attention: int, *, vanilla: bool = False) -> None:
        super().__init__()
        joint = width if vanilla else 2 * width
        self.vanilla = vanilla
        self.visual = StreamAttention(steps, joint, attention)
        self.audio = StreamAttention(steps, joint, attention)

    def forward(self, visual: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Return (X_att,v, X_att,a), each (B, d, L)."""
        if self.vanilla:
            return self.visual(visual, audio), self.audio(audio, visual)
        joint = torch.cat([audio, visual], dim=1)
        return self.visual(visual, joint), self.audio(audio, joint)


class JCA(Network):
    """Per-step projection, joint cross-attention, MLP head per step or on the mean over steps.

    Two streams, the first of them "visual" in what follows. hidden: d. attention: k. What the
    head reads is the wiring:

        fixed      X_att,v and X_att,a, and beside it a linear path from both streams
        paper      X_att,v and X_att,a
        released   the raw visual stream and X_att,v; the attended audio is not used
        vanilla    as fixed, each stream attended by the other one instead of J

    A step counts in the mean when either stream was seen at it.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        task: Task,
        *,
        steps: int,
        hidden: int = 128,
        attention: int = 32,
        dropout: float = 0.3,
        wiring: Wiring = "fixed",
    ) -> None:
        """Raises TextualizeError unless there are two streams and the wiring is known."""
        super().__init__(widths, task)
        if len(widths) != 2:
            raise TextualizeError(
                f"jca fuses two streams; given {len(widths)} ({', '.join(widths)}): give recipe "
                "key 'groups' two entries"
            )
        if wiring not in WIRINGS:
            raise unknown("jca wiring", wiring, WIRINGS)
        self.steps, self.wiring = steps, wiring
        self.project = nn.ModuleList(nn.Linear(d, hidden) for d in widths.values())
        self.block = JointCrossAttention(steps, hidden, attention, vanilla=wiring == "vanilla")
        if wiring == "released":  # its output is computed for nothing
            self.block.audio.requires_grad_(False)
        self.dropout = nn.Dropout(dropout)
        first = next(iter(widths.values()))
        width = hidden + first if wiring == "released" else 2 * hidden
        head = mlp(width, hidden, task.outputs, dropout)
        skip = wiring in ("fixed", "vanilla")
        self.answer = Answer([head], widths if skip else {}, task, dropout)

    def begin(self, stage: str) -> None:
        """Make everything trainable that has a part in the output."""
        super().begin(stage)
        if self.wiring == "released":
            self.block.audio.requires_grad_(False)

    def forward(self, batch: Batch) -> Tensor:
        """Return class scores or values, (B, outputs) or (B, L, outputs)."""
        masks = [batch.steps[m] for m in self.widths]
        raw = [zeroed(batch.streams[m], batch.steps[m]) for m in self.widths]
        fused = self._fused(raw, masks)
        seen = masks[0] | masks[1]
        if not self.task.per_step:
            fused = mean_over(fused, seen)
        out: Tensor = self.answer(self.dropout(fused), batch)
        return out

    def _fused(self, raw: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
        """Return what the head reads of each step, (B, L, width)."""
        visual, audio = (
            zeroed(project(self.dropout(x)), seen).transpose(1, 2)
            for project, x, seen in zip(self.project, raw, masks, strict=True)
        )
        attended_visual, attended_audio = self.block(visual, audio)
        if self.wiring == "released":
            return torch.cat([raw[0], attended_visual.transpose(1, 2)], -1)
        return torch.cat([attended_visual, attended_audio], 1).transpose(1, 2)
