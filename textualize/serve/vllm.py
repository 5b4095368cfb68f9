"""The engine "vllm": labels scored by a vLLM process, to the same numbers as in training.

The labels' tokens form a tree. Each of its inner nodes is one short question: prompt and path in
token ids, the log-probabilities of that node's next tokens back. vLLM keeps the prompt's part in
its prefix cache, so that it is read once. Nothing of what it generates is looked at.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from textualize.errors import TextualizeError
from textualize.serve.engine import BusyError, EngineDownError, Item, LabelScores
from textualize.serve.launch import Child, command_of, free_port, has_gpu, plan_of, python_of
from textualize.serve.runs import ServedRun

MOST_WAITING = 2048
AT_ONCE = 64  # requests in vLLM's hands
TOKENS = 128  # vLLM gives so many chosen log-probabilities a question
START_S = 900.0
ANSWER_S = 120.0
_POLL_S = 1.0
_PAUSES = (1.0, 2.0, 5.0, 15.0, 60.0)  # before a process that died is started again

Answers = Sequence[Sequence[int]]


class LabelQuestions:
    """A run's answers as questions: paths into their tree, and the tokens asked for."""

    def __init__(self, answers: Answers) -> None:
        """Take the token ids of every label's answer."""
        self.answers = [tuple(a) for a in answers]
        self.paths = sorted({a[:i] for a in self.answers for i in range(len(a))})
        tokens = sorted({token for a in self.answers for token in a})
        self.parts = [tokens[i : i + TOKENS] for i in range(0, len(tokens), TOKENS)]

    def asked(self, model: str, prompt: Sequence[int]) -> list[dict[str, Any]]:
        """Return the bodies of the requests to /v1/completions; one unless tokens are many."""
        return [
            {
                "model": model,
                "prompt": [[*prompt, *path] for path in self.paths],
                "max_tokens": 1,
                "temperature": 0,
                "logprobs": 1,
                "logprob_token_ids": part,
                "return_tokens_as_token_ids": True,
            }
            for part in self.parts
        ]

    def summed(self, bodies: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
        """Return log P(answer | prompt) of every answer from the responses.

        Raises:
            TextualizeError: a token's log-probability is missing, as from a vLLM too old to know
                `logprob_token_ids`.
        """
        found: dict[tuple[tuple[int, ...], int], float] = {}
        for body in bodies:
            for choice in body["choices"]:
                path = self.paths[int(choice["index"])]
                for token, log_prob in choice["logprobs"]["top_logprobs"][0].items():
                    found[path, int(token.removeprefix("token_id:"))] = float(log_prob)
        try:
            return tuple(sum(found[a[:i], a[i]] for i in range(len(a))) for a in self.answers)
        except KeyError:
            raise TextualizeError(
                "vLLM left out log-probabilities it was asked for: use version 0.32 or newer"
            ) from None


class VllmEngine:
    """Asks a vLLM process, and starts it again when it dies."""

    name = "vllm"

    def __init__(
        self, child: Child, port: int, answers: Mapping[str, Answers], scratch: Path
    ) -> None:
        """Take the process, where it listens, and every run's answers; `scratch` is deleted."""
        self._child, self._scratch = child, scratch
        self.starts = 0
        """how many processes have come up so far"""
        self._questions = {name: LabelQuestions(own) for name, own in answers.items()}
        self._http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {child.key}"},
            timeout=httpx.Timeout(ANSWER_S, connect=5.0),
            limits=httpx.Limits(max_connections=AT_ONCE),
            trust_env=False,
        )
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._up = False
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return once a real prompt has been scored by every run; health routes say yes too early.

        Raises:
            TextualizeError: the process ended, or took longer than START_S.
        """
        await self._begin()
        self._watch = asyncio.create_task(self._watched())

    async def _begin(self) -> None:
        await self._child.start()
        until = time.monotonic() + START_S
        for name in self._questions:
            while not await self._answers(name):
                if not self._child.running:
                    raise TextualizeError(
                        f"vLLM ended while it started: {self._child.last_words()} "
                        f"(log {self._child.log})"
                    )
                if time.monotonic() > until:
                    raise TextualizeError(f"vLLM did not answer within {START_S:g} s")
                await asyncio.sleep(_POLL_S)
        self._up = True
        self.starts += 1

    async def _answers(self, name: str) -> bool:
        try:
            await self._scored(name, [1, 2, 3])
        except EngineDownError:
            return False
        return True

    async def _watched(self) -> None:
        """Start the process again whenever it ends; ever longer pauses if it does not come up."""
        tried = 0
        while True:
            if self._up:
                await self._child.wait()
                self._up = False
                tried = 0
            await asyncio.sleep(_PAUSES[min(tried, len(_PAUSES) - 1)])
            tried += 1
            with suppress(TextualizeError):
                await self._child.stop()  # what it left of its own children
                await self._begin()

    async def scores(self, items: Sequence[Item], run: str) -> list[LabelScores]:
        """Return every item's scores, in order.

        Raises:
            BusyError: too much waits already.
            EngineDownError: vLLM does not answer; it is being started again.
        """
        if not self._up:
            raise EngineDownError("vLLM is down and being started again")
        if self._waiting + len(items) > MOST_WAITING:
            raise BusyError(f"{self._waiting} prompts wait already: try again later")
        self._waiting += len(items)
        try:
            found = await asyncio.gather(
                *(self._scored(run, list(item["input_ids"])) for item in items)
            )
        finally:
            self._waiting -= len(items)
        return [
            LabelScores(row, tuple(item["input_ids"]))
            for row, item in zip(found, items, strict=True)
        ]

    async def _scored(self, run: str, prompt: Sequence[int]) -> tuple[float, ...]:
        questions = self._questions[run]
        async with self._turns:
            return questions.summed(
                [await self._told(body) for body in questions.asked(run, prompt)]
            )

    async def _told(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            response = await self._http.post("/v1/completions", json=body)
        except httpx.HTTPError as error:
            raise EngineDownError(f"vLLM does not answer ({type(error).__name__})") from None
        if response.status_code >= 500:
            raise EngineDownError(f"vLLM failed with status {response.status_code}")
        if response.status_code != 200:
            raise TextualizeError(f"vLLM refused a prompt: {response.text[:300]}")
        told: dict[str, Any] = response.json()
        return told

    async def ready(self) -> bool:
        """Return whether the last thing known of the process is that it answers."""
        return self._up and self._child.running

    async def stop(self) -> None:
        """Stop the process and delete what was written for it."""
        self._up = False
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._child.stop()
        await self._http.aclose()
        await asyncio.to_thread(shutil.rmtree, self._scratch, ignore_errors=True)


def vllm_engine(
    runs: Mapping[str, ServedRun], environment: Path | None, say: Callable[[str], None]
) -> VllmEngine:
    """Return the engine for some runs, not started; `say` is told what will take long.

    Raises:
        TextualizeError: there is no vLLM at `environment`, or it cannot serve these runs.
    """
    python = python_of(environment)
    gpu = has_gpu(python)
    scratch = Path(tempfile.mkdtemp(prefix="textualize-vllm-"))
    try:
        # an unmerged adapter is several times slower without a GPU
        plan = plan_of(runs, None if gpu else scratch)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    if plan.adapters and not gpu:
        say("several adapters on a CPU stay unmerged, which is several times slower")
    port = free_port()
    child = Child(command_of(python, plan, port, gpu=gpu), scratch / "vllm.log", scratch)
    say(f"starting vLLM, which takes a minute or more; log {child.log}")
    answers = {name: run.answers for name, run in runs.items()}
    return VllmEngine(child, port, answers, scratch)
