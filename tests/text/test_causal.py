from __future__ import annotations

import string
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from textualize.errors import TextualizeError
from textualize.finetune.recipe import Lora, Scratch, TextRecipe
from textualize.finetune.run_folder import RunFolder
from textualize.labels import LABEL_SETS
from textualize.text.answers import answer_ids, fitted_ids, framed, prompt_ids
from textualize.text.causal import IGNORED, TextLLM
from textualize.text.models import parameter_counts
from textualize.text.scratch import scratch_tokenizer
from textualize.types import Clip, Record, Span, Status, Utterance

torch.set_num_threads(1)

LABELS = LABEL_SETS["compound7"]
SHAPE = Scratch(hidden=32, layers=2, heads=2, vocabulary=320)


def record(name: str, text: str) -> Record:
    return Record(
        Clip(name, None, label=LABELS.labels[0], transcript=text),
        utterances=(Utterance(Span(0, 1), text),),
        status={"speech": Status("observed", "sidecar")},
    )


RECORDS = [
    record("a", "fine"),
    record("b", "this is a much longer sentence than the others"),
    record("c", "no, not that one"),
]


def recipe(tmp_path: Path, **changes) -> TextRecipe:
    template = tmp_path / "words.jinja"
    template.write_text("{{ transcript }}")
    values = {
        "template": str(template),
        "modalities": "T",
        "model": "scratch",
        "lora": None,
        "scratch": SHAPE,
    }
    return TextRecipe(method="text-llm", **(values | changes))


def made(tmp_path: Path, **changes) -> TextLLM:
    torch.manual_seed(0)
    return TextLLM.build(recipe(tmp_path, **changes), LABELS, RECORDS)


def scores(method: TextLLM, records=RECORDS, batch_size=3) -> torch.Tensor:
    found = method.predict(records, batch_size)
    return torch.tensor([[p.scores[name] for name in LABELS.labels] for p in found])


@pytest.fixture
def babyllama(assets: Path) -> str:
    return str(assets / "weights" / "babyllama-tok105")


def test_only_the_answers_tokens_are_learned(tmp_path):
    method = made(tmp_path)
    classes = [0, 6, 3]
    items = method.answered(method.items([r.transcript for r in RECORDS]), classes)
    batch = method.collate(items)
    for row, c in enumerate(classes):
        learned = batch["labels"][row]
        ids = learned[learned != IGNORED].tolist()
        assert ids == answer_ids(method.tokenizer, LABELS.labels[c])
        assert ids[-1] == method.tokenizer.eos_token_id
        assert method.tokenizer.decode(ids[:-1]).strip() == LABELS.labels[c]
        assert (learned == IGNORED).sum() == batch["labels"].shape[1] - len(ids)


def test_the_loss_is_the_score_of_the_true_label(tmp_path):
    method = made(tmp_path)
    method.net.eval()
    items = method.items([r.transcript for r in RECORDS])
    classes = [0, 6, 3]
    batch = method.collate(method.answered(items, classes))
    losses = method.losses(method.net, batch).detach().double()
    wanted = -method.log_scores(items)[range(3), classes]
    torch.testing.assert_close(losses, wanted, atol=1e-4, rtol=0)


def test_predictions_do_not_depend_on_the_batch(tmp_path):
    method = made(tmp_path)
    together = scores(method)
    assert [p.clip_id for p in method.predict(RECORDS)] == ["a", "b", "c"]
    torch.testing.assert_close(together, scores(method, batch_size=1), atol=1e-5, rtol=0)
    turned = scores(method, RECORDS[::-1], 2).flip(0)
    torch.testing.assert_close(together, turned, atol=1e-5, rtol=0)
    torch.testing.assert_close(together.sum(1), torch.ones(3), atol=1e-6, rtol=0)


def test_every_trained_parameter_gets_a_gradient(tmp_path):
    method = made(tmp_path)
    items = method.answered(method.items([r.transcript for r in RECORDS]), [0, 1, 2])
    method.losses(method.net, method.collate(items)).mean().backward()
    for name, parameter in method.net.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert parameter.grad.abs().sum() > 0, name


def test_a_loaded_scratch_run_predicts_the_same(tmp_path):
    method = made(tmp_path)
    run = RunFolder(tmp_path / "run")
    run.begin(recipe(tmp_path), LABELS, RECORDS[:2], RECORDS[2:])
    method.save(run.path)
    assert torch.equal(scores(method), scores(TextLLM.load(run.path)))
    plain = AutoModelForCausalLM.from_pretrained(run.path / "model")  # a stock folder
    assert plain.config.head_dim == 32
    assert AutoTokenizer.from_pretrained(run.path / "model").eos_token == "</s>"


def test_scratch_is_named_as_such(tmp_path):
    assert "from scratch" in made(tmp_path).notes[0]
    assert "lora ignored" in made(tmp_path, lora=Lora()).notes[1]


def test_scratch_is_not_quantised(tmp_path):
    with pytest.raises(TextualizeError, match="float32 without quantization"):
        made(tmp_path, quantization="nf4")


@given(st.text(max_size=40))
@settings(max_examples=100, deadline=None)
def test_the_scratch_tokenizer_spells_everything(text):
    tokenizer = _tokenizer()
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids[1:], clean_up_tokenization_spaces=False) == text


def _tokenizer():
    if not hasattr(_tokenizer, "made"):
        _tokenizer.made = scratch_tokenizer(["a cat sat on a mat"], 300)
    return _tokenizer.made


# --- framing and cutting ---


def test_a_prompt_that_asks_is_left_as_it_is():
    tokenizer = _tokenizer()
    assert framed(tokenizer, "What now?") == "What now?\nAnswer:"
    assert framed(tokenizer, "Emotion:\n") == "Emotion:"


@given(st.text(string.ascii_lowercase + " ", min_size=30, max_size=80), st.integers(16, 24))
@settings(max_examples=60, deadline=None)
def test_the_beginning_is_cut_and_the_question_stays(text, limit):
    tokenizer = _tokenizer()
    ids, cut = fitted_ids(tokenizer, text + "z?", limit)
    assert len(ids) <= limit
    assert cut == (len(prompt_ids(tokenizer, text + "z?")) > limit)
    read = tokenizer.decode(ids, skip_special_tokens=True)
    assert read.endswith("z?\nAnswer:")
    assert framed(tokenizer, text + "z?").endswith(read)
    assert ids[0] == tokenizer.bos_token_id


def test_a_frame_longer_than_the_limit_is_refused():
    with pytest.raises(TextualizeError, match="no room"):
        fitted_ids(_tokenizer(), "anything at all", 4)


def test_a_chat_template_frames_the_prompt(assets: Path):
    tokenizer = AutoTokenizer.from_pretrained(assets / "weights" / "gpt2-tokenizer")
    assert framed(tokenizer, "Hi?") == "user: Hi?\nassistant:"
    text = framed(tokenizer, "Hi?") + " sadly angry"
    joined = tokenizer(text, add_special_tokens=False)["input_ids"]
    answer = answer_ids(tokenizer, "sadly angry")
    assert [*prompt_ids(tokenizer, "Hi?"), *answer[:-1]] == joined
    assert answer[-1] == tokenizer.eos_token_id


def test_a_label_that_cannot_be_spelled_is_refused(babyllama):
    tokenizer = AutoTokenizer.from_pretrained(babyllama)
    with pytest.raises(TextualizeError, match="cannot spell"):
        answer_ids(tokenizer, "злой")


# --- real small checkpoints with LoRA ---


def test_a_fresh_adapter_changes_nothing(babyllama, tmp_path):
    plain = made(tmp_path, model=babyllama)
    adapted = made(tmp_path, model=babyllama, lora=Lora())
    assert torch.equal(scores(plain), scores(adapted))


def test_trained_parameters_are_those_of_the_formula(babyllama, tmp_path):
    lora = Lora(r=8, targets=["q_proj", "v_proj"])
    method = made(tmp_path, model=babyllama, lora=lora)
    per_layer = 8 * (128 + 128) + 8 * (128 + 64)  # 4 key-value heads of 16
    trained, total = parameter_counts(method.net)
    assert trained == 5 * per_layer
    assert total - trained == sum(
        p.numel() for p in AutoModelForCausalLM.from_pretrained(babyllama).parameters()
    )


def test_learning_lowers_the_loss_and_stock_peft_loads_it(babyllama, tmp_path):
    method = made(tmp_path, model=babyllama, lora=Lora(dropout=0), max_tokens=128)
    items = method.answered(method.items([r.transcript for r in RECORDS]), [0, 1, 2])
    batch = method.collate(items)
    trained = [p for p in method.net.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=5e-3)
    losses = []
    for _ in range(12):
        loss = method.losses(method.net, batch).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    run = RunFolder(tmp_path / "run")
    adapted = recipe(tmp_path, model=babyllama, lora=Lora(dropout=0), max_tokens=128)
    run.begin(adapted, LABELS, RECORDS[:2], RECORDS[2:])
    method.save(run.path)
    assert torch.equal(scores(method), scores(TextLLM.load(run.path)))
    stock = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(babyllama), run.path / "adapter"
    ).eval()
    one = {k: batch[k] for k in ("input_ids", "attention_mask", "position_ids")}
    with torch.inference_mode():
        ours, theirs = method.net.eval()(**one).logits, stock(**one).logits
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_quantised_weights_train_save_and_load(babyllama, tmp_path, quantization):
    options = {"model": babyllama, "quantization": quantization, "max_tokens": 128}
    method = made(tmp_path, lora=Lora(), **options)
    kinds = {type(m).__name__ for m in method.net.modules()}
    assert ("Linear4bit" if quantization == "nf4" else "Linear8bitLt") in kinds
    items = method.answered(method.items([r.transcript for r in RECORDS]), [0, 1, 2])
    method.net.train()
    method.losses(method.net, method.collate(items)).mean().backward()
    with torch.no_grad():
        for name, parameter in method.net.named_parameters():
            if "lora_B" in name:
                assert parameter.grad.abs().sum() > 0
                parameter -= 0.01 * parameter.grad
    run = RunFolder(tmp_path / "run")
    quantised = recipe(tmp_path, lora=Lora(), **options)
    run.begin(quantised, LABELS, RECORDS[:2], RECORDS[2:])
    method.save(run.path)
    assert torch.equal(scores(method), scores(TextLLM.load(run.path)))


def test_quantised_weights_are_not_trained_in_full(babyllama, tmp_path):
    with pytest.raises(TextualizeError, match="set lora"):
        made(tmp_path, model=babyllama, quantization="nf4")
