"""Demonstrations: whose they may be, which are chosen, and prompting without training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from textualize.errors import TextualizeError
from textualize.finetune.recipe import Shots, TextRecipe, parse
from textualize.finetune.run_folder import RunFolder
from textualize.finetune.train import train
from textualize.labels import LabelSet
from textualize.methods import load
from textualize.text import predict
from textualize.text.answers import Shot, prompt_ids
from textualize.text.causal import TextLLM
from textualize.text.demonstrations import Demonstrations, Solved, load_solved
from textualize.text.scoring import sequence_log_probs
from textualize.types import Clip, Record, Span, Status, Utterance

torch.set_num_threads(1)

LABELS = LabelSet("own", ("glad", "mad", "sad"), {})
ANSWERS = dict(zip(LABELS.labels, "ABC", strict=True))


def record(name: str, text: str, label: str, group: str | None = None) -> Record:
    clip = Clip(name, None, label=label, transcript=text, group=group)
    status = {"speech": Status("observed", "sidecar")}
    return Record(clip, {}, (Utterance(Span(0, 1), text),) if text else (), status)


def pool(*rows: tuple[str, str, str]) -> list[Solved]:
    return [Solved(f"t{i}", group, text, label) for i, (group, text, label) in enumerate(rows)]


POOL = pool(
    ("g0", "the dog ran home", "glad"),
    ("g1", "the cat sat on a mat", "mad"),
    ("g2", "rain and rain and more rain", "sad"),
    ("g3", "a dog and a cat", "glad"),
    ("g4", "nothing like it", "mad"),
)


def test_the_most_alike_stands_last_next_to_the_question():
    chosen = Demonstrations(POOL, Shots(count=2), ANSWERS, 0)
    found = chosen.of([record("x", "", "glad")], ["rain and more on"])[0]
    assert found == (Shot("the cat sat on a mat", "B"), Shot("rain and rain and more rain", "C"))


def test_balanced_takes_each_class_in_turn_and_the_seed_decides_which():
    texts = [f"sentence {i}" for i in range(30)]
    many = pool(*((f"g{i}", t, LABELS.labels[min(i % 5, 2)]) for i, t in enumerate(texts)))
    picks = []
    for seed in (0, 0, 1):
        chosen = Demonstrations(many, Shots(count=6, by="balanced"), ANSWERS, seed)
        picks.append(chosen.of([record("x", "", "glad")], ["anything"])[0])
        assert sorted(shot.answer for shot in picks[-1]) == list("AABBCC")
    assert picks[0] == picks[1] != picks[2]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(LABELS.labels)), min_size=8, max_size=20),
    st.sampled_from(["similar", "balanced"]),
    st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_never_from_the_clip_itself_or_its_group(rows, by, count):
    solved = pool(*((f"g{g}", f"text {i} word{i % 3}", c) for i, (g, c) in enumerate(rows)))
    of_text = {s.text: s for s in solved}
    try:
        chosen = Demonstrations(solved, Shots(count=count, by=by), ANSWERS, 0)
    except TextualizeError:
        sizes = [sum(s.group == g for s in solved) for g in {s.group for s in solved}]
        assert len(solved) - max(sizes) < count
        return
    group = solved[0].group
    asked = record("t0#003", "text 0", "glad", group)  # a window of a training clip
    found = [of_text[shot.text] for shot in chosen.of([asked], ["text 0 word0"])[0]]
    assert len(found) == count == len(set(found))
    assert all(s.clip != "t0" and s.group != group for s in found)


def test_too_few_outside_a_group_is_one_line():
    with pytest.raises(TextualizeError, match="outside the clip's own group; there are 1"):
        Demonstrations(
            pool(("g", "a", "sad"), ("g", "b", "sad"), ("h", "c", "sad")), Shots(count=2), {}, 0
        )


def test_prompts_without_words_cannot_be_compared():
    empty = pool(*((f"g{i}", "", "sad") for i in range(4)))
    with pytest.raises(TextualizeError, match="set shots.by to balanced"):
        Demonstrations(empty, Shots(count=2), {"sad": "A"}, 0)
    Demonstrations(empty, Shots(count=2, by="balanced"), {"sad": "A"}, 0)


# --- a whole run --------------------------------------------------------------------------------

WORDS = {
    "glad": ["what a lovely day", "this is great fun", "I love it"],
    "mad": ["get out of here", "how dare you say that", "leave me alone now"],
    "sad": ["she is gone", "I miss him so much", "nothing matters any more"],
}
TRAIN = [
    record(f"t-{label}-{i}", text, label, f"g{i}")
    for label, texts in WORDS.items()
    for i, text in enumerate(texts)
]
VALIDATION = [
    record(f"v-{label}-{i}", f"well {text}", label, f"h{i}")
    for label, texts in WORDS.items()
    for i, text in enumerate(texts)
]


def recipe(model: Path, **changes) -> TextRecipe:
    values = {"template": "basic", "modalities": "T", "lora": None, "epochs": 0, "batch_size": 4}
    return TextRecipe(method="text-llm", model=str(model), **(values | changes))


@pytest.fixture
def stories(assets: Path) -> Path:
    return assets / "weights" / "stories260K"


@pytest.mark.parametrize("kind", ["words", "letters"])
@pytest.mark.parametrize("shots", [None, Shots(count=2), Shots(count=3, by="balanced")])
def test_a_model_is_prompted_without_training(stories, tmp_path, kind, shots):
    chosen = recipe(stories, answers=kind, shots=shots, max_tokens=None, temperature=True)
    run = train(chosen, TRAIN, VALIDATION, tmp_path / "run", labels=LABELS)
    assert run.complete
    assert not (run.path / "model").exists()  # the base is not copied
    assert (run.path / "tokenizer" / "tokenizer.json").is_file()
    line = run.metrics()[0]
    assert (line["epoch"], line["selected"]) == (0, True)
    method = load(run.path)
    assert isinstance(method, TextLLM)
    found = method.predict(VALIDATION)
    right = sum(p.label == r.clip.label for p, r in zip(found, VALIDATION, strict=True))
    assert right / len(found) == pytest.approx(line["accuracy"])
    summary = run.environment["summary"]
    assert summary["trained parameters"] == 0
    assert summary["temperature"] == pytest.approx(method.decision.temperature, abs=1e-4)
    assert not any(p.text for p in found)  # nothing was cut
    assert summary["truncated prompts"] == f"0 of {len(VALIDATION)}"  # none but these are read
    kept = f"keeps all {len(TRAIN)} training prompts, words included"
    assert (kept in (run.path / "README.md").read_text()) == bool(shots)
    one = VALIDATION[4]
    text = method.reader.texts([one])[0]
    solved = method.demonstrations.of([one], [text])[0] if shots else ()
    assert len(solved) == (shots.count if shots else 0)
    ids = prompt_ids(method.tokenizer, text, solved)
    logs = sequence_log_probs(method.net, method.tokenizer, [ids], method.answers)
    wanted = method.decision.probabilities(logs.numpy())[0]
    assert list(found[4].scores.values()) == pytest.approx(wanted.tolist(), abs=1e-4)


def test_the_base_is_untouched_and_demonstrations_are_training_clips(stories, tmp_path):
    run = train(recipe(stories, shots=Shots(count=2)), TRAIN, VALIDATION, tmp_path / "run")
    assert {s.clip for s in load_solved(run.path)} == {r.clip.id for r in TRAIN}
    method = load(run.path)
    plain = load_file(stories / "model.safetensors")
    ours = method.net.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in plain.items())
    lines = (run.path / "prompt" / "demonstrations.jsonl").read_text().splitlines()
    (run.path / "prompt" / "demonstrations.jsonl").write_text("\n".join(lines[:3]) + "\n{")
    with pytest.raises(TextualizeError, match="jsonl:4 is damaged"):
        load(run.path)
    (run.path / "prompt" / "demonstrations.jsonl").unlink()
    with pytest.raises(TextualizeError, match="is missing"):
        load(run.path)


def test_training_prompts_hold_demonstrations_of_other_groups(stories):
    method = TextLLM.build(recipe(stories, shots=Shots(count=2), max_tokens=None), LABELS, TRAIN)
    items, losses = predict.read(method, TRAIN)
    assert not any(losses)
    for item, one in zip(items, TRAIN, strict=True):
        read = method.tokenizer.decode(item["input_ids"])
        same = [r.transcript for r in TRAIN if r.clip.group == one.clip.group and r is not one]
        assert one.transcript in read
        assert not any(text in read for text in same)
        assert sum(r.transcript in read for r in TRAIN) == 3


def test_demonstrations_go_before_anything_of_the_clip_is_cut(stories):
    chosen = recipe(stories, shots=Shots(count=5), max_tokens=120)
    method = TextLLM.build(chosen, LABELS, TRAIN)
    items, losses = predict.read(method, VALIDATION)
    assert all(set(lost) == {"demonstrations"} for lost in losses)
    for item, one in zip(items, VALIDATION, strict=True):
        assert one.transcript in method.tokenizer.decode(item["input_ids"])
        assert len(item["input_ids"]) <= 120


def test_a_method_may_learn_with_demonstrations(stories, tmp_path):
    chosen = recipe(
        stories, shots=Shots(count=1), epochs=1, lora={"r": 2, "targets": ["q_proj"]}, lr=1e-2
    )
    run = train(chosen, TRAIN, VALIDATION, tmp_path / "run")
    found = load(run.path).predict(VALIDATION)
    right = sum(p.label == r.clip.label for p, r in zip(found, VALIDATION, strict=True))
    assert right / len(found) == pytest.approx(run.metrics()[0]["accuracy"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "text-encoder"}, "epochs 0 is for text-llm"),
        ({"method": "text-encoder", "epochs": 1, "shots": {"count": 2}}, "is for text-llm"),
        ({"method": "text-encoder", "epochs": 1, "answers": "letters"}, "answers 'letters' is for"),
        ({"method": "text-llm", "model": "scratch"}, "epochs 0 trains nothing"),
        ({"method": "text-llm", "lora": {"r": 4}}, "epochs 0 trains nothing"),
        ({"method": "text-llm", "shots": {"cuont": 4}}, r"did you mean count\?"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changes, message):
    with pytest.raises(TextualizeError, match=message):
        parse({"epochs": 0, "lora": None, **changes}, "own.yaml")


def test_an_untold_zero_shot_model_is_refused(stories, tmp_path):
    silent = tmp_path / "silent.jinja"
    silent.write_text("{{ transcript }}")
    with pytest.raises(TextualizeError, match="does not list the labels"):
        TextLLM.build(recipe(stories, template=str(silent)), LABELS, TRAIN)


def test_an_unfinished_run_is_refused(stories, tmp_path):
    run = RunFolder(tmp_path / "run")
    run.begin(recipe(stories), LABELS, TRAIN, VALIDATION)
    with pytest.raises(TextualizeError, match="training did not finish"):
        load(run.path)


@pytest.mark.parametrize("options", [{"quantization": "nf4"}, {"dtype": "bfloat16"}])
def test_quantised_and_short_weights_are_prompted_too(stories, tmp_path, options):
    run = train(recipe(stories, **options), TRAIN, VALIDATION, tmp_path / "run")
    assert run.environment["summary"]["trained parameters"] == 0
    one, again = (load(run.path).predict(VALIDATION) for _ in range(2))
    assert one == again
    assert all(sum(p.scores.values()) == pytest.approx(1) for p in one)
