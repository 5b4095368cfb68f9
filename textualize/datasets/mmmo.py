"""ICT-MMMO as feature sequences: film reviews, 20 steps each, scored 1 to 5.

    audio_train.h5, audio_valid.h5, audio_test.h5       "d1": (clips, 20, 74)
    video_train.h5, …                                   "d1": (clips, 20, 36)
    text_valid_emb.h5, …                                "d1": (clips, 20, 300), none for train
    y_train.h5, …                                       "d1": (clips,)

There are no media, words, names or times: a clip is a row of these arrays, and nobody can tell
which clips share a speaker. The published splits are the only ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from textualize.datasets import Listing
from textualize.errors import TextualizeError, missing_package
from textualize.labels import LABEL_SETS
from textualize.store import Failure, failure
from textualize.types import Clip

SPLITS = {"train": "train", "valid": "validation", "test": "test"}
MIDDLE = 3.0  # of the scores 1 to 5
_FILES = {"text": "text_{}_emb.h5", "audio": "audio_{}.h5", "visual": "video_{}.h5"}

Labels = Literal["number", "binary"]


def load(root: Path, *, labels: Labels = "number") -> Listing:
    """Return the clips of the arrays in `root`.

    Args:
        root: the folder of the .h5 files.
        labels: "number" for the score; "binary" for negative (below 3) and positive (above),
            without the clips of score 3.

    Raises:
        TextualizeError: no scores there, a damaged file, or h5py is not installed.
    """
    clips: list[Clip] = []
    failures: list[Failure] = []
    notes: list[str] = []
    for name, split in SPLITS.items():
        path = root / f"y_{name}.h5"
        if not path.is_file():
            continue
        scores = _array(path)
        files = {t: root / f.format(name) for t, f in _FILES.items()}
        notes += [f"{split}: no {t} features" for t, p in files.items() if not p.is_file()]
        files = {t: p for t, p in files.items() if p.is_file()}
        _check_rows(path, len(scores), files)
        for row, score in enumerate(scores):
            clip = f"{split}_{row:03d}"
            if not 1 <= score <= 5:
                at = f"{path.name}: row {row}: score should be 1 to 5; given {score}"
                failures.append(failure(clip, "mmmo", at))
                continue
            side = {f"features-{t}": f"{p}#d1[{row}]" for t, p in files.items()}
            label = float(score) if labels == "number" else _polarity(score)
            clips.append(Clip(id=clip, video=None, label=label, split=split, sidecars=side))
    if not clips and not failures:
        raise TextualizeError(f"no ICT-MMMO file (y_train.h5, …) in {root}")
    kept = tuple(c for c in clips if c.label is not None)
    if len(kept) < len(clips):
        notes.append(f"{len(clips) - len(kept)} clips of score 3 are neither: left out")
    known = LABEL_SETS["polarity2"] if labels == "binary" else None
    return Listing(kept, known, tuple(failures), tuple(notes))


def _polarity(score: float) -> str | None:
    return None if score == MIDDLE else "positive" if score > MIDDLE else "negative"


def _check_rows(path: Path, count: int, files: Mapping[str, Path]) -> None:
    for file in files.values():
        if len(_array(file)) != count:
            raise TextualizeError(
                f"{file} has {len(_array(file))} rows, {path.name} {count}: they are not one set"
            )


def _array(path: Path) -> Any:
    """Return the one array of a file; raises TextualizeError for another file."""
    try:
        import h5py  # type: ignore[import-untyped]
    except ImportError:
        raise missing_package("reading .h5 files", "h5py", "hdf5") from None
    try:
        with h5py.File(path, "r") as stored:
            return stored["d1"][()]
    except (OSError, KeyError, TypeError) as error:
        raise TextualizeError(f"{path} has no array 'd1': {error}") from None
