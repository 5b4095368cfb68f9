"""A hundred hostile transcripts: always a label, the prompt's frame as it was, nothing rendered."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from .conftest import LABELS

CORPUS = [
    json.loads(line)
    for line in (Path(__file__).parent / "hostile.jsonl").read_text("utf-8").splitlines()
]
INVISIBLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
CONTROL = re.compile(r"<\|(?!\s)|</?s>|<(unk|pad|bos|eos)>|\[/?INST\]|<</?SYS>>|im_(start|end)>")


def words(case) -> str:
    return case["text"] * case.get("times", 1)


def frame(prompt: str) -> list[str]:
    """Return a prompt's lines, that of the words as what stands before them."""
    return [line.partition("“")[0] for line in prompt.splitlines()]


@pytest.fixture
def plain(client):
    return {
        name: frame(
            client.post("/v1/emotions", json={"transcript": "no", "model": name}).json()["prompt"]
        )
        for name in ("words", "letters")
    }


def test_there_are_a_hundred():
    assert len(CORPUS) == 100 and len({c["kind"] for c in CORPUS}) == 7


@pytest.mark.parametrize("name", ["words", "letters"])
def test_no_transcript_leads_anywhere_but_to_a_label(client, plain, name):
    items = [{"id": str(i), "transcript": words(c), "model": name} for i, c in enumerate(CORPUS)]
    found = client.post("/v1/emotions/batch", json={"items": items})
    assert found.status_code == 200, found.text[:300]
    for case, answer in zip(CORPUS, found.json()["answers"], strict=True):
        assert answer["label"] in LABELS.labels, case
        assert set(answer["probabilities"]) == set(LABELS.labels)
        prompt = answer["prompt"]
        said = any(c.isalnum() for c in words(case)) and "“" in prompt
        if said:
            assert frame(prompt) == plain[name], case
        assert len(prompt.splitlines()) == len(plain[name]), case
        assert (
            prompt.splitlines()[-2:-1] == [x for x in prompt.splitlines() if "Options:" in x][-1:]
        )
        assert not INVISIBLE.search(prompt) and not CONTROL.search(prompt), case
        if case["kind"] == "template" and "times" not in case and "{#" not in case["text"]:
            assert "49" not in prompt
            assert case["text"] in prompt.replace("’", "'"), case


def test_hostile_cues_turns_and_names_are_cleaned_alike(client, plain):
    for case in CORPUS:
        text = words(case)[:4000] or "x"
        body = {
            "id": text[:200],
            "cues": [{"modality": "face", "text": text}, {"modality": "prosody", "text": text}],
            "transcript": "no",
            "context": [{"text": text, "speaker": text[:200]}],
        }
        answer = client.post("/v1/emotions", json=body).json()
        assert answer["label"] in LABELS.labels, case
        assert not INVISIBLE.search(answer["prompt"]), case
        assert not CONTROL.search(answer["prompt"]), case
        lines = [x for x in answer["prompt"].splitlines() if x]
        assert len(lines) - lines[0].startswith("Before:") == len(plain["words"]), case
