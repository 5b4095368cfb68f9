"""Joint multimodal transformer of two modalities (Waligora et al., CVPRW 2024).

Paul Waligora et al., "Joint Multimodal Transformer for Emotion Recognition in the Wild", CVPRW
2024, arXiv 2403.10488. A joint branch J = W [V ; A] + b stands beside the two modalities; six
key-based cross-attentions among the three are aggregated at every step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from textualize.baselines.answer import Answer
from textualize.baselines.batch import Batch
from textualize.baselines.layers import (
    Attention,
    Encoder,
    EncoderLayer,
    FeatureDropout,
    mean_over,
    mlp,
    sinusoidal,
    zeroed,
)
from textualize.baselines.network import Network
from textualize.baselines.task import Task
from textualize.errors import TextualizeError, unknown

Aggregation = Literal["last", "mean", "cls", "concat"]
AGGREGATIONS: tuple[Aggregation, ...] = ("last", "mean", "cls", "concat")
# query, then what gives keys and values
PAIRS = (("v", "a"), ("a", "v"), ("j", "v"), ("v", "j"), ("j", "a"), ("a", "j"))
HEAD = 128  # inner width of a head, where the network is not narrower


class TokenFusion(nn.Module):
    """What M tokens of a step become: encoder layer, attention among them, then one vector.

    last: of the last seen token (the paper's). mean: the mean of the seen ones. cls: of a learned
    token in front. concat: neither layer, one Linear of all side by side to twice the width.
    """

    def __init__(self, width: int, tokens: int, how: Aggregation = "last", heads: int = 1) -> None:
        super().__init__()
        if how not in AGGREGATIONS:
            raise unknown("jmt aggregation", how, AGGREGATIONS)
        self.how = how
        self.width = 2 * width if how == "concat" else width  # of the outputs
        if how == "concat":
            self.linear = nn.Linear(tokens * width, self.width)
            return
        self.encoder = EncoderLayer(width, heads)
        self.attention = Attention(width, heads)
        if how == "cls":
            self.first = nn.Parameter(torch.randn(width) * 0.02)

    def forward(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """Return (B, L, width) of tokens (B, L, M, D), seen (B, L, M) bool; 0 where none is."""
        batch, steps = seen.shape[:2]
        tokens, seen = zeroed(tokens.flatten(0, 1), seen.flatten(0, 1)), seen.flatten(0, 1)
        if self.how == "concat":
            found = self.linear(tokens.flatten(1))
        else:
            found = self._attended(tokens, seen)
        out: Tensor = (found * seen.any(1, keepdim=True)).view(batch, steps, self.width)
        return out

    def _attended(self, tokens: Tensor, seen: Tensor) -> Tensor:
        if self.how == "cls":
            tokens = torch.cat([self.first.expand(len(tokens), 1, -1), tokens], 1)
            seen = F.pad(seen, (1, 0), value=True)
        x = self.encoder(tokens, seen)
        if self.how == "mean":
            return mean_over(self.attention(x, x, seen), seen)
        at = torch.zeros(len(x), dtype=torch.long, device=x.device)
        if self.how == "last":
            at = x.shape[1] - 1 - seen.flip(1).int().argmax(1)
        query = x[torch.arange(len(x), device=x.device), at].unsqueeze(1)
        out: Tensor = self.attention(query, x, seen)[:, 0]
        return out


class JointTransformer(nn.Module):
    """The fusion: two modalities (B, L, D) in, one vector per step out.

        J    = W [V ; A] + b
        X'   = post-LN encoder layers of X along time, for X in V, A, J
        f_xy = Att(Q = X', K = V = Y') along time, one module per query x
        out  = TokenFusion(f_va, f_av, f_jv, f_vj, f_ja, f_aj)

    With `joint` False there is no J: two encoders, f_va and f_av, the control of the paper. A
    token counts at a step where its query was seen, in a clip where something of its keys was.
    """

    def __init__(
        self,
        width: int,
        *,
        heads: int = 1,
        layers: int = 1,
        aggregation: Aggregation = "last",
        joint: bool = True,
    ) -> None:
        super().__init__()
        names = "vaj" if joint else "va"
        self.pairs = PAIRS if joint else PAIRS[:2]
        self.join = nn.Linear(2 * width, width) if joint else None
        self.encoders = nn.ModuleDict({x: Encoder(width, heads, layers=layers) for x in names})
        self.cross = nn.ModuleDict({x: Attention(width, heads) for x in names})
        self.aggregate = TokenFusion(width, len(self.pairs), aggregation, heads)
        self.width = self.aggregate.width

    def tokens(
        self, v: Tensor, a: Tensor, seen_v: Tensor, seen_a: Tensor, at: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the cross-attended tokens (B, L, M, D) and which count, (B, L, M) bool.

        v, a: (B, L, D), seen_v, seen_a: (B, L) bool, at: positions (L, D) added to every branch.
        """
        x, seen = {"v": zeroed(v, seen_v), "a": zeroed(a, seen_a)}, {"v": seen_v, "a": seen_a}
        if self.join is not None:
            x["j"], seen["j"] = self.join(torch.cat([x["v"], x["a"]], -1)), seen_v | seen_a
        for name in x:
            if at is not None:
                x[name] = x[name] + at
            x[name] = self.encoders[name](x[name], seen[name])
        found = [self.cross[q](x[q], x[k], seen[k]) for q, k in self.pairs]
        counts = [seen[q] & seen[k].any(1, keepdim=True) for q, k in self.pairs]
        return torch.stack(found, 2), torch.stack(counts, 2)

    def forward(
        self, v: Tensor, a: Tensor, seen_v: Tensor, seen_a: Tensor, at: Tensor | None = None
    ) -> Tensor:
        """Return the fused steps, (B, L, self.width); see `tokens`."""
        out: Tensor = self.aggregate(*self.tokens(v, a, seen_v, seen_a, at))
        return out


class JMT(Network):
    """Joint multimodal transformer: per step, or on the mean over steps, of two modalities.

    A modality is a stream, or with `intra` several (two backbones) that are fused at each step by
    a `TokenFusion` first. A stream of width `hidden` enters as it is, another through a Linear;
    with `unit_length` every step then has length 1, as in the paper. The heads are two layers,
    one for all classes, or one for each value. positions: sinusoidal, of length 1 like the steps.
    Beyond the paper: `skip`, a linear path from the streams, and dropout of whole features.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        task: Task,
        *,
        steps: int,
        hidden: int = 128,
        heads: int = 1,
        layers: int = 1,
        aggregation: Aggregation = "last",
        positions: bool = False,
        joint: bool = True,
        intra: Mapping[str, Sequence[str]] | None = None,
        unit_length: bool = True,
        skip: bool = True,
        dropout: float = 0.3,
    ) -> None:
        """Raises TextualizeError unless the streams make up two modalities."""
        super().__init__(widths, task)
        self.modalities = modalities(tuple(widths), intra or {})
        self.unit_length, self.positions = unit_length, positions
        self.project = nn.ModuleList(
            nn.Identity() if d == hidden else nn.Linear(d, hidden) for d in widths.values()
        )
        self.intra = nn.ModuleList(
            TokenFusion(hidden, len(own), heads=heads) if len(own) > 1 else nn.Identity()
            for own in self.modalities
        )
        self.fusion = JointTransformer(
            hidden, heads=heads, layers=layers, aggregation=aggregation, joint=joint
        )
        self.dropout = FeatureDropout(dropout)
        width, inner = self.fusion.width, min(HEAD, hidden)
        each = [task.outputs] if task.kind == "classes" else [1] * task.outputs
        heads_of_it = [mlp(width, inner, outputs, dropout) for outputs in each]
        self.answer = Answer(heads_of_it, widths if skip else {}, task, dropout)

    def forward(self, batch: Batch) -> Tensor:
        """Return class scores or values, (B, outputs) or (B, L, outputs)."""
        seen = {m: batch.steps[m] for m in self.widths}
        raw = {m: zeroed(batch.streams[m], seen[m]) for m in self.widths}
        found = {
            m: zeroed(project(self.dropout(raw[m])), seen[m])
            for m, project in zip(raw, self.project, strict=True)
        }
        if self.unit_length:
            found = {m: F.normalize(x, dim=-1) for m, x in found.items()}
        (v, seen_v), (a, seen_a) = (
            self._modality(fuse, [found[m] for m in own], [seen[m] for m in own])
            for fuse, own in zip(self.intra, self.modalities, strict=True)
        )
        at = F.normalize(sinusoidal(*v.shape[1:]), dim=-1).to(v) if self.positions else None
        fused = self.fusion(v, a, seen_v, seen_a, at)
        if not self.task.per_step:
            fused = mean_over(fused, seen_v | seen_a)
        out: Tensor = self.answer(fused, batch)
        return out

    def _modality(
        self, fuse: nn.Module, streams: Sequence[Tensor], seen: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return one modality of its streams (B, L, D) and where anything of it was seen."""
        if len(streams) == 1:
            return streams[0], seen[0]
        both = torch.stack(list(seen), 2)
        return fuse(torch.stack(list(streams), 2), both), both.any(2)


def modalities(
    streams: Sequence[str], intra: Mapping[str, Sequence[str]]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the streams of the first and of the second modality, in the order of the streams.

    >>> modalities(("r2plus1d", "i3d", "mel"), {"visual": ["r2plus1d", "i3d"]})
    (('r2plus1d', 'i3d'), ('mel',))

    Raises:
        TextualizeError: a stream is unknown or named twice, or the modalities are not two.
    """
    named = [m for own in intra.values() for m in own]
    for m in named:
        if m not in streams or named.count(m) > 1:
            raise TextualizeError(
                f"jmt: recipe key 'intra' names stream '{m}' {named.count(m)} times; the streams "
                f"are {', '.join(streams)}: name each at most once"
            )
    groups = [tuple(own) for own in intra.values()]
    groups += [(m,) for m in streams if m not in named]
    groups = sorted((own for own in groups if own), key=lambda own: streams.index(own[0]))
    if len(groups) != 2:
        raise TextualizeError(
            f"jmt fuses two modalities; given {len(groups)} ({'; '.join(map(', '.join, groups))}):"
            " give recipe key 'groups' two entries, or join streams through 'intra'"
        )
    return groups[0], groups[1]
