"""Subject-based multi-source domain adaptation: every person is a domain of their own.

Zeeshan et al., "Subject-Based Domain Adaptation for Facial Expression Recognition", FG 2024. With
features f, cross-entropy CE, a discrepancy D (`discrepancy.py`) and T a subject without labels:

    source   CE(S1) + CE(S2) + gamma D(f(S1), f(S2))            S1, S2 two labelled subjects
    adapt    CE(S) + CE(T, pseudo-labels) + gamma_T D(f(S), f(T))

Pseudo-labels are the network's own answers where it is sure of a clip and of another view of it.
They are made again every few epochs, from all clips of T, and the sureness asked for falls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from textualize.baselines.answer import LinearPath
from textualize.baselines.batch import Batch
from textualize.baselines.discrepancy import closeness, coral, mmd
from textualize.baselines.network import Network
from textualize.baselines.task import Task
from textualize.errors import TextualizeError

Discrepancy = Literal["mmd", "coral"]
Ranking = Literal["mmd", "cosine"]
DISCREPANCIES: Mapping[Discrepancy, Callable[[Tensor, Tensor], Tensor]] = {
    "mmd": mmd,
    "coral": coral,
}
LEAST = 4  # rows of a batch: two of each of two subjects


def threshold_at(epoch: int, start: float, fall: float, every: int) -> float:
    """Return the sureness asked for in an epoch, from 0: it falls every so many epochs, never to 0.

    >>> [round(threshold_at(e, 0.9, 0.02, 20), 2) for e in (0, 19, 20, 40)]
    [0.9, 0.9, 0.88, 0.86]
    """
    return max(start - fall * (epoch // every), 0.0)


def confident_labels(views: Tensor, threshold: float, *, agreement: bool = True) -> Tensor:
    """Return the class ids (N,) of clips that are sure enough, -1 for the others.

    views: (V, N, C) class probabilities of V views of N clips. A clip is kept where the mean over
    views of the highest probability is above the threshold (not at it), and, with `agreement`,
    every view has the same class. It is the class of the surest view, of equals the last one's.

    >>> views = torch.tensor([[[0.95, 0.05], [0.03, 0.97]], [[0.91, 0.09], [0.98, 0.02]]])
    >>> confident_labels(views, 0.9).tolist()
    [0, -1]
    >>> confident_labels(views, 0.9, agreement=False).tolist()
    [0, 0]
    """
    sure, said = views.max(-1)
    kept = sure.mean(0) > threshold
    if agreement:
        kept &= (said == said[0]).all(0)
    surest = len(views) - 1 - sure.flip(0).argmax(0)
    return torch.where(kept, said.gather(0, surest.unsqueeze(0))[0], -1)


def information(probabilities: Tensor) -> float:
    """Return the mutual information of clips and answers (N, C) in nats: 0 to log C.

        H(mean p) - mean H(p)

    High where every answer is sure and not all are the same.
    """
    mean = probabilities.mean(0, keepdim=True)
    entropies = [torch.special.entr(p).sum(-1).mean() for p in (mean, probabilities)]
    return float(entropies[0] - entropies[1])


def ranked(target: Tensor, sources: Mapping[int, Tensor], by: Ranking) -> list[int]:
    """Return the subjects of `sources` from most to least alike a target's features (n, F).

    By their multi-kernel discrepancy (unbiased, so that few clips make nobody further, unless
    someone has one clip) or by the cosine of mean features; of equals the lower number comes first.
    """
    if by == "cosine":
        far = {s: -float(closeness(target, f)) for s, f in sources.items()}
    else:
        unbiased = min(len(f) for f in (target, *sources.values())) > 1
        far = {s: float(mmd(target, f, unbiased=unbiased)) for s, f in sources.items()}
    return sorted(far, key=lambda s: (far[s], s))


@dataclass(frozen=True, slots=True, eq=False)
class Domains:
    """The rows of every subject: of sources, whose labels are known, and of targets."""

    data: Batch
    sources: Mapping[int, Tensor]
    targets: Mapping[int, Tensor]

    @classmethod
    def of(cls, data: Batch) -> Domains:
        """Return the domains of training data.

        Raises:
            TextualizeError: it has no subjects, or fewer than two with labels.
        """
        if data.subjects is None:
            raise TextualizeError("subject-msda needs to know whose every clip is: give subjects")
        rows = _rows(data.subjects)
        sources = {s: r for s, r in rows.items() if s >= 0}
        if len(sources) < 2:
            raise TextualizeError(
                f"subject-msda learns from two subjects or more; {len(sources)} in training"
            )
        return cls(data, sources, {s: r for s, r in rows.items() if s < 0})


class SubjectMSDA(Network):
    """Functionals x of every track; features f = (W x, MLP(x)), outputs W x + V MLP(x).

    What is made alike between subjects is all the outputs are made of, the linear part too.
    weight and target_weight: gamma and gamma_T. sources: how many subjects, those most alike the
    target, it is adapted from; None takes all. noise: deviation of what is added to the
    standardised features for the other view. align: epochs of adapting by the discrepancy alone;
    pseudo-labels of a person who is still far off can be sure and wrong. choose: what the epoch
    of adapting is chosen by; that of the sources is the one with the lowest validation loss.
    """

    reads = "functionals"
    stages: ClassVar[tuple[str, ...]] = ("source", "adapt")

    def __init__(
        self,
        widths: Mapping[str, int],
        task: Task,
        *,
        steps: int = 1,
        hidden: int = 128,
        dropout: float = 0.3,
        discrepancy: Discrepancy = "mmd",
        weight: float = 0.1,
        target_weight: float = 1.0,
        pseudo_labels: bool = True,
        threshold: float = 0.9,
        fall: float = 0.02,
        every: int = 20,
        align: int = 0,
        agreement: bool = True,
        noise: float = 0.3,
        choose: Literal["source", "information"] = "source",
        sources: int | None = None,
        rank: Ranking = "mmd",
    ) -> None:
        """Take the widths of what is concatenated; it answers clips, whatever `steps`."""
        super().__init__(widths, task)
        if task.per_step or (task.kind == "values" and pseudo_labels):
            wanted = "leave out per_step" if task.per_step else "give pseudo_labels: false"
            raise TextualizeError(
                f"subject-msda answers clips, and its pseudo-labels are classes: {wanted}"
            )
        width = sum(widths.values())
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, task.outputs)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout))
        self.head = nn.Linear(hidden, task.outputs, bias=False)
        self.discrepancy = DISCREPANCIES[discrepancy]
        self.weight, self.target_weight = weight, target_weight
        self.pseudo_labels, self.agreement, self.noise = pseudo_labels, agreement, noise
        self.threshold, self.fall, self.every, self.align = threshold, fall, every, align
        self.choose, self.sources, self.rank = choose, sources, rank
        self._domains: Domains | None = None
        self._forget()

    def begin(self, stage: str) -> None:
        """Make ready for a stage; pseudo-labels and chosen sources are made in it anew."""
        super().begin(stage)
        self._forget()

    def _forget(self) -> None:
        self._drawn = 0
        self._labels: Tensor | None = None
        self._chosen: dict[int, list[int]] = {}
        self._sums = {"discrepancy": 0.0, "updates": 0.0}

    def forward(self, batch: Batch) -> Tensor:
        """Return (B, outputs)."""
        return self._parts(batch.functionals)[1]

    def features(self, x: Tensor) -> Tensor:
        """Return what the discrepancy compares, (B, outputs + hidden), of functionals (B, F)."""
        return self._parts(x)[0]

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.dropout(x)
        direct, hidden = self.linear(x), self.mlp(x)
        return torch.cat([direct, hidden], -1), direct + self.head(hidden)

    def linear_paths(self) -> list[LinearPath]:
        """Return W, where it begins: adapting goes on from what the sources taught."""
        if self.stage != "source":
            return []
        return [LinearPath(self.linear, lambda batch: batch.functionals, [self.head])]

    # --- what a training step reads -------------------------------------------------------------

    def draw(self, data: Batch, rows: Tensor) -> Batch:
        """Return a batch balanced over subjects, as large as `rows`; which rows is drawn here.

        Two sources; while adapting two sources and a target, whose pseudo-labels are its targets.
        """
        domains = self._of(data)
        adapting = self.stage == "adapt" and bool(domains.targets)
        epoch, within = divmod(self._drawn, len(data))
        if within == 0:
            self._sums = dict.fromkeys(self._sums, 0.0)
        if adapting and within == 0:
            self._begin_epoch(domains, epoch)
        self._drawn += len(rows)
        known = list(domains.sources)
        target = _one_of(list(domains.targets)) if adapting else None
        if target is not None:
            known = self._chosen[target]
        pair = [known[i] for i in torch.randperm(len(known))[:2].tolist()]
        share = max(len(rows), LEAST) // (2 if target is None else 3)
        parts = [_some_of(domains.sources[s], share) for s in pair]
        if target is not None:
            parts.append(_some_of(domains.targets[target], share))
        drawn = torch.cat(parts)
        batch = data.take(drawn)
        if self._labels is None:
            return batch
        return replace(batch, targets=self._labels.to(drawn.device)[drawn])

    def _of(self, data: Batch) -> Domains:
        if self._domains is None or self._domains.data is not data:
            self._domains = Domains.of(data)
        return self._domains

    @torch.no_grad()
    def _begin_epoch(self, domains: Domains, epoch: int) -> None:
        """Choose the sources before the first epoch; make pseudo-labels where it is their turn."""
        training = self.training
        self.eval()
        if epoch == 0:
            encoded = {s: self._encoded(domains, r) for s, r in domains.sources.items()}
            self._chosen = {
                t: ranked(self._encoded(domains, r), encoded, self.rank)[: self.sources]
                if self.sources
                else list(encoded)
                for t, r in domains.targets.items()
            }
        labelling = epoch - self.align  # epochs since the first pseudo-labels
        if self.pseudo_labels and labelling >= 0 and labelling % self.every == 0:
            level = threshold_at(labelling, self.threshold, self.fall, self.every)
            self._labels = domains.data.targets.clone()
            for rows in domains.targets.values():
                views = self._views(domains.data.functionals[rows])
                self._labels[rows] = confident_labels(views, level, agreement=self.agreement)
        self.train(training)

    def _encoded(self, domains: Domains, rows: Tensor) -> Tensor:
        return self.features(domains.data.functionals[rows])

    def _views(self, x: Tensor) -> Tensor:
        """Return class probabilities of the clips and of the clips under noise, (2, N, C)."""
        noisy = x + self.noise * torch.randn(x.shape).to(x)
        return torch.stack([self._parts(v)[1].softmax(-1) for v in (x, noisy)])

    @torch.no_grad()
    def criterion(self) -> float | None:
        """Return the information of the answers to all targets, where that chooses the epoch."""
        domains = self._domains
        if self.choose != "information" or self.stage != "adapt" or not domains:
            return None
        rows = torch.cat(list(domains.targets.values()))
        return information(self._parts(domains.data.functionals[rows])[1].softmax(-1))

    # --- its loss -------------------------------------------------------------------------------

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss of the present stage, a scalar; that of labels where no one is named."""
        features, out = self._parts(batch.functionals)
        if batch.subjects is None:
            return self.task.loss(out, batch)
        parts = _rows(batch.subjects)
        sources = [r for s, r in parts.items() if s >= 0]
        targets = [r for s, r in parts.items() if s < 0]
        labelled = [torch.cat(sources), *targets] if targets else sources
        total = torch.stack([self.task.loss(out[r], batch.take(r)) for r in labelled]).sum()
        pairs = [(s, t) for t in targets for s in sources] or list(combinations(sources, 2))
        weight = self.target_weight if targets else self.weight
        if not weight or not pairs:
            return total
        apart = torch.stack([self.discrepancy(features[a], features[b]) for a, b in pairs]).mean()
        self._sums["discrepancy"] += float(apart.detach())
        self._sums["updates"] += 1
        return total + weight * apart

    # --- what a checkpoint and a line of metrics hold -------------------------------------------

    def memory(self) -> dict[str, Tensor]:
        """Return where the stage stands: rows drawn, pseudo-labels, the sources of each target."""
        found = {"drawn": torch.tensor(self._drawn)}
        if self._labels is not None:
            found["labels"] = self._labels.cpu()
        return found | {f"chosen.{t}": torch.tensor(s) for t, s in self._chosen.items()}

    def remember(self, memory: Mapping[str, Tensor]) -> None:
        """Go on from what `memory` returned."""
        self._drawn = int(memory["drawn"])
        self._labels = memory.get("labels")
        chosen = {k: v.tolist() for k, v in memory.items() if k.startswith("chosen.")}
        self._chosen = {int(k.removeprefix("chosen.")): own for k, own in chosen.items()}

    def told(self) -> dict[str, float]:
        """Return the epoch's mean discrepancy and how many clips have a pseudo-label."""
        found = {}
        if self._sums["updates"]:
            found["discrepancy"] = self._sums["discrepancy"] / self._sums["updates"]
        if self._labels is not None and self._domains is not None:
            rows = list(self._domains.targets.values())
            found["pseudo-labels"] = float(sum(int((self._labels[r] >= 0).sum()) for r in rows))
        return found


def _rows(subjects: Tensor) -> dict[int, Tensor]:
    """Return the rows of every subject."""
    return {s: torch.where(subjects == s)[0] for s in sorted(set(subjects.tolist()))}


def _one_of(names: list[int]) -> int:
    return names[int(torch.randint(len(names), ()))]


def _some_of(rows: Tensor, count: int) -> Tensor:
    """Return up to so many of the rows, each once."""
    return rows[torch.randperm(len(rows))[:count].to(rows.device)]
