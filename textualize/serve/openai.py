"""The OpenAI routes that are safe to offer, answered by label scoring.

The answer is always one of the run's labels, as the model would write it, whatever the messages
ask for. A field that would change nothing is refused, so that no client believes it was heard.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from textualize.serve.engine import LabelScores
from textualize.serve.runs import Asked, ServedRun
from textualize.serve.schemas import Name, Taken
from textualize.text.answers import Shot
from textualize.text.causal import TextLLM

if TYPE_CHECKING:
    from textualize.serve.app import Service

Text = Annotated[str, Field(max_length=200_000)]


class Choice(Taken):
    """vLLM's field: answer with one of these."""

    choice: list[Annotated[str, Field(max_length=200)]] = Field(min_length=1, max_length=100)


class OpenAIAsks(Taken):
    """What both ways of asking may say; all else would be ignored, so it is refused."""

    model: Name
    max_tokens: int | None = Field(None, ge=1, description="room for the longest label, or none")
    temperature: Literal[0] | None = Field(None, description="the most probable label is answered")
    n: Literal[1] | None = None
    stream: Literal[False] | None = None
    structured_outputs: Choice | None = Field(None, description="the run's answers, all of them")


class Message(Taken):
    """One turn of a chat."""

    role: Literal["user", "assistant"]
    content: Text


class ChatRequest(OpenAIAsks):
    """A prompt as a user's message; solved examples may stand before it, in pairs."""

    messages: list[Message] = Field(min_length=1, max_length=129)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=26)


class CompletionRequest(OpenAIAsks):
    """A prompt in its frame already: text, or token ids."""

    prompt: Text | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    logprobs: int | None = Field(None, ge=0, le=26)


class Usage(BaseModel):
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completed(BaseModel):
    """An answer in OpenAI's shape."""

    id: str
    object: Literal["chat.completion", "text_completion"]
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: Usage


class Model(BaseModel):
    """A run; `textualize` tells how its prompts are made, so that a client can word clips alike."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: Literal["textualize"]
    textualize: dict[str, Any]


class Models(BaseModel):
    """The runs that are served."""

    object: Literal["list"]
    data: list[Model]


def add_routes(app: FastAPI, service: Service) -> None:
    """Add /v1/models, /v1/chat/completions and /v1/completions."""

    @app.get("/v1/models")
    async def models() -> Models:
        """List the runs."""
        return Models(object="list", data=[_told(run) for run in service.runs.values()])

    @app.post("/v1/chat/completions")
    async def chat(request: ChatRequest) -> Completed:
        """Answer a chat's last message with a label."""
        if request.top_logprobs is not None and not request.logprobs:
            raise HTTPException(400, "top_logprobs goes with logprobs: true")
        run = service.asker(request.model).run
        room = request.max_completion_tokens or request.max_tokens
        answers = _checked(request, run, room)
        asked = await asyncio.to_thread(_of_chat, request.messages, run)
        (scores,) = await service.engine.scores([asked.item], run.name)
        label = run.labels.index(run.answer(scores).label)
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": answers[label]},
            "finish_reason": "stop",
        }
        if request.logprobs:
            choice["logprobs"] = {
                "content": [_log_prob(answers, scores, label, request.top_logprobs)]
            }
        return _completed("chat.completion", run, choice, asked, label)

    @app.post("/v1/completions")
    async def completions(request: CompletionRequest) -> Completed:
        """Answer a framed prompt with a label."""
        run = service.asker(request.model).run
        answers = _checked(request, run, request.max_tokens)
        asked = await asyncio.to_thread(_of_ids, request.prompt, run)
        (scores,) = await service.engine.scores([asked.item], run.name)
        label = run.labels.index(run.answer(scores).label)
        choice: dict[str, Any] = {"index": 0, "text": answers[label], "finish_reason": "stop"}
        if request.logprobs is not None:
            top = _ranked(answers, scores)[: request.logprobs]
            choice["logprobs"] = {
                "tokens": [answers[label]],
                "token_logprobs": [scores.log_probs[label]],
                "top_logprobs": [dict(top)],
                "text_offset": [0],
            }
        return _completed("text_completion", run, choice, asked, label)


def _told(run: ServedRun) -> Model:
    template = run.method.reader.template
    about = {
        "labels": list(run.labels),
        "answers": list(run.answer_texts),
        "options": list(run.method.reader.options),
        "template": template.name,
        "template_digest": template.digest,
        "register": template.register,
        "modalities": template.modalities,
        "turns": template.turns,
        "context_s": template.context_s,
        "future_turns": template.future_turns,
        "needs_clips": run.needs_clips,
        "max_prompt_tokens": run.method.limit,
    }
    made = int(run.folder.stat().st_mtime)
    return Model(id=run.name, object="model", created=made, owned_by="textualize", textualize=about)


def _checked(request: OpenAIAsks, run: ServedRun, room: int | None) -> tuple[str, ...]:
    """Return the run's answers; 400 for a request whose wishes cannot be met."""
    answers = run.answer_texts
    given = request.structured_outputs
    if given is not None and set(given.choice) != set(answers):
        raise HTTPException(
            400, f"structured_outputs.choice should be the answers of '{run.name}': {answers}"
        )
    longest = max((len(ids) for ids in run.answers), default=1)
    if room is not None and room < longest:
        raise HTTPException(400, f"max_tokens {room} is less than the longest label, {longest}")
    return answers


def _of_chat(messages: Sequence[Message], run: ServedRun) -> Asked:
    roles = [m.role for m in messages]
    if roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
        raise HTTPException(400, "messages should be of user and assistant in turn, a user's last")
    held = next((s for m in messages for s in run.specials() if s in m.content), None)
    if held is not None:
        raise HTTPException(400, f"a message holds a control token of the model: {held}")
    texts = [m.content for m in messages]
    shots = [Shot(*pair) for pair in zip(texts[:-1:2], texts[1:-1:2], strict=True)]
    return run.asked_texts([texts[-1]], [shots])[0]


def _of_ids(prompt: str | list[int], run: ServedRun) -> Asked:
    if not isinstance(run.method, TextLLM):
        raise HTTPException(400, f"'{run.name}' completes nothing, it has a head: send a chat")
    tokenizer, limit = run.method.tokenizer, run.method.limit
    ids = run.ids(prompt) if isinstance(prompt, str) else prompt
    if not 0 < len(ids) <= limit:
        raise HTTPException(400, f"the prompt has {len(ids)} tokens, '{run.name}' reads {limit}")
    if max(ids) >= len(tokenizer):
        raise HTTPException(400, f"the prompt has token {max(ids)}, there are {len(tokenizer)}")
    return Asked(prompt if isinstance(prompt, str) else "", {"input_ids": list(ids)}, "")


def _ranked(answers: Sequence[str], scores: LabelScores) -> list[tuple[str, float]]:
    return sorted(zip(answers, scores.log_probs, strict=True), key=lambda pair: -pair[1])


def _log_prob(
    answers: Sequence[str], scores: LabelScores, label: int, top: int | None
) -> dict[str, Any]:
    def one(text: str, log_prob: float) -> dict[str, Any]:
        return {"token": text, "logprob": log_prob, "bytes": list(text.encode())}

    best = [one(*pair) for pair in _ranked(answers, scores)[: top or 0]]
    return {**one(answers[label], scores.log_probs[label]), "top_logprobs": best}


def _completed(
    kind: Literal["chat.completion", "text_completion"],
    run: ServedRun,
    choice: dict[str, Any],
    asked: Asked,
    label: int,
) -> Completed:
    prompt = len(asked.token_ids)
    written = len(run.answers[label]) if run.answers else 1
    return Completed(
        id=f"{'chatcmpl' if kind == 'chat.completion' else 'cmpl'}-{uuid.uuid4().hex}",
        object=kind,
        created=int(time.time()),
        model=run.name,
        choices=[choice],
        usage=Usage(prompt_tokens=prompt, completion_tokens=written, total_tokens=prompt + written),
    )
