"""What a user names on the command line, as clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from textualize.datasets import Listing, folder, load_dataset, manifest
from textualize.datasets.labelling import labelling
from textualize.datasets.tables import TABLES
from textualize.errors import TextualizeError
from textualize.labels import LabelSet, label_set
from textualize.store import failure

_WITH_COLUMNS = ("manifest", "hf")


def listing_of(
    sources: Sequence[Path],
    dataset: str | None = None,
    labels: str | None = None,
    columns: Path | None = None,
    options: Mapping[str, str] | None = None,
) -> Listing:
    """Return the clips of media files, folders, a manifest, or a known corpus' root.

    Args:
        sources: paths; a known corpus or a manifest stands alone.
        dataset: the known corpus SOURCE is the root of.
        labels: a label set's name; clips with a label outside it are listed as failures.
        columns: a column mapping, for a manifest or a `datasets` folder (see `columns.py`).
        options: what the known corpus' loader takes.

    Raises:
        TextualizeError: nothing usable is named, or an option that has nothing to act on.
    """
    wanted = label_set(labels) if labels else None
    if columns and not _takes_columns(sources, dataset):
        raise TextualizeError(
            "a column mapping goes with a manifest "
            f"({', '.join(TABLES)}) or --dataset hf; given {columns}"
        )
    if options and not dataset:
        raise TextualizeError(f"options ({', '.join(options)}) go with --dataset")
    if dataset:
        _alone(sources, f"--dataset {dataset}")
        mapped = {"columns": str(columns)} if columns else {}
        return _within(load_dataset(dataset, sources[0], {**(options or {}), **mapped}), wanted)
    if any(_is_table(p) for p in sources):
        _alone(sources, "a manifest")
        return manifest.load(sources[0], wanted, columns=columns)
    return _within(folder.load_paths(sources), wanted)


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in TABLES and not path.is_dir()


def _takes_columns(sources: Sequence[Path], dataset: str | None) -> bool:
    return dataset in _WITH_COLUMNS if dataset else any(_is_table(p) for p in sources)


def _within(listing: Listing, wanted: LabelSet | None) -> Listing:
    """Return the listing with the wanted set's labels; clips with another one are failures."""
    if wanted is None:
        return listing
    written = Counter(str(c.label) for c in listing.clips if c.label is not None)
    settled = labelling(written, wanted)
    kept = tuple(
        c if c.label is None else replace(c, label=settled.values[str(c.label)])
        for c in listing.clips
        if c.label is None or str(c.label) in settled.values
    )
    failures = tuple(
        failure(c.id, "labels", settled.problems[str(c.label)])
        for c in listing.clips
        if c.label is not None and str(c.label) in settled.problems
    )
    notes = (*listing.notes, *settled.notes)
    return Listing(kept, wanted, (*listing.failures, *failures), notes)


def _alone(sources: Sequence[Path], what: str) -> None:
    if len(sources) != 1:
        raise TextualizeError(f"{what} takes one source; given {len(sources)}")
