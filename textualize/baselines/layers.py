"""The parts the feature networks share: masked attention, causal convolutions, pooling, heads.

Everything is (B, L, D) with a (B, L) mask beside it, True where something was seen. What is
unseen may hold any value, NaN included; it changes no output, and a clip's output does not depend
on the other clips of its batch (in training, dropout and batch statistics aside).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.parametrizations import weight_norm

from textualize.baselines.batch import Batch
from textualize.errors import TextualizeError


def zeroed(x: Tensor, seen: Tensor) -> Tensor:
    """Return x (B, L, D) with 0 where `seen` (B, L) is False."""
    return x.masked_fill(~seen.unsqueeze(-1), 0.0)


def mean_over(x: Tensor, seen: Tensor) -> Tensor:
    """Return the mean of x (B, L, D) over the seen steps, (B, D); 0 where none was seen."""
    return zeroed(x, seen).sum(1) / seen.sum(1, keepdim=True).clamp(min=1)


def sinusoidal(steps: int, width: int) -> Tensor:
    """Return sinusoidal positions, (steps, width).

    p[t, 2i] = sin(t / 10000^(2i/width)), p[t, 2i+1] = cos(t / 10000^(2i/width)); Vaswani et al.,
    "Attention Is All You Need", 2017, section 3.5.
    """
    even = torch.arange(0, width, 2)
    angle = torch.arange(steps).unsqueeze(1) * torch.exp(-math.log(10_000.0) * even / width)
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, :width]


def attendable(seen: Tensor) -> Tensor:
    """Return the keys to attend, bool as `seen` (..., K): the seen ones, all where none is.

    A softmax over nothing is NaN, in its gradient too: what it gives there is to be zeroed.
    """
    return seen | ~seen.any(-1, keepdim=True)


class Attention(nn.Module):
    """Multi-head attention along the middle axis; unseen keys are never attended.

    A query that has no seen key gives zeros. Feature methods attend through this class only.

    Raises:
        TextualizeError: the width is not a multiple of the heads.
    """

    def __init__(self, width: int, heads: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        if width % heads:
            raise TextualizeError(
                f"attention of width {width} cannot be split among {heads} heads: change recipe "
                "key 'hidden' or 'heads'"
            )
        self.inner = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)

    def forward(self, queries: Tensor, keys: Tensor, seen: Tensor) -> Tensor:
        """Return Att(Q = queries, K = V = keys), (B, Lq, D).

        queries: (B, Lq, D), keys: (B, Lk, D), seen: (B, Lk) bool of the keys.
        """
        keys = zeroed(keys, seen)
        hidden = ~attendable(seen)
        found = self.inner(queries, keys, keys, key_padding_mask=hidden, need_weights=False)
        out: Tensor = found[0] * seen.any(1).view(-1, 1, 1)
        return out


class EncoderLayer(nn.Module):
    """Post-LN transformer encoder layer: x <- LN(x + Att(x)), x <- LN(x + FFN(x)).

    FFN: Linear width -> inner, ReLU, Linear inner -> width; `inner` is the width where not given.
    """

    def __init__(
        self, width: int, heads: int = 1, inner: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.attention = Attention(width, heads, dropout)
        self.ffn = mlp(width, inner or width, width, dropout)
        self.norm_attention = nn.LayerNorm(width)
        self.norm_ffn = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return x (B, L, D) after the layer, 0 where `seen` (B, L) is False."""
        x = zeroed(x, seen)
        x = self.norm_attention(x + self.dropout(self.attention(x, x, seen)))
        return zeroed(self.norm_ffn(x + self.dropout(self.ffn(x))), seen)


class Encoder(nn.Module):
    """A stack of `EncoderLayer`."""

    def __init__(
        self, width: int, heads: int = 1, *, layers: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EncoderLayer(width, heads, dropout=dropout) for _ in range(layers)
        )

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return x (B, L, D) after all layers, 0 where `seen` (B, L) is False."""
        for layer in self.layers:
            x = layer(x, seen)
        return x


def mlp(width: int, hidden: int, outputs: int, dropout: float) -> nn.Sequential:
    """Return Linear, ReLU, dropout, Linear."""
    return nn.Sequential(
        nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, outputs)
    )


class FeatureDropout(nn.Module):
    """Dropout of whole features: one that is dropped is 0 at every step of its clip.

    What is the same at all steps, as an action unit's mean over the clip, survives a dropout of
    single entries once steps are averaged.
    """

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Dropout1d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return x (B, L, D), in training with features dropped and the rest scaled up."""
        out: Tensor = self.inner(x.transpose(1, 2)).transpose(1, 2)
        return out


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of (B, L, D) whose statistics are those of the seen steps.

    With fewer than two seen steps in a training batch, and in evaluation, the running statistics
    are used. Unseen steps are 0 in the output.
    """

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:  # type: ignore[override]
        """Return the normalised steps, (B, L, D). seen: (B, L) bool."""
        rows = x[seen]
        if self.training and len(rows) < 2:
            rows = F.batch_norm(
                rows, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        else:
            rows = super().forward(rows)
        return torch.zeros_like(x).masked_scatter(seen.unsqueeze(-1), rows)


def receptive_field(levels: int, kernel: int = 5) -> int:
    """Return how many steps an output of `CausalTCN` reads, its own included.

    Two convolutions a level, dilation doubling: 1 + 2 (kernel - 1) (2^levels - 1).

    >>> receptive_field(4), receptive_field(5)
    (121, 249)
    """
    return 1 + 2 * (kernel - 1) * ((1 << levels) - 1)


class _CausalBlock(nn.Module):
    """Two dilated weight-normed convolutions that look back only, and a residual path."""

    def __init__(
        self, width: int, channels: int, kernel: int, dilation: int, dropout: float
    ) -> None:
        super().__init__()
        self.past = (kernel - 1) * dilation
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv1d(w, channels, kernel, dilation=dilation))
            for w in (width, channels)
        )
        self.residual = nn.Conv1d(width, channels, 1) if width != channels else nn.Identity()
        self.activation = nn.LeakyReLU()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return (B, channels, L) of x (B, width, L); seen: (B, 1, L)."""
        found = x
        for conv in self.convs:
            found = self.dropout(self.activation(conv(F.pad(found, (self.past, 0))))) * seen
        out: Tensor = self.activation(found + self.residual(x)) * seen
        return out


class CausalTCN(nn.Module):
    """Temporal convolutions that see the past only, then batch normalisation.

    channels: one entry per level; level i has dilation 2^i and two weight-normed convolutions
    with LeakyReLU and dropout beside a residual path. An unseen step is silent in every level,
    like the padding before a clip begins.
    """

    def __init__(
        self, width: int, channels: Sequence[int], *, kernel: int = 5, dropout: float = 0.1
    ) -> None:
        super().__init__()
        widths = [width, *channels]
        self.blocks = nn.ModuleList(
            _CausalBlock(a, b, kernel, 2**i, dropout)
            for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False))
        )
        self.width = widths[-1]
        self.norm = MaskedBatchNorm(self.width)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return (B, L, channels[-1]); output t reads steps up to t. seen: (B, L) bool."""
        own = seen.unsqueeze(1).to(x.dtype)
        x = zeroed(x, seen).transpose(1, 2)
        for block in self.blocks:
            x = block(x, own)
        out: Tensor = self.norm(x.transpose(1, 2), seen)
        return out


class StreamEncoders(nn.Module):
    """Dropout of whole features, then a `CausalTCN` for every stream.

    widths: stream -> D. channels: the levels of every stream, or of each by its name.

    Raises:
        TextualizeError: a stream has no channels, or what has channels is no stream.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        channels: Mapping[str, Sequence[int]] | Sequence[int],
        *,
        kernel: int,
        dropout: float,
    ) -> None:
        super().__init__()
        if not isinstance(channels, Mapping):
            channels = dict.fromkeys(widths, channels)
        if set(channels) != set(widths) or not all(channels.values()):
            raise TextualizeError(
                f"recipe key 'channels' is for {', '.join(m for m, c in channels.items() if c)}; "
                f"the streams are {', '.join(widths)}: give each its list, or one list for all"
            )
        self.streams = tuple(widths)
        self.dropout = FeatureDropout(dropout)
        own = [CausalTCN(d, channels[m], kernel=kernel, dropout=dropout) for m, d in widths.items()]
        self.encoders = nn.ModuleList(own)
        self.widths = [e.width for e in own]

    def forward(self, batch: Batch) -> tuple[list[Tensor], list[Tensor]]:
        """Return (B, L, channels[-1]) and the mask (B, L) of every stream."""
        seen = [batch.steps[m] for m in self.streams]
        found = [
            encode(self.dropout(zeroed(batch.streams[m], own)), own)
            for encode, m, own in zip(self.encoders, self.streams, seen, strict=True)
        ]
        return found, seen
