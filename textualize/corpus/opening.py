"""What a check or a split is made of: a corpus folder, or whatever `extract` would read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from textualize.datasets.given import Fold, read_folds
from textualize.datasets.published import PUBLISHED, published_folds
from textualize.datasets.sources import listing_of
from textualize.labels import LabelSet
from textualize.store import Corpus, Entry, Failure
from textualize.types import Clip


@dataclass(frozen=True, slots=True)
class Source:
    """Clips and what is known of them. `corpus` is None before extraction.

    `dataset` names the known corpus that `path` is the root of. `notes` are the loader's.
    """

    path: Path
    dataset: str | None
    labels: LabelSet | None
    corpus: Corpus | None
    listed: tuple[Clip, ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]

    def entries(self) -> Iterator[Entry]:
        """Yield one entry per clip, one at a time; before extraction they have no items."""
        if self.corpus is not None:
            yield from self.corpus.iter_entries()
        else:
            yield from (Entry(clip, {}) for clip in self.listed)

    def labelled(self) -> list[Clip]:
        """Return the clips that have a label."""
        return [e.clip for e in self.entries() if e.clip.label is not None]

    def published(self) -> list[Fold] | None:
        """Return the folds the dataset was published with, as they are; None if it has none.

        Raises TextualizeError where their files are missing or damaged.
        """
        if self.corpus is not None:
            kept = self.corpus.folder / PUBLISHED
            return read_folds(kept, self.labelled()) if kept.is_file() else None
        if self.dataset is None:
            return None
        return published_folds(self.dataset, self.path, self.labelled())


def open_source(
    path: Path,
    dataset: str | None = None,
    labels: str | None = None,
    columns: Path | None = None,
    options: Mapping[str, str] | None = None,
) -> Source:
    """Return a corpus folder, a manifest, a folder of media or a known corpus' root as a source.

    Args:
        path: where it is.
        dataset: the known corpus `path` is the root of.
        labels: a label set's name; clips with a label outside it are failures.
        columns: a column mapping, for a manifest.
        options: what the known corpus' loader takes.

    Raises:
        TextualizeError: nothing usable is there.
    """
    if dataset is None and (path / "corpus.json").is_file():
        corpus = Corpus(path)
        return Source(path, None, corpus.labels, corpus, (), tuple(corpus.failures()), ())
    found = listing_of([path], dataset, labels, columns, options)
    return Source(path, dataset, found.labels, None, found.clips, found.failures, found.notes)
