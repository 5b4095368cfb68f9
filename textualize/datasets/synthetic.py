"""Clips whose answer is known, made from a seed: what a fusion method should be able to learn.

No one is in them. Each clip has a class, "same" or "different", and eight tracks:

    visual, audio            x(t) = a u + noise, y(t) = b u + noise: the class is the sign of a b
    visual_far, audio_far    the same a and b under more noise
    visual_sync, audio_sync  s(t) u + noise and s(t) c u + noise, s a random sign every quarter of a
                             second, c = 1 for "same" and -1 for "different"
    copy                     the class itself, in noise and among columns that say nothing
    privileged               the class itself, clearly: there in training only

Besides, a drawn face whose class shows in known places (`synthetic_faces.py`), and videos in which
it shows for a while, in how fast blobs drift, or in their size (`synthetic_videos.py`). A clip is
of a person, who shows it in their own way (`synthetic_people.py`); of those who are tested there
are clips to adapt to, in the split "unlabelled".

In a share of the clips one of `visual` and `audio` is noise alone: there a b is unknowable, and the
best accuracy is 1 - share / 2. Neither of two such tracks tells anything about the class without
the other. Of `visual` and `audio` a linear model has three of the four pairs of signs right at
best, one with a hidden layer can have all. Of the two in synchrony a mean over the clip keeps what
eight signs leave when they do not cancel: what compares the two step by step sees all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from textualize.datasets.synthetic_faces import face_tracks
from textualize.datasets.synthetic_people import CLIPS, TESTED, people_tracks
from textualize.datasets.synthetic_videos import video_tracks
from textualize.errors import TextualizeError
from textualize.files import digest_of
from textualize.labels import LabelSet
from textualize.store import Corpus, Entry, Item, write_item
from textualize.types import Clip, Status, Track

LABELS = LabelSet("product", ("different", "same"), {})
RATE_HZ = 8.0
ROWS = 16  # two seconds
TURN = 2  # rows until the sign of what is in synchrony is drawn again
_SENSOR = "synthetic"
_VERSION = "5"
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Synthetic:
    """How many clips are made, and how hard they are. Noise is its deviation in one row."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    seed: int = 0
    train: int = 300
    validation: int = 150
    test: int = 600
    unlabelled: int = 300
    """clips of the people who are tested that no method is given the class of"""
    columns: int = 4
    """of `visual` and `audio`, each as wide"""
    noise: float = 1.0
    noise_far: float = 3.0
    noise_sync: float = 0.7
    lost: float = 0.2
    """share of clips in which `visual` or `audio` is noise alone"""
    copy_columns: int = 16
    copy_noise: float = 5.0
    privileged_noise: float = 1.0


def write_synthetic(folder: Path, options: Synthetic) -> Corpus:
    """Return the corpus of these options, made if it is not there yet.

    Raises:
        TextualizeError: the folder holds another corpus, or a number is out of range.
    """
    if min(options.train, options.validation, options.test, options.columns) < 1:
        raise TextualizeError("synthetic: train, validation, test and columns are at least 1")
    if not 0 <= options.lost <= 1:
        raise TextualizeError(f"synthetic: lost is a share, 0 to 1; given {options.lost}")
    about = {"spec": _SENSOR, "version": _VERSION, "options": asdict(options)}
    if (folder / "records.jsonl").is_file():
        corpus = Corpus(folder)
        if corpus.about["sensors"] != [about]:
            raise TextualizeError(
                f"{folder} holds a corpus of other synthetic options: remove it, or give --runs"
            )
        return corpus
    corpus = Corpus.create(folder, LABELS, [about])
    entries: list[Entry] = []
    rng = np.random.default_rng(options.seed)
    for split in ("train", "validation", "test"):
        for i in range(getattr(options, split)):
            label, tracks = _clip(options, rng)
            drawn = np.random.default_rng([options.seed, len(entries)])  # leaves `rng` as it is
            tracks |= face_tracks(LABELS.labels[label], drawn, _SENSOR)
            moving = np.random.default_rng([options.seed, len(entries), 1])
            tracks |= video_tracks(LABELS.labels[label], moving, _SENSOR)
            entries.append(_entry(folder, about, options, split, i, LABELS.labels[label], tracks))
    for i in range(options.unlabelled):  # after all others, whose draws stay as they are
        said = LABELS.labels[rng.integers(2)]
        entries.append(_entry(folder, about, options, "unlabelled", i, said, {}))
    corpus.write_entries(entries)
    return corpus


def _entry(
    folder: Path,
    about: Mapping[str, Any],
    options: Synthetic,
    split: str,
    i: int,
    label: str,
    tracks: Mapping[str, Track],
) -> Entry:
    """Write a clip's tracks, those of its person beside the given ones, and return its entry."""
    clip_id = f"{split}_{i:04d}"
    where = "test" if split == "unlabelled" else split
    people = max(1, round(getattr(options, where) / (TESTED if where == "test" else CLIPS)))
    kind = ("train", "validation", "test").index(where)
    own = np.random.default_rng([options.seed, 3, len(split), i])
    shown = people_tracks(label, 1000 * kind + i % people, options.seed, own, _SENSOR)
    key = digest_of([about, clip_id])
    write_item(folder, key, Item(Status("observed", _SENSOR), {**tracks, **shown}))
    clip = Clip(
        clip_id, None, label=label, group=clip_id, split=split, subject=f"{where}-{i % people:02d}"
    )
    return Entry(clip, {"visual": key})


def _clip(options: Synthetic, rng: np.random.Generator) -> tuple[int, dict[str, Track]]:
    """Return a clip's class id and tracks."""
    sign = rng.choice([-1.0, 1.0], size=2)
    label = int(sign[0] * sign[1] > 0)
    strength = sign * rng.uniform(0.5, 1.5, size=2)
    heard = np.ones(2)
    if rng.random() < options.lost:
        heard[rng.integers(2)] = 0.0
    said = 2.0 * label - 1.0
    turns = np.repeat(rng.choice([-1.0, 1.0], size=ROWS // TURN), TURN)
    wide, many = options.columns, options.copy_columns
    tracks = {
        "visual": _signal(heard[0] * strength[0], wide, options.noise, rng),
        "audio": _signal(heard[1] * strength[1], wide, options.noise, rng),
        "visual_far": _signal(strength[0], wide, options.noise_far, rng),
        "audio_far": _signal(strength[1], wide, options.noise_far, rng),
        "visual_sync": _signal(turns, wide, options.noise_sync, rng),
        "audio_sync": _signal(said * turns, wide, options.noise_sync, rng),
        "copy": _signal(said, many, options.copy_noise, rng, informative=2),
        "privileged": _signal(said, wide, options.privileged_noise, rng),
    }
    return label, {
        name: Track(x.astype(np.float32), RATE_HZ, 0.0, (), "embedding", _SENSOR)
        for name, x in tracks.items()
    }


def _signal(
    level: float | Floats,
    columns: int,
    noise: float,
    rng: np.random.Generator,
    informative: int = 0,
) -> Floats:
    """Return (T, D): the level, one or one a row, along a fixed unit direction, in noise.

    The direction has equal weight in the first `informative` columns, or in all of them (0).
    """
    direction = np.zeros(columns)
    direction[: informative or columns] = 1.0
    direction /= np.linalg.norm(direction)
    levels = np.broadcast_to(np.asarray(level, np.float64), (ROWS,))
    return levels[:, None] * direction + noise * rng.standard_normal((ROWS, columns))
