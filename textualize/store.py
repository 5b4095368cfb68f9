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

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as safetensors_bytes

from textualize import speakers, surroundings
from textualize.errors import TextualizeError
from textualize.files import (
    Json,
    digest_of,
    not_written,
    read_json,
    write_bytes_atomic,
    write_json_atomic,
    write_text_atomic,
)
from textualize.labels import LABEL_SETS, LabelSet
from textualize.types import Clip, Record, Span, Status, Track, Unit, Utterance, Word

SCHEMA = 1  # raised when a reader of today could misread a corpus of tomorrow

LOCK = ".lock"


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
        value.get("language"),
        value.get("avg_logprob"),
        value.get("no_speech_prob"),
        str(value.get("doubt", "")),
    )


def item_path(corpus: Path, key: str) -> Path:
    """Return where the item of a key lies; two letters of fan-out keep folders small."""
    return corpus / "tracks" / key[:2] / f"{key}.safetensors"


def write_item(corpus: Path, key: str, item: Item) -> None:
    """Store one sensor's result atomically."""
    tensors = {
        name: np.ascontiguousarray(t.values, np.uint8 if t.unit == "pixels" else np.float32)
        for name, t in item.tracks.items()
    }
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
    text = json.dumps(header, ensure_ascii=False).encode("utf-8", "backslashreplace")
    data = safetensors_bytes(tensors, {"textualize": text.decode("utf-8")})
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
            utterances = tuple(_utterance(u) for u in header["utterances"])
            return Item(Status(**header["status"]), tracks, utterances)
    except (SafetensorError, OSError, LookupError, TypeError, ValueError, AttributeError):
        return None


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
    """One line of records.jsonl: the clip, the key of each modality's item, its media's digest.

    `failed` says for a modality why its sensor failed on this clip.
    """

    clip: Clip
    items: Mapping[str, str]
    media: str = ""
    failed: Mapping[str, str] = field(default_factory=dict)


Where = Callable[[Entry], bool]  # chooses records by what the index says of them


@dataclass(frozen=True, slots=True)
class Failure:
    """One line of the quarantine. `key` identifies what was tried, "" where it cannot be told."""

    clip: str
    stage: str
    error: str
    when: str
    key: str = ""


def failure(clip_id: str, stage: str, error: BaseException | str, key: str = "") -> Failure:
    """Return a failure stamped with the current time (UTC)."""
    said = " ".join(str(error).split()) or type(error).__name__
    return Failure(clip_id, stage, said, _now(), key)


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
    def create(
        cls, folder: str | Path, labels: LabelSet | None, sensors: Iterable[Json] = ()
    ) -> Corpus:
        """Create the folder, or open a corpus and bring its description up to date.

        `labels` None leaves the label set as it is; sensors are added to those listed.

        Raises:
            TextualizeError: the folder holds something else, or a newer corpus.
        """
        path = Path(folder)
        if not (path / "corpus.json").exists():
            try:
                other = path.exists() and any(not p.name.startswith(".") for p in path.iterdir())
            except OSError as error:
                raise not_written(path, error) from error
            if other:
                raise TextualizeError(f"{path} is not empty and not a corpus: give a new folder")
            about: Json = {"schema": SCHEMA, "label_set": None, "labels": [], "sensors": []}
            write_json_atomic(path / "corpus.json", about)
        corpus = cls(path)
        with corpus.locked():
            corpus.amend(labels, sensors)
        return corpus

    def amend(self, labels: LabelSet | None, sensors: Iterable[Json] = ()) -> None:
        """Bring corpus.json up to date; to be called with the lock held."""
        about = read_json(self.folder / "corpus.json", "corpus")
        known = {digest_of(s): s for s in [*about.get("sensors", ()), *sensors]}
        new = {**about, "sensors": sorted(known.values(), key=digest_of)}
        if labels is not None:
            new |= {"label_set": labels.name, "labels": list(labels.labels)}
        if new != about:
            write_json_atomic(self.folder / "corpus.json", new)
        self.about = new

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock under which the index is read and replaced.

        Raises StorageError where the folder may not be written.
        """
        lock = FileLock(self.folder / LOCK)
        try:
            lock.acquire()
        except OSError as error:
            raise not_written(self.folder / LOCK, error) from error
        try:
            yield
        finally:
            lock.release()

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
        return list(self.iter_entries())

    def iter_entries(self, where: Where | None = None) -> Iterator[Entry]:
        """Yield the lines of records.jsonl for which `where` holds, one at a time.

        No track is read. Raises TextualizeError at a damaged line.
        """
        path = self.folder / "records.jsonl"
        if not path.is_file():
            return
        with path.open("rb") as stream:  # decoded line by line, where damage has an answer
            for number, line in enumerate(stream, 1):
                try:
                    value = json.loads(line)
                    clip = clip_from_json(value["clip"])
                    media, failed = value.get("media", ""), value.get("failed", {})
                    entry = Entry(clip, value["items"], media, failed)
                except (ValueError, LookupError, TypeError, AttributeError) as error:
                    raise TextualizeError(
                        f"{path}:{number} is damaged ({error}): remove the file and extract "
                        "again; what was read is kept"
                    ) from None
                if where is None or where(entry):
                    yield entry

    def write_entries(self, entries: Iterable[Entry]) -> None:
        """Replace records.jsonl atomically."""
        lines = []
        for entry in entries:
            items = dict(sorted(entry.items.items()))  # however many runs it took to read them
            value: Json = {"clip": clip_json(entry.clip), "items": items}
            value["media"] = entry.media
            if entry.failed:
                value["failed"] = dict(sorted(entry.failed.items()))
            lines.append(json.dumps(value, ensure_ascii=False) + "\n")
        write_text_atomic(self.folder / "records.jsonl", "".join(lines))

    def failures(self) -> list[Failure]:
        """Return the quarantine."""
        path = self.folder / "failures.jsonl"
        if not path.is_file():
            return []
        with path.open("rb") as stream:
            try:
                return [Failure(**json.loads(line)) for line in stream]
            except (ValueError, TypeError) as error:
                raise TextualizeError(
                    f"{path} is damaged ({error}): remove it and extract again"
                ) from None

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
        for modality, why in entry.failed.items():
            status[modality] = Status("failed", "", why)
        ordered = tuple(sorted(utterances, key=lambda u: u.span))
        return Record(entry.clip, tracks, ordered, status)

    def records(self, where: Where | None = None) -> list[Record]:
        """Read all records, each with what those read say of its subject and around it."""
        found = [self.record(e) for e in self.iter_entries(where)]
        return surroundings.attach(speakers.attach(found))

    def stream(self, where: Where | None = None) -> Iterator[Record]:
        """Yield what `records` returns one at a time: each is read when its turn comes.

        Memory does not grow with the corpus but for a few numbers a clip; clips that have a
        subject are read twice, the first time for the subject's statistics.
        """

        def named(entry: Entry) -> bool:
            return entry.clip.subject is not None and (where is None or where(entry))

        known = speakers.statistics(self.record(e) for e in self.iter_entries(named))
        for entry in self.iter_entries(where):
            speaker = known.get(entry.clip.subject or "")
            yield replace(self.record(entry), speaker=speaker)
