"""One clip through all sensors: what was read before, what is read now, what fails and why.

Runs in a worker process. Results go to disk here, one file per clip and sensor, so that a killed
run loses only the clips it was reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textualize.errors import TextualizeError
from textualize.extract.sensor import (
    CLIP_ERRORS,
    Reading,
    Sensor,
    make_sensor,
    modality_of,
    read_all,
)
from textualize.files import digest_of
from textualize.store import Failure, Item, failure, read_item, write_item
from textualize.types import Clip, Modality, Utterance

if TYPE_CHECKING:
    from textualize.extract.video import Media

_TABLES_KEPT = 16
State = tuple[str, str]  # a status' state and its reason


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker needs to know besides the clip; sensors are built on first use."""

    folder: str
    sensors: tuple[str, ...]
    fps: float
    hwaccel: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """One clip to read. `media` is its file's digest where that is known and still right.

    `failed` maps the key of what has failed before to that failure: it is not tried again.
    """

    clip: Clip
    media: str = ""
    failed: Mapping[str, Failure] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class ClipResult:
    """What came of one clip: item keys by modality, states for the summary, failures.

    `sensors` describes the sensors that were built for it, by spec.
    """

    clip: Clip
    media: str
    items: Mapping[str, str] = field(default_factory=dict)
    states: Mapping[str, State] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    sensors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    fresh: int = 0
    """how many sensors were run, rather than found on disk"""


class SensorUnavailableError(TextualizeError):
    """A sensor could not be built, so that no clip can be read with it."""


_built: dict[str, Sensor] = {}  # per process: models are loaded once


def sensor_for(spec: str) -> Sensor:
    """Return this process's sensor for a spec; raises SensorUnavailableError."""
    if spec not in _built:
        try:
            _built[spec] = make_sensor(spec)
        except TextualizeError as error:
            raise SensorUnavailableError(str(error)) from None
    return _built[spec]


def read_clip(task: Task, job: Job) -> ClipResult:
    """Read one clip with every sensor, or find that it was read before.

    Raises SensorUnavailableError, and StorageError where the corpus cannot be written.
    """
    from textualize.extract.video import media_digest

    clip = task.clip
    try:
        media = task.media or (media_digest(clip.video) if clip.video else "")
        imported = [_sidecar_digest(_imported(given)) for given in clip.sidecars.values()]
    except (TextualizeError, OSError) as error:
        return ClipResult(clip, "", failures=(failure(clip.id, "read", error),))
    key = read_key(clip, media, job)
    if key in task.failed:
        return ClipResult(clip, media, failures=(task.failed[key],))
    reading = _Clip(task, job, media, imported)
    try:
        reading.all_sensors()
    except _UnreadableError as error:
        failed = failure(clip.id, "read", error, key)
        return ClipResult(clip, media, failures=(failed,), sensors=reading.described())
    return ClipResult(
        clip,
        media,
        reading.items,
        reading.states,
        tuple(reading.failures),
        reading.described(),
        reading.fresh,
    )


def _imported(given: str) -> Path:
    """Return the file of a sidecar, which may name a part of it: "table.csv#part"."""
    path = Path(given)
    return path if path.exists() or "#" not in given else Path(given.rpartition("#")[0])


def _sidecar_digest(path: Path) -> str:
    """Return the digest of a sidecar, which may be one table for thousands of clips."""
    from textualize.extract.video import media_digest

    try:
        stat = path.stat()
    except OSError:
        return media_digest(path)  # which says in one line what is wrong
    return _digest(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=_TABLES_KEPT)
def _digest(path: Path, mtime_ns: int, size: int) -> str:
    from textualize.extract.video import media_digest

    return media_digest(path)


class _UnreadableError(TextualizeError):
    """The clip's file could not be opened at all."""


class _Clip:
    """The sensors' chains on one clip: in each modality the first that finds something is kept."""

    def __init__(self, task: Task, job: Job, media: str, imported: Sequence[str]) -> None:
        self.items: dict[str, str] = {}
        self.states: dict[str, State] = {}
        self.failures: list[Failure] = []
        self.fresh = 0
        self._task, self._job, self._digest, self._imported = task, job, media, imported
        self._media: Media | None = None
        self._used: dict[str, Sensor] = {}
        self._said: tuple[Utterance, ...] = ()
        self._chains: dict[Modality, list[str]] = {}
        for spec in job.sensors:
            self._chains.setdefault(modality_of(spec), []).append(spec)

    def all_sensors(self) -> None:
        """Run rounds until every chain has an answer: each round decodes the clip once."""
        late = [m for m, chain in self._chains.items() if "words" in self._sensor(chain[0]).reads]
        chains = {m: list(c) for m, c in self._chains.items()}
        for modalities in ([m for m in chains if m not in late], late):
            while any(chains[m] for m in modalities):
                together: dict[Modality, tuple[Sensor, str]] = {}
                for modality in modalities:
                    spec = self._next(modality, chains[modality])
                    if spec:
                        together[modality] = spec
                self._decode(together, chains)

    def described(self) -> dict[str, dict[str, Any]]:
        """Return the sensors that were used, by spec, as corpus.json lists them."""
        return {
            spec: {
                "name": sensor.name,
                "version": sensor.version,
                "options": dict(sensor.options),
                "weights": sensor.weights,
            }
            for spec, sensor in self._used.items()
        }

    def _next(self, modality: Modality, chain: list[str]) -> tuple[Sensor, str] | None:
        """Go down a chain until it is settled or a sensor must be shown the media."""
        while chain:
            sensor = self._sensor(chain.pop(0))
            key = self._key(sensor)
            item = read_item(Path(self._job.folder), key)
            if item is not None:
                self._settle(modality, key, item)
            elif key in self._task.failed:
                self.failures.append(self._task.failed[key])
                self.states[modality] = ("failed", self._task.failed[key].error)
            elif sensor.reads:
                return sensor, key
            else:
                self._conclude(modality, key, read_all([sensor], self._source())[0])
            if self.states[modality][0] != "absent":
                chain.clear()
        return None

    def _decode(
        self, together: Mapping[Modality, tuple[Sensor, str]], chains: Mapping[Modality, list[str]]
    ) -> None:
        if not together:
            return
        sensors = [sensor for sensor, _ in together.values()]
        results = read_all(sensors, self._source(), self._said)
        for (modality, (_, key)), result in zip(together.items(), results, strict=True):
            self._conclude(modality, key, result)
            if self.states[modality][0] != "absent":
                chains[modality].clear()

    def _sensor(self, spec: str) -> Sensor:
        self._used[spec] = sensor_for(spec)
        return self._used[spec]

    def _key(self, sensor: Sensor) -> str:
        speech = self.items.get("speech", "")
        return item_key(self._task.clip, sensor, self._digest, self._imported, self._job, speech)

    def _source(self) -> Media:
        from textualize.extract.video import open_media

        if self._media is None:
            try:
                self._media = open_media(self._task.clip, self._job.fps, self._job.hwaccel)
            except CLIP_ERRORS as error:
                raise _UnreadableError(str(error)) from None
        return self._media

    def _conclude(self, modality: Modality, key: str, result: Reading | Exception) -> None:
        """Keep a reading, or quarantine the error there is in its place."""
        if isinstance(result, Reading):
            item = Item(result.status, result.tracks, result.utterances)
            write_item(Path(self._job.folder), key, item)
            self.fresh += 1
            self._settle(modality, key, item)
            return
        self.states[modality] = ("failed", str(result))
        self.failures.append(failure(self._task.clip.id, modality, result, key))

    def _settle(self, modality: Modality, key: str, item: Item) -> None:
        self.items[modality] = key
        self.states[modality] = (item.status.state, item.status.reason)
        if modality == "speech":
            self._said = item.utterances


def read_key(clip: Clip, media: str, job: Job) -> str:
    """Return the key of opening one clip, which is what a failure to open it is kept under."""
    span = [clip.span.start, clip.span.end] if clip.span else None
    return digest_of({"open": media, "span": span, "hwaccel": job.hwaccel})


def item_key(
    clip: Clip, sensor: Sensor, media: str, imported: Sequence[str], job: Job, speech: str = ""
) -> str:
    """Return the key of one sensor's result: everything that could change it, nothing else."""
    importing = not sensor.reads
    frames = "frames" in sensor.reads
    made_of: dict[str, Any] = {
        "media": media,
        "span": [clip.span.start, clip.span.end] if clip.span else None,
        "sensor": [sensor.name, sensor.version, dict(sensor.options), sensor.weights],
        "fps": job.fps if frames else None,
        "imported": [*imported, *clip.sidecars.values()] if importing else None,
        "transcript": clip.transcript if importing else None,
    }
    if frames and job.hwaccel:
        made_of["hwaccel"] = job.hwaccel
    if "words" in sensor.reads:
        made_of["speech"] = speech
    return digest_of(made_of)
