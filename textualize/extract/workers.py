"""Processes that read clips: models loaded once each, a crash or a stall costs one clip.

A worker is one process with one pipe. It is given a clip, and gives a result; when it dies over a
clip (a decoder's segmentation fault, the kernel's out-of-memory killer) that clip is to blame, it
is quarantined, and a new process takes the worker's place.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from textualize.errors import TextualizeError
from textualize.extract.reading import ClipResult, Job, Task, read_clip, read_key
from textualize.extract.video import media_digest
from textualize.files import sweep
from textualize.store import failure

STALL_S = 4 * 3600.0  # longer on one clip than any clip should take: 12 h is the longest span
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Worker:
    """One process that reads one clip at a time."""

    def __init__(self, job: Job) -> None:
        """Start the process; its sensors are built at its first clip."""
        self._job = job
        self._start()

    def _start(self) -> None:
        # spawn: forked children of a process that has loaded torch or OpenCV can deadlock
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process: Any = context.Process(
            target=_serve, args=(theirs, self._job), daemon=True, name="textualize-reader"
        )
        self._process.start()
        theirs.close()

    def give(self, task: Task) -> None:
        """Hand over a clip."""
        self.task, self.since = task, time.monotonic()
        with suppress(OSError):  # it died between two clips: `take` will find out
            self.pipe.send(task)

    def take(self) -> ClipResult:
        """Return the clip's result; a dead process is replaced, its clip is a failure.

        Raises what stops the whole run: an unavailable sensor, a full disk.
        """
        try:
            result = self.pipe.recv()
        except (EOFError, OSError):
            self._process.join(10)
            code = self._process.exitcode
            self.renew()
            return self.lost(_death(code))
        if isinstance(result, BaseException):
            raise result
        return result  # type: ignore[no-any-return]

    def lost(self, why: str) -> ClipResult:
        """Return the failure of the clip in hand."""
        clip, media = self.task.clip, self.task.media
        with suppress(TextualizeError):
            media = media or (media_digest(clip.video) if clip.video else "")
        key = read_key(clip, media, self._job) if media else ""
        return ClipResult(clip, media, failures=(failure(clip.id, "read", why, key),))

    def renew(self) -> None:
        """Stop the process, however busy, and start another."""
        self.stop()
        self._start()

    def stop(self) -> None:
        """Stop the process."""
        self.pipe.close()
        self._process.kill()
        self._process.join()


def read_clips(
    tasks: Iterable[Task], job: Job, workers: int, stall_s: float = STALL_S
) -> Iterator[ClipResult]:
    """Yield the result of every task as it is there, read by `workers` processes.

    A clip that takes longer than `stall_s` seconds is given up, its worker replaced.
    """
    waiting = iter(tasks)
    with _one_thread_each(workers):
        pool = [Worker(job) for _ in range(workers)]
        try:
            busy = [w for w in pool if _hand_on(w, waiting)]
            while busy:
                ready = wait([w.pipe for w in busy], timeout=1.0)
                for worker in list(busy):
                    if worker.pipe in ready:
                        result = worker.take()
                    elif time.monotonic() - worker.since > stall_s:
                        worker.renew()
                        result = worker.lost(f"not read after {stall_s:.0f} s: given up")
                    else:
                        continue
                    if not _hand_on(worker, waiting):
                        busy.remove(worker)
                    yield result
        finally:
            for worker in pool:
                worker.stop()
            sweep(Path(job.folder))  # what a process was writing when it was stopped or died


def _hand_on(worker: Worker, waiting: Iterator[Task]) -> bool:
    task = next(waiting, None)
    if task is None:
        return False
    worker.give(task)
    return True


def _serve(pipe: Connection, job: Job) -> None:
    """Read clips until the pipe is closed; run in the worker's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops us
    os.environ.setdefault("GLOG_minloglevel", "3")
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer: Any = read_clip(task, job)
        except Exception as error:
            answer = error
        try:
            pipe.send(answer)
        except OSError:
            return  # the parent is gone


@contextmanager
def _one_thread_each(workers: int) -> Iterator[None]:
    """Let processes started inside share the cores: numerical libraries read this as they load."""
    threads = str(max(1, (os.cpu_count() or 1) // max(1, workers)))
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys((n for n in _THREADS if before[n] is None), threads))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


def _death(code: int | None) -> str:
    """Return what an exit code says about a process that died over a clip."""
    if code is not None and code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        hint = "; the memory may have run out" if name == "SIGKILL" else ""
        return f"the reader died over this file ({name}{hint})"
    return f"the reader stopped over this file without an error message (exit code {code})"
