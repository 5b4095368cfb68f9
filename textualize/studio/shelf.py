"""The clips that can be looked at: those of a corpus, and those dropped on the page.

Clips of the split named test stay sealed: a prompt that was tried on them cannot be tested on them.
A file is given out for a clip's id alone, and only if its content is what was extracted.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace
from pathlib import Path

from textualize.errors import TextualizeError
from textualize.evaluate.sealed import NAME as SEALED
from textualize.files import file_digest
from textualize.labels import LabelSet
from textualize.serve.upload import ENDINGS
from textualize.store import Corpus
from textualize.types import Record

MOST_UPLOADS = 20  # kept in memory, without their media
IMAGES = frozenset((".jpg", ".jpeg", ".png", ".bmp"))


class NoClipError(TextualizeError):
    """No clip of that name, or none that can be played."""


class Shelf:
    """A corpus' clips but for its sealed ones, and uploads."""

    def __init__(self, corpus: Corpus) -> None:
        """Read the whole corpus, so that clips know their speaker and what was said around them."""
        records = corpus.records()
        self.name = str(corpus.folder)
        self.labels: LabelSet | None = corpus.labels
        self._records = {r.clip.id: r for r in records if r.clip.split != SEALED}
        self.sealed = len(records) - len(self._records)
        self._media = {e.clip.id: e.media for e in corpus.iter_entries()}
        self._known: dict[tuple[Path, int, int], str] = {}
        self._uploads: dict[str, Record] = {}
        self._uploaded = 0

    @property
    def clips(self) -> int:
        """How many clips of the corpus are shown."""
        return len(self._records)

    @property
    def uploads(self) -> list[str]:
        """The ids of uploaded clips, the latest first."""
        return list(reversed(self._uploads))

    def record(self, clip: str) -> Record:
        """Return a clip's record; raises NoClipError for an unknown id."""
        found = self._uploads.get(clip) or self._records.get(clip)
        if found is None:
            raise NoClipError(f"no clip called '{clip[:100]}'")
        return found

    def having(self, words: str, most: int) -> tuple[list[Record], int]:
        """Return the first clips whose id, label or transcript hold all words, and their number."""
        wanted = words.lower().split()
        uploads = [self._uploads[name] for name in self.uploads]
        found = [r for r in (*uploads, *self._records.values()) if _holds(r, wanted)]
        return found[:most], len(found)

    def within(self, clips: Set[str]) -> list[Record]:
        """Return those of the corpus' clips that are labelled, in the order of their ids."""
        own = (self._records[c] for c in sorted(clips & self._records.keys()))
        return [r for r in own if r.clip.label is not None]

    @property
    def validation(self) -> set[str]:
        """The ids of the corpus' own split named validation."""
        return {c for c, r in self._records.items() if r.clip.split == "validation"}

    def keep(self, record: Record, file: str) -> str:
        """Add what was extracted of an uploaded clip and return its id; raises when it is full."""
        if len(self._uploads) >= MOST_UPLOADS:
            raise TextualizeError(f"{MOST_UPLOADS} uploads are open: remove one first")
        self._uploaded += 1
        name = f"upload {self._uploaded}: {file}"
        clip = replace(record.clip, id=name, video=None)
        self._uploads[name] = replace(record, clip=clip)
        return name

    def drop(self, clip: str) -> None:
        """Forget an upload; raises NoClipError for anything else."""
        if self._uploads.pop(clip, None) is None:
            raise NoClipError(f"no upload called '{clip[:100]}'")

    def media(self, clip: str) -> Path:
        """Return the file of a clip of the corpus.

        Raises:
            NoClipError: it has none, or its file is gone, or is not what was extracted.
        """
        path = self.record(clip).clip.video
        expected = self._media.get(clip, "")
        if path is None or not expected or path.suffix.lower() not in ENDINGS:
            raise NoClipError(f"'{clip[:100]}' has no media file that can be played")
        try:
            about = path.stat()
            key = (path, about.st_mtime_ns, about.st_size)
            if key not in self._known:
                self._known[key] = file_digest(path)
        except OSError:
            raise NoClipError(f"the media file of '{clip[:100]}' is gone") from None
        if self._known[key] != expected:
            raise NoClipError(
                f"the media file of '{clip[:100]}' is not the one that was extracted: "
                "extract again to see it"
            )
        return path


def _holds(record: Record, wanted: list[str]) -> bool:
    clip = record.clip
    text = f"{clip.id} {clip.label or ''} {clip.split or ''} {record.transcript}".lower()
    return all(word in text for word in wanted)
