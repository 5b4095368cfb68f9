from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

import textualize.demo
from textualize.cli import run
from textualize.files import file_digest
from textualize.serve.guard import Limits
from textualize.store import Corpus, Entry, Item, write_item
from textualize.studio.app import Studio, studio_app
from textualize.studio.drafts import Desk
from textualize.studio.jobs import Jobs
from textualize.studio.launch import Opening, opened
from textualize.types import Clip, Span, Status, Track, Utterance, Word

torch.set_num_threads(1)

TOKEN = "the-token-of-the-tests"
AT = f"/{TOKEN}"
FILM = next((Path(textualize.demo.__file__).parent / "clips").glob("*.mp4"))
SAID = {"calm": "all is well with me", "happy": "how lovely this is"}
ATTACK = "<script>alert(1)</script>"
_SETTINGS = {
    "text-llm": "model=scratch lora=null scratch.hidden=32 scratch.layers=2 scratch.heads=2 "
    "scratch.vocabulary=400 max_tokens=160 epochs=1 batch_size=8",
    "linear": "tracks=[aus]",
}


def entry(folder: Path, name: str, label: str, split: str, subject: str, rng) -> Entry:
    happy = label == "happy"
    values = rng.normal(0.1 + 0.6 * happy, 0.1, (38, 2)).clip(0, 1).astype(np.float32)
    face = Track(values, 12.5, 0.0, ("AU06", "AU12"), "probability", "test")
    quiet = Track(np.zeros((38, 1), np.float32), 12.5, 0.0, ("AU09",), "probability", "test")
    both = Track(np.hstack([face.values, quiet.values]), 12.5, 0.0,
                 (*face.names, *quiet.names), "probability", "test")  # fmt: skip
    texts = SAID[label].split()
    words = tuple(Word(Span(0.2 + 0.4 * i, 0.5 + 0.4 * i), t) for i, t in enumerate(texts))
    said = Utterance(Span(0.2, words[-1].span.end), SAID[label], words, source="test")
    write_item(folder, f"{name}f", Item(Status("observed", "test"), {"aus": both}))
    write_item(folder, f"{name}s", Item(Status("observed", "test"), {}, (said,)))
    clip = Clip(name, FILM, subject=subject, label=label, split=split)
    return Entry(clip, {"face": f"{name}f", "speech": f"{name}s"}, file_digest(FILM))


def corpus(folder: Path) -> Path:
    """48 clips of 6 people in three splits, all of one real film; a few with odd media."""
    made, rng, entries = Corpus.create(folder, None, []), np.random.default_rng(0), []
    for s in range(6):
        split = ("train", "train", "train", "validation", "validation", "test")[s]
        for i in range(8):
            label = ("calm", "happy")[i % 2]
            entries.append(entry(made.folder, f"s{s}c{i}", label, split, f"s{s}", rng))
    secret = folder.parent / "secret.mp4"
    secret.write_bytes(b"nobody shall read this")
    for name, media in (("foreign", secret), ("system", Path("/etc/hostname"))):
        odd = entry(made.folder, name, "calm", "train", "odd", rng)
        clip = Clip(name, media, subject="odd", label="calm", split="train")
        entries.append(Entry(clip, odd.items, odd.media))
    attack = entry(made.folder, f"x{ATTACK}", "calm", "train", ATTACK, rng)
    entries.append(attack)
    made.write_entries(entries)
    about = json.loads((folder / "corpus.json").read_text())
    about |= {"label_set": "own", "labels": ["calm", "happy"]}
    (folder / "corpus.json").write_text(json.dumps(about))
    return folder


@dataclass(frozen=True)
class Made:
    corpus: Path
    bag: Path
    llm: Path
    linear: Path

    @property
    def runs(self) -> list[Path]:
        return [self.llm, self.bag, self.linear]


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Made:
    folder = tmp_path_factory.mktemp("studio")
    found = Made(corpus(folder / "corpus"), folder / "bag", folder / "llm", folder / "linear")
    recipes = {"bag-of-words": found.bag, "text-llm": found.llm, "linear": found.linear}
    for recipe, out in recipes.items():
        line = ["train", recipe, "--corpus", str(found.corpus), "--out", str(out)]
        for setting in _SETTINGS.get(recipe, "").split():
            line += ["--set", setting]
        assert run(line) == 0
    return found


@pytest.fixture(scope="session")
def loaded(made) -> Studio:
    return opened(made.corpus, made.runs, Opening(made.corpus.parent / "templates"))


@pytest.fixture
def studio(loaded, made, tmp_path) -> Iterator[Studio]:
    desk = Desk(tmp_path / "templates", {"llm": made.llm, "bag": made.bag})
    found = replace(loaded, desk=desk, jobs=Jobs())
    yield found
    found.jobs.close()


@pytest.fixture
def client(studio) -> Iterator[TestClient]:
    app = studio_app(studio, TOKEN, Limits(1 << 20, 0))
    with TestClient(app, base_url="http://127.0.0.1:8001", raise_server_exceptions=False) as found:
        yield found


@pytest.fixture(autouse=True)
def _here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
