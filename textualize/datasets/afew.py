"""AFEW: scenes of films, seven expressions, as videos or as folders of face frames.

    train/Angry/000046280.avi              or val/, Train_AFEW/, Val_AFEW/
    train/Angry/000046280/000046280-001.png

A video is a clip, SPLIT/VIDEO. Where it is a folder of frames every frame is a clip,
SPLIT/VIDEO/FRAME, and the video their group. The test videos have no public labels: what
publications report on is the validation split (`--test validation` holds videos of training out for
choosing). Who is seen is not said.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from textualize.datasets import Listing
from textualize.datasets.folder import VIDEO
from textualize.datasets.frames import (
    NO_PEOPLE,
    check_whole,
    chosen_frames,
    frames_in,
    left_out,
)
from textualize.datasets.manifest import SPLITS
from textualize.errors import TextualizeError
from textualize.labels import CODINGS, LABEL_SETS
from textualize.store import Failure, failure
from textualize.types import Clip


def load(root: Path, *, frames: int = 0) -> Listing:
    """Return the videos, or their frames, under `root`; group = video.

    Args:
        root: the folder of the split folders.
        frames: where videos are folders, how many frames of one are taken, spread evenly; 0: all.

    Raises:
        TextualizeError: no split folder there, or a video that is in two splits.
    """
    clips: dict[str, Clip] = {}
    failures: list[Failure] = []
    unused, skipped = 0, 0
    for path, split in _videos(root):
        place = path.relative_to(root).as_posix()
        try:
            made, rest = _clips(path, split, frames)
            twice = next((c for c in made if c.id in clips), None)
            if twice:
                raise TextualizeError(f"{twice.id} is there twice, see {clips[twice.id].video}")
        except TextualizeError as error:
            failures.append(failure(place, "afew", f"{path}: {error}"))
            continue
        clips |= {c.id: c for c in made}
        unused += rest
        skipped += not made
    if not clips and not failures:
        raise TextualizeError(f"no AFEW videos (train/Angry/…, val/Angry/…) in {root}")
    check_whole((c.fold_group, c.split) for c in clips.values())
    notes = [NO_PEOPLE, *left_out(unused, frames)]
    if skipped:
        notes.append(f"{skipped} files are no videos and not used")
    return Listing(tuple(clips.values()), LABEL_SETS["afew7"], tuple(failures), tuple(notes))


def _videos(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield what lies in the emotions' folders, and its split: Train_AFEW is train."""
    for folder in sorted(p for p in root.glob("*") if p.is_dir()):
        split = SPLITS.get(folder.name.lower().partition("_")[0])
        for path in sorted(folder.glob("*/*")) if split else ():
            yield path, str(split)


def _clips(path: Path, split: str, most: int) -> tuple[list[Clip], int]:
    """Return a video's clips, and how many of its frames are left out."""
    label = CODINGS["afew"].label(path.parent.name.title())
    if path.is_file():
        if path.suffix.lower() not in VIDEO:
            return [], 0
        whole = Clip(f"{split}/{path.stem}", path, group=path.stem, label=label, split=split)
        return [whole], 0
    found = frames_in(path)
    taken = chosen_frames(found, most)
    return [
        Clip(f"{split}/{path.name}/{p.stem}", p, group=path.name, label=label, split=split)
        for p in taken
    ], len(found) - len(taken)
