"""C-EXPR-DB: compound expressions in 56 videos, as annotated for the ABAW challenge's videos.

    annotation/07.csv                 "begin time","end time",eight columns of classes
    folds/split-0/train.txt           Fearfully-Surprised/07_Fearfully-Surprised_0,0[,transcript]
    Fearfully-Surprised/07_Fearfully-Surprised_0.mp4      trimmed, or 07.mp4 untrimmed

A row of the annotation is a clip; its number counts the clips of that class in that video. Trimmed
clips were cut without re-encoding, so they begin at a key frame before their time; the untrimmed
videos with spans are exact. All clips of a video are one group. The published folds (`test.txt`
equals `val.txt`) mix clips of one video over train and test: they are for reproducing only.
Transcripts come from the fold files; "nobody is speaking" is a transcript without words.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from textualize.datasets import Listing
from textualize.datasets.folder import VIDEO
from textualize.datasets.typography import read_text
from textualize.errors import TextualizeError
from textualize.labels import CODINGS, LABEL_SETS
from textualize.store import Failure, failure
from textualize.types import Clip, Span

VIDEOS = 56
SPLITS = 5
PARTS = ("train", "val", "test")
SILENT = "nobody is speaking"

Videos = Literal["trimmed", "untrimmed"]
_CLASSES = LABEL_SETS["compound8"].labels
_FOLDER = {label: CODINGS["c-expr-db-names"].code(label) for label in _CLASSES}
_CLIP = re.compile(r"([A-Za-z-]+)/(\d+)_\1_(\d+)(?:\.\w+)?$")
_TIME = re.compile(r"(\d+):(\d+):(\d+(?:[.,:]\d+)?)")


def load(root: Path, *, videos: Videos = "trimmed", other: bool = True) -> Listing:
    """Return the annotated clips under `root`.

    Args:
        root: the folder of `annotation/`, `folds/` and the media.
        videos: "trimmed" takes one file a clip, "untrimmed" the source videos and the clip's span.
        other: whether the clips of class Other are taken; without them the labels are compound7.

    Raises:
        TextualizeError: no annotation there.
    """
    if videos not in get_args(Videos):
        raise TextualizeError(f"videos should be trimmed or untrimmed; given '{videos}'")
    rows, failures, notes = _annotation(root)
    lines, odd = _fold_lines(root)
    notes += odd + _disagreements(rows, lines)
    taken = [r for r in rows if other or r.label != "other"]
    if len(taken) < len(rows):
        notes.append(f"{len(rows) - len(taken)} clips of class Other left out")
    media = _media(root)
    said = {line.clip: line.transcript for line in lines if line.transcript is not None}
    clips = tuple(_clip(row, media, said, videos) for row in taken)
    notes += _about_media(clips, videos) + _about_speech(clips)
    labels = LABEL_SETS["compound8" if other else "compound7"]
    return Listing(clips, labels, tuple(failures), tuple(notes))


def load_challenge(root: Path) -> Listing:
    """Return the untrimmed videos `NN.mp4` under `root`, without labels, for predictions.

    Raises:
        TextualizeError: no such video there.
    """
    media = {name: path for name, path in _media(root).items() if name.isdecimal()}
    if not media:
        raise TextualizeError(f"no untrimmed C-EXPR-DB video (01.mp4, …) under {root}")
    notes = () if len(media) == VIDEOS else (f"{len(media)} of {VIDEOS} videos are there",)
    clips = tuple(Clip(id=n, video=media[n], group=n) for n in sorted(media))
    return Listing(clips, LABEL_SETS["compound7"], (), notes)


def published_lists(root: Path) -> list[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]]:
    """Return the clip ids of the published folds: (train, validation, test) per fold.

    They are given as released: validation and test are the same clips, and clips of one source
    video are on both sides.

    Raises:
        TextualizeError: a fold file is missing, or names clips twice or not at all.
    """
    folds = []
    for index in range(SPLITS):
        folder = _split_folder(root, index)
        if folder is None:
            raise TextualizeError(f"no folds/split-{index} of C-EXPR-DB under {root}")
        folds.append(tuple(_ids(folder / f"{part}.txt") for part in PARTS))
    return [(train, val, test) for train, val, test in folds]


def clip_id(video: str, label: str, number: int) -> str:
    """Return a clip's id as published.

    >>> clip_id("07", "sadly angry", 1)
    'Sadly-Angry/07_Sadly-Angry_1'
    """
    return f"{_FOLDER[label]}/{video}_{_FOLDER[label]}_{number}"


# --- the annotation -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    clip: str
    video: str
    label: str
    span: Span


def _annotation(root: Path) -> tuple[list[_Row], list[Failure], list[str]]:
    """Return the rows of every annotation file, what could not be read, and notes."""
    files = [p for p in sorted((root / "annotation").glob("*.csv")) if p.stem.isdecimal()]
    if not files:
        raise TextualizeError(f"no C-EXPR-DB annotation (annotation/01.csv, …) under {root}")
    notes = [] if len(files) == VIDEOS else [f"{len(files)} of {VIDEOS} annotation files are there"]
    rows: list[_Row] = []
    failures: list[Failure] = []
    odd: dict[str, list[str]] = {}
    for path in files:
        text, note = read_text(path)
        notes += [note] if note else []
        count: Counter[str] = Counter()
        try:
            lines = list(csv.reader(io.StringIO(text, newline=""), skipinitialspace=True))
        except csv.Error as error:
            raise TextualizeError(f"{path} is no CSV file: {error}") from None
        columns, missing = _columns(lines[0] if lines else [], path)
        if missing:
            odd.setdefault(", ".join(missing), []).append(path.name)
        for number, cells in enumerate(lines[1:], 2):
            if not any(cell.strip() for cell in cells):
                continue
            try:
                label, span = _parsed(cells, columns)
            except ValueError as error:
                at = f"{path.name}: row {number}: {error}"
                failures.append(failure(f"{path.stem}_row{number}", "c-expr-db", at))
                continue
            video = path.stem.zfill(2)
            rows.append(_Row(clip_id(video, label, count[label]), video, label, span))
            count[label] += 1
    notes += [
        f"{len(paths)} annotation files have no column {names}: read by its place (e.g. {paths[0]})"
        for names, paths in odd.items()
    ]
    return rows, failures, notes


def _columns(header: Sequence[str], path: Path) -> tuple[dict[str, int], list[str]]:
    """Return where begin, end and each class are, and the names that were not found.

    Those are taken by their place, if what was found is at its own.
    """
    names = [re.sub(r"[^a-z]+", " ", cell.lower()).strip() for cell in header]
    wanted = ["begin", "end", *_CLASSES]
    found = {w: i for i, n in enumerate(names) for w in wanted if w in (n, n.split(" ")[0])}
    places = {w: i for i, w in enumerate(wanted)}
    missing = [w for w in wanted if w not in found]
    if missing and (
        len([n for n in names if n]) < len(wanted) or any(places[w] != i for w, i in found.items())
    ):
        raise TextualizeError(
            f"{path}: the header should name begin, end and {len(_CLASSES)} classes; not there: "
            f"{', '.join(missing)}"
        )
    return (places if missing else found), missing


def _parsed(cells: Sequence[str], columns: dict[str, int]) -> tuple[str, Span]:
    """Return a row's class and span; raises ValueError."""
    cell = {name: cells[i].strip() if i < len(cells) else "" for name, i in columns.items()}
    span = Span(_seconds(cell["begin"]), _seconds(cell["end"]))
    if not span:
        raise ValueError(f"ends ({cell['end']}) before it begins ({cell['begin']})")
    marked = [label for label in _CLASSES if cell[label] not in ("", "0")]
    if len(marked) != 1:
        raise ValueError(f"should mark one class; marks {', '.join(marked) or 'none'}")
    return marked[0], span


def _seconds(time: str) -> float:
    found = _TIME.fullmatch(time)
    if not found:
        raise ValueError(f"time should be hh:mm:ss.ms; given '{time}'")
    hours, minutes, rest = found.groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(re.sub("[,:]", ".", rest))


# --- the folds ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a fold file; `transcript` is "" where nobody speaks, None where it has none."""

    clip: str
    label: str
    transcript: str | None


def _split_folder(root: Path, index: int) -> Path | None:
    found = [root / "folds" / f"split-{index}", *sorted(root.glob(f"folds/*/split-{index}"))]
    return next((f for f in found if f.is_dir()), None)


def _fold_lines(root: Path) -> tuple[list[_Line], list[str]]:
    """Return the lines of all fold files there are, and notes."""
    folders = [f for i in range(SPLITS) if (f := _split_folder(root, i))]
    paths = [p for f in folders for part in PARTS if (p := f / f"{part}.txt").is_file()]
    if not paths:
        return [], ["no published folds (folds/split-0/train.txt, …): no transcripts from them"]
    lines: list[_Line] = []
    notes: list[str] = []
    for path in paths:
        try:
            lines += _lines(path)
        except TextualizeError as error:
            notes.append(f"a fold file is not used: {error}")
    return lines, notes


def _lines(path: Path) -> list[_Line]:
    """Return the lines of a fold file; raises TextualizeError at one that is not of the form."""
    if not path.is_file():
        raise TextualizeError(f"no fold file at {path}")
    lines = []
    for number, text in enumerate(io.StringIO(read_text(path)[0], newline=None), 1):
        if not text.strip():
            continue
        name, _, rest = text.partition(",")
        code, comma, transcript = rest.partition(",")
        words = " ".join(transcript.strip().strip('"').split()) if comma else ""
        silent = re.sub(r"\W+$", "", words.lower()) == SILENT
        try:
            label = _label(code.strip().strip('"'))
            lines.append(_Line(_published_id(name), label, "" if silent else words or None))
        except TextualizeError as error:
            raise TextualizeError(f"{path}:{number}: {error}") from None
    return lines


def _published_id(name: str) -> str:
    """Return the clip id a fold file names, perhaps with folders before it or a suffix."""
    found = _CLIP.search(name.strip().strip('"').replace("\\", "/"))
    if not found:
        raise TextualizeError(
            f"should name a clip as Sadly-Angry/07_Sadly-Angry_1; given '{name.strip()}'"
        )
    return clip_id(found[2].zfill(2), _label(found[1]), int(found[3]))


def _label(code: str) -> str:
    coding = CODINGS["c-expr-db" if code.isdecimal() else "c-expr-db-names"]
    return coding.label(code if code.isdecimal() else code.title().replace(" ", "-"))


def _ids(path: Path) -> tuple[str, ...]:
    ids = tuple(line.clip for line in _lines(path))
    if not ids or len(set(ids)) < len(ids):
        raise TextualizeError(f"{path} names {len(ids)} clips, {len(set(ids))} different ones")
    return ids


def _disagreements(rows: Sequence[_Row], lines: Sequence[_Line]) -> list[str]:
    """Return what the annotation and the fold files say differently."""
    annotated = {row.clip: row.label for row in rows}
    listed = {line.clip for line in lines}
    unknown = sorted(listed - set(annotated))
    unlisted = sorted(set(annotated) - listed) if lines else []
    other = sorted({x.clip for x in lines if annotated.get(x.clip, x.label) != x.label})
    spoken = {(x.clip, x.transcript) for x in lines if x.transcript is not None}
    twice = [clip for clip, n in Counter(clip for clip, _ in spoken).items() if n > 1]
    found = (
        (unknown, "clips of the fold files are not in the annotation"),
        (unlisted, "annotated clips are in no fold file"),
        (other, "clips have another label in a fold file; the annotation's is taken"),
        (sorted(twice), "clips have several transcripts in the fold files; the last is taken"),
    )
    return [f"{len(clips)} {what} (e.g. {clips[0]})" for clips, what in found if clips]


# --- the media ----------------------------------------------------------------------------------


def _media(root: Path) -> dict[str, Path]:
    """Return the videos under root by clip id, and the untrimmed ones by their number."""
    names = set(_FOLDER.values())
    media: dict[str, Path] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in VIDEO and path.is_file():
            if path.parent.name in names:
                media.setdefault(f"{path.parent.name}/{path.stem}", path)
            elif path.stem.isdecimal():
                media.setdefault(f"{int(path.stem):02d}", path)
    return media


def _clip(row: _Row, media: dict[str, Path], said: dict[str, str], videos: Videos) -> Clip:
    untrimmed = videos == "untrimmed"
    video = media.get(f"{int(row.video):02d}" if untrimmed else row.clip)
    return Clip(
        id=row.clip,
        video=video,
        span=row.span if untrimmed and video else None,
        group=row.video,
        label=row.label,
        transcript=said.get(row.clip),
    )


def _about_media(clips: Sequence[Clip], videos: Videos) -> list[str]:
    without = [c.id for c in clips if c.video is None]
    if not without:
        return []
    return [f"{len(without)} of {len(clips)} clips have no {videos} video (e.g. {without[0]})"]


def _about_speech(clips: Sequence[Clip]) -> list[str]:
    silent = sum(c.transcript == "" for c in clips)
    return [f"{silent} clips: nobody is speaking; their transcript has no words"] if silent else []
