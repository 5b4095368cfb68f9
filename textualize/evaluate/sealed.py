"""The sealed test part: a corpus' own split named test is read when a researcher says so, and told.

Choices are made on validation. Cross-validation has no sealed part, since its test parts are made
of clips everybody trains on in another fold; that a part was answered is written down all the same.

    openings.jsonl   a line each time a run answers a test part: when, by which commit of the
                     package, and the digests of run, split and prompt
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

import textualize
from textualize.datasets.given import Fold
from textualize.errors import TextualizeError
from textualize.files import add_line, digest_of, file_digest, read_json, read_jsonl
from textualize.finetune.run_folder import RunFolder
from textualize.types import Clip, Record

Part = Literal["test", "validation"]
NAME = "test"  # of the split that is sealed
LEDGER = "openings.jsonl"
LOUD = "ON VALIDATION, test not opened: "
WARNING = "every score is of validation, on which choices were made: expect less of test"
_ABOVE = 3  # folders from a run up to its suite's: seed, fold, method
_RUN = ("recipe.yaml", "labels.json", "splits.json", "decision.json")
_WEIGHTS = ("*.safetensors", "model.json", "adapter/*", "model/*", "prompt/*")


def is_sealed(fold: Fold, clips: Mapping[str, Clip]) -> bool:
    """Return whether a fold's test part is the corpus' own split named test, all or part of it.

    >>> clips = {"a": Clip("a", None, split="test"), "b": Clip("b", None)}
    >>> is_sealed(Fold("f", ("b",), ("b",), ("a",)), clips)
    True
    >>> is_sealed(Fold("1/2", ("b",), ("b",), ("a", "b")), clips)
    False
    """
    return bool(fold.test) and all(clips[i].split == NAME for i in fold.test if i in clips)


def part_of(folds: Sequence[Fold], records: Mapping[str, Record], *, open_test: bool) -> Part:
    """Return what a suite reports on: validation where a test part is sealed and not opened."""
    clips = {i: r.clip for i, r in records.items()}
    sealed = len(folds) == 1 and is_sealed(folds[0], clips)
    return "validation" if sealed and not open_test else "test"


def refuse_sealed(records: Iterable[Record], *, open_test: bool) -> None:
    """Raise TextualizeError where records are of the split named test and it is not opened."""
    own = sum(r.clip.split == NAME for r in records)
    if own and not open_test:
        raise TextualizeError(
            f"{own} of these clips are of the corpus' own split '{NAME}', which is sealed: compare "
            "on validation, or open it with --open-test (open_test=True); that is written down"
        )


def validation_only(runs: Iterable[Path], records: Iterable[Record]) -> bool:
    """Return whether these records are validation of every run and no run's test part."""
    wanted = {r.clip.id for r in records}
    parts = [RunFolder(run).parts for run in runs]
    return all(wanted <= set(p["validation"]) - set(p["test"]) for p in parts)


def log_sealed(run: Path, name: str, records: Sequence[Record]) -> None:
    """Append a line to the ledger where records are of the split named test; see `log_opening`."""
    ids = [r.clip.id for r in records if r.clip.split == NAME]
    if ids:
        log_opening(run, name, ids, sealed=True)


# --- openings -----------------------------------------------------------------------------------


def log_opening(run: Path, name: str, ids: Sequence[str], *, sealed: bool, fold: str = "") -> None:
    """Append a line to the ledger: this run has answered these clips of a test part.

    Args:
        run: the run folder.
        name: what reports call the method.
        ids: the clips.
        sealed: whether they are of the corpus' own split named test.
        fold: the fold's name.
    """
    path = ledger(run)
    prompt = run / "prompt/prompt.json"
    append_opening(
        path,
        ids,
        run=str(run.resolve().relative_to(path.parent.resolve())),
        method=name,
        fold=fold,
        sealed=sealed,
        run_digest=run_digest(run),
        split_digest=RunFolder(run).split_digest,
        prompt_digest=read_json(prompt, "prompt")["digest"] if prompt.is_file() else None,
    )


def append_opening(path: Path, ids: Sequence[str], **about: str | bool | None) -> None:
    """Append a line to a ledger: now, by this commit, these clips were answered.

    `about` says by what: run, method, fold, whether the part is sealed, and digests.
    """
    line = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": package_commit(),
        "clips": digest_of(sorted(ids)),
        **about,
    }
    add_line(path, json.dumps(line))  # two suites may share a folder of runs


def ledger(run: Path) -> Path:
    """Return the ledger a run's openings go to: its suite's where it is of one, else its own."""
    above = (run, *list(run.resolve().parents)[:_ABOVE])
    return next((p / LEDGER for p in above if (p / LEDGER).is_file()), run / LEDGER)


def begin_ledger(runs: Path) -> Path:
    """Return the ledger of a suite's folder of runs, empty where there was none."""
    path = runs / LEDGER
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def reopened(paths: Iterable[Path]) -> list[str]:
    """Return a warning for each run whose test part was answered more than once."""
    times: dict[tuple[Path, str], list[dict[str, Any]]] = defaultdict(list)
    for path, line in _lines(paths):
        key = line.get("run") or str([line.get(k) for k in ("method", "fold", "seed")])
        times[path, key].append(line)
    return [
        f"the test part was opened {len(own)} times by {key}: "
        + ", ".join(f"{x['when']} (commit {x.get('commit') or 'unknown'})" for x in own)
        for (_, key), own in times.items()
        if len(own) > 1
    ]


def opened_line(paths: Iterable[Path]) -> str:
    """Return one sentence on the first openings of sealed parts; "" where none was opened."""
    own = sorted((x for _, x in _lines(paths) if x.get("sealed")), key=lambda x: str(x["when"]))
    if not own:
        return ""
    first = own[0]
    return (
        f"the sealed test part was opened {len(own)} times, first {first['when']} by "
        f"{first['run']} (commit {first['commit'] or 'unknown'})"
    )


def _lines(paths: Iterable[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in dict.fromkeys(paths):
        if path.is_file():
            yield from ((path, line) for line in read_jsonl(path, "openings", dict))


# --- digests ------------------------------------------------------------------------------------


def run_digest(run: Path) -> str:
    """Return the sha256 of what a run answers with: recipe, labels, split, prompt and weights."""
    files = {f for pattern in (*_RUN, *_WEIGHTS) for f in run.glob(pattern) if f.is_file()}
    return digest_of({str(f.relative_to(run)): file_digest(f) for f in sorted(files)})


@cache
def package_commit() -> str:
    """Return the commit the package runs from, "-dirty" where files differ; "" outside a clone."""
    root = Path(textualize.__file__).resolve().parent.parent
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return ""
    words = ("-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    try:
        done = subprocess.run(
            [git, *words], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
