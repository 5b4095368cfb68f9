"""A model behind a server that speaks OpenAI's chat protocol, on this machine or elsewhere.

Letters are read from the log-probabilities of the first token, words from the text, exactly as it
stands; whatever is no option counts as wrong. Prompts, transcripts included, are sent to the
server: nothing is sent unless a suite names one.
"""

from __future__ import annotations

import json
import math
import os
import string
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from textualize.errors import TextualizeError
from textualize.text.answers import Kind, Messages, answer_texts

TOP = 20  # alternatives asked for; OpenAI's limit
WORDS = 24  # tokens a label may take
_AGAIN = (408, 429, 500, 502, 503, 504)  # what a server may say while it is busy
_STRIPPED = string.whitespace + string.punctuation.replace("-", "")


class Endpoint(BaseModel):
    """Where the server is and what it can do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(pattern="^https?://")
    """up to and with its version, as http://localhost:8000/v1"""
    model: str
    key_env: str | None = None
    """name of the environment variable that holds the key"""
    constrain: Literal["none", "structured_outputs", "guided_choice", "json_schema"] = "none"
    """how the server is held to the options: vLLM, vLLM before 0.12, or most others"""
    concurrency: int = Field(4, ge=1, le=64)
    timeout_s: float = Field(60.0, gt=0)
    retries: int = Field(3, ge=0, le=10)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server's answer says: a label's place, or None; log scores by place; prompt tokens."""

    place: int | None
    scores: Mapping[int, float]
    text: str
    tokens: int


def ask_all(
    endpoint: Endpoint, prompts: Sequence[Messages], labels: Sequence[str], kind: Kind
) -> list[Reply]:
    """Return the replies to prompts, in their order, at most `concurrency` under way at a time.

    Raises:
        TextualizeError: the server refuses, or does not answer after all retries.
    """
    texts = answer_texts(labels, kind)

    def one(prompt: Messages) -> Reply:
        return read_reply(_post(endpoint, body(endpoint, prompt, texts, kind)), texts, kind)

    with ThreadPoolExecutor(max_workers=endpoint.concurrency) as pool:
        waiting = [pool.submit(one, prompt) for prompt in prompts]
        try:
            return [reply.result() for reply in waiting]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def body(endpoint: Endpoint, prompt: Messages, texts: Sequence[str], kind: Kind) -> dict[str, Any]:
    """Return the request for one prompt: greedy, as short as an answer may be."""
    asked: dict[str, Any] = {
        "model": endpoint.model,
        "messages": list(prompt),
        "temperature": 0,
        "max_tokens": 1 if kind == "letters" else WORDS,
    }
    if kind == "letters":
        asked |= {"logprobs": True, "top_logprobs": TOP}
    if endpoint.constrain == "structured_outputs":
        asked["structured_outputs"] = {"choice": list(texts)}
    elif endpoint.constrain == "guided_choice":
        asked["guided_choice"] = list(texts)
    elif endpoint.constrain == "json_schema" and kind == "words":
        answer = {"type": "string", "enum": list(texts)}
        schema = {
            "type": "object",
            "properties": {"answer": answer},
            "required": ["answer"],
            "additionalProperties": False,
        }
        wrapped = {"name": "answer", "strict": True, "schema": schema}
        asked["response_format"] = {"type": "json_schema", "json_schema": wrapped}
    return asked


def read_reply(reply: Mapping[str, Any], texts: Sequence[str], kind: Kind) -> Reply:
    """Return what a server's reply says of the options `texts`.

    Raises:
        TextualizeError: the reply is none of the protocol.
    """
    try:
        choice = reply["choices"][0]
        text = str(choice["message"].get("content") or "")
        tokens = int((reply.get("usage") or {}).get("prompt_tokens") or 0)
        content = (choice.get("logprobs") or {}).get("content") or ()
        top = [(str(t["token"]), float(t["logprob"])) for t in content[0]["top_logprobs"]] if (
            content
        ) else []  # fmt: skip
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise TextualizeError(
            f"the server's reply lacks {error}: is it a chat completion of OpenAI's protocol?"
        ) from None
    scores = _letters(top, texts) if kind == "letters" else {}
    if scores:
        return Reply(max(scores, key=lambda i: (scores[i], -i)), scores, text, tokens)
    return Reply(_place(text, texts, kind), {}, text, tokens)


def _letters(top: Sequence[tuple[str, float]], texts: Sequence[str]) -> dict[int, float]:
    """Return the log-probability of every letter among the alternatives, spellings added up."""
    mass: dict[int, float] = {}
    for token, log_p in top:
        letter = token.strip(_STRIPPED)
        if letter in texts:
            place = texts.index(letter)
            mass[place] = mass.get(place, 0.0) + math.exp(log_p)
    return {place: math.log(p) for place, p in mass.items() if p > 0}


def _place(text: str, texts: Sequence[str], kind: Kind) -> int | None:
    said = text
    if kind == "words" and text.lstrip().startswith("{"):
        try:
            said = str(json.loads(text)["answer"])
        except (ValueError, KeyError, TypeError):
            return None
    said = said.strip(_STRIPPED)
    same = [i for i, t in enumerate(texts) if t.casefold() == said.casefold()]
    return same[0] if same else None


def _post(endpoint: Endpoint, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    request = urllib.request.Request(  # noqa: S310 (the pattern of `url` allows http and https)
        f"{endpoint.url.rstrip('/')}/chat/completions",
        json.dumps(asked).encode(),
        {"Content-Type": "application/json", **_key(endpoint)},
    )
    for left in range(endpoint.retries, -1, -1):
        try:
            with urllib.request.urlopen(request, timeout=endpoint.timeout_s) as stream:  # noqa: S310
                found: Mapping[str, Any] = json.loads(stream.read())
                return found
        except urllib.error.HTTPError as error:
            if error.code not in _AGAIN or not left:
                said = " ".join(error.read(300).decode("utf-8", "replace").split())
                raise TextualizeError(f"{endpoint.url} answers {error.code}: {said}") from None
        except (OSError, ValueError) as error:  # nobody there, too late, or no JSON
            if not left:
                raise TextualizeError(
                    f"no answer from {endpoint.url}: {error}; what was finished is kept, run the "
                    "same command again when the server is there"
                ) from None
        time.sleep(min(8.0, 0.5 * 2 ** (endpoint.retries - left)))
    raise TextualizeError(f"no answer from {endpoint.url}")


def _key(endpoint: Endpoint) -> dict[str, str]:
    if endpoint.key_env is None:
        return {}
    key = os.environ.get(endpoint.key_env)
    if not key:
        raise TextualizeError(f"the environment variable {endpoint.key_env} holds no key: set it")
    return {"Authorization": f"Bearer {key}"}
