"""Anyone's own corpus: a CSV or JSONL file with one clip a row.

    id,video,start,end,label,subject,group,split,transcript,openface
    a01,media/a01.mp4,0.0,3.2,happily surprised,anna,film3,train,,au/a01.csv

Only `video` or `transcript` is required. Paths are relative to the manifest. A column named like
a sensor that imports files (`openface`) is that clip's file for it; `transcript_file` names an
SRT, VTT, whisper JSON or text file. Rows that cannot be used are listed, the others go on.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from textualize.datasets import Listing
from textualize.errors import TextualizeError, unknown
from textualize.labels import LabelSet, labels_of
from textualize.store import Failure, failure
from textualize.types import Clip, Span, Utterance

SIDECARS = {"openface": "openface", "transcript_file": "transcript"}
COLUMNS = (
    "id", "video", "start", "end", "label", "subject", "group", "split", "transcript", "context",
    *SIDECARS,
)  # fmt: skip


def load(path: Path, labels: LabelSet | None = None) -> Listing:
    """Return the clips of a manifest.

    Args:
        path: a `.csv`, `.tsv` or `.jsonl` file.
        labels: the label set every label must belong to; by default the labels found.

    Raises:
        TextualizeError: the file cannot be read, has no usable column or no row.
    """
    clips: list[Clip] = []
    failures: list[Failure] = []
    seen: set[str] = set()
    for number, row in rows(path):
        name = str(row.get("id") or Path(str(row.get("video") or f"row{number}")).stem)
        try:
            clip = _clip(name, row, path.parent)
            if clip.id in seen:
                raise TextualizeError(f"id '{clip.id}' is given twice")
            if labels is not None and clip.label is not None:
                labels.index(clip.label)
        except TextualizeError as error:
            failures.append(failure(name, "manifest", f"{path.name}:{number}: {error}"))
            continue
        seen.add(clip.id)
        clips.append(clip)
    if not clips and not failures:
        raise TextualizeError(f"{path} has no rows")
    found = labels or (labels_of(c.label for c in clips) if any(c.label for c in clips) else None)
    return Listing(tuple(clips), found, tuple(failures))


def rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield (line number, row) of a CSV, TSV or JSONL file; cells are stripped, empty is None."""
    if not path.is_file():
        raise TextualizeError(f"no manifest at {path}")
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextualizeError(f"{path} is not UTF-8 text: {error}") from None
    if path.suffix == ".jsonl":
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                try:
                    value = json.loads(line)
                except json.JSONDecodeError as error:
                    raise TextualizeError(f"{path}:{number} is not JSON: {error}") from None
                if not isinstance(value, dict):
                    raise TextualizeError(f"{path}:{number} should hold a JSON object")
                yield number, value
        return
    reader = csv.DictReader(text.splitlines(), delimiter="\t" if path.suffix == ".tsv" else ",")
    columns = [c.strip() for c in reader.fieldnames or ()]
    for column in columns:
        if column not in COLUMNS:
            raise unknown(f"manifest column ({path.name})", column, COLUMNS)
    if "video" not in columns and "transcript" not in columns:
        raise TextualizeError(f"{path} needs a column 'video' or 'transcript'; given {columns}")
    for row in reader:
        yield reader.line_num, {str(k).strip(): (v or "").strip() or None for k, v in row.items()}


def _clip(name: str, row: Mapping[str, Any], folder: Path) -> Clip:
    video = row.get("video")
    transcript = row.get("transcript")
    if not video and transcript is None:
        raise TextualizeError("neither video nor transcript is given")
    start, end = _seconds(row, "start"), _seconds(row, "end")
    span = None
    if start is not None or end is not None:
        span = Span(start or 0.0, math.inf if end is None else end)
        if not span or span.start < 0:
            raise TextualizeError(f"span {span.start}-{span.end} s is empty or negative")
    return Clip(
        id=name,
        video=_under(folder, str(video)) if video else None,
        span=span,
        subject=_text(row, "subject"),
        group=_text(row, "group"),
        context=_context(row.get("context")),
        label=row.get("label"),
        split=_text(row, "split"),
        transcript=str(transcript) if transcript is not None else None,
        sidecars={
            sensor: str(_under(folder, str(row[column])))
            for column, sensor in SIDECARS.items()
            if row.get(column)
        },
    )


def _under(folder: Path, path: str) -> Path:
    return folder / path


def _text(row: Mapping[str, Any], key: str) -> str | None:
    return None if row.get(key) is None else str(row[key])


def _seconds(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key)
    if value is None:
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        raise TextualizeError(f"{key} should be seconds; given {value!r}") from None
    if not math.isfinite(seconds):
        raise TextualizeError(f"{key} should be finite seconds; given {value!r}")
    return seconds


def _context(value: Any) -> tuple[Utterance, ...]:
    """Return earlier turns: a JSON list of {"speaker", "text"}, or one text."""
    if not value:
        return ()
    turns = value
    if isinstance(value, str):
        try:
            turns = json.loads(value) if value.startswith("[") else [{"text": value}]
        except json.JSONDecodeError as error:
            raise TextualizeError(f"context is not JSON: {error}") from None
    try:
        return tuple(
            Utterance(Span(0.0, 0.0), str(t["text"]), speaker=t.get("speaker"), source="manifest")
            for t in turns
        )
    except (KeyError, TypeError, AttributeError):
        raise TextualizeError('context should be a list of {"speaker", "text"}') from None
