"""A service asked about many clips at once: bounded, patient, and able to go on after a stop.

It speaks to this package's service, which words and cuts prompts itself, and with a run folder at
hand to any OpenAI-compatible server, which is given the run's own prompts as chats.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from textualize.describe import describe
from textualize.errors import TextualizeError
from textualize.files import add_line, digest_of, whole_lines
from textualize.predictions import prediction_json, read_predictions
from textualize.prompt import Template, said_around
from textualize.serve.runs import ServedRun, open_runs
from textualize.text.answers import messages
from textualize.types import PROMPT_CUT, Prediction, Record
from textualize.variables import LETTERS

KEY_VARIABLE = "TEXTUALIZE_API_KEY"
AGAIN = {429, 502, 503, 504}  # what may pass if it is asked later
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0


@dataclass(frozen=True, slots=True)
class Told:
    """What a server told of one clip; None is what it does not tell."""

    answer: Prediction
    token_ids: tuple[int, ...] | None = None
    prompt_tokens: int | None = None
    template_digest: str | None = None


Ask = Callable[[Record], Awaitable[Told]]


class RefusedError(TextualizeError):
    """The server answered one request with an error that asking again would not change."""


class Client:
    """One server and how it is asked."""

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        model: str | None = None,
        run: str | Path | None = None,
        concurrency: int = 8,
        attempts: int = 6,
        timeout_s: float = 120.0,
    ) -> None:
        """Point at a server; nothing is asked yet.

        Args:
            url: as http://127.0.0.1:8000, with or without /v1.
            key: by default that of TEXTUALIZE_API_KEY.
            model: which of its models; by default the run's name, else the first it lists.
            run: the run folder, for a server that is not this package's.
            concurrency: requests at once.
            attempts: how often one clip is asked before it is given up.
            timeout_s: seconds one request may take.
        """
        if concurrency < 1 or attempts < 1:
            raise TextualizeError("concurrency and attempts should be at least 1")
        self.url = url.rstrip("/").removesuffix("/v1")
        self._key = key if key is not None else os.environ.get(KEY_VARIABLE, "")
        self._model, self._run = model, Path(run) if run else None
        self._concurrency, self._attempts, self._timeout = concurrency, attempts, timeout_s

    def predict(self, records: Sequence[Record], keep: Path | None = None) -> list[Prediction]:
        """Return one prediction a record, in order; `apredict` for a program that has a loop."""
        return asyncio.run(self.apredict(records, keep))

    async def apredict(
        self, records: Sequence[Record], keep: Path | None = None
    ) -> list[Prediction]:
        """Return one prediction a record, in order.

        A clip that cannot be answered has label None and the reason as its text; the others are
        answered all the same. What is answered is added to the file `keep` at once; clips that are
        in it already are not asked again.

        Raises:
            TextualizeError: the server cannot be reached, or refuses the key or the model.
        """
        found = _kept(keep)

        def heard(told: Told) -> None:
            found[told.answer.clip_id] = told.answer
            if keep is not None and told.answer.label is not None:
                add_line(keep, json.dumps(prediction_json(told.answer), ensure_ascii=False))

        await self._each([r for r in records if r.clip.id not in found], heard, tokens=False)
        return [found[r.clip.id] for r in records]

    def told(
        self, records: Sequence[Record], progress: Callable[[int, int, str], None] | None = None
    ) -> list[Told]:
        """Return all that the server tells of every record, in order.

        `progress` is called with (told, total, clip id).

        Raises:
            TextualizeError: the server cannot be reached, or refuses the key or the model.
        """
        found: dict[str, Told] = {}

        def heard(told: Told) -> None:
            found[told.answer.clip_id] = told
            if progress:
                progress(len(found), len(records), told.answer.clip_id)

        asyncio.run(self._each(records, heard, tokens=True))
        return [found[r.clip.id] for r in records]

    async def _each(
        self, records: Sequence[Record], heard: Callable[[Told], None], *, tokens: bool
    ) -> None:
        """Ask for every record and give on what is told, as it comes."""
        turns = asyncio.Semaphore(self._concurrency)
        async with self._opened() as http:
            ask = await self._way(http, tokens=tokens)

            async def one(record: Record) -> None:
                async with turns:
                    try:
                        told = await ask(record)
                    except TextualizeError as error:
                        told = Told(Prediction(record.clip.id, "server", None, {}, str(error)))
                heard(told)

            async with asyncio.TaskGroup() as group:
                for record in records:
                    group.create_task(one(record))

    def _opened(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=self._timeout)

    async def _way(self, http: httpx.AsyncClient, *, tokens: bool) -> Ask:
        """Return how a record is asked, by what the server says of its models."""
        listed = (await self._json(http, "GET", "/v1/models"))["data"]
        name = self._model or (self._run.resolve().name if self._run else listed[0]["id"])
        about = next((m for m in listed if m["id"] == name), None)
        if about is None:
            names = ", ".join(m["id"] for m in listed)
            raise TextualizeError(f"{self.url} has no model '{name}'; it has {names}")
        told = about.get("textualize")
        if told is not None:
            asked = {"model": name, **({"tokens": True} if tokens else {})}
            return lambda record: self._emotion(http, asked, told, record)
        if self._run is None:
            raise TextualizeError(f"{self.url} is not a textualize server: give the run folder too")
        (run,) = open_runs([self._run], weights=False).values()
        return lambda record: self._chat(http, name, run, record)

    async def _emotion(
        self,
        http: httpx.AsyncClient,
        asked: Mapping[str, Any],
        about: Mapping[str, Any],
        record: Record,
    ) -> Told:
        body = await asyncio.to_thread(emotion_body, record, about)
        told = await self._json(http, "POST", "/v1/emotions", {**asked, **body})
        cut = f"{PROMPT_CUT}{told['prompt_cut']}" if told["prompt_cut"] else ""
        label, scores = told["label"], told["probabilities"]
        return Told(
            Prediction(record.clip.id, str(asked["model"]), label, scores, cut),
            tuple(told["token_ids"]) if told.get("token_ids") is not None else None,
            told["prompt_tokens"],
            told["template_digest"],
        )

    async def _chat(
        self, http: httpx.AsyncClient, name: str, run: ServedRun, record: Record
    ) -> Told:
        (asked,) = await asyncio.to_thread(run.asked, [record])
        body = {
            "model": name,
            "messages": messages(asked.text, asked.shots),
            "temperature": 0,
            # any spelling of a label in tokens must fit: at most one a byte
            "max_tokens": max(len(text.encode()) for text in run.answer_texts) + 1,
            "structured_outputs": {"choice": list(run.answer_texts)},
        }
        answer = await self._json(http, "POST", "/v1/chat/completions", body)
        text = str(answer["choices"][0]["message"]["content"] or "").strip()
        label = dict(zip(run.answer_texts, run.labels, strict=True)).get(text)
        scores = {label: 1.0} if label else {}
        usage = answer.get("usage") or {}
        return Told(
            Prediction(record.clip.id, name, label, scores, text),
            prompt_tokens=usage.get("prompt_tokens"),
        )

    async def _json(
        self, http: httpx.AsyncClient, method: str, path: str, body: Any = None
    ) -> dict[str, Any]:
        """Return a response's JSON, asked again, with growing pauses, where that may help."""
        reason, wait = "", 0.0
        for attempt in range(self._attempts):
            await asyncio.sleep(wait)
            wait = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**attempt) * random.uniform(0.5, 1.0)
            try:
                response = await http.request(method, path, json=body)
            except httpx.HTTPError as error:
                reason = type(error).__name__
                continue
            if response.status_code == 200:
                told: dict[str, Any] = response.json()
                return told
            reason = _reason(response)
            if response.status_code not in AGAIN:
                raise RefusedError(f"{self.url} refused ({response.status_code}): {reason}")
            with suppress(ValueError, KeyError):
                wait = max(wait, min(LONGEST_PAUSE_S, float(response.headers["retry-after"])))
        raise TextualizeError(f"{self.url} did not answer {self._attempts} times: {reason}")


def asked_server(
    url: str, run: Path, records: Sequence[Record], out: Path | None
) -> list[Prediction]:
    """Return a server's answers; with `out`, a try that was stopped goes on where it was.

    What is answered is kept beside `out` until all is. The file's name holds the server and the
    run, so that answers of another one are never taken for theirs.
    """
    keep = None
    if out is not None:
        mark = digest_of([url, str(run.resolve())])[:12]
        keep = out.with_name(f".{out.name}.{mark}.partial")
    answers = Client(url, run=run).predict(records, keep)
    if keep is not None and all(a.label is not None for a in answers):
        keep.unlink(missing_ok=True)
    return answers


def emotion_body(record: Record, told: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record as /v1/emotions takes it, worded as the model's run words it.

    Raises:
        TextualizeError: the run's template reads measurements, which words do not tell.
    """
    if told["needs_clips"]:
        raise TextualizeError("the run's template reads measurements: predict with it locally")
    cues = describe(record, [LETTERS[x] for x in told["modalities"]], told["register"])
    before, after = said_around(_context(told), record)
    turn_lists = [
        [{"text": u.text, "speaker": u.speaker or ""} for u in turns if u.text.strip()]
        for turns in (before, after)
    ]
    return {
        "id": record.clip.id[:200],
        "cues": [{"modality": c.modality, "state": c.state, "text": c.text} for c in cues],
        "context": turn_lists[0],
        "following": turn_lists[1],
    }


def _context(told: Mapping[str, Any]) -> Template:
    """Return a template of nothing but the context the run's template is given."""
    return Template(
        told["template"], "", "", {}, told["template_digest"], told["modalities"],
        turns=told["turns"], context_s=told["context_s"], future_turns=told["future_turns"],
    )  # fmt: skip


def _reason(response: httpx.Response) -> str:
    with suppress(ValueError, LookupError, TypeError):
        return str(response.json()["error"]["message"])[:300]
    return response.text[:200].strip() or response.reason_phrase


def _kept(keep: Path | None) -> dict[str, Prediction]:
    """Return the answers of an earlier try; a last line that was cut off is taken away."""
    if keep is None or not whole_lines(keep):
        return {}
    return {p.clip_id: p for p in read_predictions(keep)}
