"""UNBC-McMaster: faces of people with shoulder pain, frame by frame with their pain score.

    Images/095-tv095/tv095t2aeunaff/tv095t2aeunaff001.png
    Frame_Labels/PSPI/095-tv095/tv095t2aeunaff/tv095t2aeunaff001_facs.txt      4.0000000e+00

A frame is a clip, PERSON/SEQUENCE/FRAME, labelled with its score of Prkachin and Solomon, a number
from 0 to 16. Subject = group = person, so that folds keep people apart; `--folds loso` leaves each
out in turn.
"""

from __future__ import annotations

import math
from pathlib import Path

from textualize.datasets import Listing
from textualize.datasets.frames import chosen_frames, frames_in, left_out
from textualize.errors import TextualizeError
from textualize.store import Failure, failure
from textualize.types import Clip

HIGHEST = 16.0
_LABELS = ("Frame_Labels/PSPI", "Sequence_Labels/Frame_Labels/PSPI")


def load(root: Path, *, frames: int = 0) -> Listing:
    """Return the frames under `root` that have a pain score; label = PSPI, a number.

    Args:
        root: the folder of `Images/` and `Frame_Labels/`.
        frames: how many frames of a sequence are taken, spread evenly; 0: all.

    Raises:
        TextualizeError: no images or no scores there.
    """
    images = next((root / n for n in ("Images", "images") if (root / n).is_dir()), None)
    labels = next((root / n for n in _LABELS if (root / n).is_dir()), None)
    if images is None or labels is None:
        gone = "Images" if images is None else _LABELS[0]
        raise TextualizeError(f"no UNBC-McMaster {gone}/ in {root}")
    clips: list[Clip] = []
    failures: list[Failure] = []
    unused = 0
    for sequence in sorted(p for p in images.glob("*/*") if p.is_dir()):
        subject = sequence.parent.name
        try:
            found = frames_in(sequence)
        except TextualizeError as error:
            failures.append(failure(f"{subject}/{sequence.name}", "unbc", str(error)))
            continue
        taken = chosen_frames(found, frames)
        unused += len(found) - len(taken)
        for frame in taken:
            name = f"{subject}/{sequence.name}/{frame.stem}"
            stored = labels / subject / sequence.name / f"{frame.stem}_facs.txt"
            try:
                score = pain(stored)
            except TextualizeError as error:
                failures.append(failure(name, "unbc", str(error)))
                continue
            clips.append(Clip(id=name, video=frame, subject=subject, group=subject, label=score))
    if not clips and not failures:
        raise TextualizeError(f"no UNBC-McMaster sequences (PERSON/SEQUENCE/…png) in {images}")
    return Listing(tuple(clips), None, tuple(failures), tuple(left_out(unused, frames)))


def pain(path: Path) -> float:
    """Return the PSPI a label file holds; raises TextualizeError for anything but 0 to 16."""
    try:
        text = path.read_text("utf-8").strip()
        score = float(text)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise TextualizeError(f"cannot read {path}: {reason}") from None
    except ValueError:
        score, text = math.nan, "something else"
    if not 0 <= score <= HIGHEST:
        raise TextualizeError(f"{path} should hold a PSPI, 0 to {HIGHEST:g}; holds {text}")
    return score
