"""What scores prompts for the service: one question, two answers to it.

Whatever the engine, an answer is the log-probability of every label: nothing is generated, so
nothing a transcript says can lead to another answer than a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from textualize.errors import TextualizeError

Item = dict[str, Any]


class EngineDownError(TextualizeError):
    """The engine does not answer now; the same request may succeed later."""


class BusyError(EngineDownError):
    """More waits for the engine than it can answer soon."""


@dataclass(frozen=True, slots=True)
class LabelScores:
    """One prompt's answer: log P(label | prompt) in the order of the run's labels, and its ids.

    An engine may leave out a constant that all labels share.
    """

    log_probs: tuple[float, ...]
    token_ids: tuple[int, ...]


class Engine(Protocol):
    """Scores the labels of one or more runs, known by name."""

    name: str

    async def start(self) -> None:
        """Return once a real prompt has been scored; raises TextualizeError if it cannot be."""

    async def scores(self, items: Sequence[Item], run: str) -> list[LabelScores]:
        """Return every item's scores, in order; items are a text method's, see `TextMethod`.

        Raises:
            EngineDownError: the engine is down or overloaded.
        """

    async def ready(self) -> bool:
        """Return whether `scores` would be answered now."""

    async def stop(self) -> None:
        """Free everything; returns when it is freed."""
