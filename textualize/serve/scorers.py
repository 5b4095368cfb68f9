"""What scores batches of prompts far from who asks: a run's weights, or a vLLM of its own.

A prompt that cannot be scored takes no other with it: a batch that fails is asked again prompt by
prompt, and what dies over one is started again.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import torch

from textualize.errors import TextualizeError
from textualize.files import Json
from textualize.methods import method_of
from textualize.serve.engine import EngineDownError, Item
from textualize.serve.runs import ServedRun
from textualize.serve.vllm import START_S, vllm_engine
from textualize.text.causal import TextLLM
from textualize.text.encoder import TextEncoder
from textualize.text.predict import TextMethod

TRIES = 2  # how many vLLM processes are asked the same, should they die over it
_POLL_S = 0.5

Score = Callable[[Sequence[Item]], list[list[float]]]


class UnusableError(TextualizeError):
    """Nothing can be scored here, whatever the prompt."""


class DiedError(TextualizeError):
    """The process that scored died over it."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a scorer needs: the run, torch's threads, and vLLM's environment if that scores."""

    run: str
    threads: int
    vllm: str | None = None


class ScorePrompts:
    """A Ray Data actor: scores batches of prompts; what it needs it opens at the first."""

    def __init__(self, job: Json) -> None:
        """Take what the driver says; nothing is opened yet."""
        self._job = Job(**job)
        self._score: Score | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return the results of a batch of tasks, both as JSON."""
        return {"result": [json.dumps(self._answered(json.loads(t))) for t in batch["task"]]}

    def _answered(self, task: Json) -> Json:
        try:
            if self._score is None:
                self._score = AskVllm(self._job) if self._job.vllm else OwnProcess(self._job)
            found = scored_apart(self._score, task["items"])
        except TextualizeError as error:  # the driver stops the job
            return {"stop": str(error)}
        return {"batch": task["batch"], **found}


def scored_apart(score: Score, items: Sequence[Item]) -> Json:
    """Return {"rows", "why"}, one each an item: its log scores and "", or None and the reason.

    Raises:
        UnusableError: `score` did, so that trying again is of no use.
    """
    try:
        return {"rows": score(items), "why": [""] * len(items)}
    except UnusableError:
        raise
    except Exception as error:
        if len(items) == 1:
            said = str(error) if isinstance(error, TextualizeError) else f"{error!r}"
            return {"rows": [None], "why": [said.splitlines()[0]]}
    each = [scored_apart(score, [item]) for item in items]
    return {key: [one[key][0] for one in each] for key in ("rows", "why")}


def opened(run: Path, *, weights: bool) -> TextMethod:
    """Return a run's text method, which whole clips or windows are read by.

    Raises:
        TextualizeError: it has another method.
    """
    kind = method_of(run)
    if kind == "text-llm":
        return TextLLM.load(run, weights=weights)
    if kind == "text-encoder":
        return TextEncoder.load(run, weights=weights)
    raise TextualizeError(f"{run} is a run of {kind}; --ray scores text-llm and text-encoder")


class OwnProcess:
    """A run's weights in a process of their own; its death is an error, and it is started again."""

    def __init__(self, job: Job) -> None:
        """Start the process; returns once the run is opened, or raises why it cannot be."""
        self._job = job
        self._start()

    def _start(self) -> None:
        context = get_context("spawn")  # torch's threads do not survive a fork
        self._pipe, theirs = context.Pipe()
        self._process: Any = context.Process(
            target=_serve, args=(theirs, self._job), daemon=True, name="textualize-scorer"
        )
        self._process.start()
        theirs.close()
        try:
            self._heard()
        except Exception as error:
            raise UnusableError(str(error)) from None

    def __call__(self, items: Sequence[Item]) -> list[list[float]]:
        """Return the log scores of every item, (B, C)."""
        if not self._process.is_alive():
            self._start()
        return cast("list[list[float]]", self._heard(list(items)))

    def _heard(self, items: list[Item] | None = None) -> object:
        try:
            if items is not None:
                self._pipe.send(items)
            answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(10)
            code = self._process.exitcode
            name = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
            raise DiedError(f"the process that scored it died ({name})") from None
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def stop(self) -> None:
        """Stop the process."""
        self._pipe.close()
        self._process.kill()
        self._process.join()


def _serve(pipe: Connection, job: Job) -> None:
    """Score until the pipe is closed; run in the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks stops us
    # as many as local prediction has: another number may add up in another order
    torch.set_num_threads(job.threads)
    answer: Any = None
    try:
        method = opened(Path(job.run), weights=True)
    except Exception as error:
        answer = error
    while True:
        try:
            pipe.send(answer)
            items = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer = method.log_scores(items).tolist()
        except Exception as error:
            answer = error


class AskVllm:
    """Scores by a vLLM of this process' own, which is started again when it dies."""

    def __init__(self, job: Job) -> None:
        """Start vLLM; returns once it has scored a prompt."""
        run = Path(job.run)
        self._name = run.resolve().name
        served = ServedRun(self._name, run, TextLLM.load(run, weights=False))
        self._loop = asyncio.Runner()
        self._engine = vllm_engine({self._name: served}, Path(str(job.vllm)), lambda line: None)
        try:
            self._loop.run(self._engine.start())
        except BaseException:
            self.stop()
            raise

    def __call__(self, items: Sequence[Item]) -> list[list[float]]:
        """Return the log scores of every item, (B, C)."""
        return self._loop.run(self._asked(items))

    async def _asked(self, items: Sequence[Item]) -> list[list[float]]:
        begun, until = self._engine.starts, time.monotonic() + START_S
        while True:
            try:
                found = await self._engine.scores(items, self._name)
                return [list(one.log_probs) for one in found]
            except EngineDownError as error:
                if self._engine.starts - begun >= TRIES - 1:
                    raise DiedError(f"vLLM died over it {TRIES} times") from None
                if time.monotonic() > until:
                    raise UnusableError(f"vLLM does not come up again: {error}") from None
            await asyncio.sleep(_POLL_S)

    def stop(self) -> None:
        """Stop vLLM."""
        self._loop.run(self._engine.stop())
        self._loop.close()
