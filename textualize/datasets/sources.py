"""What a user names on the command line, as clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from textualize.datasets import Listing, folder, load_dataset, manifest
from textualize.errors import TextualizeError
from textualize.labels import label_set
from textualize.store import failure
from textualize.types import Clip

MANIFESTS = {".csv", ".tsv", ".jsonl"}


def listing_of(
    sources: Sequence[Path], dataset: str | None = None, labels: str | None = None
) -> Listing:
    """Return the clips of media files, folders, a manifest, or a known corpus' root.

    Args:
        sources: paths; a known corpus or a manifest stands alone.
        dataset: the known corpus SOURCE is the root of.
        labels: a label set's name; clips with a label outside it are listed as failures.

    Raises:
        TextualizeError: nothing usable is named.
    """
    wanted = label_set(labels) if labels else None
    if dataset:
        _alone(sources, f"--dataset {dataset}")
        listing = load_dataset(dataset, sources[0])
    elif any(p.suffix.lower() in MANIFESTS for p in sources):
        _alone(sources, "a manifest")
        return manifest.load(sources[0], wanted)
    else:
        listing = folder.load_paths(sources)
    if wanted is None:
        return listing
    kept: list[Clip] = []
    failures = list(listing.failures)
    for clip in listing.clips:
        try:
            if clip.label is not None:
                wanted.index(clip.label)
            kept.append(clip)
        except TextualizeError as error:
            failures.append(failure(clip.id, "labels", error))
    return Listing(tuple(kept), wanted, tuple(failures))


def _alone(sources: Sequence[Path], what: str) -> None:
    if len(sources) != 1:
        raise TextualizeError(f"{what} takes one source; given {len(sources)}")
