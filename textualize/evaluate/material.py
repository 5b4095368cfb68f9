"""What is known of the clips of an evaluation, and the findings that come of it.

A *leak* brings what is asked, or the clips it is asked of, to where a method learns or reads. A
*note* is no leak and yet something a reader of the scores should know: an emotion named aloud, a
label in a file's name that no prompt repeats, statistics of a tested speaker without labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from textualize.files import digest_of
from textualize.store import Corpus
from textualize.types import Clip, Record

Kind = Literal[
    "label in cue", "label in prompt", "label said", "label in name", "clip named in prompt",
    "group across folds", "subject across folds", "clip across folds", "validation is test",
    "duplicate text", "duplicate media", "demonstration", "statistics", "test split",
    "unchecked",
]  # fmt: skip
Severity = Literal["leak", "note"]
SHOWN = 3  # examples of one finding


@dataclass(frozen=True, slots=True)
class Leak:
    """One finding: `found` of `of` clips, a few of them named; `where` is a fold or a method."""

    kind: Kind
    severity: Severity
    where: str
    text: str
    found: int
    of: int
    examples: tuple[str, ...] = ()

    def line(self) -> str:
        """Return the finding as one line.

        >>> Leak("validation is test", "leak", "fold 1", "test clips are validation", 2, 3).line()
        'fold 1: 2 of 3 test clips are validation'
        """
        first = f" ({', '.join(self.examples)}{', …' if self.found > len(self.examples) else ''})"
        return f"{self.where}: {self.found} of {self.of} {self.text}{first * bool(self.examples)}"


@dataclass(frozen=True, slots=True)
class Said:
    """A text as it is compared: how many words, and a digest of them without case and marks."""

    words: int
    digest: str

    @classmethod
    def of(cls, text: str) -> Said:
        """Return the text as it is compared.

        >>> Said.of("Oh, NO!") == Said.of("oh no") != Said.of("no oh")
        True
        """
        words = re.findall(r"\w+", text.casefold())
        return cls(len(words), digest_of(words) if words else "")


SILENT = Said(0, "")


@dataclass(frozen=True, slots=True)
class Material:
    """What is known of the clips: all labelled ones by id, what they say, their media's digests."""

    clips: Mapping[str, Clip]
    texts: Mapping[str, Said] = field(default_factory=dict)
    media: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[Record], corpus: Corpus | None = None) -> Material:
        """Return the material of records, and of the labelled clips of a corpus beside them.

        What a sensor heard in a record counts before the text its clip brings.
        """
        entries = list(corpus.iter_entries()) if corpus else []
        clips = {e.clip.id: e.clip for e in entries if e.clip.label is not None}
        texts = {i: c.transcript or "" for i, c in clips.items()}
        for record in records:
            clips[record.clip.id] = record.clip
            texts[record.clip.id] = record.transcript or record.clip.transcript or ""
        said = {i: Said.of(text) for i, text in texts.items()}
        return cls(clips, said, {e.clip.id: e.media for e in entries if e.media})

    def said(self, clip: str) -> Said:
        """Return what a clip says; SILENT where nothing is known."""
        return self.texts.get(clip, SILENT)


def leak(
    kind: Kind, where: str, ids: Sequence[str], of: int, text: str, severity: Severity = "leak"
) -> Iterator[Leak]:
    """Yield the finding that these clips are, where there are any."""
    if ids:
        yield Leak(kind, severity, where, text, len(ids), of, tuple(ids[:SHOWN]))


def in_order(found: Iterable[Leak]) -> tuple[Leak, ...]:
    """Return each finding once, seeds of a method say the same: leaks before notes, by kind."""
    return tuple(sorted(set(found), key=lambda x: (x.severity, x.kind, x.where, x.text, x.found)))
