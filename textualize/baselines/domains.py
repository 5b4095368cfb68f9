"""Whose clips training data are, and which people are most alike: every person is a domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from textualize.baselines.batch import Source
from textualize.baselines.discrepancy import closeness, mmd
from textualize.errors import TextualizeError

Ranking = Literal["mmd", "cosine"]


class OfPeople(Source, Protocol):
    """Training data that may know whose every clip is, see `Batch.subjects`."""

    @property
    def subjects(self) -> Tensor | None:
        """Of each clip, (N,): 0, 1, … with labels, -1, -2, … without."""


@dataclass(frozen=True, slots=True, eq=False)
class Domains:
    """The rows of every subject: of sources, whose labels are known, and of targets."""

    data: OfPeople
    sources: Mapping[int, Tensor]
    targets: Mapping[int, Tensor]

    @classmethod
    def of(cls, data: OfPeople) -> Domains:
        """Return the domains of training data.

        Raises:
            TextualizeError: it has no subjects, or fewer than two with labels.
        """
        if data.subjects is None:
            raise TextualizeError("subject-msda needs to know whose every clip is: give subjects")
        rows = rows_of(data.subjects)
        sources = {s: r for s, r in rows.items() if s >= 0}
        if len(sources) < 2:
            raise TextualizeError(
                f"subject-msda learns from two subjects or more; {len(sources)} in training"
            )
        return cls(data, sources, {s: r for s, r in rows.items() if s < 0})

    def drawn(self, known: Sequence[int], target: int | None, share: int) -> Tensor:
        """Return rows of two of the known sources and of the target, up to `share` of each."""
        pair = [known[i] for i in torch.randperm(len(known))[:2].tolist()]
        parts = [_some_of(self.sources[s], share) for s in pair]
        if target is not None:
            parts.append(_some_of(self.targets[target], share))
        return torch.cat(parts)


def rows_of(subjects: Tensor) -> dict[int, Tensor]:
    """Return the rows of every subject of (N,), in the order of their numbers."""
    return {s: torch.where(subjects == s)[0] for s in sorted(set(subjects.tolist()))}


def _some_of(rows: Tensor, count: int) -> Tensor:
    """Return up to so many of the rows, each once."""
    return rows[torch.randperm(len(rows))[:count].to(rows.device)]


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
