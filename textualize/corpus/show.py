"""`textualize corpus show`: a corpus as a table, or everything that is known of one clip.

Clips stream by; of a clip that is listed only the headers of its items are read, never a tensor.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from safetensors import SafetensorError, safe_open

from textualize import speakers
from textualize.errors import TextualizeError, unknown
from textualize.store import Corpus, Entry, Where, clip_json, item_path
from textualize.types import Clip, Cue, Record

KEYS = ("id", "label", "subject", "group", "split")


@dataclass(frozen=True, slots=True)
class ClipRow:
    """One line of the table. `states` maps a modality to what its sensor came to.

    `seconds` is the clip's length, None where neither its span nor a track tells it.
    """

    id: str
    label: str | float | None
    subject: str | None
    split: str | None
    seconds: float | None
    states: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the line as JSON values."""
        return {**asdict(self), "states": dict(self.states)}


@dataclass(frozen=True, slots=True)
class ShownClip:
    """One clip: its record, its cues, and the sensors its corpus was read with."""

    record: Record
    cues: Sequence[Cue]
    sensors: Sequence[Mapping[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Return everything but the tensors as JSON values."""
        record = self.record
        return {
            "clip": clip_json(record.clip),
            "status": {m: asdict(s) for m, s in record.status.items()},
            "tracks": {name: _track_json(record, name) for name in record.tracks},
            "utterances": [asdict(u) for u in record.utterances],
            "cues": [asdict(c) for c in self.cues],
            "sensors": [dict(s) for s in self.sensors],
        }


def where_of(conditions: Sequence[str]) -> Where:
    """Return the test that `key=value` conditions ask for.

    Different keys must all hold, one key given twice holds with either value; an empty value asks
    for clips without one ("split=").

    Raises:
        TextualizeError: not `key=value`, or an unknown key.
    """
    wanted: dict[str, set[str]] = {}
    for condition in conditions:
        key, equals, value = condition.partition("=")
        if not equals:
            raise TextualizeError(f"--where takes key=value; given '{condition}'")
        if key not in KEYS:
            raise unknown("key of --where", key, KEYS)
        wanted.setdefault(key, set()).add(value)

    def holds(entry: Entry) -> bool:
        clip = entry.clip
        return all(_text(getattr(clip, key)) in values for key, values in wanted.items())

    return holds


def _text(value: object) -> str:
    return "" if value is None else str(value)


def clip_rows(corpus: Corpus, where: Sequence[str], limit: int) -> list[ClipRow]:
    """Return the first `limit` clips for which the conditions hold.

    Raises:
        TextualizeError: a condition that cannot be read, or no such clip.
    """
    found = [_row(corpus, e) for e in islice(corpus.iter_entries(where_of(where)), limit)]
    if not found:
        asked = f" with {', '.join(where)}" if where else ""
        raise TextualizeError(f"corpus {corpus.folder} has no clip{asked}")
    return found


def _row(corpus: Corpus, entry: Entry) -> ClipRow:
    states: dict[str, str] = {}
    ends = [0.0]
    for modality, key in entry.items.items():
        states[modality], end = _header(corpus, key)
        ends.append(end)
    states |= dict.fromkeys(entry.failed, "failed")
    clip = entry.clip
    return ClipRow(clip.id, clip.label, clip.subject, clip.split, _seconds(clip, ends), states)


def _header(corpus: Corpus, key: str) -> tuple[str, float]:
    """Return an item's state and the end of its longest track in seconds."""
    try:
        with safe_open(str(item_path(corpus.folder, key)), framework="numpy") as stored:
            about = json.loads((stored.metadata() or {})["textualize"])
            end = 0.0
            for name, track in about["tracks"].items():
                rows = stored.get_slice(name).get_shape()[0]
                end = max(end, track["start"] + rows / track["rate_hz"])
            return str(about["status"]["state"]), end
    except (SafetensorError, OSError, LookupError, TypeError, ValueError):
        return "missing", 0.0


def _seconds(clip: Clip, ends: Sequence[float]) -> float | None:
    if clip.span and math.isfinite(clip.span.end):
        return clip.span.duration
    end = max(ends)
    return end - (clip.span.start if clip.span else 0.0) if end else None


def show_clip(corpus: Corpus, name: str) -> ShownClip:
    """Return one clip with its cues, as relative to its subject as a template would read them.

    Raises:
        TextualizeError: no such clip, or one of its items is missing.
    """
    from dataclasses import replace

    from textualize.describe import describe

    entry = next(corpus.iter_entries(lambda e: e.clip.id == name), None)
    if entry is None:
        some = ", ".join(e.clip.id for e in islice(corpus.iter_entries(), 3))
        raise TextualizeError(f"no clip '{name}' in {corpus.folder} (there are {some}, …)")
    record = corpus.record(entry)
    subject = entry.clip.subject
    if subject is not None:
        own = corpus.iter_entries(lambda e: e.clip.subject == subject)
        known = speakers.statistics(corpus.record(e) for e in own)
        record = replace(record, speaker=known.get(subject))
    return ShownClip(record, describe(record), corpus.about.get("sensors", ()))


def _track_json(record: Record, name: str) -> dict[str, Any]:
    track = record.tracks[name]
    return {
        "shape": list(track.values.shape),
        "rate_hz": track.rate_hz,
        "start": track.start,
        "names": list(track.names),
        "unit": track.unit,
        "source": track.source,
    }


def print_rows(rows: Sequence[ClipRow], out: Console) -> None:
    """Print the table of clips."""
    modalities = list(dict.fromkeys(m for row in rows for m in row.states))
    table = Table(box=None, header_style="dim")
    for column in ("clip", "label", "subject", "split"):
        table.add_column(column)
    table.add_column("seconds", justify="right")
    for modality in modalities:
        table.add_column(modality)
    for row in rows:
        seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
        cells = [row.id, _text(row.label), _text(row.subject), _text(row.split), seconds]
        cells += [row.states.get(m, "not run") for m in modalities]
        table.add_row(*(escape(cell) for cell in cells))
    out.print(table)


def print_clip(shown: ShownClip, out: Console) -> None:
    """Print one clip in sections."""
    from textualize.console import cue_table

    record, clip = shown.record, shown.record.clip
    for name, text in _clip_lines(clip):
        out.print(f"[dim]{name:<9}[/] {escape(text)}")
    table = Table(title="tracks", title_justify="left", box=None, header_style="dim")
    for column in ("name", "shape", "Hz", "from", "unit", "source"):
        table.add_column(column)
    for name, track in record.tracks.items():
        shape = " × ".join(map(str, track.values.shape))
        cells = (
            name,
            shape,
            f"{track.rate_hz:g}",
            f"{track.start:.2f} s",
            track.unit,
            track.source,
        )
        table.add_row(*(escape(cell) for cell in cells))
    out.print(table)
    for modality, status in record.status.items():
        reason = f": {status.reason}" if status.reason else ""
        out.print(f"{modality} {status.state} {status.source}{reason}", markup=False)
    out.print(f"transcript: {record.transcript or '(none)'}", markup=False)
    out.print(cue_table("cues", shown.cues))
    for sensor in shown.sensors:
        options = ", ".join(f"{k} {v}" for k, v in sensor.items() if k != "spec")
        out.print(f"sensor {sensor.get('spec', '')}: {options}", markup=False)


def _clip_lines(clip: Clip) -> Iterator[tuple[str, str]]:
    for name in ("id", "label", "subject", "group", "split", "video"):
        value = getattr(clip, name)
        if value is not None:
            yield name, str(value)
    if clip.span is not None:
        yield "seconds", f"{clip.span.start:g}-{clip.span.end:g}"
    if clip.context:
        yield "context", f"{len(clip.context)} earlier turns"
    for key, path in clip.sidecars.items():
        yield key, str(path)
