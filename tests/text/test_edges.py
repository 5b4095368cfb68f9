"""Whole trainings where there is nothing to learn from: they end, with probabilities."""

from __future__ import annotations

import pytest
import torch

from textualize.finetune.recipe import Scratch, TextRecipe
from textualize.finetune.train import train
from textualize.methods import load
from textualize.types import Clip, Prediction, Record, Span, Status, Utterance
from textualize.windows import aggregate

torch.set_num_threads(1)

SHAPE = Scratch(hidden=32, layers=1, heads=2, vocabulary=320)
KINDS = [
    {"method": "text-llm", "model": "scratch", "lora": None, "scratch": SHAPE},
    {"method": "text-llm", "model": "scratch", "lora": None, "answers": "letters"},
    {"method": "text-encoder", "model": "minilm"},
]


def record(name: str, text: str, label: str) -> Record:
    status = {"speech": Status("observed", "test")}
    said = (Utterance(Span(0, 1), text),) if text else ()
    return Record(Clip(name, None, label=label, transcript=text), {}, said, status)


def trained(kind, training, validation, out):
    recipe = TextRecipe(
        **kind, epochs=1, batch_size=4, modalities="T", template="compound",
        prior_correction=True, temperature=True, class_balanced=1.0,
    )  # fmt: skip
    return load(train(recipe, training, validation, out).path)


@pytest.mark.parametrize("kind", KINDS)
def test_one_class_in_training(kind, tmp_path):
    training = [record(f"t{i}", f"hello {i}", "sad") for i in range(6)]
    validation = [record(f"v{i}", f"hi {i}", label) for i, label in enumerate(["sad", "glad"])]
    alone = trained(kind, training, validation[:1], tmp_path / "alone")
    assert [p.scores for p in alone.predict(validation)] == [{"sad": 1.0}] * 2
    both = trained(kind, training, validation, tmp_path / "both")
    assert [sum(p.scores.values()) for p in both.predict(validation)] == pytest.approx([1, 1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("template", ["compound", "transcript"])
def test_no_words_anywhere(kind, template, tmp_path):
    training = [record(f"t{i}", "", ("sad", "glad")[i % 2]) for i in range(6)]
    validation = [record(f"v{i}", "", ("sad", "glad")[i % 2]) for i in range(2)]
    one, other = trained(kind, training, validation, tmp_path / "run").predict(validation)
    card = (tmp_path / "run" / "README.md").read_text()
    assert "all 6 training prompts read the same" in card
    assert dict(one.scores) == pytest.approx(dict(other.scores))
    assert sum(one.scores.values()) == pytest.approx(1)


def test_a_clip_in_windows_says_how_many_prompts_were_cut():
    scores = {"sad": 0.5, "glad": 0.5}
    parts = [
        Prediction("c#000", "m", "sad", scores, "prompt cut: 3 words"),
        Prediction("c#001", "m", "sad", scores),
        Prediction("c#002", "m", None),
    ]
    said = aggregate(parts).text
    assert said == "1 of 3 windows could not be read; 1 of 3 windows had their prompt cut"
