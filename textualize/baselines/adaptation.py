"""Learning from several people, then adapting to one without labels; whatever is read of a clip.

The stages, the drawing of clips and the losses of `subject-msda` (see `subject_msda.py`). What a
clip's features are and what another view of it is, a subclass says.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from textualize.baselines.discrepancy import coral, mmd
from textualize.baselines.domains import Domains, OfPeople, Ranking, ranked, rows_of
from textualize.baselines.network import Network
from textualize.baselines.pseudo_labels import confident_labels, information, threshold_at
from textualize.baselines.task import LOWER_IS_BETTER, Task
from textualize.errors import TextualizeError

Discrepancy = Literal["mmd", "coral"]
Choice = Literal["source", "information", "oracle"]
DISCREPANCIES: Mapping[Discrepancy, Callable[[Tensor, Tensor], Tensor]] = {
    "mmd": mmd,
    "coral": coral,
}
FEWEST: Mapping[Discrepancy, int] = {"mmd": 1, "coral": 2}  # clips of a subject it is of
LEAST = 4  # rows of a batch: two of each of two subjects


class Answered(NamedTuple):
    """What a loss knows of some clips of a batch."""

    targets: Tensor
    weights: Tensor


class Adaptation(Network, ABC):
    """A network that is first trained on people with labels, then adapted to people without.

    weight and target_weight: gamma and gamma_T. sources: how many subjects, those most alike the
    target, it is adapted from; None takes all. align: epochs of adapting by the discrepancy alone;
    pseudo-labels of a person who is still far off can be sure and wrong. choose: what the epoch
    of adapting is chosen by, of an oracle what it is told; that of the sources is the one with the
    lowest validation loss.
    """

    stages: ClassVar[tuple[str, ...]] = ("source", "adapt")

    def __init__(
        self,
        widths: Mapping[str, int],
        task: Task,
        *,
        discrepancy: Discrepancy = "mmd",
        weight: float = 0.1,
        target_weight: float = 1.0,
        pseudo_labels: bool = True,
        threshold: float = 0.9,
        fall: float = 0.02,
        every: int = 20,
        align: int = 0,
        agreement: bool = True,
        choose: Choice = "source",
        sources: int | None = None,
        rank: Ranking = "mmd",
    ) -> None:
        """Raises TextualizeError for an answer per step, and for pseudo-labels that are values."""
        super().__init__(widths, task)
        if task.per_step or (task.kind == "values" and pseudo_labels):
            wanted = "leave out per_step" if task.per_step else "give pseudo_labels: false"
            raise TextualizeError(
                f"subject-msda answers clips, and its pseudo-labels are classes: {wanted}"
            )
        self.discrepancy, self.fewest = DISCREPANCIES[discrepancy], FEWEST[discrepancy]
        self.weight, self.target_weight = weight, target_weight
        self.pseudo_labels, self.agreement = pseudo_labels, agreement
        self.threshold, self.fall, self.every, self.align = threshold, fall, every, align
        self.choose, self.sources, self.rank = choose, sources, rank
        self._domains: Domains | None = None
        self._truth: tuple[Tensor, str] | None = None
        self._forget()

    # --- what a subclass says of a clip ---------------------------------------------------------

    @abstractmethod
    def parts(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Return the features that are made alike between subjects, (B, F), and (B, outputs)."""

    @abstractmethod
    def other_view(self, batch: Any) -> Any:
        """Return another view of the same clips, of which the answers should be the same."""

    @abstractmethod
    def whole(self, data: Any, rows: Tensor) -> Iterable[Any]:
        """Yield the clips of these rows as predicting reads them, in batches that fit."""

    # --- stages ---------------------------------------------------------------------------------

    def begin(self, stage: str) -> None:
        """Make ready for a stage; pseudo-labels and chosen sources are made in it anew."""
        super().begin(stage)
        self._forget()

    def _forget(self) -> None:
        self._drawn = 0
        self._labels: Tensor | None = None
        self._chosen: dict[int, list[int]] = {}
        self._sums = {"discrepancy": 0.0, "updates": 0.0}

    def forward(self, batch: Any) -> Tensor:
        """Return (B, outputs)."""
        return self.parts(batch)[1]

    # --- what a training step reads -------------------------------------------------------------

    def draw(self, data: OfPeople, rows: Tensor) -> Any:
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
        target = _one_of(list(domains.targets)) if adapting else None
        known = list(domains.sources) if target is None else self._chosen[target]
        share = max(max(len(rows), LEAST) // (2 if target is None else 3), self.fewest)
        drawn = domains.drawn(known, target, share)
        batch = data.take(drawn)
        if self._labels is None:
            return batch
        return replace(batch, targets=self._labels.to(drawn.device)[drawn])

    def _of(self, data: OfPeople) -> Domains:
        if self._domains is None or self._domains.data is not data:
            self._domains = Domains.of(data)
        return self._domains

    @torch.no_grad()
    def _begin_epoch(self, domains: Domains, epoch: int) -> None:
        """Choose the sources before the first epoch; make pseudo-labels where it is their turn."""
        training = self.training
        self.eval()
        if epoch == 0:
            self._chosen = self._choice(domains)
        labelling = epoch - self.align  # epochs since the first pseudo-labels
        if self.pseudo_labels and labelling >= 0 and labelling % self.every == 0:
            level = threshold_at(labelling, self.threshold, self.fall, self.every)
            self._labels = domains.data.targets.clone()
            for rows in domains.targets.values():
                views = self._views(domains, rows)
                self._labels[rows] = confident_labels(views, level, agreement=self.agreement)
        self.train(training)

    def _choice(self, domains: Domains) -> dict[int, list[int]]:
        """Return the sources of each target."""
        if not self.sources:
            return {t: list(domains.sources) for t in domains.targets}
        encoded = {s: self._encoded(domains, r) for s, r in domains.sources.items()}
        return {
            t: ranked(self._encoded(domains, r), encoded, self.rank)[: self.sources]
            for t, r in domains.targets.items()
        }

    def _encoded(self, domains: Domains, rows: Tensor) -> Tensor:
        return torch.cat([self.parts(own)[0] for own in self.whole(domains.data, rows)])

    def _views(self, domains: Domains, rows: Tensor) -> Tensor:
        """Return class probabilities of the clips and of their other view, (2, N, C)."""
        found = [
            torch.stack([self.parts(v)[1].softmax(-1) for v in (own, self.other_view(own))])
            for own in self.whole(domains.data, rows)
        ]
        return torch.cat(found, 1)

    @torch.no_grad()
    def criterion(self) -> float | None:
        """Return the information of the answers to all targets, where that chooses the epoch.

        Of an oracle it is their score. Raises TextualizeError for one that was told nothing.
        """
        domains = self._domains
        if self.choose == "source" or self.stage != "adapt" or not domains:
            return None
        rows = torch.cat(list(domains.targets.values()))
        out = torch.cat([self.parts(own)[1] for own in self.whole(domains.data, rows)])
        if self.choose == "information":
            return information(out.softmax(-1))
        if self._truth is None:
            raise TextualizeError("subject-msda: an oracle has to be told what is right")
        targets, select = self._truth
        score = self.task.score(select, out.float(), targets.to(rows.device)[rows])
        return -score if select in LOWER_IS_BETTER else score

    def tell(self, truth: Tensor, select: str) -> None:
        """Tell an oracle what is right of every training clip; it is never learned from."""
        self._truth = truth, select

    # --- its loss -------------------------------------------------------------------------------

    def loss(self, batch: Any) -> Tensor:
        """Return the loss of the present stage, a scalar; that of labels where no one is named."""
        features, out = self.parts(batch)
        if batch.subjects is None:
            return self.task.loss(out, batch)
        parts = rows_of(batch.subjects)
        sources = [r for s, r in parts.items() if s >= 0]
        targets = [r for s, r in parts.items() if s < 0]
        labelled = [torch.cat(sources), *targets] if targets else sources
        own = [Answered(batch.targets[r], batch.weights[r]) for r in labelled]
        losses = [self.task.loss(out[r], a) for r, a in zip(labelled, own, strict=True)]
        total = torch.stack(losses).sum()
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
            rows = torch.cat(list(self._domains.targets.values()))
            found["pseudo-labels"] = float((self._labels.to(rows.device)[rows] >= 0).sum())
        return found


def _one_of(names: list[int]) -> int:
    return names[int(torch.randint(len(names), ()))]
