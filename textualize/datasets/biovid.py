"""BioVid Heat Pain: faces under heat, no pain (BL1) and four levels of it (PA1 to PA4).

    …/073109_w_28-PA4-062.mp4                    PERSON-STIMULUS-number, at any depth
    4/073109_w_28-PA4-062/img_00001.jpg          or a folder of frames

A sample is a clip; where it is a folder of frames every frame is a clip, SAMPLE/FRAME. Subject =
group = person. Lists may say which samples or frames there are, and their names the split
(train.txt, val.txt, test.txt):

    4/073109_w_28-PA4-062 1 138 4                a sample, first and last frame, class
    4/073109_w_28-PA4-062/img_00001.jpg 1        or a frame and its class

The stimulus says the label; the class of a line is its level, or 1 for any pain, else it is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from textualize.datasets import Listing
from textualize.datasets.folder import IMAGE, VIDEO
from textualize.datasets.frames import check_whole, chosen_frames, frames_in, left_out
from textualize.datasets.manifest import SPLITS
from textualize.datasets.typography import read_text
from textualize.errors import TextualizeError
from textualize.labels import CODINGS, LABEL_SETS
from textualize.store import Failure, failure
from textualize.types import Clip

_SAMPLE = re.compile(r"(\d+_[mw]_\d+)-(BL1|PA[1-4])-(\d+)")
_LEVELS = tuple(CODINGS["biovid"].codes)  # BL1, PA1, …: the level is the place
_TWO = ("BL1", "PA4")
_NUMBER = re.compile(r"\d+", re.ASCII)

Classes = Literal["two", "five"]


def load(
    root: Path, *, classes: Classes = "two", frames: int = 0, lists: Path | None = None
) -> Listing:
    """Return the samples, or their frames, under `root`.

    Args:
        root: the folder of the videos or of the folders of frames, at any depth.
        classes: "two" takes no pain and the highest level, as published; "five" all.
        frames: where samples are folders, how many frames of one are taken, spread evenly; 0: all.
        lists: a list, or a folder of lists (`*.txt`); by default all there is under `root`.

    Raises:
        TextualizeError: no sample there, or lists with frames of one sample in two splits.
    """
    reading = _Reading(classes, frames)
    if lists is None:
        reading.tree(root)
    else:
        for path in _lists(lists):
            reading.listed(path, root)
    if not reading.clips and not reading.failures:
        raise TextualizeError(
            f"no BioVid samples (073109_w_28-PA4-062, …) of classes={classes} under {root}"
        )
    check_whole(reading.samples)
    labels = LABEL_SETS["biovid2" if classes == "two" else "biovid5"]
    clips = tuple(reading.clips.values())
    return Listing(clips, labels, tuple(reading.failures), reading.notes())


@dataclass(frozen=True, slots=True)
class _Sample:
    """What a sample's name says."""

    name: str
    person: str
    stimulus: str


def _sample(name: str) -> _Sample | None:
    found = _SAMPLE.fullmatch(name)
    return _Sample(name, found[1], found[2]) if found else None


class _Reading:
    """The clips found so far, and what was left out on the way."""

    def __init__(self, classes: Classes, frames: int) -> None:
        self.clips: dict[str, Clip] = {}
        self.failures: list[Failure] = []
        self.samples: list[tuple[str, str | None]] = []  # of every clip: its sample, its split
        self._classes, self._frames = classes, frames
        self._unused, self._other = 0, 0

    def tree(self, root: Path) -> None:
        """Add every sample under a folder."""
        seen: dict[str, Path] = {}
        for path in sorted(root.rglob("*")):
            sample = _sample(path.stem if path.suffix.lower() in VIDEO else path.name)
            if sample is None or not self._wanted(sample):
                continue
            try:
                if sample.name in seen:
                    raise TextualizeError(f"{path} is there twice, see {seen[sample.name]}")
                seen[sample.name] = path
                if path.is_dir():
                    self._add_frames(sample, frames_in(path), None)
                else:
                    self._add(sample, path, sample.name, None)
            except TextualizeError as error:
                self.failures.append(failure(sample.name, "biovid", str(error)))

    def listed(self, path: Path, root: Path) -> None:
        """Add what the lines of a list name."""
        split = SPLITS.get(path.stem.lower())
        for number, line in enumerate(read_text(path)[0].splitlines(), 1):
            if not line.strip():
                continue
            try:
                self._line(line.split(), root, split)
            except TextualizeError as error:
                at = f"{path.name}: line {number}: {error}"
                self.failures.append(failure(f"{path.stem}_line{number}", "biovid", at))

    def notes(self) -> tuple[str, ...]:
        """Return what a reader should know of the samples."""
        said = left_out(self._unused, self._frames)
        if self._other:
            said.append(f"{self._other} samples of other levels left out by classes=two")
        return tuple(said)

    def _line(self, cells: list[str], root: Path, split: str | None) -> None:
        if len(cells) not in (2, 4) or not all(_NUMBER.fullmatch(c) for c in cells[1:]):
            raise TextualizeError(
                f"should be SAMPLE first last class, or FRAME class; given '{' '.join(cells)[:80]}'"
            )
        path = root / cells[0]
        one = path.suffix.lower() in IMAGE
        sample = _sample(path.parent.name if one else path.name)
        if sample is None or one != (len(cells) == 2):
            raise TextualizeError(
                f"should name a sample (073109_w_28-PA4-062) or its frame; given '{cells[0]}'"
            )
        _check_class(sample, int(cells[-1]))
        if not self._wanted(sample):
            return
        if one:
            self._add(sample, path, f"{sample.name}/{path.stem}", split)
            return
        first, last = int(cells[1]), int(cells[2])
        inside = [p for p in frames_in(path) if first <= _number(p) <= last]
        if len(inside) != last - first + 1:
            raise TextualizeError(f"{path} has {len(inside)} of the frames {first} to {last}")
        self._add_frames(sample, inside, split)

    def _wanted(self, sample: _Sample) -> bool:
        wanted = self._classes == "five" or sample.stimulus in _TWO
        self._other += not wanted
        return wanted

    def _add_frames(self, sample: _Sample, found: list[Path], split: str | None) -> None:
        taken = chosen_frames(found, self._frames)
        self._unused += len(found) - len(taken)
        for path in taken:
            self._add(sample, path, f"{sample.name}/{path.stem}", split)

    def _add(self, sample: _Sample, path: Path, name: str, split: str | None) -> None:
        if not path.is_file():
            raise TextualizeError(f"no file at {path}")
        self.samples.append((sample.name, split))
        if name in self.clips:
            raise TextualizeError(f"{name} is given twice, see {self.clips[name].video}")
        self.clips[name] = Clip(
            id=name,
            video=path,
            subject=sample.person,
            group=sample.person,
            label=CODINGS["biovid"].label(sample.stimulus),
            split=split,
        )


def _check_class(sample: _Sample, given: int) -> None:
    level = _LEVELS.index(sample.stimulus)
    if given not in (level, int(level > 0)):
        raise TextualizeError(f"class {given} does not go with {sample.stimulus} of {sample.name}")


def _number(path: Path) -> int:
    digits = re.findall(r"\d+", path.stem)
    return int(digits[-1]) if digits else -1


def _lists(given: Path) -> Iterator[Path]:
    found = [given] if given.is_file() else sorted(given.glob("*.txt"))
    if not found:
        raise TextualizeError(f"no list at {given}: give a .txt file or a folder of them")
    yield from found
