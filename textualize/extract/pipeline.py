"""Clips in, a corpus out: what is given to whom, what is reused, what goes to quarantine.

Each worker process reads one clip at a time with every sensor (`reading.py`, `workers.py`), or a
Ray cluster does (`on_ray.py`); results are stored one file per clip and sensor. Here the index over
them is kept, under a lock, so that several runs can fill one corpus.
"""

from __future__ import annotations

import importlib.util
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textualize.errors import TextualizeError, missing_package
from textualize.extract.reading import ClipResult, Job, SensorUnavailableError, Task, read_clip
from textualize.extract.sensor import sensor_specs
from textualize.extract.timings import remember_time
from textualize.files import StorageError, sweep, write_json_atomic
from textualize.labels import LabelSet, labels_of
from textualize.store import Corpus, Entry, Failure
from textualize.types import Clip, Record

__all__ = ["Outcome", "SensorUnavailableError", "extract", "extract_corpus"]

FPS = 12.5
FLUSH_EVERY_S = 20.0  # between two writes of the index; the items themselves are safe at once
_MEDIA = ".media.json"  # what was the digest of a file of this size and time: saves reading it

Progress = Callable[[int, int, str], None]


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
    seconds: float
    earlier: int
    """how many of the failures are of an earlier run and were not tried again"""


def extract_corpus(
    clips: Sequence[Clip],
    folder: str | Path,
    *,
    sensors: str | Sequence[str] = "embedded",
    labels: LabelSet | None = None,
    fps: float = FPS,
    workers: int | None = None,
    hwaccel: str = "",
    ray: str | None = None,
    retry_failed: bool = False,
    max_failures: int | None = None,
    earlier_failures: Sequence[Failure] = (),
    progress: Progress | None = None,
) -> Outcome:
    """Read every clip with every sensor into the corpus at `folder`.

    Args:
        clips: what to read; ids must be unique.
        folder: the corpus; created, or completed if it exists.
        sensors: a preset ("embedded", "full") or specs ("mediapipe", "whisper=/models/base"); of
            one modality, in order, the first that finds something is kept.
        labels: the label set; by default the labels found on the corpus' clips.
        fps: video frames read per second.
        workers: processes; 0 reads in this process, None takes one per core.
        hwaccel: FFmpeg device that decodes pictures ("cuda"); "" decodes on the CPU.
        ray: address of a Ray cluster that does the work, or "auto"; None does it here.
        retry_failed: try again what failed before and has not changed since.
        max_failures: stop when more clips than this have failed.
        earlier_failures: rows the dataset could not use; they go to quarantine too.
        progress: called with (done, total, clip id).

    Raises:
        TextualizeError: nothing to read, duplicate ids, unknown sensor, a newer corpus, more
            failures than allowed.
        SensorUnavailableError: a sensor's package or weights are missing.
        StorageError: the disk is full. What was read so far is kept in each of these cases.
    """
    specs = sensor_specs(sensors)
    _check(clips, fps, hwaccel)
    begun = time.monotonic()
    corpus = Corpus.create(folder, labels)
    sweep(corpus.folder)
    job = Job(str(corpus.folder.absolute()), specs, fps, hwaccel)
    tasks = _tasks(corpus, clips, retry_failed)
    run = _Run(corpus, labels, earlier_failures)
    try:
        for result in _results(tasks, job, workers, ray):
            run.add(result)
            if progress:
                progress(len(run.results), len(clips), result.clip.id)
            _stop_after(max_failures, run.results)
    except BaseException:
        with suppress(StorageError):  # the first error is the one to tell
            run.write()
        raise
    run.write()
    seconds = time.monotonic() - begun
    fresh = sum(r.fresh > 0 for r in run.results.values())
    remember_time(corpus.folder, fresh, seconds, specs)
    known = {f.key for task in tasks for f in task.failed.values()}
    return _outcome(run, clips, seconds, known)


def extract(clips: Sequence[Clip], corpus: str | Path, **options: Any) -> list[Record]:
    """Return the clips' records, extracted into the corpus folder or read back from it.

    Clips that could not be read are missing from the result and listed in the corpus'
    failures.jsonl. Options are those of `extract_corpus`.
    """
    outcome = extract_corpus(clips, corpus, **options)
    by_id = {r.clip.id: r for r in outcome.corpus.records()}
    return [by_id[c.id] for c in clips if c.id in by_id]


def _check(clips: Sequence[Clip], fps: float, hwaccel: str) -> None:
    if not clips:
        raise TextualizeError("no clips to extract")
    if importlib.util.find_spec("av") is None:
        raise missing_package("reading media", "av", "extract")
    twice = [name for name, n in Counter(c.id for c in clips).items() if n > 1]
    if twice:
        raise TextualizeError(f"{len(twice)} clip ids are given twice (first: {twice[0]})")
    if not 0 < fps <= 120:
        raise TextualizeError(f"fps should be between 0 and 120; given {fps}")
    if hwaccel:
        from textualize.extract.video import check_hwaccel

        check_hwaccel(hwaccel)


def _tasks(corpus: Corpus, clips: Sequence[Clip], retry_failed: bool) -> list[Task]:
    known = _known_media(corpus)
    failed: dict[str, dict[str, Failure]] = {}
    for one in () if retry_failed else corpus.failures():
        if one.key:
            failed.setdefault(one.clip, {})[one.key] = one
    return [
        Task(clip, known.get(_stamp(clip.video), ""), failed.get(clip.id, {})) for clip in clips
    ]


def _results(
    tasks: list[Task], job: Job, workers: int | None, ray: str | None
) -> Iterator[ClipResult]:
    if ray is not None:
        from textualize.extract.on_ray import read_on_ray

        return read_on_ray(tasks, job, ray, workers)
    count = min(len(tasks), (os.cpu_count() or 1) if workers is None else workers)
    if count < 1:
        return (read_clip(task, job) for task in tasks)
    from textualize.extract.workers import read_clips

    return read_clips(tasks, job, count)


def _stop_after(most: int | None, results: Mapping[str, ClipResult]) -> None:
    failed = [r for r in results.values() if r.failures]
    if most is not None and len(failed) > most:
        last = failed[-1].failures[0]
        raise TextualizeError(
            f"stopped: {len(failed)} clips failed, {most} were allowed (last {last.clip}: "
            f"{last.error}); what was read is kept"
        )


# --- the index ----------------------------------------------------------------------------------


class _Run:
    """The results of this run, and the corpus' index kept up to date with them."""

    def __init__(self, corpus: Corpus, labels: LabelSet | None, earlier: Sequence[Failure]) -> None:
        self.corpus, self.earlier = corpus, tuple(earlier)
        self.results: dict[str, ClipResult] = {}
        self._given = labels
        self._pending: list[ClipResult] = []
        self._due = time.monotonic() + FLUSH_EVERY_S

    def add(self, result: ClipResult) -> None:
        """Take a result; the index is written now and then."""
        self.results[result.clip.id] = result
        self._pending.append(result)
        if time.monotonic() > self._due:
            begun = time.monotonic()
            self.write()
            # a large index takes long to write: spend at most a tenth of the time on it
            took = time.monotonic() - begun
            self._due = time.monotonic() + max(FLUSH_EVERY_S, 10 * took)

    def write(self) -> None:
        """Bring the index up to date; what other runs have put into it stays."""
        with self.corpus.locked():
            entries = {e.clip.id: e for e in self.corpus.entries()}
            for result in self._pending:
                _enter(entries, result)
            self.corpus.write_entries(sorted(entries.values(), key=lambda e: e.clip.id))
            self.corpus.write_failures(self._quarantine())
            found = {e.clip.label for e in entries.values()} - {None}
            labels = self._given or (labels_of(found) if found else None)
            described = {
                json.dumps({"spec": spec, **about}, sort_keys=True)
                for result in self._pending
                for spec, about in result.sensors.items()
            }
            self.corpus.amend(labels, [json.loads(d) for d in described])
            _remember_media(self.corpus, self._pending)
        self._pending.clear()

    def _quarantine(self) -> list[Failure]:
        new = [*self.earlier, *(f for r in self._pending for f in r.failures)]
        touched = {r.clip.id for r in self._pending} | {f.clip for f in self.earlier}
        kept = [f for f in self.corpus.failures() if f.clip not in touched]
        return sorted([*kept, *new], key=lambda f: (f.clip, f.stage))


def _enter(entries: dict[str, Entry], result: ClipResult) -> None:
    old = entries.get(result.clip.id)
    kept = dict(old.items) if old and old.media == result.media else {}
    failed = {f.stage: f.error for f in result.failures if f.stage in result.states}
    items = {m: k for m, k in {**kept, **result.items}.items() if m not in failed}
    if items or failed or not result.failures:
        entries[result.clip.id] = Entry(result.clip, items, result.media, failed)
    else:
        entries.pop(result.clip.id, None)


def _stamp(video: Path | None) -> str:
    """Return what a file looked like from outside: path, size and time of change."""
    if video is None:
        return ""
    try:
        about = video.stat()
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        return ""
    return f"{video.absolute()}|{about.st_size}|{about.st_mtime_ns}"


def _known_media(corpus: Corpus) -> dict[str, str]:
    try:
        known = json.loads((corpus.folder / _MEDIA).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _remember_media(corpus: Corpus, results: Sequence[ClipResult]) -> None:
    new = {_stamp(r.clip.video): r.media for r in results if r.media and r.clip.video}
    known = _known_media(corpus)
    merged = {stamp: digest for stamp, digest in (known | new).items() if stamp}
    if merged != known:
        write_json_atomic(corpus.folder / _MEDIA, dict(sorted(merged.items())))


def _outcome(run: _Run, clips: Sequence[Clip], seconds: float, known: set[str]) -> Outcome:
    states: dict[str, Counter[str]] = {}
    unseen: list[str] = []
    for clip in clips:
        for modality, (state, reason) in run.results[clip.id].states.items():
            states.setdefault(modality, Counter())[state] += 1
            if state == "absent":
                unseen.append(f"{clip.id}: {modality}: {reason}")
    results = run.results.values()
    failures = (*run.earlier, *(f for r in results for f in r.failures))
    return Outcome(
        run.corpus,
        len(clips),
        sum(r.fresh > 0 for r in results),
        sum(r.fresh == 0 and bool(r.items) for r in results),
        failures,
        states,
        tuple(unseen),
        seconds,
        sum(f.key in known for f in failures if f.key),
    )
