from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch
from starlette.testclient import TestClient
from transformers import AutoTokenizer, BertConfig, BertModel

from textualize.finetune.recipe import Lora, Scratch, TextRecipe
from textualize.finetune.train import train
from textualize.labels import LabelSet
from textualize.serve import client as module
from textualize.serve.app import Service, service_app
from textualize.serve.batching import TransformersEngine
from textualize.serve.client import Client
from textualize.serve.guard import Limits
from textualize.serve.runs import open_runs
from textualize.serve.upload import Uploads
from textualize.types import Clip, Record, Span, Status, Utterance

torch.set_num_threads(1)

KEY = "a key of the tests"
LABELS = LabelSet("own", ("glad", "mad", "very sad"), {})
WORDS = {
    "glad": ["what a lovely day", "this is great fun"],
    "mad": ["get out of here", "how dare you say that"],
    "very sad": ["she is gone", "I miss him so much"],
}


def record(name: str, words: str, label: str | None = None) -> Record:
    return Record(
        Clip(name, None, label=label, transcript=words),
        {},
        (Utterance(Span(0, 1), words),) if words else (),
        {"speech": Status("observed", "sidecar")},
    )


def records(part: str) -> list[Record]:
    return [
        record(f"{part}-{label}-{i}", words, label)
        for label, sentences in WORDS.items()
        for i, words in enumerate(sentences)
    ]


def trained(folder: Path, answers: str) -> Path:
    recipe = TextRecipe(
        method="text-llm",
        model="scratch",
        lora=None,
        scratch=Scratch(hidden=32, layers=2, heads=2, vocabulary=400),
        answers=answers,
        turns=1,
        max_tokens=160,
        epochs=1,
        batch_size=4,
        temperature=True,
    )
    train(recipe, records("train"), records("validation"), folder, labels=LABELS)
    return folder


@pytest.fixture(scope="session")
def words_run(tmp_path_factory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "words", "words")


@pytest.fixture(scope="session")
def letters_run(tmp_path_factory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "letters", "letters")


@pytest.fixture(scope="session")
def runs(words_run, letters_run):
    return open_runs([words_run, letters_run], weights=True)


class Started(TransformersEngine):
    """Starts at its first question, in the loop that asks it."""

    async def scores(self, items, run):
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return await super().scores(items, run)

    async def ready(self) -> bool:
        return self._task is None or await super().ready()


def app_of(runs, engine=None, *, upload_bytes=1 << 20, per_minute=100_000):
    engine = engine or Started({name: run.method for name, run in runs.items()})
    service = Service(engine, runs, Uploads("pocketsphinx", asyncio.Semaphore(1)))
    return service_app(service, KEY, Limits(upload_bytes, per_minute))


@pytest.fixture
def client(runs) -> Iterator[TestClient]:
    headers = {"Authorization": f"Bearer {KEY}"}
    with TestClient(app_of(runs), headers=headers, raise_server_exceptions=False) as opened:
        yield opened


class Server:
    """A client's transport that fails as it is told, and else asks the application."""

    def __init__(self, app, failures=()):
        self.app, self.failures = httpx.ASGITransport(app), list(failures)
        self.asked, self.now, self.most = [], 0, 0

    async def __call__(self, request):
        self.asked.append(request.url.path)
        if self.failures and request.url.path != "/v1/models":
            failure = self.failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return httpx.Response(failure, json={"error": {"message": "later"}})
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0.01)
            return await self.app.handle_async_request(request)
        finally:
            self.now -= 1


class Plain(Server):
    """An OpenAI-compatible server that is not this package's."""

    async def __call__(self, request):
        response = await super().__call__(request)
        if request.url.path != "/v1/models":
            return response
        await response.aread()
        data = [{"id": m["id"], "object": "model"} for m in response.json()["data"]]
        return httpx.Response(200, json={"object": "list", "data": data})


@pytest.fixture
def asked_of(monkeypatch):
    """Return a client of a server in this process."""
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.001)

    def made(server, **options):
        own = Client("http://server/v1/", key=KEY, **options)
        monkeypatch.setattr(
            own,
            "_opened",
            lambda: httpx.AsyncClient(
                base_url=own.url,
                headers={"Authorization": f"Bearer {own._key}"},
                transport=httpx.MockTransport(server),
            ),
        )
        return own

    return made


@pytest.fixture(scope="session")
def encoder_run(tmp_path_factory, assets) -> Path:
    """A run of an encoder that knows next to nothing and reads 60 tokens."""
    folder = tmp_path_factory.mktemp("bert")
    tokenizer = AutoTokenizer.from_pretrained(str(assets / "weights" / "stories260K"))
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(tokenizer), intermediate_size=16, **sizes)
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    recipe = TextRecipe(
        method="text-encoder",
        model=str(folder),
        lora=Lora(r=2),
        max_tokens=60,
        epochs=1,
        batch_size=4,
    )
    run = folder.parent / "encoder"
    train(recipe, records("train"), records("validation"), run, labels=LABELS)
    return run
