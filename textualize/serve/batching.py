"""The engine "transformers": the project's own label scoring, requests of a moment in one batch.

One thread runs the network. While it works, what comes in waits; what waits for the same run is
then scored together, up to `batch_size` prompts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import cast

import numpy as np

from textualize.errors import TextualizeError
from textualize.serve.engine import BusyError, EngineDownError, Item, LabelScores
from textualize.text.predict import TextMethod

BATCH = 16
MOST_WAITING = 2048  # prompts; more than these are refused at once


@dataclass(frozen=True, slots=True)
class _Asked:
    run: str
    item: Item
    answer: asyncio.Future[LabelScores]


class TransformersEngine:
    """Networks in this process, one thread, one queue."""

    name = "transformers"

    def __init__(self, methods: Mapping[str, TextMethod], batch_size: int = BATCH) -> None:
        """Take the runs' methods, with weights, by name."""
        self._methods, self._batch_size = dict(methods), batch_size
        self._waiting: deque[_Asked] = deque()
        self._some = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scoring")
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many prompts wait."""
        return len(self._waiting)

    async def start(self) -> None:
        """Return once every run has scored a prompt."""
        self._task = asyncio.create_task(self._work())
        for name, method in self._methods.items():
            await self.scores(method.items(["?"]), name)

    async def scores(self, items: Sequence[Item], run: str) -> list[LabelScores]:
        """Return every item's scores, in order.

        Raises:
            BusyError: too much waits already.
            EngineDownError: the engine was stopped.
        """
        if not await self.ready():
            raise EngineDownError("the engine is stopped")
        if len(self._waiting) + len(items) > MOST_WAITING:
            raise BusyError(f"{len(self._waiting)} prompts wait already: try again later")
        loop = asyncio.get_running_loop()
        asked = [_Asked(run, item, loop.create_future()) for item in items]
        self._waiting.extend(asked)
        self._some.set()
        try:
            return list(await asyncio.gather(*(a.answer for a in asked)))
        finally:  # where one fails, or the client went away, the others need no answer
            for a in asked:
                a.answer.cancel()

    async def ready(self) -> bool:
        """Return whether the engine runs."""
        return self._task is not None and not self._task.done()

    async def stop(self) -> None:
        """Stop after the batch at work; what waits is told that the engine is down."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        while self._waiting:
            _fail(self._waiting.popleft(), EngineDownError("the engine is stopped"))
        await asyncio.to_thread(self._thread.shutdown)

    async def _work(self) -> None:
        while True:
            await self._some.wait()
            batch = self._next()
            if not batch:
                self._some.clear()
                continue
            loop = asyncio.get_running_loop()
            try:
                found = await loop.run_in_executor(self._thread, self._scored, batch)
            except asyncio.CancelledError:
                for asked in batch:
                    _fail(asked, EngineDownError("the engine is stopped"))
                raise
            except Exception as error:  # one bad batch must not end the service
                for asked in batch:
                    _fail(asked, error)
                continue
            for asked, scores in zip(batch, found, strict=True):
                if not asked.answer.done():
                    asked.answer.set_result(scores)

    def _next(self) -> list[_Asked]:
        """Return what is scored next: the oldest, and others of its run; given-up ones go."""
        self._waiting = deque(a for a in self._waiting if not a.answer.done())
        if not self._waiting:
            return []
        run = self._waiting[0].run
        batch = [a for a in self._waiting if a.run == run][: self._batch_size]
        chosen = {id(a) for a in batch}
        self._waiting = deque(a for a in self._waiting if id(a) not in chosen)
        return batch

    def _scored(self, batch: Sequence[_Asked]) -> list[LabelScores]:
        method = self._methods[batch[0].run]
        scores = method.log_scores([a.item for a in batch]).numpy()
        if not np.isfinite(scores).all():
            raise TextualizeError(f"run '{batch[0].run}' gives scores that are not finite")
        return [
            LabelScores(tuple(row), tuple(asked.item["input_ids"]))
            for asked, row in zip(batch, cast("list[list[float]]", scores.tolist()), strict=True)
        ]


def _fail(asked: _Asked, error: Exception) -> None:
    if not asked.answer.done():
        asked.answer.set_exception(error)
