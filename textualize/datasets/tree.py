"""A folder per class: the name of a clip's folder is its label.

    root/happy/clip01.mp4
    root/train/happy/clip01.mp4        # with a level of splits above

Clips may lie deeper; the first folder below the split says the label. A transcript beside a file
belongs to it, as in a plain folder. Nothing here says who is seen: give a manifest where one
person is in several clips, or folds will put that person on both sides.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from textualize.datasets import Listing, folder
from textualize.datasets.labelling import labelling
from textualize.datasets.manifest import SPLITS
from textualize.errors import TextualizeError
from textualize.labels import LabelSet
from textualize.store import Failure, failure
from textualize.types import Clip

_UNGROUPED = "no subjects or groups are known: folds keep files apart, not people"


def load(root: Path, labels: LabelSet | None = None) -> Listing:
    """Return the clips under the class folders of `root`; ids are paths below it.

    Args:
        root: the folder of class folders, or of split folders with class folders.
        labels: the label set every folder name must belong to; by default the names found.

    Raises:
        TextualizeError: no media there, no class folder, or splits beside classes.
    """
    if not root.is_dir():
        raise TextualizeError(f"no folder at {root}: give the folder that holds the class folders")
    found = folder.load(root).clips
    split_level = _split_level(root, found)
    clips: list[Clip] = []
    failures: list[Failure] = []
    for clip in found:
        *above, _ = _parts(root, clip)
        split = SPLITS[above.pop(0).lower()] if split_level and above else None
        if above:
            clips.append(replace(clip, label=above[0], split=split))
        else:
            failures.append(failure(clip.id, "tree", f"{clip.video} lies in no class folder"))
    if not clips:
        raise TextualizeError(f"{root} has no class folder: expected {root}/LABEL/clip.mp4")
    settled = labelling(Counter(str(c.label) for c in clips), labels, "class")
    failures += [
        failure(c.id, "tree", settled.problems[str(c.label)])
        for c in clips
        if c.label in settled.problems
    ]
    usable = [c for c in clips if c.label in settled.values]
    named = tuple(replace(c, label=settled.values[str(c.label)]) for c in usable)
    return Listing(named, settled.labels, tuple(failures), (*settled.notes, _UNGROUPED))


def _parts(root: Path, clip: Clip) -> tuple[str, ...]:
    return clip.video.relative_to(root).parts if clip.video else ()


def _split_level(root: Path, clips: tuple[Clip, ...]) -> bool:
    """Tell whether the first folders are splits; raises TextualizeError where only some are."""
    first = {_parts(root, c)[0] for c in clips if len(_parts(root, c)) > 1}
    splits = {name for name in first if name.lower() in SPLITS}
    if splits and splits != first:
        raise TextualizeError(
            f"{root} has split folders ({', '.join(sorted(splits))}) beside others "
            f"({', '.join(sorted(first - splits)[:3])}): all first folders should be one or the "
            "other"
        )
    return bool(splits)
