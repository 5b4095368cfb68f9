"""RAF-DB: faces from the web, seven basic expressions, one image a clip.

    EmoLabel/list_patition_label.txt       train_00001.jpg 5
    Image/aligned/train_00001_aligned.jpg
    Image/original/train_00001.jpg

The list numbers the classes from 1 (surprise) to 7 (neutral); class ids of published models on
RAF-DB are others, see the coding "raf-db". An image's name says its split, train or test: for
choosing a model, images of training are held out. Who is seen is not published.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from textualize.datasets import Listing
from textualize.datasets.frames import NO_PEOPLE
from textualize.datasets.typography import read_text
from textualize.errors import TextualizeError
from textualize.labels import CODINGS, LABEL_SETS
from textualize.store import Failure, failure
from textualize.types import Clip

SPLITS = ("train", "test")
_LIST = Path("EmoLabel/list_patition_label.txt")  # spelled so by its authors

Images = Literal["aligned", "original"]


def load(root: Path, *, images: Images = "aligned") -> Listing:
    """Return the images the list under `root` names.

    Args:
        root: the folder of `EmoLabel/` and `Image/`.
        images: "aligned" faces, or "original" pictures.

    Raises:
        TextualizeError: no list there.
    """
    path = root / _LIST
    if not path.is_file():
        raise TextualizeError(f"no RAF-DB list at {path}: give the folder of EmoLabel/ and Image/")
    text, note = read_text(path)
    clips: dict[str, Clip] = {}
    failures: list[Failure] = []
    for number, line in _lines(text):
        try:
            clip = _clip(line, root / "Image" / images, images)
            if clip.id in clips:
                raise TextualizeError(f"{clip.id} is given twice")
            clips[clip.id] = clip
        except TextualizeError as error:
            at = f"{path.name}: line {number}: {error}"
            failures.append(failure(f"line{number}", "raf-db", at))
    if not clips and not failures:
        raise TextualizeError(f"{path} names no image")
    notes = ([note] if note else []) + [NO_PEOPLE]
    return Listing(tuple(clips.values()), LABEL_SETS["basic7"], tuple(failures), tuple(notes))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    return ((n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip())


def _clip(line: str, folder: Path, images: Images) -> Clip:
    cells = line.split()
    if len(cells) != 2:
        raise TextualizeError(f"should be an image and its class; given '{line.strip()[:80]}'")
    name, code = Path(cells[0]), cells[1]
    split = name.stem.partition("_")[0]
    if split not in SPLITS:
        raise TextualizeError(f"name should begin with train_ or test_; given '{name}'")
    label = CODINGS["raf-db-list"].label(code)
    suffix = "_aligned" if images == "aligned" else ""
    path = folder / f"{name.stem}{suffix}{name.suffix}"
    if not path.is_file():
        raise TextualizeError(f"no image at {path}")
    return Clip(id=name.stem, video=path, label=label, split=split)
