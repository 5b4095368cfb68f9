"""`textualize corpus split`: folds of a source, written to a file, with how balanced they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from textualize.corpus.opening import Source
from textualize.datasets.folds import Fold, made_folds
from textualize.datasets.given import PARTS, write_folds
from textualize.datasets.stratify import strata
from textualize.errors import TextualizeError
from textualize.files import digest_of
from textualize.types import Clip


@dataclass(frozen=True, slots=True)
class Balance:
    """One part of one fold: its label counts, and how many clips its worst label is off.

    The ideal of a label is its share of all the fold's clips, times the part's size.
    """

    fold: str
    part: str
    clips: int
    groups: int
    labels: Mapping[str, int]
    worst_label: str
    worst_off: float


@dataclass(frozen=True, slots=True)
class SplitResult:
    """Written folds, their balance, and how many clips had no label and are in none."""

    path: Path
    folds: Sequence[Fold]
    balance: Sequence[Balance]
    unlabelled: int

    @property
    def digest(self) -> str:
        """sha256 of all folds."""
        return digest_of([fold.digest for fold in self.folds])

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values; the ids are in the file."""
        return {
            "file": str(self.path),
            "digest": self.digest,
            "unlabelled": self.unlabelled,
            "folds": [
                {"name": f.name, "digest": f.digest, "leaks": list(f.leaks)} for f in self.folds
            ],
            "balance": [
                {k: getattr(b, k) for k in Balance.__slots__} | {"labels": dict(b.labels)}
                for b in self.balance
            ],
        }


def split_source(
    source: Source, folds: str, path: Path, *, test: str = "test", seed: int = 0
) -> SplitResult:
    """Write a source's folds to a file and return them with their balance.

    Args:
        source: from `open_source`.
        folds: see `made_folds`; "published" takes the lists a dataset was published with where it
            has some.
        path: the `.json` file; an existing one is replaced.
        test: with the corpus' own splits, the one reported on.
        seed: another assignment of the groups.

    Raises:
        TextualizeError: not a `.json` file, no labelled clip, or clips that cannot be split so.
    """
    if path.suffix != ".json":
        raise TextualizeError(f"--out should be a .json file, which --folds reads; given {path}")
    clips = source.labelled()
    if not clips:
        raise TextualizeError(f"{source.path} has no labelled clip: nothing to split")
    unlabelled = sum(1 for e in source.entries() if e.clip.label is None)
    made = source.published() if folds == "published" else None
    if made is None:
        made = made_folds(clips, folds, test=test, seed=seed)
    about = {"source": source.path.name, "dataset": source.dataset, "folds": folds, "seed": seed}
    write_folds(path, made, {**about, "test": test, "unlabelled": unlabelled})
    return SplitResult(path, made, balance(made, clips), unlabelled)


def balance(folds: Sequence[Fold], clips: Sequence[Clip]) -> list[Balance]:
    """Return the balance of every part of every fold."""
    kinds = dict(zip((c.id for c in clips), strata([c.label for c in clips]), strict=True))
    group = {c.id: c.fold_group for c in clips}
    found = []
    for fold in folds:
        parts = {part: getattr(fold, part) for part in PARTS}
        total = Counter(kinds[i] for ids in parts.values() for i in ids)
        size = sum(total.values())
        for part, ids in parts.items():
            counts = Counter(kinds[i] for i in ids)
            off = {k: abs(counts[k] - n * len(ids) / size) for k, n in sorted(total.items())}
            worst = max(off, key=lambda k: off[k])
            groups = len({group[i] for i in ids})
            labels = dict(sorted(counts.items()))
            found.append(
                Balance(fold.name, part, len(ids), groups, labels, worst, round(off[worst], 2))
            )
    return found


def print_split(made: SplitResult, out: Console) -> None:
    """Print label counts per part, distance from ideal, leaks and the digest."""
    labels = sorted({k for b in made.balance for k in b.labels})
    table = Table(box=None, header_style="dim")
    table.add_column("fold")
    table.add_column("part")
    for column in ("clips", "groups", *labels):
        table.add_column(escape(column), justify="right")
    table.add_column("furthest from ideal")
    for b in made.balance:
        counts = [str(b.labels.get(label, 0)) for label in labels]
        off = f"{b.worst_label}: {b.worst_off:.1f} clips" if b.clips else ""
        cells = (b.fold, b.part, str(b.clips), str(b.groups), *counts, off)
        table.add_row(*(escape(cell) for cell in cells))
    out.print(table)
    for fold in made.folds:
        for leak in fold.leaks:
            out.print(f"[red]leak[/]  {escape(f'{fold.name}: {leak}')}")
    if made.unlabelled:
        out.print(f"{made.unlabelled} clips have no label and are in no fold", markup=False)
    out.print(f"{made.path}: {len(made.folds)} folds, digest {made.digest[:16]}", markup=False)
