"""What a format's writer is, and what some formats can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from textualize.corpus.examples import Example

Style = Literal["messages", "prompt-completion"]


class Writer(Protocol):
    """Writes examples into a folder; `notes` are sentences for the reader, after `close`."""

    notes: list[str]

    def write(self, example: Example) -> None:
        """Write one example."""

    def close(self) -> None:
        """Finish all files."""


@dataclass(frozen=True, slots=True)
class Options:
    """What some formats can be asked for."""

    system: str = ""
    style: Style = "messages"
    escape_formulas: bool = False
    predictions: bool = False
