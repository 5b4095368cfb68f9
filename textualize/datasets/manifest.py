"""Anyone's own corpus: a CSV, TSV, JSONL or Parquet file with one clip a row.

    id,video,start,end,label,subject,group,split,transcript,openface
    a01,media/a01.mp4,0.0,00:00:03.200,happily surprised,anna,film3,train,,au/a01.csv

Only `video` or `transcript` is required. Times are seconds or `[hh:]mm:ss[.mmm]`. Paths are
relative to the manifest. A column named like a sensor that imports files (`openface`) is that
clip's file for it; `transcript_file` names an SRT, VTT, whisper JSON or text file. Other column
names are told by a column mapping (`columns.py`). Rows that cannot be used are listed, the others
go on.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from textualize.datasets import Listing
from textualize.datasets.columns import SIDECARS, ColumnMapping, Reading, load_mapping
from textualize.datasets.labelling import Labelling, labelling
from textualize.datasets.tables import Row, Table, read_table
from textualize.errors import TextualizeError
from textualize.labels import LabelSet
from textualize.store import Failure, failure
from textualize.types import Clip, Span, Utterance

# what corpora call the three splits that folds know by name
SPLITS: Mapping[str, str] = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
_SECONDS = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?", re.ASCII)
_CLOCK = re.compile(r"(?:(\d{1,3}):)?(\d{1,3}):(\d{1,2}(?:[.,]\d*)?)", re.ASCII)


def load(path: Path, labels: LabelSet | None = None, *, columns: Path | None = None) -> Listing:
    """Return the clips of a manifest.

    Args:
        path: a `.csv`, `.tsv`, `.jsonl` or `.parquet` file.
        labels: the label set every label must belong to; by default the labels found.
        columns: a YAML file that says which of its columns is which (see `columns.py`).

    Raises:
        TextualizeError: the file or the mapping cannot be read, a column is unknown, no row can
            be used, or whole-number labels have no names.
    """
    mapping = load_mapping(columns) if columns is not None else None
    return clips_of([read_table(path)], path.parent, labels, mapping)


def clips_of(
    tables: Sequence[Table],
    folder: Path,
    labels: LabelSet | None = None,
    mapping: ColumnMapping | None = None,
) -> Listing:
    """Return the clips of tables that make up one corpus; paths in them are under `folder`.

    Raises:
        TextualizeError: a column is unknown, no row can be used, or whole-number labels have no
            names.
    """
    found = _Found()
    notes = dict.fromkeys(note for table in tables for note in table.notes)
    for table in tables:
        reading = Reading(mapping, table.columns, table.path.name)
        if reading.unread:
            notes[f"columns not read: {', '.join(reading.unread)}"] = None
        codes, splits = _codes(table, reading, mapping), mapping.splits if mapping else {}
        for row in table.rows:
            found.add(row, reading, folder, codes, splits)
    kind = mapping.label_kind if mapping else None
    written = Counter(c.label for c in found.clips.values() if isinstance(c.label, str))
    settled = labelling(written, labels, kind)
    clips = found.labelled(settled)
    if not clips:
        first = found.failures[0].error if found.failures else "no rows"
        names = ", ".join(t.path.name for t in tables)
        raise TextualizeError(
            f"none of the {len(found.failures)} rows of {names} can be used (first: {first})"
        )
    if found.renamed:
        told = ", ".join(f"{a} -> {b}" for a, b in sorted(found.renamed.items()))
        notes[f"splits renamed: {told}"] = None
    return Listing(clips, settled.labels, tuple(found.failures), (*notes, *settled.notes))


def _codes(
    table: Table, reading: Reading, mapping: ColumnMapping | None
) -> Mapping[str, str | None]:
    """Return the table's labels to ours: the mapping's, else the class names the file declares."""
    if mapping and mapping.codes:
        return mapping.codes
    names = table.names.get(reading.sources.get("label", ""), ())
    return {str(i): name for i, name in enumerate(names)} | ({"-1": None} if names else {})


class _Found:
    """The rows so far: clips by id with their labels as written, and what could not be used."""

    def __init__(self) -> None:
        self.clips: dict[str, Clip] = {}
        self.failures: list[Failure] = []
        self.renamed: dict[str, str] = {}
        self._places: dict[str, str] = {}

    def add(
        self,
        row: Row,
        reading: Reading,
        folder: Path,
        codes: Mapping[str, str | None],
        splits: Mapping[str, str],
    ) -> None:
        name = row.place
        try:
            if row.problem:
                raise TextualizeError(row.problem)
            name = _name(row, reading)
            clip = _clip(name, row.values, reading, folder)
            if name in self.clips:
                raise TextualizeError(
                    f"id '{name}' is given twice (first in {self._places[name]}): "
                    "a column id should tell the clips apart"
                )
        except TextualizeError as error:
            self.failures.append(failure(name, "manifest", f"{row.place}: {error}"))
            return
        label = codes.get(str(clip.label), clip.label) if clip.label is not None else None
        self.clips[name] = replace(clip, label=label, split=self._split(clip.split, splits))
        self._places[name] = row.place

    def _split(self, written: str | None, splits: Mapping[str, str]) -> str | None:
        if written is None:
            return None
        named = splits.get(written, SPLITS.get(written.lower(), written))
        if named != written:
            self.renamed[written] = named
        return named

    def labelled(self, settled: Labelling) -> tuple[Clip, ...]:
        """Return the clips with their settled labels; those without a usable one are failures."""
        clips = []
        for clip in self.clips.values():
            if clip.label is None:
                clips.append(clip)
            elif clip.label in settled.values:
                clips.append(replace(clip, label=settled.values[str(clip.label)]))
            else:
                why = f"{self._places[clip.id]}: {settled.problems[str(clip.label)]}"
                self.failures.append(failure(clip.id, "manifest", why))
        return tuple(clips)


def _name(row: Row, reading: Reading) -> str:
    given = reading.text("id", row.values)
    if given:
        return given
    video = reading.text("video", row.values)
    return Path(video).stem or row.place if video else row.place


def _clip(name: str, values: Mapping[str, Any], reading: Reading, folder: Path) -> Clip:
    video = reading.text("video", values)
    silent = reading.cell("transcript", values) == ""  # known to be without words
    transcript = "" if silent else reading.text("transcript", values)
    beside = {s: reading.text(column, values) for column, s in SIDECARS.items()}
    if not video and transcript is None:
        raise TextualizeError("neither video nor transcript is given")
    return Clip(
        id=name,
        video=folder / video if video else None,
        span=_span(values, reading),
        subject=reading.text("subject", values),
        group=reading.text("group", values),
        context=_context(reading.cell("context", values)),
        label=reading.text("label", values),
        split=reading.text("split", values),
        transcript=transcript,
        sidecars={sensor: str(folder / path) for sensor, path in beside.items() if path},
    )


def _span(values: Mapping[str, Any], reading: Reading) -> Span | None:
    start, end = (_time(reading.text(key, values), key) for key in ("start", "end"))
    if start is None and end is None:
        return None
    span = Span(start or 0.0, math.inf if end is None else end)
    if not span or span.start < 0:
        raise TextualizeError(f"span {span.start:g}-{span.end:g} s is empty or negative")
    return span


def _time(text: str | None, key: str) -> float | None:
    if text is None:
        return None
    try:
        return seconds(text)
    except TextualizeError as error:
        raise TextualizeError(f"{key} {error}") from None


def seconds(text: str) -> float:
    """Return a time in seconds: "3.2", "3,2", "1:02.5" or "00:01:02,500".

    >>> seconds("3,2"), seconds("1:02.5"), seconds("01:00:00")
    (3.2, 62.5, 3600.0)

    Raises TextualizeError for anything else.
    """
    given = text.strip()
    clock = _CLOCK.fullmatch(given)
    if clock:
        hours, minutes, rest = clock[1], int(clock[2]), float(clock[3].replace(",", "."))
        if rest < 60 and (hours is None or minutes < 60):
            return 3600.0 * int(hours or 0) + 60.0 * minutes + rest
    elif _SECONDS.fullmatch(given):
        value = float(given.replace(",", "."))
        if math.isfinite(value):
            return value
    raise TextualizeError(f"should be seconds; given {text[:40]!r} (hh:mm:ss.mmm is read too)")


def _context(value: Any) -> tuple[Utterance, ...]:
    """Return earlier turns: a JSON list of {"speaker", "text"}, or one text."""
    if not value:
        return ()
    turns = value
    if isinstance(value, str):
        try:
            turns = json.loads(value) if value.startswith("[") else [{"text": value}]
        except (ValueError, RecursionError) as error:
            raise TextualizeError(f"context is not JSON: {error}") from None
    try:
        return tuple(_turn(t["text"], t.get("speaker")) for t in turns)
    except (KeyError, TypeError, AttributeError):
        raise TextualizeError('context should be a list of {"speaker", "text"}') from None


def _turn(text: Any, speaker: Any) -> Utterance:
    if not isinstance(text, str) or not isinstance(speaker, str | None):
        raise TypeError
    return Utterance(Span(0.0, 0.0), text, speaker=speaker, source="manifest")
