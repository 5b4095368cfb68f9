"""An invented evaluation: seven compound emotions, twelve people, six methods."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from textualize.evaluate.digests import DIGESTS
from textualize.evaluate.findings import Report, Trained
from textualize.evaluate.report import build_report
from textualize.files import file_digest
from textualize.labels import LABEL_SETS, LabelSet
from textualize.store import Corpus, Entry, Item, write_item
from textualize.types import (
    Clip,
    Cue,
    Prediction,
    Prompt,
    Record,
    Span,
    SpeakerStatistics,
    Status,
    Track,
    Utterance,
    Word,
)

LABELS = LABEL_SETS["compound7"]
AUS = tuple(f"AU{n:02d}" for n in (1, 2, 4, 5, 10, 12, 15, 17, 20, 25, 26, 43))
SKILL = {
    "majority": ("majority", 0.0),
    "bag-of-words": ("bag-of-words", 0.35),
    "bert": ("text-encoder", 0.75),
    "llm": ("text-llm", 0.6),
    "concat": ("concat", 0.5),
    "jca": ("jca", 0.55),
}


@dataclass(frozen=True)
class Invented:
    records: list[Record]
    predictions: Mapping[str, list[Prediction]]
    prompts: Mapping[str, Prompt]
    runs: Mapping[str, Trained]
    labels: LabelSet

    def report(self, **options: object) -> Report:
        given = {"prompts": self.prompts, "runs": self.runs, "created": "2026-01-01", **options}
        return build_report(self.records, self.predictions, self.labels, **given)


def _record(number: int, rng: np.random.Generator) -> Record:
    subject = f"s{number % 12 + 1:02d}"
    frames = 30
    aus = np.clip(np.cumsum(rng.normal(0, 0.12, (frames, len(AUS))), axis=0), 0, 1.2)
    status = {"face": Status("observed", "mediapipe"), "prosody": Status("observed", "prosody")}
    if number % 7 == 3:
        aus[8:15] = np.nan
    prosody = np.stack([15 + 4 * np.sin(np.arange(300) / 30), -30 + rng.normal(0, 4, 300)], axis=1)
    prosody[:40, 0] = np.nan
    tracks = {
        "aus": Track(aus.astype(np.float32), 10.0, 0.0, AUS, "deviation", "mediapipe"),
        "prosody": Track(
            prosody.astype(np.float32), 100.0, 0.0, ("f0_st", "energy_db"), "named", "prosody"
        ),
        "speech_rate": Track(
            np.array([[4.2, 0.31]], np.float32), 1 / 3, 0.0, ("syllables_per_s", "pause_s"),
            "named", "prosody",
        ),
    }  # fmt: skip
    said = "i can not believe it the bag is on the table".split()
    words = tuple(Word(Span(0.2 + 0.2 * i, 0.35 + 0.2 * i), w, 0.6) for i, w in enumerate(said))
    utterances = (Utterance(Span(0.2, 2.6), " ".join(said), words, None, 0.41, "pocketsphinx"),)
    if number % 9 == 5:
        del tracks["aus"]
        utterances = ()
        status["face"] = Status("absent", "mediapipe", "no face in 30 frames")
        status["speech"] = Status("absent", "pocketsphinx", "no words recognised in 2.9 s")
    clip = Clip(
        f"{subject}_c{number:02d}",
        None,
        subject=subject,
        group=subject,
        label=LABELS.labels[int(rng.integers(7))],
    )
    speaker = SpeakerStatistics(subject, 14, {}, {}) if number % 10 else None
    return Record(clip, tracks, utterances, status, speaker)


def _prompt(record: Record) -> Prompt:
    face = "aus" in record.tracks
    cues = (
        Cue("face", "observed" if face else "absent", "inner brow raiser, clear" if face
            else "no face visible", Span(0.8, 2.1) if face else None, "mediapipe"),
        Cue("speech", "uncertain" if face else "absent", record.transcript or "no speech heard",
            None, "pocketsphinx"),
        Cue("prosody", "observed", "pitch much higher than usual", None, "prosody"),
    )  # fmt: skip
    text = "".join(f"{c.modality.capitalize()}: {c.text}.\n" for c in cues)
    return Prompt(record.clip.id, text + "Emotion:", cues, "compound", "ab" * 32)


def _predictions(name: str, skill: float, records: list[Record], seed: int) -> list[Prediction]:
    rng = np.random.default_rng(seed)
    found = []
    for record in records:
        scores = rng.dirichlet(np.ones(7))
        if name == "majority":
            scores = np.full(7, 0.1)
            scores[0] = 0.4
        elif rng.random() < skill:
            scores = 0.3 * scores
            scores[LABELS.index(record.clip.label)] += 0.7
        label = LABELS.labels[int(scores.argmax())]
        if name == "llm" and rng.random() < 0.06:
            found.append(Prediction(record.clip.id, name, None, {}, "The person seems upset."))
            continue
        told = dict(zip(LABELS.labels, scores.tolist(), strict=True))
        found.append(Prediction(record.clip.id, name, label, told))
    return found


def invent(clips: int = 48) -> Invented:
    rng = np.random.default_rng(3)
    records = [_record(i, rng) for i in range(clips)]
    predictions = {
        name: _predictions(name, skill, records, i)
        for i, (name, (_, skill)) in enumerate(SKILL.items())
    }
    runs = {
        name: Trained(
            method,
            parameters=int(10 ** (4 + 4 * skill)),
            minutes=12 * skill,
            clips_per_s=40.0 / (1 + skill),
            validation=skill,
            seed=0,
            split_digest="c0ffee" * 10,
            notes=("truncated prompts: 3 of 120",) if name == "bert" else (),
        )
        for name, (method, skill) in SKILL.items()
    }
    return Invented(records, predictions, {r.clip.id: _prompt(r) for r in records}, runs, LABELS)


@pytest.fixture(scope="session")
def invented() -> Invented:
    return invent()


def filled(folder, label, prefix=""):
    """Six people, eight clips each; the face tells the class, the voice half of it."""
    corpus = Corpus.create(folder, None, [])
    rng = np.random.default_rng(1)
    entries = []
    for s in range(6):
        for i in range(8):
            happy = i % 2
            face = rng.normal(0.2 + 0.6 * happy, 0.1, (6, 2)).astype(np.float32)
            voice = rng.normal(0.4 * happy, 1.0, (20, 2)).astype(np.float32)
            tracks = {
                "aus": Track(face, 12.5, 0.0, ("AU06", "AU12"), "probability", "test"),
                "prosody": Track(voice, 40.0, 0.0, ("f0_st", "energy_db"), "named", "test"),
            }
            write_item(corpus.folder, f"{prefix}s{s}c{i}", Item(Status("observed", "test"), tracks))
            own = ("calm", "happy")[happy] if label == "class" else 1.0 + happy + 0.1 * s + 0.01 * i
            name = f"{prefix}s{s}c{i}"
            clip = Clip(name, None, subject=f"{prefix}s{s}", label=own)
            entries.append(Entry(clip, {"face": name}))
    corpus.write_entries(entries)
    return corpus


@pytest.fixture(scope="session")
def people():
    """What fills a folder with a corpus: people(folder, "class" or "number", prefix of ids)."""
    return filled


def faced(folder: Path, people: int) -> Corpus:
    made = Corpus.create(folder, None, [])
    rng = np.random.default_rng(1)
    entries = []
    for s in range(people):
        for i in range(8):
            values = rng.normal(0.15 + 0.6 * (i % 2), 0.1, (6, 2)).clip(0, 1).astype(np.float32)
            face = Track(values, 12.5, 0.0, ("AU06", "AU12"), "probability", "test")
            write_item(made.folder, f"s{s}c{i}", Item(Status("observed", "test"), {"aus": face}))
            clip = Clip(f"s{s}c{i}", None, subject=f"s{s}", label=("calm", "happy")[i % 2])
            entries.append(Entry(clip, {"face": f"s{s}c{i}"}))
    made.write_entries(entries)
    return made


@pytest.fixture(scope="session")
def faces():
    """What fills a folder with a corpus of faces alone: faces(folder, people), eight clips each."""
    return faced


def sign(folder: Path) -> None:
    digests = json.loads((folder / DIGESTS).read_text("utf-8"))
    kept = {name: file_digest(folder / name) for name in digests if (folder / name).is_file()}
    (folder / DIGESTS).write_text(json.dumps(kept), "utf-8")


def edited(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "report.json"
    value = json.loads(path.read_text("utf-8"))
    change(value)
    path.write_text(json.dumps(value), "utf-8")
    sign(folder)


@pytest.fixture(scope="session")
def signed_again():
    """What somebody does who knows of the digests: signed_again(folder of a report)."""
    return sign


@pytest.fixture(scope="session")
def edit():
    """What changes a report's numbers and signs it again: edit(its folder, change)."""
    return edited


class Stub:
    """A chat server that answers with what `reply` makes of a request; it counts and remembers."""

    def __init__(self, reply):
        stub = self
        self.bodies, self.keys, self.now, self.most = [], [], 0, 0
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):  # noqa: N802 (the library's naming)
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    stub.bodies.append((self.path, asked))
                    stub.keys.append(self.headers.get("Authorization"))
                    stub.now += 1
                    stub.most = max(stub.most, stub.now)
                    number = len(stub.bodies)
                code, value = reply(asked, number)
                with lock:
                    stub.now -= 1
                data = json.dumps(value).encode() if isinstance(value, dict) else value
                self.send_response(code)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"


@pytest.fixture
def stub():
    made = []

    def start(reply):
        made.append(Stub(reply))
        return made[-1]

    yield start
    for one in made:
        one.server.shutdown()
        one.server.server_close()
