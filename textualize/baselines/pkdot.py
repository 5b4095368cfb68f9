"""Distilling a modality that only training has, by optimal transport (Aslam et al., FG 2024).

Muhammad Haseeb Aslam et al., "Distilling Privileged Multimodal Information for Expression
Recognition using Optimal Transport", FG 2024. Three stages:

    teacher         a gated multimodal transformer reads the student's stream and a privileged one
    hallucination   the T-Net regresses the teacher's privileged tokens from the student's stream
    student         the same transformer on the stream and its hallucination: task loss plus lambda
                    times the structural loss between its clip embeddings and the teacher's

Tokens are the steps of a clip, and no clip attends to another (in the released code they do).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import ClassVar, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from textualize.baselines.answer import Answer
from textualize.baselines.batch import Batch
from textualize.baselines.layers import Attention, Encoder, mean_over, zeroed
from textualize.baselines.losses import Anchors, structural_loss
from textualize.baselines.network import Network
from textualize.baselines.task import Task
from textualize.errors import TextualizeError


class GatedTransformer(nn.Module):
    """Two sequences to one: an encoder each, cross-attention both ways, a gate at every step.

        a <- LN(a + Att(Q = a, K = V = b)),  b <- LN(b + Att(Q = b, K = V = a))
        z = g a + (1 - g) b,  g = sigmoid(w' [a ; b] + c)

    Where one of the two is unseen the gate is the other's; where both are, z is 0.
    """

    def __init__(self, width: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(
            Encoder(width, heads, layers=layers, dropout=dropout) for _ in range(2)
        )
        self.crosses = nn.ModuleList(Attention(width, heads, dropout) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.gate = nn.Linear(2 * width, 1)

    def forward(self, tokens: tuple[Tensor, Tensor], seen: tuple[Tensor, Tensor]) -> Tensor:
        """Return z, (B, L, D). tokens: (B, L, D) each, seen: (B, L) bool each."""
        a, b = (e(x, s) for e, x, s in zip(self.encoders, tokens, seen, strict=True))
        across = self.crosses[0](a, b, seen[1]), self.crosses[1](b, a, seen[0])
        a, b = self.norms[0](a + across[0]), self.norms[1](b + across[1])
        gate = torch.sigmoid(self.gate(torch.cat([a, b], -1)))
        both = (seen[0] & seen[1]).unsqueeze(-1)
        gate = torch.where(both, gate, seen[0].unsqueeze(-1).to(gate.dtype))
        return zeroed(gate * a + (1 - gate) * b, seen[0] | seen[1])


class Reader(nn.Module):
    """A gated transformer with its head: clip embedding and output from two token sequences.

    skips: widths of the streams with a linear path to the outputs past it all.
    """

    def __init__(
        self, task: Task, width: int, heads: int, layers: int, dropout: float,
        skips: Mapping[str, int],
    ) -> None:  # fmt: skip
        super().__init__()
        self.per_step = task.per_step
        self.dropout = nn.Dropout(dropout)
        self.transformer = GatedTransformer(width, heads, layers, dropout)
        self.answer = Answer([nn.Linear(width, task.outputs)], skips, task, dropout)

    def forward(
        self, tokens: tuple[Tensor, Tensor], seen: tuple[Tensor, Tensor], batch: Batch
    ) -> tuple[Tensor, Tensor]:
        """Return outputs, (B, outputs) or (B, L, outputs), and embeddings of the clips, (B, D).

        seen: of the tokens. batch: which the linear path reads.
        """
        z = self.transformer(tokens, seen)
        embedding = mean_over(z, seen[0] | seen[1])
        out: Tensor = self.answer(self.dropout(z if self.per_step else embedding), batch)
        return out, embedding


class Teacher(nn.Module):
    """Reads the student's stream and a privileged one; `streams` names the two."""

    def __init__(
        self, streams: tuple[str, str], widths: Mapping[str, int], task: Task, *, hidden: int,
        heads: int, layers: int, dropout: float, skip: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.streams = streams
        self.dropout = nn.Dropout(dropout)
        self.project = nn.ModuleList(nn.Linear(widths[m], hidden) for m in streams)
        skips = {m: widths[m] for m in streams} if skip else {}
        self.reader = Reader(task, hidden, heads, layers, dropout, skips)

    def tokens(self, batch: Batch, which: int) -> Tensor:
        """Return the projected steps of its first (0) or its privileged stream (1), (B, L, D)."""
        m = self.streams[which]
        found: Tensor = self.project[which](self.dropout(zeroed(batch.streams[m], batch.steps[m])))
        return found

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return outputs and clip embeddings, see `Reader`."""
        tokens = self.tokens(batch, 0), self.tokens(batch, 1)
        seen = batch.steps[self.streams[0]], batch.steps[self.streams[1]]
        found: tuple[Tensor, Tensor] = self.reader(tokens, seen, batch)
        return found


class Student(nn.Module):
    """Reads one stream, and what the T-Net makes of it in place of the privileged one."""

    def __init__(
        self, stream: str, width: int, task: Task, *, hidden: int, heads: int, layers: int,
        dropout: float, skip: bool, hallucination: Sequence[int],
    ) -> None:  # fmt: skip
        super().__init__()
        self.stream = stream
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(width, hidden)
        layers_of_it: list[nn.Module] = []
        for a, b in pairwise([width, *hallucination, hidden]):
            layers_of_it += [nn.Linear(a, b), nn.ReLU()]
        self.hallucinate = nn.Sequential(*layers_of_it[:-1])  # linear output: tokens have any sign
        skips = {stream: width} if skip else {}
        self.reader = Reader(task, hidden, heads, layers, dropout, skips)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return outputs and clip embeddings, see `Reader`; no other stream is touched."""
        seen = batch.steps[self.stream]
        x = zeroed(batch.streams[self.stream], seen)
        tokens = self.project(self.dropout(x)), self.hallucinate(x)
        found: tuple[Tensor, Tensor] = self.reader(tokens, (seen, seen), batch)
        return found


class PKDOT(Network):
    """Teachers, T-Net and student; what predicts is the student, which reads one stream.

    privileged: the stream that training alone has. teachers: more such streams, a teacher each;
    a batch is distilled from the one with the lowest task loss, in the first one's space through
    an adapter; the T-Net regresses the first one's tokens. weight: lambda. hallucination: widths
    of the T-Net's hidden layers. skip: a linear path past the transformers, not in the paper.
    The other options are those of `losses.structural_loss`.

    Raises:
        TextualizeError: not every privileged stream is there, or not exactly one other.
    """

    stages: ClassVar[tuple[str, ...]] = ("teacher", "hallucination", "student")

    def __init__(
        self, widths: Mapping[str, int], task: Task, *, steps: int, hidden: int, heads: int,
        layers: int, dropout: float, privileged: str, teachers: Sequence[str], weight: float,
        anchors: Anchors, neighbours: int, exclude_self: bool, index_aware: bool, epsilon: float,
        hallucination: Sequence[int], skip: bool,
    ) -> None:  # fmt: skip
        super().__init__(widths, task)
        self.privileged = (privileged, *teachers)
        visible = visible_stream(widths, self.privileged)
        self.weight, self.neighbours, self.exclude_self = weight, neighbours, exclude_self
        self.anchors, self.index_aware, self.epsilon = anchors, index_aware, epsilon
        size = {"hidden": hidden, "heads": heads, "layers": layers}
        self.teachers = nn.ModuleList(
            Teacher((visible, m), widths, task, **size, dropout=dropout, skip=skip)
            for m in self.privileged
        )
        self.adapters = nn.ModuleList(
            nn.Sequential(nn.Linear(hidden, hidden // 2), nn.ReLU(), nn.Linear(hidden // 2, hidden))
            for _ in teachers
        )
        self.student = Student(
            visible, widths[visible], task, **size, dropout=dropout, skip=skip,
            hallucination=hallucination,
        )  # fmt: skip
        self.begin(self.stages[-1])

    def begin(self, stage: str) -> None:
        """Let a stage's own parts train: teachers; T-Net and adapters; student with its T-Net.

        Right after hallucination the student starts as a copy of the first teacher, the T-Net in
        place of its privileged projection. Ours: the structural loss costs a fresh student
        accuracy where clips are few.
        """
        if (self.stage, stage) == ("hallucination", "student"):
            self._inherit()
        self.stage = stage
        self.requires_grad_(False)
        own: dict[str, list[nn.Module]] = {
            "teacher": [self.teachers],
            "hallucination": [self.student.hallucinate, self.adapters],
            "student": [self.student],
        }
        for part in own[stage]:
            part.requires_grad_(True)
        self.train(self.training)

    def _inherit(self) -> None:
        first, own = cast(Teacher, self.teachers[0]), self.student
        own.project.load_state_dict(first.project[0].state_dict())
        own.reader.transformer.load_state_dict(first.reader.transformer.state_dict())
        own.reader.answer.heads.load_state_dict(first.reader.answer.heads.state_dict())

    def train(self, mode: bool = True) -> Self:
        """Set training mode; teachers that are done learning stay in evaluation."""
        super().train(mode)
        if self.stage != "teacher":
            self.teachers.eval()
        return self

    def scored(self, stage: str) -> bool:
        """Return whether the stage has answers to score: not where features are regressed."""
        return stage != "hallucination"

    def forward(self, batch: Batch) -> Tensor:
        """Return the student's outputs; while teachers learn, the mean of theirs."""
        if self.stage == "teacher":
            return torch.stack([teacher(batch)[0] for teacher in self.teachers]).mean(0)
        out: Tensor = self.student(batch)[0]
        return out

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss of the present stage; of the student in evaluation, of its task alone."""
        if self.stage == "teacher":
            losses = [self.task.loss(teacher(batch)[0], batch) for teacher in self.teachers]
            return torch.stack(losses).mean()
        if self.stage == "hallucination":
            return self._regression(batch) + self._alignment(batch)
        out, embedding = self.student(batch)
        loss = self.task.loss(out, batch)
        if not self.weight or not self.training:
            return loss
        return loss + self.weight * self._structure(batch, embedding)

    def _regression(self, batch: Batch) -> Tensor:
        """Return the mean squared error of the T-Net over steps that both streams have."""
        first, m = cast(Teacher, self.teachers[0]), self.student.stream
        both = batch.steps[m] & batch.steps[self.privileged[0]]
        with torch.no_grad():
            true = first.tokens(batch, 1)
        found = self.student.hallucinate(zeroed(batch.streams[m], batch.steps[m]))
        off = zeroed((found - true).square().mean(-1, keepdim=True), both)
        return off.sum() / both.sum().clamp(min=1)

    def _alignment(self, batch: Batch) -> Tensor:
        """Return 1 - cosine of adapted embeddings and the first teacher's, summed over teachers."""
        total = torch.zeros((), device=batch.weights.device)
        if not self.adapters:
            return total
        with torch.no_grad():
            first, *others = (teacher(batch)[1] for teacher in self.teachers)
        for adapter, own in zip(self.adapters, others, strict=True):
            total = total + (1 - F.cosine_similarity(adapter(own), first, dim=-1)).mean()
        return total

    @torch.no_grad()
    def _target(self, batch: Batch) -> tuple[str, Tensor]:
        """Return the stream and embeddings (B, D) of the teacher that does best on the batch."""
        found = [teacher(batch) for teacher in self.teachers]
        losses = [float(self.task.loss(out, batch)) for out, _ in found]
        best = losses.index(min(losses))
        embedding: Tensor = found[best][1]
        if best:
            embedding = self.adapters[best - 1](embedding)
        return self.privileged[best], embedding

    def _structure(self, batch: Batch, embedding: Tensor) -> Tensor:
        """Return the structural loss over the clips that the teacher knows something more of."""
        stream, target = self._target(batch)
        known = batch.steps[stream].any(1) & batch.steps[self.student.stream].any(1)
        k = min(self.neighbours, int(known.sum()) - self.exclude_self)
        if k < 1:
            return 0.0 * embedding.sum()
        return structural_loss(
            target[known], embedding[known], k=k, anchors=self.anchors,
            exclude_self=self.exclude_self, index_aware=self.index_aware, epsilon=self.epsilon,
        )  # fmt: skip


def visible_stream(widths: Mapping[str, int], privileged: Sequence[str]) -> str:
    """Return the one stream that is not privileged.

    Raises:
        TextualizeError: a privileged stream is missing or named twice, or others are not one.
    """
    streams = ", ".join(widths)
    if len(set(privileged)) < len(privileged) or not set(privileged) <= set(widths):
        raise TextualizeError(
            f"pkdot: recipe keys 'privileged' and 'teachers' name {', '.join(privileged)}, "
            f"'groups' has {streams}: name streams of 'groups', each once"
        )
    others = [m for m in widths if m not in privileged]
    if len(others) != 1:
        raise TextualizeError(
            f"pkdot: the student reads one stream; 'groups' has {streams}, of them privileged "
            f"{', '.join(privileged)}: put the student's tracks into one group"
        )
    return others[0]
