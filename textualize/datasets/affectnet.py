"""AffectNet: faces from the web, eight expressions (seven without contempt), one image a clip.

    training.csv, validation.csv           subDirectory_filePath,…,expression,valence,arousal
    Manually_Annotated_Images/689/….jpg    (lists also in Manually_Annotated_file_lists/)

or, as it is given out since,

    train_set/images/0.jpg                 with train_set/annotations/0_exp.npy
    val_set/images/0.jpg

Classes 8 to 10 of the lists (none, uncertain, no face) are no expression: their rows are left out
and counted. Who is seen is not published.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np

from textualize.datasets import Listing
from textualize.datasets.frames import NO_PEOPLE, frames_in
from textualize.datasets.typography import read_text
from textualize.errors import TextualizeError
from textualize.labels import CODINGS, LABEL_SETS
from textualize.store import Failure, failure
from textualize.types import Clip

NO_EXPRESSION = {"8": "none", "9": "uncertain", "10": "no face"}
_LISTS = {"training.csv": "train", "validation.csv": "validation"}
_FOLDERS = {"train_set": "train", "val_set": "validation"}
_LIST_FOLDERS = ("", "Manually_Annotated_file_lists")
_IMAGE_FOLDERS = ("Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images")
_COLUMNS = ("subDirectory_filePath", "expression")

Classes = Literal["seven", "eight"]


def load(root: Path, *, classes: Classes = "seven") -> Listing:
    """Return the annotated images under `root`.

    Args:
        root: the folder of the lists and images, or of `train_set` and `val_set`.
        classes: "seven" leaves out the images of contempt.

    Raises:
        TextualizeError: neither form is there, or a list without its columns.
    """
    found = _Reading(classes)
    for name, split in _LISTS.items():
        for path in (root / folder / name for folder in _LIST_FOLDERS):
            if path.is_file():
                found.listed(path, root, split)
                break
    for name, split in _FOLDERS.items():
        if (root / name / "images").is_dir():
            found.annotated(root / name, split)
    if not found.clips and not found.failures:
        raise TextualizeError(f"no AffectNet list (training.csv) or train_set/images in {root}")
    labels = LABEL_SETS["basic7" if classes == "seven" else "affectnet8"]
    return Listing(tuple(found.clips.values()), labels, tuple(found.failures), found.notes())


class _Reading:
    """The images taken so far, and what was left out on the way."""

    def __init__(self, classes: Classes) -> None:
        self.clips: dict[str, Clip] = {}
        self.failures: list[Failure] = []
        self._classes = classes
        self._said: list[str] = []
        self._without: Counter[str] = Counter()

    def listed(self, path: Path, root: Path, split: str) -> None:
        """Add the rows of a list."""
        text, note = read_text(path)
        self._said += [note] if note else []
        table = csv.DictReader(io.StringIO(text, newline=""))
        missing = [c for c in _COLUMNS if c not in (table.fieldnames or ())]
        if missing:
            raise TextualizeError(f"{path} has no column {', '.join(missing)}: give its own list")
        folders = [root / f for f in _IMAGE_FOLDERS]
        folder = next((f for f in folders if f.is_dir()), folders[0])
        try:
            for number, row in enumerate(table, 2):
                name, code = ((row[c] or "").strip() for c in _COLUMNS)
                place = f"{path.name}: row {number}"
                self._add(place, f"{split}_row{number}", folder / name, code, split, name)
        except csv.Error as error:
            raise TextualizeError(f"{path} is no CSV file: {error}") from None

    def annotated(self, folder: Path, split: str) -> None:
        """Add the images of a folder whose annotations are files of their own."""
        for image in frames_in(folder / "images"):
            stored = folder / "annotations" / f"{image.stem}_exp.npy"
            place, name = f"{folder.name}/{image.name}", f"{folder.name}/{image.name}"
            try:
                code = str(np.load(stored, allow_pickle=False).item())
            except (OSError, ValueError) as error:
                reason = "no such file" if isinstance(error, FileNotFoundError) else error
                at = f"{place}: cannot read {stored.name}: {reason}"
                self.failures.append(failure(name, "affectnet", at))
                continue
            self._add(place, name, image, code, split, name)

    def _add(self, place: str, row: str, image: Path, code: str, split: str, name: str) -> None:
        """Add an image, or why it is not one; `row` is its name among the failures."""
        if code in NO_EXPRESSION:
            self._without[NO_EXPRESSION[code]] += 1
            return
        try:
            label = CODINGS["affectnet"].label(code)
            if label == "contempt" and self._classes == "seven":
                self._without[label] += 1
                return
            if not image.is_file():
                raise TextualizeError(f"no image at {image}")
            clip = Path(name).with_suffix("").as_posix()
            if clip in self.clips:
                raise TextualizeError(f"{clip} is given twice")
        except TextualizeError as error:
            self.failures.append(failure(row, "affectnet", f"{place}: {error}"))
            return
        self.clips[clip] = Clip(id=clip, video=image, label=label, split=split)

    def notes(self) -> tuple[str, ...]:
        """Return what a reader should know of the images."""
        said = [*self._said, NO_PEOPLE]
        if self._without:
            kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(self._without.items()))
            said.append(f"{self._without.total()} images left out: {kinds}")
        return tuple(said)
