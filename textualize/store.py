"""The corpus on disk: the seam between extraction, training and serving.

    corpora/<name>/
        corpus.json          schema version, labels, label set, sensors with versions and options
        records.jsonl        one record a line; its tensors are in tracks/
        tracks/ab/ab….safetensors   one file per clip and sensor, named by what made it
        failures.jsonl       the quarantine: clip, stage, error, when

A sensor's result is keyed by the media's content, the span, the sensor, its version, options and
weights. It is one file, written atomically (temporary file, fsync, rename), that holds the tensors
and, in its header, the utterances and the status; `records.jsonl` is the index over these files.
A killed extraction loses at most the clips it was reading.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as safetensors_bytes

from textualize import speakers
from textualize.errors import TextualizeError
from textualize.labels import LABEL_SETS, LabelSet
from textualize.types import Clip, Record, Span, Status, Track, Unit, Utterance, Word

SCHEMA = 1  # raised when a reader of today could misread a corpus of tomorrow

Json = dict[str, Any]


def write_bytes_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)  # mkstemp's 0600 would hide a shared corpus from colleagues
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_text_atomic(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes_atomic(path, text.encode("utf-8"))


def write_json_atomic(path: Path, value: object) -> None:
    """Write indented JSON atomically; NaN is refused."""
    write_text_atomic(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def digest_of(value: object) -> str:
    """Return the sha256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def read_json(path: Path, what: str) -> Json:
    """Return a JSON object; raises TextualizeError naming `what` if it is missing or damaged."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise TextualizeError(f"{what} not found: {path}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise TextualizeError(f"{what} {path} is damaged: {error}") from None
    if not isinstance(value, dict):
        raise TextualizeError(f"{what} {path} should hold a JSON object")
    return value


# --- one sensor's result ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """What one sensor made of one clip, as it is stored."""

    status: Status
    tracks: Mapping[str, Track] = field(default_factory=dict)
    utterances: tuple[Utterance, ...] = ()


def _utterance_json(utterance: Utterance) -> Json:
    return asdict(utterance)


def _utterance(value: Mapping[str, Any]) -> Utterance:
    words = tuple(
        Word(Span(**w["span"]), str(w["text"]), w.get("confidence")) for w in value["words"]
    )
    return Utterance(
        Span(**value["span"]),
        str(value["text"]),
        words,
        value.get("speaker"),
        value.get("confidence"),
        str(value.get("source", "")),
    )


def item_path(corpus: Path, key: str) -> Path:
    """Return where the item of a key lies; two letters of fan-out keep folders small."""
    return corpus / "tracks" / key[:2] / f"{key}.safetensors"


def write_item(corpus: Path, key: str, item: Item) -> None:
    """Store one sensor's result atomically."""
    tensors = {name: np.ascontiguousarray(t.values, np.float32) for name, t in item.tracks.items()}
    described = {
        name: {
            "rate_hz": t.rate_hz,
            "start": t.start,
            "names": list(t.names),
            "unit": t.unit,
            "source": t.source,
        }
        for name, t in item.tracks.items()
    }
    header = {
        "schema": SCHEMA,
        "status": asdict(item.status),
        "tracks": described,
        "utterances": [_utterance_json(u) for u in item.utterances],
    }
    data = safetensors_bytes(tensors, {"textualize": json.dumps(header, ensure_ascii=False)})
    write_bytes_atomic(item_path(corpus, key), data)


def read_item(corpus: Path, key: str) -> Item | None:
    """Return a stored result, or None when it is missing or damaged (and so must be redone)."""
    path = item_path(corpus, key)
    try:
        with safe_open(str(path), framework="numpy") as stored:
            header = json.loads((stored.metadata() or {})["textualize"])
            tracks = {
                name: Track(
                    stored.get_tensor(name),
                    float(t["rate_hz"]),
                    float(t["start"]),
                    tuple(t["names"]),
                    cast(Unit, t["unit"]),
                    str(t["source"]),
                )
                for name, t in header["tracks"].items()
            }
    except (FileNotFoundError, SafetensorError, KeyError, json.JSONDecodeError, OSError):
        return None
    return Item(
        Status(**header["status"]), tracks, tuple(_utterance(u) for u in header["utterances"])
    )


# --- records ------------------------------------------------------------------------------------


def clip_json(clip: Clip) -> Json:
    """Return a clip as JSON values."""
    value = asdict(clip)
    value["video"] = str(clip.video) if clip.video else None
    value["sidecars"] = dict(clip.sidecars)
    if clip.span:  # JSON has no infinity: an open end is null
        end = clip.span.end if math.isfinite(clip.span.end) else None
        value["span"] = {"start": clip.span.start, "end": end}
    return value


def clip_from_json(value: Mapping[str, Any]) -> Clip:
    """Return the clip `clip_json` wrote."""
    return Clip(
        id=str(value["id"]),
        video=Path(value["video"]) if value.get("video") else None,
        span=_clip_span(value.get("span")),
        subject=value.get("subject"),
        group=value.get("group"),
        context=tuple(_utterance(u) for u in value.get("context", ())),
        label=value.get("label"),
        split=value.get("split"),
        transcript=value.get("transcript"),
        sidecars=dict(value.get("sidecars") or {}),
    )


def _clip_span(value: Mapping[str, float | None] | None) -> Span | None:
    if value is None:
        return None
    end = value["end"]
    return Span(value["start"] or 0.0, math.inf if end is None else end)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of records.jsonl: the clip, the key of each modality's item, its media's digest."""

    clip: Clip
    items: Mapping[str, str]
    media: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """One line of the quarantine."""

    clip: str
    stage: str
    error: str
    when: str


def failure(clip_id: str, stage: str, error: BaseException | str) -> Failure:
    """Return a failure stamped with the current time (UTC)."""
    return Failure(clip_id, stage, " ".join(str(error).split()), _now())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class Corpus:
    """A corpus folder. Opening it checks the schema; nothing else is read until asked for."""

    def __init__(self, folder: str | Path) -> None:
        """Open an existing corpus.

        Raises:
            TextualizeError: no corpus there, or one written by a newer textualize.
        """
        self.folder = Path(folder)
        self.about = read_json(self.folder / "corpus.json", "corpus")
        schema = self.about.get("schema")
        if not isinstance(schema, int) or schema > SCHEMA:
            raise TextualizeError(
                f"corpus {self.folder} has schema {schema}, this textualize reads up to {SCHEMA}: "
                "update textualize, or extract the corpus again"
            )

    @classmethod
    def create(cls, folder: str | Path, labels: LabelSet | None, sensors: Sequence[Json]) -> Corpus:
        """Create the folder, or bring an existing corpus' description up to date."""
        path = Path(folder)
        about: Json = {
            "schema": SCHEMA,
            "label_set": labels.name if labels else None,
            "labels": list(labels.labels) if labels else [],
            "sensors": list(sensors),
        }
        if (path / "corpus.json").exists():
            cls(path)  # refuses a newer schema before anything is overwritten
        elif path.exists() and any(path.iterdir()):
            raise TextualizeError(f"{path} is not empty and not a corpus: give a new folder")
        write_json_atomic(path / "corpus.json", about)
        return cls(path)

    @property
    def labels(self) -> LabelSet | None:
        """The corpus' label set, or None for an unlabelled corpus."""
        names = tuple(str(x) for x in self.about.get("labels", ()))
        if not names:
            return None
        known = LABEL_SETS.get(str(self.about.get("label_set")))
        return known if known and known.labels == names else LabelSet("own", names, {})

    def entries(self) -> list[Entry]:
        """Return the lines of records.jsonl.

        Raises:
            TextualizeError: a line is damaged.
        """
        path = self.folder / "records.jsonl"
        if not path.is_file():
            return []
        found = []
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            try:
                value = json.loads(line)
                found.append(
                    Entry(clip_from_json(value["clip"]), value["items"], value.get("media", ""))
                )
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise TextualizeError(
                    f"{path}:{number} is damaged ({error}): extract again"
                ) from None
        return found

    def write_entries(self, entries: Iterable[Entry]) -> None:
        """Replace records.jsonl atomically."""
        lines = (
            json.dumps(
                {"clip": clip_json(e.clip), "items": dict(e.items), "media": e.media},
                ensure_ascii=False,
            )
            for e in entries
        )
        write_text_atomic(self.folder / "records.jsonl", "".join(line + "\n" for line in lines))

    def failures(self) -> list[Failure]:
        """Return the quarantine."""
        path = self.folder / "failures.jsonl"
        if not path.is_file():
            return []
        return [Failure(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]

    def write_failures(self, failures: Iterable[Failure]) -> None:
        """Replace the quarantine atomically."""
        lines = (json.dumps(asdict(f), ensure_ascii=False) + "\n" for f in failures)
        write_text_atomic(self.folder / "failures.jsonl", "".join(lines))

    def record(self, entry: Entry) -> Record:
        """Read one record.

        Raises:
            TextualizeError: one of its items is missing or damaged.
        """
        tracks: dict[str, Track] = {}
        utterances: list[Utterance] = []
        status: dict[str, Status] = {}
        for modality, key in entry.items.items():
            item = read_item(self.folder, key)
            if item is None:
                raise TextualizeError(
                    f"the {modality} of '{entry.clip.id}' is missing from {self.folder}: "
                    "run textualize extract again"
                )
            tracks.update(item.tracks)
            utterances.extend(item.utterances)
            status[modality] = item.status
        ordered = tuple(sorted(utterances, key=lambda u: u.span))
        return Record(entry.clip, tracks, ordered, status)

    def records(self) -> list[Record]:
        """Read all records, each with its subject's statistics over the whole corpus."""
        return speakers.attach([self.record(e) for e in self.entries()])
