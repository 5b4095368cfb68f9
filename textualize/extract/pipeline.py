"""Clips in, a corpus out: which sensors run, what is reused, what goes to quarantine.

One worker process reads one clip at a time with every sensor; results are stored one file per clip
and sensor, so a killed run loses only the clips in flight, and a second run does no work.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from textualize.errors import TextualizeError, missing_package
from textualize.extract.sensor import Sensor, make_sensor, modality_of
from textualize.labels import LabelSet, labels_of
from textualize.store import (
    Corpus,
    Entry,
    Failure,
    Item,
    digest_of,
    failure,
    read_item,
    write_item,
)
from textualize.types import Clip, Record

# In each modality the first sensor that finds something is kept: what the corpus brings
# (OpenFace tables, transcripts) goes before what we measure.
DEFAULT_SENSORS = ("openface", "mediapipe", "sidecar", "pocketsphinx", "prosody")
FPS = 12.5
FLUSH_EVERY_S = 20.0  # between two writes of the index; the items themselves are safe at once

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class ClipResult:
    """What came of one clip: item keys by modality, states for the summary, failures."""

    clip: Clip
    media: str
    items: Mapping[str, str] = field(default_factory=dict)
    states: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    reused: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of `extract_corpus` came to."""

    corpus: Corpus
    clips: int
    read: int
    reused: int
    failures: tuple[Failure, ...]
    states: Mapping[str, Mapping[str, int]]
    """modality -> state -> number of clips"""
    unseen: tuple[str, ...]
    """one line per clip in which a modality was asked for and nothing was there"""


class SensorUnavailableError(TextualizeError):
    """A sensor could not be built, so that no clip can be read with it."""


def extract_corpus(
    clips: Sequence[Clip],
    folder: str | Path,
    *,
    sensors: Sequence[str] = DEFAULT_SENSORS,
    labels: LabelSet | None = None,
    fps: float = FPS,
    workers: int | None = None,
    earlier_failures: Sequence[Failure] = (),
    progress: Progress | None = None,
) -> Outcome:
    """Read every clip with every sensor into the corpus at `folder`.

    Args:
        clips: what to read; ids must be unique.
        folder: the corpus; created, or completed if it exists.
        sensors: specs ("mediapipe", "whisper=/models/base"); of one modality, in order, the first
            that finds something is kept.
        labels: the label set; by default the labels found on the clips.
        fps: video frames read per second.
        workers: processes; 0 reads in this process, None takes one per core.
        earlier_failures: rows the dataset could not use; they go to quarantine too.
        progress: called with (done, total, clip id).

    Raises:
        TextualizeError: nothing to read, duplicate ids, unknown sensor, a newer corpus.
        SensorUnavailableError: a sensor's package or weights are missing; what was read so far
            is kept.
    """
    _check(clips, sensors, fps)
    found = labels or (labels_of(c.label for c in clips) if any(c.label for c in clips) else None)
    corpus = Corpus.create(folder, found, [{"spec": s, "fps": fps} for s in sensors])
    job = Job(str(corpus.folder), tuple(sensors), fps)
    results: dict[str, ClipResult] = {}
    flushed = time.monotonic()
    try:
        for result in _results(clips, job, workers):
            results[result.clip.id] = result
            if progress:
                progress(len(results), len(clips), result.clip.id)
            if time.monotonic() - flushed > FLUSH_EVERY_S:
                _write_index(corpus, results, earlier_failures)
                flushed = time.monotonic()
    finally:
        _write_index(corpus, results, earlier_failures)
    return _outcome(corpus, clips, results, earlier_failures)


def extract(clips: Sequence[Clip], corpus: str | Path, **options: Any) -> list[Record]:
    """Return the clips' records, extracted into the corpus folder or read back from it.

    Clips that could not be read are missing from the result and listed in the corpus'
    failures.jsonl. Options are those of `extract_corpus`.
    """
    outcome = extract_corpus(clips, corpus, **options)
    by_id = {r.clip.id: r for r in outcome.corpus.records()}
    return [by_id[c.id] for c in clips if c.id in by_id]


def _check(clips: Sequence[Clip], sensors: Sequence[str], fps: float) -> None:
    if not clips:
        raise TextualizeError("no clips to extract")
    if importlib.util.find_spec("av") is None:
        raise missing_package("reading media", "av", "extract")
    twice = [name for name, n in Counter(c.id for c in clips).items() if n > 1]
    if twice:
        raise TextualizeError(f"{len(twice)} clip ids are given twice (first: {twice[0]})")
    if not sensors:
        raise TextualizeError("no sensors given")
    for spec in sensors:
        modality_of(spec)
    if not 0 < fps <= 120:
        raise TextualizeError(f"fps should be between 0 and 120; given {fps}")


# --- one clip -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker needs to know besides the clip; sensors are built on first use."""

    folder: str
    sensors: tuple[str, ...]
    fps: float


_built: dict[str, Sensor] = {}  # per process: models are loaded once


def _sensor(spec: str) -> Sensor:
    if spec not in _built:
        try:
            _built[spec] = make_sensor(spec)
        except TextualizeError as error:
            raise SensorUnavailableError(str(error)) from None
    return _built[spec]


def read_clip(clip: Clip, job: Job) -> ClipResult:
    """Read one clip with every sensor, or find that it was read before."""
    from textualize.extract.video import Media, media_digest, open_media

    try:
        media = media_digest(clip.video) if clip.video else ""
        imported = [media_digest(Path(p.partition("#")[0])) for p in clip.sidecars.values()]
    except (TextualizeError, OSError) as error:
        return ClipResult(clip, "", failures=(failure(clip.id, "read", error),))
    opened: list[Media] = []

    def source() -> Media:
        if not opened:
            opened.append(open_media(clip, job.fps))
        return opened[0]

    items: dict[str, str] = {}
    states: dict[str, tuple[str, str]] = {}
    failures: list[Failure] = []
    fresh = 0
    for spec in job.sensors:
        modality = modality_of(spec)
        if states.get(modality, ("absent", ""))[0] != "absent":
            continue
        sensor = _sensor(spec)
        key = item_key(clip, sensor, media, imported, job.fps)
        item = read_item(Path(job.folder), key)
        if item is None:
            try:
                reading = sensor.read(source())
            except (TextualizeError, ArithmeticError, LookupError, ValueError, OSError) as error:
                failures.append(failure(clip.id, modality if opened else "read", error))
                states[modality] = ("failed", str(error))
                if not opened:
                    return ClipResult(clip, media, failures=tuple(failures))
                continue
            item = Item(reading.status, reading.tracks, reading.utterances)
            write_item(Path(job.folder), key, item)
            fresh += 1
        items[modality] = key
        states[modality] = (item.status.state, item.status.reason)
    return ClipResult(clip, media, items, states, tuple(failures), reused=fresh == 0)


def item_key(clip: Clip, sensor: Sensor, media: str, imported: Sequence[str], fps: float) -> str:
    """Return the key of one sensor's result: everything that could change it, nothing else."""
    importing = sensor.name in ("openface", "sidecar")
    return digest_of(
        {
            "media": media,
            "span": [clip.span.start, clip.span.end] if clip.span else None,
            "sensor": [sensor.name, sensor.version, dict(sensor.options), sensor.weights],
            "fps": fps if sensor.modality == "face" and not importing else None,
            "imported": [*imported, *clip.sidecars.values()] if importing else None,
            "transcript": clip.transcript if importing else None,
        }
    )


# --- many clips ---------------------------------------------------------------------------------


def _results(clips: Sequence[Clip], job: Job, workers: int | None) -> Iterator[ClipResult]:
    count = min(len(clips), (os.cpu_count() or 1) if workers is None else workers)
    if count < 1:
        yield from (read_clip(clip, job) for clip in clips)
        return
    yield from _pooled(list(clips), job, count)


def _pooled(waiting: list[Clip], job: Job, workers: int) -> Iterator[ClipResult]:
    """Yield results from worker processes; a clip that kills its worker is quarantined."""
    from concurrent.futures import FIRST_COMPLETED, Future, wait
    from concurrent.futures.process import BrokenProcessPool

    waiting.reverse()
    suspects: list[Clip] = []
    while waiting or suspects:
        alone = bool(suspects)
        with _pool(1 if alone else workers) as pool:
            running: dict[Future[ClipResult], Clip] = {}
            source = suspects if alone else waiting
            try:
                while source or running:
                    while source and len(running) < (1 if alone else 2 * workers):
                        clip = source.pop()
                        running[pool.submit(read_clip, clip, job)] = clip
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        result = future.result()
                        running.pop(future)
                        yield result
            except BrokenProcessPool:
                lost = list(running.values())
                if not alone:
                    suspects.extend(lost)
                for clip in lost if alone else ():
                    stopped = failure(
                        clip.id, "read", "the reader stopped without an error message"
                    )
                    yield ClipResult(clip, "", failures=(stopped,))
            except SensorUnavailableError:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _pool(workers: int) -> Any:
    from concurrent.futures import ProcessPoolExecutor

    # spawn: forked children of a process that has loaded torch or OpenCV can deadlock
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_quiet_worker)


def _quiet_worker() -> None:
    """Keep each worker to one thread: the processes are the parallelism."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("GLOG_minloglevel", "3")


def _write_index(
    corpus: Corpus,
    results: Mapping[str, ClipResult],
    earlier_failures: Sequence[Failure],
) -> None:
    """Bring records.jsonl and failures.jsonl up to date; clips of earlier runs are kept."""
    entries = {e.clip.id: e for e in corpus.entries()}
    for result in results.values():
        old = entries.get(result.clip.id)
        kept = dict(old.items) if old and old.media == result.media else {}
        if result.items or kept or not result.failures:
            entries[result.clip.id] = Entry(result.clip, {**kept, **result.items}, result.media)
        else:
            entries.pop(result.clip.id, None)
    corpus.write_entries(sorted(entries.values(), key=lambda e: e.clip.id))
    touched = set(results) | {f.clip for f in earlier_failures}
    failures = [f for f in corpus.failures() if f.clip not in touched]
    failures += [*earlier_failures, *(f for r in results.values() for f in r.failures)]
    corpus.write_failures(failures)


def _outcome(
    corpus: Corpus,
    clips: Sequence[Clip],
    results: Mapping[str, ClipResult],
    earlier_failures: Sequence[Failure],
) -> Outcome:
    states: dict[str, Counter[str]] = {}
    unseen: list[str] = []
    for clip in clips:
        for modality, (state, reason) in results[clip.id].states.items():
            states.setdefault(modality, Counter())[state] += 1
            if state == "absent":
                unseen.append(f"{clip.id}: {modality}: {reason}")
    return Outcome(
        corpus,
        len(clips),
        sum(not r.reused and bool(r.items) for r in results.values()),
        sum(r.reused and bool(r.items) for r in results.values()),
        (*earlier_failures, *(f for r in results.values() for f in r.failures)),
        states,
        tuple(unseen),
    )
