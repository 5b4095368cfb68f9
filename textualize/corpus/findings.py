"""What a check found: sentences with a severity, in sections, for a reader or a program."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
EXAMPLES = 3  # named after a count


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence. An error breaks a comparison, a warning weakens one, a note is a fact.

    `count` is how many clips it is about, `clips` the first of them.
    """

    section: str
    severity: Severity
    text: str
    count: int = 0
    clips: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """A split in numbers; `name` "" holds the clips without a split.

    `repeats` counts clips whose text another clip of the split has, `in_train` those whose text
    is in train; `_words` counts the same without case and punctuation. `majority` scores what
    always answering train's commonest label gives; `noise` is the 95 % half-width of an
    accuracy of `rate`, `noise_grouped` the same when whole groups are drawn.
    """

    name: str
    clips: int
    groups: int
    subjects: int
    labels: dict[str, int]
    repeats: int
    repeats_words: int
    in_train: int
    in_train_words: int
    majority: dict[str, float]
    rate: float
    noise: float
    noise_grouped: float


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All that a check found."""

    source: str
    clips: int
    labels: tuple[str, ...]
    splits: tuple[SplitFacts, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> list[Finding]:
        """The findings that break a comparison."""
        return [f for f in self.findings if f.severity == "error"]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "source": self.source,
            "clips": self.clips,
            "labels": list(self.labels),
            "splits": [{k: getattr(s, k) for k in SplitFacts.__slots__} for s in self.splits],
            "findings": [{k: getattr(f, k) for k in Finding.__slots__} for f in self.findings],
            "errors": len(self.errors),
        }


def about(section: str, severity: Severity, clips: Iterable[str], text: str) -> list[Finding]:
    """Return a finding about these clips, or nothing where there are none.

    "clips that " + text + ": 3"; the first are named.
    """
    found = list(clips)
    if not found:
        return []
    said = f"clips that {text}: {len(found)}"
    return [Finding(section, severity, said, len(found), tuple(found[:EXAMPLES]))]
