"""Scores of videos where a corpus' numbers are theirs and not their clips'.

A recording that is one person's one number (a depression score) is read in many clips: what counts
is the error of the video, once each. Beside the methods stands what answering the mean of training
is worth whatever is seen, which any result has to beat.

A video is a media file that several clips are of, or else a group of clips; each with one number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from textualize.datasets.given import Fold
from textualize.evaluate.answers import Answers
from textualize.evaluate.compare import Interval, UndefinedScoreError, interval
from textualize.evaluate.metrics import Float64
from textualize.evaluate.spoken import interval_text, score_text
from textualize.evaluate.tallies import score_names
from textualize.types import Clip

Unit = Literal["file", "group"]
MEAN = "mean of training"  # the line of who answers it for every video


@dataclass(frozen=True, slots=True)
class Videos:
    """Which clips are of which video, and what the mean of its fold's training answers for each."""

    unit: Unit
    of: Mapping[str, str]
    means: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class VideoScores:
    """Every method's scores over videos, by name; a score that is undefined is not there."""

    unit: Unit
    videos: int
    clips: int
    scores: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict, hash=False)


def videos_of(
    tested: Iterable[Clip], known: Mapping[str, Clip], folds: Sequence[Fold]
) -> Videos | None:
    """Return the videos of tested clips; None where clips are no parts of videos of one number.

    Args:
        tested: the clips that are scored.
        known: every clip by id, those of training too.
        folds: the folds they are tested in, or chosen on; the mean is of the first such fold's
            training videos, once each.
    """
    clips = [c for c in tested if c.label is not None]
    if not clips or any(isinstance(c.label, str) for c in clips):
        return None
    for unit, name in _UNITS.items():
        of = {c.id: name(c) for c in clips}
        numbers = {(name(c), c.label) for c in clips}
        if "" not in of.values() and len(numbers) == len(set(of.values())) < len(clips):
            return Videos(unit, of, _training_means(clips, known, folds, name))
    return None


def _file(clip: Clip) -> str:
    return "/".join(clip.video.parts[-2:]) if clip.video else ""


_UNITS: Mapping[Unit, Callable[[Clip], str]] = {"file": _file, "group": lambda c: c.fold_group}


def _training_means(
    clips: Sequence[Clip],
    known: Mapping[str, Clip],
    folds: Sequence[Fold],
    name: Callable[[Clip], str],
) -> dict[str, float]:
    found: dict[str, float] = {}
    for fold in folds:
        train = [known[i] for i in fold.train if i in known]
        numbers = {name(c): float(c.label) for c in train if c.label is not None}
        for part in (fold.test, fold.validation) if numbers else ():
            own = set(part)
            for clip in clips:
                if clip.id in own:
                    found.setdefault(clip.id, float(np.mean(list(numbers.values()))))
    return found


def per_video(values: Float64, videos: Sequence[str]) -> Float64:
    """Return the mean of each video's clips, (..., V) of (..., B), videos in sorted order.

    >>> per_video(np.array([[1.0, 2.0, 6.0]]), ["b", "b", "a"]).tolist()
    [[6.0, 1.5]]
    """
    names, at = np.unique(np.asarray(videos, dtype=str), return_inverse=True)
    member = np.zeros((len(videos), len(names)))
    member[np.arange(len(videos)), at] = 1.0
    return np.asarray(values @ member / member.sum(axis=0), np.float64)


def video_answers(method: Answers, of: Mapping[str, str]) -> Answers:
    """Return a method's answers for videos: the mean of the answers for each one's clips."""
    videos = [of[clip] for clip in method.ids]
    groups = dict(zip(videos, method.groups, strict=True))
    return Answers(
        method.method,
        tuple(sorted(groups)),
        per_video(np.asarray(method.true, np.float64), videos),
        per_video(np.asarray(method.seeds, np.float64), videos),
        tuple(groups[v] for v in sorted(groups)),
        method.n_classes,
    )


def video_scores(
    methods: Sequence[Answers], videos: Videos, *, draws: int, seed: int
) -> VideoScores:
    """Return every method's scores over videos, and those of the mean of training.

    Intervals resample the groups of the clips, so that a person's videos stay together.
    """
    first = methods[0]
    every = list(methods)
    if all(clip in videos.means for clip in first.ids):
        means: Any = np.array([videos.means[clip] for clip in first.ids], np.float64)
        every.append(Answers(MEAN, first.ids, first.true, means, first.groups, first.n_classes))
    found: dict[str, dict[str, Interval]] = {}
    for method in every:
        own = video_answers(method, videos.of)
        found[method.method] = {}
        for name in score_names(own.n_classes):
            with suppress(UndefinedScoreError):
                found[method.method][name] = interval(own, name, draws=draws, seed=seed)
    count = len(set(videos.of[clip] for clip in first.ids))
    return VideoScores(videos.unit, count, len(first.ids), found)


def videos_title(found: VideoScores) -> str:
    """Return the heading of the table of videos."""
    files = "files" if found.unit == "file" else "groups of clips"
    return f"Over {found.videos} videos ({files}; the mean of their {found.clips} clips' answers)"


def videos_table(found: VideoScores) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the scores over videos; a line a method."""
    names = score_names(0)
    rows = [[m, *(interval_text(own.get(n)) for n in names)] for m, own in found.scores.items()]
    return ["method", *map(score_text, names)], rows


def videos_from_json(value: Mapping[str, Any] | None) -> VideoScores | None:
    """Return the scores whose `asdict` this is."""
    if value is None:
        return None
    scores = {m: {n: Interval(**x) for n, x in own.items()} for m, own in value["scores"].items()}
    return VideoScores(**{**value, "scores": scores})
