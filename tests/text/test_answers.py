"""Letters and words as answers, with prefix labels, over prompts of different lengths."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from textualize.errors import TextualizeError
from textualize.finetune.recipe import Scratch, TextRecipe
from textualize.finetune.run_folder import RunFolder
from textualize.labels import LabelSet
from textualize.methods import load
from textualize.text.answers import (
    TEMPLATE_DATE,
    Shot,
    answer_ids,
    answer_texts,
    framed,
    options,
    prompt_ids,
)
from textualize.text.causal import IGNORED, TextLLM
from textualize.text.scoring import sequence_log_probs
from textualize.types import Clip, Record, Span, Status, Utterance

torch.set_num_threads(1)

LABELS = LabelSet("own", ("sad", "sadly surprised", "sadly", "glad"), {})
SHAPE = Scratch(hidden=32, layers=2, heads=2, vocabulary=400)
TEXTS = ("fine", "this is a much longer sentence than the others are", "no, not that one")


def record(name: str, text: str, label: str = "sad") -> Record:
    status = {"speech": Status("observed", "sidecar")}
    utterances = (Utterance(Span(0, 1), text),) if text else ()
    return Record(Clip(name, None, label=label, transcript=text), {}, utterances, status)


RECORDS = [record(f"r{i}", text, LABELS.labels[i]) for i, text in enumerate(TEXTS)]


def made(model: str = "scratch", labels: LabelSet = LABELS, records=RECORDS, **changes) -> TextLLM:
    torch.manual_seed(0)
    values = {"template": "basic", "modalities": "T", "lora": None, "scratch": SHAPE}
    recipe = TextRecipe(method="text-llm", model=model, **(values | changes))
    return TextLLM.build(recipe, labels, records)


def by_hand(method: TextLLM, record: Record) -> torch.Tensor:
    """Log-probability of every answer, token by token, one full pass each, nothing shared."""
    prompt = prompt_ids(method.tokenizer, method.reader.texts([record])[0])
    found = []
    for answer in method.answers:
        with torch.inference_mode():
            logs = method.net.eval()(torch.tensor([[*prompt, *answer]])).logits[0].log_softmax(-1)
        found.append(sum(float(logs[len(prompt) - 1 + i, t]) for i, t in enumerate(answer)))
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize("kind", ["words", "letters"])
@pytest.mark.parametrize("model", ["scratch", "babyllama-tok105", "stories260K"])
def test_probabilities_are_those_of_brute_force(assets: Path, kind, model):
    place = model if model == "scratch" else str(assets / "weights" / model)
    method = made(place, answers=kind)
    wanted = torch.stack([by_hand(method, r) for r in RECORDS])
    items = method.items(method.reader.texts(RECORDS))  # of three lengths, in one batch
    torch.testing.assert_close(method.log_scores(items), wanted, atol=1e-4, rtol=0)
    prompts = [item["input_ids"] for item in items]
    whole = sequence_log_probs(method.net, method.tokenizer, prompts, method.answers)
    torch.testing.assert_close(method.log_scores(items), whole, atol=1e-4, rtol=0)
    assert method.scoring_error(items) < 1e-4
    p = torch.tensor([list(x.scores.values()) for x in method.predict(RECORDS)])
    torch.testing.assert_close(p.double(), wanted.softmax(1), atol=1e-5, rtol=0)


def test_letters_of_one_token_take_one_plain_pass(monkeypatch):
    method = made(answers="letters")
    assert method.tree.tokens == ()
    seen = []
    forward = method.net.forward
    monkeypatch.setattr(
        method.net, "forward", lambda **inputs: seen.append(inputs) or forward(**inputs)
    )
    items = method.items(method.reader.texts(RECORDS))
    method.log_scores(items)
    assert len(seen) == 1
    assert seen[0]["input_ids"].shape[1] == max(len(i["input_ids"]) for i in items)
    assert seen[0]["attention_mask"].ndim == 2


def test_letters_of_two_tokens_are_scored_all_the_same(assets: Path):
    tokenizer = AutoTokenizer.from_pretrained(assets / "weights" / "babyllama-tok105")
    both = [answer_ids(tokenizer, letter, "letters") for letter in "AB"]
    assert len(both[0]) == 2
    assert both[0][0] == both[1][0]


def test_the_prompt_says_what_each_letter_means():
    text = made(answers="letters").reader.texts(RECORDS[:1])[0]
    assert text.endswith("Emotion (A) sad, B) sadly surprised, C) sadly, D) glad):")


@pytest.mark.parametrize("kind", ["words", "letters"])
def test_only_the_answer_is_learned_and_the_loss_is_its_score(kind):
    method = made(answers=kind)
    method.net.eval()
    items = method.items(method.reader.texts(RECORDS))
    batch = method.collate(method.answered(items, [0, 1, 3]))
    for row, c in enumerate([0, 1, 3]):
        learned = batch["labels"][row]
        ids = learned[learned != IGNORED].tolist()
        assert ids == method.answers[c]
        ended = ids[-1] == method.tokenizer.eos_token_id
        assert ended == (kind == "words")
        written = method.tokenizer.decode(ids[:-1] if ended else ids).strip()
        assert written == (LABELS.labels[c] if kind == "words" else "ABCD"[c])
    losses = method.losses(method.net, batch).detach().double()
    wanted = -method.log_scores(items)[range(3), [0, 1, 3]]
    torch.testing.assert_close(losses, wanted, atol=1e-4, rtol=0)


def test_letters_need_no_end_token(assets: Path):
    tokenizer = AutoTokenizer.from_pretrained(assets / "weights" / "gpt2-tokenizer")
    tokenizer.eos_token = None
    with pytest.raises(TextualizeError, match="set answers to letters"):
        answer_ids(tokenizer, "sad")
    assert tokenizer.decode(answer_ids(tokenizer, "B", "letters")) == " B"


def test_more_labels_than_letters_are_refused():
    assert answer_texts(["x"] * 26, "letters")[-1] == "Z"
    with pytest.raises(TextualizeError, match="at most 26 labels, given 27"):
        options(["x"] * 27, "letters")


def test_letters_need_a_template_that_tells_their_meaning(tmp_path):
    silent = tmp_path / "silent.jinja"
    silent.write_text("{# labels #}{{ transcript }}")
    with pytest.raises(TextualizeError, match="does not list the labels"):
        made(answers="letters", template=str(silent))


@pytest.mark.parametrize("kind", ["words", "letters"])
def test_one_class_alone_is_certain(kind):
    one = LabelSet("own", ("sad",), {})
    method = made(answers=kind, labels=one)
    assert [p.scores for p in method.predict(RECORDS)] == [{"sad": 1.0}] * 3


def test_no_words_anywhere_still_gives_probabilities():
    empty = [record(f"e{i}", "") for i in range(3)]
    method = made(records=empty, template="transcript")
    found = method.predict(empty)
    assert all(sum(p.scores.values()) == pytest.approx(1) for p in found)
    assert found[0].scores == pytest.approx(found[2].scores)


def test_a_tokenizer_without_padding_pads_with_its_end(assets: Path, tmp_path):
    place = tmp_path / "model"
    shutil.copytree(assets / "weights" / "stories260K", place)
    about = json.loads((place / "tokenizer_config.json").read_text())
    assert about.pop("pad_token")
    (place / "tokenizer_config.json").write_text(json.dumps(about))
    assert AutoTokenizer.from_pretrained(place).pad_token is None
    bare, padded = made(str(place)), made(str(assets / "weights" / "stories260K"))
    assert bare.tokenizer.pad_token == bare.tokenizer.eos_token != padded.tokenizer.pad_token
    texts = bare.reader.texts(RECORDS)
    scores = [method.log_scores(method.items(texts)) for method in (bare, padded)]
    torch.testing.assert_close(*scores, atol=1e-5, rtol=0)


# --- frames -----------------------------------------------------------------------------------


def test_shots_stand_before_a_plain_prompt():
    class Plain:
        chat_template = None

    shots = [Shot("One. Emotion:", "sad"), Shot("Two", "glad")]
    assert framed(Plain(), "Three", shots) == (
        "One. Emotion: sad\n\nTwo\nAnswer: glad\n\nThree\nAnswer:"
    )


def test_shots_are_turns_of_a_chat(assets: Path):
    tokenizer = AutoTokenizer.from_pretrained(assets / "weights" / "gpt2-tokenizer")
    text = framed(tokenizer, "Three", [Shot("One", "sad")])
    assert text == "user: One\nassistant: sad\nuser: Three\nassistant:"


def test_a_template_that_prints_the_date_prints_the_same_one_tomorrow(assets: Path):
    tokenizer = AutoTokenizer.from_pretrained(assets / "weights" / "gpt2-tokenizer")
    tokenizer.chat_template = (
        "{% if not date_string is defined %}{% set date_string = strftime_now('%d') %}{% endif %}"
        "Today: {{ date_string }} {{ messages[0].content }}"
    )
    assert framed(tokenizer, "Hi") == f"Today: {TEMPLATE_DATE} Hi"


# --- what a run keeps ---------------------------------------------------------------------------


def stored(tmp_path: Path, **changes) -> Path:
    method = made(**changes)
    run = RunFolder(tmp_path / "run")
    run.begin(method.recipe, LABELS, RECORDS[:2], RECORDS[2:])
    method.save(run.path)
    return run.path


@pytest.mark.parametrize("kind", ["words", "letters"])
def test_a_loaded_run_answers_the_same(tmp_path, kind):
    run = stored(tmp_path, answers=kind)
    assert load(run).predict(RECORDS) == made(answers=kind).predict(RECORDS)


def test_a_changed_template_is_refused(tmp_path):
    run = stored(tmp_path)
    (run / "prompt" / "template.jinja").write_text("{{ transcript }}{{ labels }}")
    with pytest.raises(TextualizeError, match="its prompt.json says"):
        load(run)


def test_a_template_changed_together_with_its_digest_is_refused(tmp_path):
    run = stored(tmp_path)
    digest = made().reader.template.digest
    (run / "environment.json").write_text(f'{{"summary": {{"prompt digest": "{digest[:16]}"}}}}')
    load(run)
    made(template="compound").reader.save(run)  # a whole other prompt, in itself consistent
    with pytest.raises(TextualizeError, match=f"trained with {digest[:12]}"):
        load(run)


def test_a_changed_chat_template_is_refused(tmp_path):
    run = stored(tmp_path)
    (run / "model" / "chat_template.jinja").write_text("{{ messages[0].content }}")
    with pytest.raises(TextualizeError, match="tokenizer or chat template"):
        load(run)
