from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModel, BertConfig, BertModel, LlamaConfig, LlamaModel

from textualize.errors import TextualizeError
from textualize.finetune.recipe import Lora, TextRecipe
from textualize.finetune.run_folder import RunFolder
from textualize.labels import LabelSet
from textualize.text.encoder import TextEncoder, pool
from textualize.text.models import load_tokenizer, parameter_counts
from textualize.types import Clip, Record, Span, Status, Utterance
from textualize.weights.models import find_model, weights_digest

torch.set_num_threads(1)

LABELS = LabelSet("own", ("glad", "mad", "sad"), {})


def record(name: str, text: str, label: str = "glad") -> Record:
    return Record(
        Clip(name, None, label=label, transcript=text),
        utterances=(Utterance(Span(0, 1), text),),
        status={"speech": Status("observed", "sidecar")},
    )


RECORDS = [
    record("a", "fine"),
    record("b", "this is a much longer sentence, with many more words in it than the others"),
    record("c", "no, not that one", "mad"),
    record("d", "oh dear", "sad"),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("weights")
    tokenizer = load_tokenizer(find_model("minilm").place)
    bert = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        initializer_range=0.2,
    )
    llama = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        initializer_range=0.2,
    )
    found = {"bert": root / "bert", "llama": root / "llama"}
    BertModel(bert).save_pretrained(found["bert"])
    LlamaModel(llama).save_pretrained(found["llama"])
    for folder in found.values():
        tokenizer.save_pretrained(folder)
    return found


def made(model: str | Path, tmp_path: Path, **changes) -> TextEncoder:
    template = tmp_path / "words.jinja"
    template.write_text("{{ transcript }}")
    values = {"template": str(template), "modalities": "T", "model": str(model), **changes}
    torch.manual_seed(1)
    return TextEncoder.build(TextRecipe(method="text-encoder", **values), LABELS)


def scores(method: TextEncoder, records, batch_size=4) -> torch.Tensor:
    found = method.predict(records, batch_size)
    return torch.tensor([[p.scores[name] for name in LABELS.labels] for p in found])


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_pooling_does_not_see_padding(pooling):
    hidden = torch.randn(1, 4, 5)
    alone = pool(hidden, torch.ones(1, 4, dtype=torch.long), pooling)
    noise = torch.full((1, 3, 5), 1e3)
    right = pool(torch.cat([hidden, noise], 1), torch.tensor([[1] * 4 + [0] * 3]), pooling)
    left = pool(torch.cat([noise, hidden], 1), torch.tensor([[0] * 3 + [1] * 4]), pooling)
    torch.testing.assert_close(alone, right)
    torch.testing.assert_close(alone, left)


@pytest.mark.parametrize(
    ("kind", "pooling"),
    [("bert", "mean"), ("bert", "cls"), ("bert", "last"), ("llama", "mean"), ("llama", "last")],
)
def test_predictions_do_not_depend_on_the_batch(folders, tmp_path, kind, pooling):
    method = made(folders[kind], tmp_path, pooling=pooling)
    together = scores(method, RECORDS)
    assert [p.clip_id for p in method.predict(RECORDS)] == ["a", "b", "c", "d"]
    torch.testing.assert_close(together, scores(method, RECORDS, 1), atol=1e-5, rtol=0)
    turned = scores(method, RECORDS[::-1], 3).flip(0)
    torch.testing.assert_close(together, turned, atol=1e-5, rtol=0)
    torch.testing.assert_close(together.sum(1), torch.ones(4), atol=1e-6, rtol=0)
    assert (together[0] - together[1]).abs().max() > 1e-3  # it does read the words


def said(text: str, *before: str) -> Record:
    earlier = tuple(Utterance(Span(0, 0), turn, speaker="Ann") for turn in before)
    found = record(text, text)
    return replace(found, clip=replace(found.clip, context=earlier))


DIALOGUE = [said("fine"), said("fine", "did you hear"), said("no, not that one", "oh", "dear me")]


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_the_last_line_is_pooled_whatever_stands_before_it_or_beside_it(folders, tmp_path, kind):
    values = {"template": "dialogue", "modalities": "T", "turns": 2, "pooling": "last_line"}
    torch.manual_seed(1)
    recipe = TextRecipe(method="text-encoder", model=str(folders[kind]), **values)
    method = TextEncoder.build(recipe, LABELS)
    for item, words in zip(method.items(method.reader.texts(DIALOGUE)), DIALOGUE, strict=True):
        kept = [i for i, m in zip(item["input_ids"], item["pooled_mask"], strict=True) if m]
        read = method.tokenizer.decode(kept, skip_special_tokens=True)
        assert read == f"now : {words.transcript}"
    together = scores(method, DIALOGUE)
    torch.testing.assert_close(together, scores(method, DIALOGUE, 1), atol=1e-5, rtol=0)
    assert (together[0] - together[1]).abs().max() > 1e-4  # the turn before is heard all the same
    method.net.pooling = "mean"
    assert (together[1:] - scores(method, DIALOGUE)[1:]).abs().max() > 1e-4


def test_a_last_line_that_was_cut_off_is_its_last_token(folders, tmp_path):
    method = made(folders["bert"], tmp_path, pooling="last_line", max_tokens=16)
    (item,) = method.items(["one " * 40 + "\nfine"])
    assert item["pooled_mask"] == [0] * 15 + [1] and method.truncated == 1


def test_a_tokenizer_that_loses_places_cannot_find_the_last_line(folders, tmp_path, monkeypatch):
    slow = type(load_tokenizer(str(folders["bert"])))
    monkeypatch.setattr(slow, "is_fast", property(lambda _: False))
    with pytest.raises(TextualizeError, match="set pooling to mean"):
        made(folders["bert"], tmp_path, pooling="last_line")
    made(folders["bert"], tmp_path)


def test_no_records_give_no_predictions(folders, tmp_path):
    assert made(folders["bert"], tmp_path).predict([]) == []


@pytest.mark.parametrize("lora", [Lora(), Lora(rslora=True, alpha=8), None])
@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_every_trained_parameter_gets_a_gradient(folders, tmp_path, lora, pooling):
    method = made(folders["bert"], tmp_path, lora=lora, pooling=pooling)
    for name, parameter in method.net.named_parameters():
        if "lora_B" in name:  # zero at the start, which hides lora_A's gradient
            torch.nn.init.normal_(parameter)
    texts = [r.transcript for r in RECORDS]
    batch = method.collate(method.answered(method.items(texts), [0, 1, 2, 0]))
    method.losses(method.net, batch).mean().backward()
    trained = {n: p for n, p in method.net.named_parameters() if p.requires_grad}
    quiet = [n for n, p in trained.items() if p.grad is None or not p.grad.abs().sum() > 0]
    # A key's bias shifts all of a query's scores alike, and softmax does not see it.
    assert [n for n in quiet if "key.bias" not in n] == []


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_a_fresh_adapter_changes_nothing(folders, tmp_path, kind):
    plain = made(folders[kind], tmp_path, lora=None)
    adapted = made(folders[kind], tmp_path)
    adapted.net.head.load_state_dict(plain.net.head.state_dict())
    assert torch.equal(scores(plain, RECORDS), scores(adapted, RECORDS))


def test_rank_stabilised_scale_is_alpha_over_root_r(folders, tmp_path):
    method = made(folders["bert"], tmp_path, lora=Lora(r=4, alpha=8, rslora=True))
    adapted = [m for m in method.net.modules() if hasattr(m, "lora_A")]
    scales = {m.scaling["default"] for m in adapted}
    assert scales == {4.0}


def test_trained_parameters_are_those_of_the_formula(folders, tmp_path):
    lora = Lora(r=4, targets=["query", "value"])
    method = made(folders["bert"], tmp_path, lora=lora)
    per_layer = 2 * 4 * (32 + 32)
    head = 32 * 3 + 3
    assert parameter_counts(method.net)[0] == 2 * per_layer + head


@pytest.mark.parametrize("lora", [Lora(), None])
def test_a_loaded_run_predicts_the_same(folders, tmp_path, lora):
    method = made(folders["bert"], tmp_path, lora=lora)
    with torch.no_grad():
        for parameter in method.net.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    run = begun(folders["bert"], tmp_path, lora=lora)
    method.save(run.path)
    loaded = TextEncoder.load(run.path)
    assert loaded.labels == LABELS.labels
    assert torch.equal(scores(method, RECORDS), scores(loaded, RECORDS))
    assert sorted(f.name for f in run.path.iterdir() if f.name.startswith(".")) == []


def begun(model: Path, tmp_path: Path, **changes) -> RunFolder:
    values = {"template": str(tmp_path / "words.jinja"), "modalities": "T", "model": str(model)}
    recipe = TextRecipe(method="text-encoder", **(values | changes))
    run = RunFolder(tmp_path / "run")
    run.begin(recipe, LABELS, RECORDS[:2], RECORDS[2:])
    return run


def test_stock_peft_loads_the_adapter(folders, tmp_path, recwarn):
    method = made(folders["bert"], tmp_path)
    with torch.no_grad():
        for name, parameter in method.net.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
    method.save(tmp_path / "out")
    stock = PeftModel.from_pretrained(
        AutoModel.from_pretrained(folders["bert"]), tmp_path / "out" / "adapter"
    ).eval()
    missing = [w for w in recwarn if "missing adapter keys" in str(w.message)]
    assert missing == []
    batch = method.collate(method.items([r.transcript for r in RECORDS]))
    with torch.inference_mode():
        ours = method.net.eval().base(**batch).last_hidden_state
        theirs = stock(**batch).last_hidden_state
    assert torch.equal(ours, theirs)


def test_other_weights_than_those_trained_on_are_refused(folders, tmp_path):
    method = made(folders["bert"], tmp_path)
    run = begun(folders["bert"], tmp_path)
    method.save(run.path)
    run.finish({"weights sha256": "0" * 64}, [], time.time())
    with pytest.raises(TextualizeError, match="not those"):
        TextEncoder.load(run.path)


def test_an_unfinished_run_says_so(folders, tmp_path):
    made(folders["bert"], tmp_path)
    with pytest.raises(TextualizeError, match="no weights"):
        TextEncoder.load(begun(folders["bert"], tmp_path).path)


def test_long_prompts_are_cut_at_the_end_and_counted(folders, tmp_path):
    method = made(folders["bert"], tmp_path, max_tokens=16)
    words = " ".join(["one"] * 40)
    items = method.items([words, "short", "two " + words])
    assert [len(i["input_ids"]) for i in items] == [16, 3, 16]
    assert method.truncated == 2
    assert method.tokenizer.decode(items[2]["input_ids"]).startswith("[CLS] two one")


def test_a_model_that_takes_less_than_asked_for_is_noted(folders, tmp_path):
    method = made(folders["bert"], tmp_path, max_tokens=4000)
    assert method.limit == 512
    assert "lowered from 4000 to 512" in method.notes[0]


def test_a_model_that_is_nowhere_is_one_line_and_quick():
    start = time.perf_counter()
    with pytest.raises(TextualizeError, match="not a folder and not in the local cache") as error:
        find_model("nobody/never-uploaded-this")
    assert time.perf_counter() - start < 1
    assert "\n" not in str(error.value)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(TextualizeError, match=r"no config\.json"):
        find_model(str(tmp_path))


def test_scratch_is_refused(tmp_path):
    with pytest.raises(TextualizeError, match="cannot start from scratch"):
        made("scratch", tmp_path)


def test_the_first_token_of_a_decoder_is_refused(folders, tmp_path):
    with pytest.raises(TextualizeError, match="set pooling to last or mean"):
        made(folders["llama"], tmp_path, pooling="cls")


def test_targets_that_are_not_there_are_one_line(folders, tmp_path):
    with pytest.raises(TextualizeError, match="do not fit") as error:
        made(folders["bert"], tmp_path, lora=Lora(targets=["q_proj"]))
    assert "\n" not in str(error.value)


def test_minilm_is_the_known_model():
    digest = weights_digest(find_model("minilm").folder)
    assert digest == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def test_bfloat16_checkpoints_load_as_the_recipe_says(folders, tmp_path):
    half = tmp_path / "half"
    BertModel.from_pretrained(folders["bert"]).to(torch.bfloat16).save_pretrained(half)
    load_tokenizer(str(folders["bert"])).save_pretrained(half)
    assert made(half, tmp_path, lora=None).net.base.dtype == torch.float32
    assert made(half, tmp_path, dtype="bfloat16").net.base.dtype == torch.bfloat16
