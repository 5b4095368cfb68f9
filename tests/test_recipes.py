from __future__ import annotations

import json
import re
import time

import pytest
import torch
import yaml
from transformers import AutoModel, AutoModelForCausalLM, BertConfig, LlamaConfig, ModernBertConfig

from textualize import assets
from textualize.errors import TextualizeError
from textualize.finetune import train as training
from textualize.finetune.options import Options, Recipe
from textualize.finetune.recipe import (
    FloorRecipe,
    Lora,
    Prompted,
    Scratch,
    Shots,
    TextRecipe,
    load_recipe,
)
from textualize.finetune.schedule import halving
from textualize.finetune.trainer import TextTrainer
from textualize.labels import LabelSet
from textualize.methods import load
from textualize.text import models
from textualize.text.causal import TextLLM
from textualize.text.encoder import TextEncoder
from textualize.text.scratch import scratch_tokenizer
from textualize.types import Clip, Record, Span, Status, Track, Utterance
from textualize.weights.table import WEIGHTS
from textualize.windows import RICHET2024

torch.set_num_threads(1)

LABELS = LabelSet("own", ("glad", "sad"), {})
HEAD = ("Command:", "Hardware:", "Memory:", "Time:", "Score:")
# recipe: (architecture, the linear layers its adapter stands on; None: trained in full)
BERT = {"query", "key", "value", "dense"}
LLAMA = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
TEXT = {
    "minilm-lora": ("bert", BERT),
    "minilm-full": ("bert", None),
    "text-encoder": ("bert", BERT),
    "bert-base": ("bert", None),
    "modernbert-base": ("modernbert", {"Wqkv", "Wo", "Wi"}),
    "smollm2-135m-lora": ("llama", LLAMA),
    "llama3.2-1b-lora": ("llama", LLAMA),
    "llama3-8b-qlora": ("llama", {"q_proj", "v_proj"}),
    "richet2024": ("llama", {"q_proj", "v_proj"}),
}
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 2048,
}


def records(count: int = 8) -> list[Record]:
    found = []
    for i in range(count):
        label = LABELS.labels[i % 2]
        words = f"{'what a lovely day' if label == 'glad' else 'she is gone'} {i}"
        aus = Track(torch.rand(25, 2).numpy(), 10.0, 0.0, ("AU06", "AU12"), "probability", "test")
        status = {"speech": Status("observed", "sidecar"), "face": Status("observed", "test")}
        clip = Clip(f"c{i}", None, Span(0.0, 2.5), label=label, group=f"g{i}")
        said = (Utterance(Span(0.0, 2.5), words),)
        found.append(Record(clip, {"aus": aus}, said, status))
    return found


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> dict[str, str]:
    """Folders of random models, one of each architecture, with a tokenizer."""
    torch.manual_seed(0)
    tokenizer = scratch_tokenizer(["what a lovely day", *LABELS.labels], 300)
    ids = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    found = {}
    for name, auto, config in (
        ("bert", AutoModel, BertConfig(**SIZES, **ids)),
        ("modernbert", AutoModel, ModernBertConfig(**SIZES, **ids, cls_token_id=1, sep_token_id=1)),
        ("llama", AutoModelForCausalLM, LlamaConfig(**SIZES, **ids)),
    ):
        folder = tmp_path_factory.mktemp(name)
        auto.from_config(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        found[name] = str(folder)
    return found


@pytest.mark.parametrize("name", assets.names("finetune", ".yaml"))
def test_every_recipe_tells_command_hardware_memory_time_and_score(name):
    text = assets.find("finetune", name, ".yaml").read_text("utf-8")
    head = [line[2:] for line in text.splitlines() if line.startswith("# ")]
    for key in HEAD:
        assert sum(line.startswith(key) and len(line) > len(key) + 2 for line in head) == 1, key
    score = next(line for line in head if line.startswith("Score:"))
    assert "not measured here" in score or re.search(r"\d\.\d{3} \[", score)
    assert f"`{name}`" in (assets.folder("finetune") / "README.md").read_text("utf-8")


def test_a_score_in_a_recipe_stands_in_the_results():
    results = (assets.folder("eval") / "RESULTS.md").read_text("utf-8")
    for name in assets.names("finetune", ".yaml"):
        text = assets.find("finetune", name, ".yaml").read_text("utf-8")
        for score in re.findall(r"\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\]", text):
            assert score in results, f"{name}: {score}"


def test_every_text_recipe_is_checked_here_and_its_hub_id_is_in_the_table():
    texts = {n: load_recipe(n) for n in assets.names("finetune", ".yaml")}
    texts = {n: r for n, r in texts.items() if isinstance(r, TextRecipe) and r.model != "scratch"}
    assert set(texts) == set(TEXT)
    known = {row.source for row in WEIGHTS.values()} | {"minilm"}
    assert {r.model for r in texts.values()} <= known


@pytest.mark.parametrize("name", sorted(TEXT))
def test_it_builds_on_its_architecture_and_adapts_the_layers_it_names(name, tiny):
    architecture, layers = TEXT[name]
    recipe = load_recipe(name, [f"model={tiny[architecture]}"])
    if recipe.method == "text-llm":
        method = TextLLM.build(recipe, LABELS, records())
    else:
        method = TextEncoder.build(recipe, LABELS)
    assert method.limit == recipe.max_tokens and not method.notes
    base = method.net if recipe.method == "text-llm" else method.net.base
    adapted = {
        n.split(".lora_A")[0].split(".")[-1] for n, _ in base.named_modules() if "lora_A" in n
    }
    if layers is None:
        assert not models.is_adapted(base)
        assert all(p.requires_grad for p in base.parameters())
    else:
        assert adapted == layers
        trained = [n for n, p in base.named_parameters() if p.requires_grad]
        assert trained and all("lora_" in n for n in trained)
    answer = method.predict(records(2))
    assert len(answer) == 2 and abs(sum(answer[0].scores.values()) - 1) < 1e-6


def test_the_papers_recipe_is_the_papers(tiny):
    recipe = load_recipe("richet2024")
    lora = recipe.lora
    assert (lora.r, lora.alpha, lora.dropout, lora.rslora) == (8, 8, 0.05, True)
    assert (recipe.optimizer, recipe.lr, recipe.weight_decay) == ("sgd", 3e-3, 0.01)
    assert (recipe.batch_size, recipe.epochs, recipe.halve_every) == (4, 100, 18)
    assert (recipe.max_grad_norm, recipe.patience, recipe.warmup) == (0.3, 50, 0.0)
    assert (recipe.quantization, recipe.pooling, recipe.template) == ("nf4", "last", "richet2024")
    assert recipe.windows is RICHET2024
    method = TextEncoder.build(load_recipe("richet2024", [f"model={tiny['llama']}"]), LABELS)
    scales = {m.scaling["default"] for m in method.net.base.modules() if hasattr(m, "lora_A")}
    assert sorted(scales) == pytest.approx([8 / 8**0.5])
    # r (d_in + d_out) for q and v of both layers: what 3 407 872 is for the 8B model
    pairs = sum(p.numel() for n, p in method.net.base.named_parameters() if "lora_" in n)
    assert pairs == 2 * 2 * 8 * (64 + 64)
    assert sum(8 * (4096 + out) for out in (4096, 1024)) * 32 == 3_407_872


def test_the_rate_halves_in_steps_down_to_a_floor():
    rate = halving(0, 18, 1e-7 / 3e-3)
    assert [rate(s) for s in (0, 17, 18, 36)] == [1.0, 1.0, 0.5, 0.25]
    assert rate(18 * 90) * 3e-3 == pytest.approx(1e-7)


def small(tiny, tmp_path, **changes) -> TextRecipe:
    values = {"model": tiny["bert"], "template": "transcript", "modalities": "T", "epochs": 4,
              "batch_size": 4, "lr": 0.1, "warmup": 0.0, "patience": 9}  # fmt: skip
    return TextRecipe(method="text-encoder", **(values | changes))


def test_sgd_trains_with_a_halving_rate_and_the_recipes_gradient_norm(tiny, tmp_path, monkeypatch):
    seen = {}

    def watched(trainer):
        def step(self, *_, **__):
            done = real(self)
            seen.setdefault("lr", []).append(self.optimizer.param_groups[0]["lr"])
            seen["optimizer"], seen["norm"] = self.optimizer, self.args.max_grad_norm
            return done

        real = trainer.evaluate
        return step

    monkeypatch.setattr(TextTrainer, "evaluate", watched(TextTrainer))
    recipe = small(tiny, tmp_path, optimizer="sgd", halve_every=1, max_grad_norm=0.3)
    run = training.train(recipe, records(8), records(12)[8:], tmp_path / "run", labels=LABELS)
    inner = getattr(seen["optimizer"], "optimizer", seen["optimizer"])
    assert type(inner) is torch.optim.SGD and inner.param_groups[0]["momentum"] == 0
    assert seen["norm"] == 0.3
    assert seen["lr"] == pytest.approx([0.05, 0.025, 0.0125, 0.00625])
    assert [line["epoch"] for line in run.metrics()] == [1, 2, 3, 4]


def test_published_rows_cut_training_and_answering_differently(tiny, tmp_path, monkeypatch):
    given = {}

    def kept(recipe, learned, checked, run):
        given.update(train=learned, validation=checked)
        run.finish({}, [], time.time())

    monkeypatch.setattr(training, "resolve", lambda *_: kept)
    recipe = small(tiny, tmp_path, rows="richet2024")
    training.train(recipe, records(4), records(6)[4:], tmp_path / "run", labels=LABELS)
    assert [len(r.tracks["aus"].values) for r in given["train"][:3]] == [10, 10, 5]
    assert len(given["validation"]) == 2 * 25
    assert max(len(r.tracks["aus"].values) for r in given["validation"]) == 21
    stored = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text("utf-8"))
    assert stored["rows"] == "richet2024"


def test_a_clip_is_cut_one_way():
    with pytest.raises(TextualizeError, match="by window or by rows, not by both"):
        load_recipe("concat", ["rows=richet2024", "window={length_s: 2, hop_s: 1}"])


def test_a_published_run_answers_clip_by_clip(tiny, tmp_path):
    recipe = small(tiny, tmp_path, rows="richet2024", epochs=1, batch_size=8)
    run = training.train(recipe, records(2), records(4)[2:], tmp_path / "run", labels=LABELS)
    kept = [json.loads(x) for x in (run.path / "validation.jsonl").read_text().splitlines()]
    assert len(kept) == 50 and kept[0]["group"] == "g2"
    answers = load(run.path).predict(records(4)[2:])
    assert [a.clip_id for a in answers] == ["c2", "c3"]


# --- what the README says of the keys -------------------------------------------------------------


def shown(value) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()


def test_the_readme_tells_every_key_of_a_text_recipe_with_its_default():
    text = (assets.folder("finetune") / "README.md").read_text("utf-8")
    told = dict(re.findall(r"^\| `(\w+)` \| (?:`([^`]+)`|see below)? *\|", text, re.MULTILINE))
    for kind in (Recipe, Prompted, FloorRecipe, TextRecipe):
        for key, field in kind.model_fields.items():
            grouped = field.is_required() or isinstance(field.default, Options)
            assert told[key] == ("" if grouped else shown(field.default)), key
    for name, group in {"lora": Lora, "shots": Shots, "scratch": Scratch}.items():
        row = next(
            line
            for line in text.splitlines()
            if f"| `{name}` | `{next(iter(group.model_fields))}`" in line
        )
        said = re.findall(r"`(\w+)` ([^,(|]+)", row)
        assert {k: v.strip() for k, v in said if k != name} == {
            key: shown(value) for key, value in group().model_dump().items()
        }
