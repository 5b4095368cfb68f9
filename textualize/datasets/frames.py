"""Videos that are published as folders of frames: a frame is a clip, a video is what stays whole.

What one folder holds looks alike: with some frames of a video in training and others in the test
part, a model is asked what it has seen. So the frames of a video carry one group, or their
subject's, which folds keep whole; and lists of a corpus that put them on two sides are refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from textualize.datasets.folder import IMAGE
from textualize.errors import TextualizeError

NO_PEOPLE = "no subjects are known: folds keep files apart, not people"


def frames_in(folder: Path) -> list[Path]:
    """Return the images of a folder in the order of the numbers in their names.

    "img_10" comes after "img_9". Raises TextualizeError where there are none, or two of one name.
    """
    if not folder.is_dir():
        raise TextualizeError(f"no folder of frames at {folder}")
    found = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE and p.is_file()]
    if not found:
        raise TextualizeError(f"no frames (images) in {folder}")
    twice = [stem for stem, n in Counter(p.stem for p in found).items() if n > 1]
    if twice:
        raise TextualizeError(f"{folder} has several images called {twice[0]}: give one a frame")
    return sorted(found, key=_in_order)


def chosen_frames(frames: Sequence[Path], most: int) -> list[Path]:
    """Return at most so many frames, spread evenly: the middle of each of `most` equal parts.

    0 takes all.

    >>> [p.name for p in chosen_frames([Path(x) for x in "abcdef"], 2)]
    ['b', 'e']

    Raises TextualizeError for a number below 0.
    """
    if most < 0:
        raise TextualizeError(f"frames should be 0 (all) or how many of a video; given {most}")
    if not most or len(frames) <= most:
        return list(frames)
    return [frames[(2 * i + 1) * len(frames) // (2 * most)] for i in range(most)]


def check_whole(frames: Iterable[tuple[str, str | None]]) -> None:
    """Raise TextualizeError where frames of one video are in several splits.

    frames: the video of each frame and the split it is listed in.
    """
    splits: dict[str, set[str]] = {}
    for video, split in frames:
        splits.setdefault(video, set()).add(split or "none")
    mixed = sorted(video for video, found in splits.items() if len(found) > 1)
    if mixed:
        named = " and ".join(sorted(splits[mixed[0]]))
        raise TextualizeError(
            f"frames of {len(mixed)} videos are in several splits (first: '{mixed[0]}', in "
            f"{named}): a split should keep a video whole"
        )


def left_out(frames: int, most: int) -> list[str]:
    """Return the note on frames that `chosen_frames` did not take; empty where it took all."""
    return [f"{frames} frames left out by frames={most}"] if frames else []


def _in_order(path: Path) -> list[tuple[int, str]]:
    return [
        (int(part), "") if part.isdecimal() else (-1, part)
        for part in re.split(r"(\d+)", path.name)
    ]
