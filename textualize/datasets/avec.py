"""AVEC 2013 and 2014: people at a computer, each recording with their BDI-II depression score.

    …/Training/Freeform/203_1_Freeform_video.mp4       any folders; their names say split and task
    …/203_1_Depression.csv                             one whole number, 0 to 63

A recording is a clip, labelled with its score: a number. The user 203_1 is session 1 of person
203, who is subject and group: with the corpus' own split, where a person is in two parts, folds
are refused; grouped folds keep people apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from textualize.datasets import Listing
from textualize.datasets.folder import VIDEO
from textualize.datasets.manifest import SPLITS
from textualize.errors import TextualizeError
from textualize.store import Failure, failure
from textualize.types import Clip

HIGHEST = 63
_END = "_Depression.csv"
_SPLITS = {**SPLITS, "development": "validation"}

Task = Literal["all", "freeform", "northwind"]


def load(root: Path, *, task: Task = "all") -> Listing:
    """Return the recordings under `root` that have a score; label = BDI-II, a number.

    Args:
        root: a folder with the videos and the score files, at any depth.
        task: of AVEC 2014, which of the two tasks is taken.

    Raises:
        TextualizeError: no score file or no video there.
    """
    scores, failures = _scores(root)
    videos = sorted(p for p in root.rglob("*") if p.suffix.lower() in VIDEO and p.is_file())
    if not (scores or failures) or not videos:
        gone = "videos" if scores or failures else f"scores (203_1{_END})"
        raise TextualizeError(f"no AVEC {gone} under {root}")
    wanted = [p for p in videos if task == "all" or _task(p, root) == task]
    clips = _clips(wanted, scores, root, failures)
    notes = _mixed(clips)
    if len(wanted) < len(videos):
        notes.append(f"{len(videos) - len(wanted)} videos are not of task={task}: left out")
    return Listing(tuple(clips), None, tuple(failures), tuple(notes))


def _scores(root: Path) -> tuple[dict[str, int], list[Failure]]:
    """Return the score of each user; one with two different scores has none."""
    scores: dict[str, int] = {}
    failures: list[Failure] = []
    unsure: set[str] = set()
    for path in sorted(root.rglob(f"*{_END}")):
        user = path.name.removesuffix(_END)
        try:
            score = depression(path)
            if scores.setdefault(user, score) != score:
                unsure.add(user)
                raise TextualizeError(f"{path} says {score}, another file {scores[user]}")
        except TextualizeError as error:
            failures.append(failure(user, "avec", str(error)))
    return {user: score for user, score in scores.items() if user not in unsure}, failures


def _mixed(clips: Sequence[Clip]) -> list[str]:
    """Return the note on people who are in several of the corpus' splits."""
    people: dict[str, set[str]] = {}
    for clip in clips:
        people.setdefault(clip.fold_group, set()).add(clip.split or "none")
    mixed = sorted(p for p, splits in people.items() if len(splits) > 1)
    if not mixed:
        return []
    return [f"{len(mixed)} people are in several splits (first: {mixed[0]}): use grouped folds"]


def depression(path: Path) -> int:
    """Return the BDI-II score of a file; raises TextualizeError for anything but 0 to 63."""
    text = path.read_text("utf-8-sig", "replace").strip()
    if not re.fullmatch(r"\d+", text, re.ASCII) or int(text) > HIGHEST:
        raise TextualizeError(
            f"{path} should hold a BDI-II score, 0 to {HIGHEST}; holds '{text[:40]}'"
        )
    return int(text)


def _clips(
    videos: list[Path], scores: Mapping[str, int], root: Path, failures: list[Failure]
) -> list[Clip]:
    clips: dict[str, Clip] = {}
    for path in videos:
        parts = path.stem.split("_")
        ends = ["_".join(parts[:n]) for n in range(len(parts), 0, -1)]
        user = next((name for name in ends if name in scores), None)
        try:
            if user is None:
                raise TextualizeError(f"{path} has no score: {parts[0]}_…{_END} expected")
            if path.stem in clips:
                raise TextualizeError(f"{path.stem} is there twice, see {clips[path.stem].video}")
        except TextualizeError as error:
            failures.append(failure(path.stem, "avec", str(error)))
            continue
        person = user.partition("_")[0]
        clips[path.stem] = Clip(
            id=path.stem,
            video=path,
            subject=person,
            group=person,
            label=float(scores[user]),
            split=_split(path, root),
        )
    return list(clips.values())


def _words(path: Path, root: Path) -> list[str]:
    """Return the words of a path below the root, those of the file's own name last."""
    return re.split(r"[^a-z]+", path.relative_to(root).as_posix().lower())


def _split(path: Path, root: Path) -> str | None:
    return next((_SPLITS[w] for w in _words(path, root) if w in _SPLITS), None)


def _task(path: Path, root: Path) -> str | None:
    return next((w for w in _words(path, root) if w in ("freeform", "northwind")), None)
