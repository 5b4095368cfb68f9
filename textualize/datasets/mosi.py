"""CMU-MOSI as utterance features: film reviews with words, sentiment and three modalities.

    utterances_train.csv        row,id,transcript,video_index,label,sentiment
    text/text_train0.csv        one row an utterance, no header, the last column is the label
    audio/audio_train0.csv      likewise; row i everywhere is row i of utterances_train.csv
    video/video_train0.csv

There are no media. A video's utterances follow each other by the number behind their id's last `_`;
those before one are its context. The text and video features are activations of networks trained on
the labels of the training videos, the audio features are openSMILE's: with the former only a score
on the test videos means anything.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from textualize.datasets import Listing
from textualize.datasets.typography import read_text
from textualize.errors import TextualizeError
from textualize.labels import CODINGS, LABEL_SETS
from textualize.store import Failure, failure
from textualize.types import Clip, Span, Utterance

SPLITS = ("train", "test")
MAX_TURNS = 10  # earlier utterances kept as context
LIMIT = 3.0  # sentiment is -3 to 3
_COLUMNS = ("id", "transcript", "label", "sentiment")
_FOLDERS = {"text": "text", "audio": "audio", "visual": "video"}

Features = Literal["all", "audio", "none"]
Labels = Literal["binary", "number"]


def load(root: Path, *, labels: Labels = "binary", features: Features = "all") -> Listing:
    """Return the utterances of the split files under `root`; subject = group = video.

    Args:
        root: the folder of `utterances_train.csv`, `utterances_test.csv`, or one of them.
        labels: "binary" for negative and positive (sentiment 0 counts as positive, as published),
            "number" for the sentiment from -3 to 3.
        features: which features a clip brings; "audio" leaves out those trained on labels.

    Raises:
        TextualizeError: no split file there, or one without its columns.
    """
    clips: list[Clip] = []
    failures: list[Failure] = []
    notes: list[str] = []
    for split in SPLITS:
        path = root / f"utterances_{split}.csv"
        if not path.is_file():
            continue
        rows, note = _rows(path, split, failures)
        files, missing = _files(root, split, features)
        notes += [*note, *missing]
        clips += _videos(rows, split, labels, files)
    if not clips and not failures:
        raise TextualizeError(f"no CMU-MOSI split file (utterances_train.csv, …) in {root}")
    videos = len({c.group for c in clips if c.split == "train"})
    if videos and features == "all" and any(len(c.sidecars) > 1 for c in clips):
        notes.append(
            f"text and video features were trained on the labels of the {videos} training videos: "
            "scores on any of these are inflated, also with folds; use features=audio there"
        )
    known = LABEL_SETS["polarity2"] if labels == "binary" else None
    return Listing(tuple(clips), known, tuple(failures), tuple(notes))


@dataclass(frozen=True, slots=True)
class _Row:
    """An utterance; `row` is its row in the feature files, from 0."""

    row: int
    name: str
    video: str
    number: int
    text: str
    label: str
    sentiment: float


def _rows(path: Path, split: str, failures: list[Failure]) -> tuple[list[_Row], list[str]]:
    text, note = read_text(path)
    table = csv.DictReader(io.StringIO(text, newline=""))
    missing = [c for c in _COLUMNS if c not in (table.fieldnames or ())]
    if missing:
        raise TextualizeError(f"{path} has no column {', '.join(missing)}: it should have "
                              f"{', '.join(_COLUMNS)}")  # fmt: skip
    rows: dict[str, _Row] = {}
    try:
        for index, cells in enumerate(table):
            try:
                row = _row(index, cells)
                if row.name in rows:
                    raise ValueError(f"{row.name} is given twice")
                rows[row.name] = row
            except (TextualizeError, ValueError) as error:
                at = f"{path.name}: row {index + 2}: {error}"
                failures.append(failure(f"{split}_row{index + 2}", "mosi", at))
    except csv.Error as error:
        raise TextualizeError(f"{path} is no CSV file: {error}") from None
    return list(rows.values()), [note] if note else []


def _row(index: int, cells: Mapping[str, str | None]) -> _Row:
    cell = {name: (cells[name] or "").strip() for name in _COLUMNS}
    video, line, number = cell["id"].rpartition("_")
    if not (video and line and number.isdecimal()):
        raise ValueError(f"id should be VIDEO_NUMBER; given '{cell['id']}'")
    sentiment = float(cell["sentiment"])
    if not (math.isfinite(sentiment) and abs(sentiment) <= LIMIT):
        raise ValueError(f"sentiment should be -3 to 3; given '{cell['sentiment']}'")
    label = CODINGS["mosi"].label(cell["label"])
    if (sentiment >= 0) != (label == "positive"):
        raise ValueError(f"label {label} does not go with sentiment {sentiment:g}")
    text = " ".join(cell["transcript"].split())
    return _Row(index, cell["id"], video, int(number), text, label, sentiment)


def _files(root: Path, split: str, features: Features) -> tuple[dict[str, Path], list[str]]:
    """Return track name -> feature file, and a note for each that is not there."""
    wanted = {"all": tuple(_FOLDERS), "audio": ("audio",), "none": ()}[features]
    files = {t: root / _FOLDERS[t] / f"{_FOLDERS[t]}_{split}0.csv" for t in wanted}
    notes = [f"no {t} features: {p} is not there" for t, p in files.items() if not p.is_file()]
    return {track: path for track, path in files.items() if path.is_file()}, notes


def _videos(
    rows: Sequence[_Row], split: str, labels: Labels, files: Mapping[str, Path]
) -> list[Clip]:
    """Return the clips of a split, each with the utterances before it in its video."""
    clips: list[Clip] = []
    said: dict[str, list[Utterance]] = {}
    for row in sorted(rows, key=lambda r: (r.video, r.number)):
        earlier = said.setdefault(row.video, [])
        clips.append(
            Clip(
                id=row.name,
                video=None,
                subject=row.video,
                group=row.video,
                context=tuple(earlier[-MAX_TURNS:]),
                label=row.label if labels == "binary" else row.sentiment,
                split=split,
                transcript=row.text,
                sidecars={f"features-{t}": f"{p}#{row.row}[0:-1]" for t, p in files.items()},
            )
        )
        earlier.append(Utterance(Span(0.0, 0.0), row.text, source="mosi"))
    return clips
