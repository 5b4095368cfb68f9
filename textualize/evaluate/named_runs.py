"""Run folders as they are given: their names, their seeds, and the clips they are compared on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from textualize.errors import TextualizeError
from textualize.evaluate.sealed import refuse_sealed
from textualize.finetune.run_folder import RunFolder
from textualize.types import Record


def seed_runs(folder: Path) -> list[Path]:
    """Return the runs a folder stands for: itself, or its runs `seed-N`.

    An empty list says that it is no run.
    """
    if (folder / "labels.json").is_file():
        return [folder]
    return sorted(
        (p for p in folder.glob("seed-*") if (p / "labels.json").is_file()),
        key=lambda p: int(p.name.removeprefix("seed-")),
    )


def run_names(runs: Sequence[Path]) -> list[tuple[Path, str]]:
    """Return each run with its name: its folder's, with that of the one above where two share it.

    >>> [name for _, name in run_names([Path("runs/jca/fold1of3"), Path("runs/bow/fold1of3")])]
    ['jca-fold1of3', 'bow-fold1of3']
    """
    count = Counter(run.name for run in runs)
    return [(r, r.name if count[r.name] == 1 else f"{r.parent.name}-{r.name}") for r in runs]


def evaluation_records(
    read: Sequence[Record],
    runs: Sequence[Path],
    split: str | None = None,
    *,
    open_test: bool = True,
) -> list[Record]:
    """Return which of a corpus' records runs are compared on.

    With `split` None: the runs' own test part if they name one that is in the corpus, else every
    labelled record. "test" insists on the runs' own test part where they name one; any other name
    is a split of the corpus. A run may be a folder of seeds. Without `open_test` records of the
    corpus' own split named test give way to the runs' validation part.

    Raises:
        TextualizeError: the runs' test parts differ, or nothing is left, or "test" is sealed.
    """
    records = [r for r in read if r.clip.label is not None]
    folders = [RunFolder(r) for folder in runs for r in seed_runs(folder)]
    known = {r.clip.id for r in records}
    parts = {frozenset(f.test_ids) for f in folders}
    if split is None and not any(part & known for part in parts):
        parts = {frozenset()}  # another corpus than that of the runs
    if len(parts) > 1:
        raise TextualizeError("the runs have different test parts: train them on the same fold")
    own = next(iter(parts))
    if split not in (None, "test"):
        chosen = [r for r in records if r.clip.split == split]
    elif own:
        chosen = [r for r in records if r.clip.id in own]
    elif split == "test":
        chosen = [r for r in records if r.clip.split == "test"]
    else:
        chosen = records
    if split is None and not open_test and any(r.clip.split == "test" for r in chosen):
        on = set.intersection(*(set(f.parts["validation"]) for f in folders))
        chosen = [r for r in records if r.clip.id in on]
    refuse_sealed(chosen, open_test=open_test)
    if not chosen:
        raise TextualizeError(
            f"the corpus has no labelled record for {split or 'the test part'}: name a split it has"
        )
    return chosen


def single_runs(runs: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the run folders of every name; raises TextualizeError for none, or a name twice."""
    if not runs:
        raise TextualizeError("no runs to compare")
    found: dict[str, list[Path]] = {}
    for folder, name in run_names(runs):
        if name in found:
            raise TextualizeError(f"two runs are called '{name}': rename one folder")
        found[name] = seed_runs(folder) or [folder]
    return found
