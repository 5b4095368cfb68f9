"""What recipes make of training, and what may happen to it: kills, launchers, losses that fail."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForCausalLM, BitsAndBytesConfig

from textualize.errors import TextualizeError
from textualize.finetune.recipe import FloorRecipe, TextRecipe, parse
from textualize.finetune.run_folder import RunFolder
from textualize.finetune.train import spread, train, train_seeds
from textualize.finetune.trainer import TextTrainer
from textualize.labels import LabelSet
from textualize.methods import load
from textualize.text.encoder import pool
from textualize.types import Clip, Record, Span, Status, Utterance

torch.set_num_threads(1)

LABELS = LabelSet("own", ("glad", "mad", "sad"), {})
WORDS = {
    "glad": ["what a lovely day", "this is great fun", "I love it"],
    "mad": ["get out of here", "how dare you say that", "leave me alone now"],
    "sad": ["she is gone", "I miss him so much", "nothing matters any more, does it"],
}


def records(part: str, copies: int) -> list[Record]:
    return [
        Record(
            Clip(f"{part}-{label}-{i}-{copy}", None, label=label, transcript=words),
            {},
            (Utterance(Span(0, 1), words),),
            {"speech": Status("observed", "sidecar")},
        )
        for copy in range(copies)
        for label, sentences in WORDS.items()
        for i, sentence in enumerate(sentences)
        for words in [f"{sentence} {'again ' * copy}".strip()]
    ]


TRAIN, VALIDATION = records("train", 2), records("validation", 1)


def encoder(model: str, words: str, **changes) -> TextRecipe:
    values = {"model": model, "template": words, "modalities": "T", "epochs": 3, "batch_size": 4}
    return TextRecipe(method="text-encoder", **(values | {"lr": 1e-2, "patience": 9} | changes))


def causal(model: str, words: str, **changes) -> TextRecipe:
    values = {"model": model, "template": words, "modalities": "T", "epochs": 1, "batch_size": 6}
    changes = {"lr": 1e-2, "max_tokens": 64} | changes
    return TextRecipe(method="text-llm", **(values | changes))


def go(recipe, out: Path, training=TRAIN, validation=VALIDATION) -> RunFolder:
    return train(recipe, training, validation, out, labels=LABELS)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return {
        f"{file.relative_to(run)}:{name}": tensor
        for file in sorted(run.rglob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def same(one: Path, other: Path) -> bool:
    a, b = weights(one), weights(other)
    return bool(a) and a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def forked(work: Callable[[], object]) -> multiprocessing.Process:
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


# --- several seeds ---


def test_every_seed_gets_the_run_it_would_have_got_alone(bert, words, tmp_path):
    recipe = encoder(bert, words, epochs=2)
    several = recipe.model_copy(update={"seeds": [3, 5]})
    runs = train_seeds(several, TRAIN, VALIDATION, tmp_path / "runs", labels=LABELS)
    assert [run.path.name for run in runs] == ["seed-3", "seed-5"]
    alone = go(recipe.model_copy(update={"seed": 5}), tmp_path / "alone")
    assert same(runs[1].path, alone.path)
    assert not same(runs[0].path, alone.path)
    assert (tmp_path / "runs" / "seeds.json").is_file()
    found = spread(runs, "macro_f1")
    low, high = sorted(found["runs"].values())
    assert found["mean"] == pytest.approx((low + high) / 2, abs=1e-4)
    assert found["sd"] == pytest.approx((high - low) / 2**0.5, abs=1e-4)
    again = train_seeds(several, TRAIN, VALIDATION, tmp_path / "runs", labels=LABELS)
    assert [run.environment for run in again] == [run.environment for run in runs]
    with pytest.raises(TextualizeError, match="one run has one seed"):
        train(several, TRAIN, VALIDATION, tmp_path / "other")
    with pytest.raises(TextualizeError, match="is a run of one seed"):
        train_seeds(several, TRAIN, VALIDATION, tmp_path / "alone")


def test_seeds_are_for_every_method(tmp_path):
    recipe = FloorRecipe(method="majority", seeds=[0, 1])
    runs = train_seeds(recipe, TRAIN, VALIDATION, tmp_path)
    assert [run.complete for run in runs] == [True, True]
    with pytest.raises(TextualizeError, match="names a seed twice"):
        parse({"method": "majority", "seeds": [1, 1]}, "own.yaml")


# --- broken off ---


@pytest.mark.parametrize("kind", ["encoder", "causal"])
def test_killed_with_signal_nine_in_the_middle_of_an_epoch(bert, llama, words, tmp_path, kind):
    made, model = (encoder, bert) if kind == "encoder" else (causal, llama)
    recipe = made(model, words, epochs=3, batch_size=4)  # 5 steps an epoch

    def killed() -> None:
        plain = TextTrainer.training_step

        def step(self, *inputs):
            if self.state.global_step == 8:
                os.kill(os.getpid(), signal.SIGKILL)
            return plain(self, *inputs)

        TextTrainer.training_step = step
        go(recipe, tmp_path / "broken")

    victim = forked(killed)
    victim.join(60)
    assert victim.exitcode == -signal.SIGKILL
    broken = RunFolder(tmp_path / "broken")
    assert not broken.complete
    assert len(broken.metrics()) == 1
    go(recipe, broken.path)
    whole = go(recipe, tmp_path / "whole")
    assert same(broken.path, whole.path)
    assert broken.metrics() == whole.metrics()


def test_two_processes_make_one_run(bert, words, tmp_path):
    recipe = encoder(bert, words, epochs=2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def member(rank: int) -> None:
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        os.environ |= place | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ["ACCELERATE_USE_CPU"] = "true"
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        wrote = []
        plain = RunFolder.finish
        RunFolder.finish = lambda self, *a: wrote.append(rank) or plain(self, *a)
        run = go(recipe, tmp_path / "run")
        assert run.complete
        assert wrote == [0] * (rank == 0)
        assert len(run.metrics()) == 2

    members = [forked(lambda rank=rank: member(rank)) for rank in range(2)]
    for process in members:
        process.join(90)
    assert [process.exitcode for process in members] == [0, 0]
    run = RunFolder(tmp_path / "run")
    assert run.environment["summary"]["processes"] == 2
    assert len(load(run.path).predict(VALIDATION)) == len(VALIDATION)
    assert not list(run.path.glob("*.tmp*"))


@pytest.mark.slow
def test_accelerate_launch_trains_every_seed_in_two_processes(bert, words, tmp_path):
    corpus, listing = tmp_path / "corpus", tmp_path / "clips.csv"
    lines = [
        f"{r.clip.id},{r.clip.label},{part},{r.clip.transcript.replace(',', '')}\n"
        for part, some in (("train", TRAIN), ("validation", VALIDATION))
        for r in some
    ]
    listing.write_text("id,label,split,transcript\n" + "".join(lines))
    settings = {"model": bert, "template": words, "modalities": "T", "epochs": 1, "seeds": "[0,1]"}
    launch = ["accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--num_machines=1"]
    launch += ["--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0"]
    train_it = ["-m", "textualize", "train", "text-encoder", f"--corpus={corpus}"]
    train_it += [f"--out={tmp_path / 'runs'}", *(f"--set={k}={v}" for k, v in settings.items())]
    extract = ["textualize", "extract", listing, "--sensors=sidecar", f"--corpus={corpus}"]
    for command in (extract, [*launch, *train_it]):
        subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True)
    for seed in (0, 1):
        run = RunFolder(tmp_path / "runs" / f"seed-{seed}")
        assert run.complete
        assert run.environment["summary"]["processes"] == 2
    assert (tmp_path / "runs" / "seeds.json").is_file()


def test_a_method_of_one_process_is_refused_by_a_launcher(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TextualizeError, match="start it without a launcher"):
        go(FloorRecipe(method="majority"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_is_one_line_with_the_key_to_change(bert, words, tmp_path):
    wild = encoder(bert, words, lora=None, lr=1e30, max_grad_norm=1e30, warmup=0.0)
    with pytest.raises(TextualizeError) as caught:
        go(wild, tmp_path / "run")
    said = str(caught.value)
    assert "the loss is nan at step 2 of 15" in said
    assert "lower lr (now 1e+30)" in said
    assert "\n" not in said
    assert not RunFolder(tmp_path / "run").complete


# --- odd data ---


@pytest.mark.parametrize("kind", ["encoder", "causal"])
def test_a_train_set_of_one_class_is_learned_and_told(bert, llama, words, tmp_path, kind):
    options = {"class_balanced": 1.0, "prior_correction": True}
    made, model = (encoder, bert) if kind == "encoder" else (causal, llama)
    recipe = made(model, words, **options)
    glad = [r for r in TRAIN if r.clip.label == "glad"]
    run = go(recipe, tmp_path / "run", glad)
    assert "every training clip is 'glad'" in (run.path / "README.md").read_text()
    assert len(load(run.path).predict(VALIDATION)) == len(VALIDATION)


def test_a_label_nobody_has_is_told(bert, words, tmp_path):
    run = go(encoder(bert, words, epochs=1), tmp_path / "run", TRAIN[:6])
    assert "no training clip is sad" in (run.path / "README.md").read_text()


# --- kinds of training, and what stock libraries make of them ---

VARIANTS = {
    "plain": {},
    "rslora": {"lora": {"r": 4, "alpha": 4, "rslora": True, "dropout": 0.0}},
    "dora": {"lora": {"r": 4, "dora": True}},
    "targets": {"lora": {"r": 4, "targets": ["q_proj", "v_proj"]}},
    "head in full": {"lora": {"r": 4, "modules_to_save": ["lm_head"]}},
    "bfloat16": {"dtype": "bfloat16"},
    "nf4": {"quantization": "nf4"},
    "int8": {"quantization": "int8"},
    "nf4 and bfloat16": {"quantization": "nf4", "dtype": "bfloat16"},
    "nf4 and dora": {"quantization": "nf4", "lora": {"r": 4, "dora": True}},
    "in full": {"lora": None},
    "packed, head in full": {"packing": True, "lora": {"r": 4, "modules_to_save": ["lm_head"]}},
}


def stock(model: str, run: Path, recipe: TextRecipe, auto=AutoModelForCausalLM):
    """Load a run with transformers and peft alone."""
    if recipe.lora is None:
        return auto.from_pretrained(run / "model").eval()
    options = {"dtype": getattr(torch, recipe.dtype)}
    if recipe.quantization == "nf4":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
        )
    elif recipe.quantization == "int8":
        options["quantization_config"] = BitsAndBytesConfig(load_in_8bit=True)
    base = auto.from_pretrained(model, **options)
    for module in base.modules():  # bitsandbytes would round 4-bit weights again on some CPUs
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return PeftModel.from_pretrained(base, run / "adapter").eval()


@pytest.mark.parametrize("variant", VARIANTS)
def test_stock_libraries_give_a_causal_runs_logits(llama, words, tmp_path, variant):
    recipe = parse(causal(llama, words, **VARIANTS[variant]).model_dump(), "own.yaml")
    run = go(recipe, tmp_path / "run")
    method = load(run.path)
    ids = torch.tensor([method.items(["she is gone again"])[0]["input_ids"]])
    with torch.inference_mode():
        ours = method.net(input_ids=ids).logits
        theirs = stock(llama, run.path, recipe)(input_ids=ids).logits
        base = AutoModelForCausalLM.from_pretrained(llama)(input_ids=ids).logits
    assert torch.equal(ours, theirs)
    assert not torch.allclose(ours.float(), base, atol=1e-3)


@pytest.mark.parametrize(
    "changes",
    [{}, {"dtype": "bfloat16"}, {"quantization": "nf4"}, {"quantization": "int8"}, {"lora": None}],
    ids=str,
)
def test_stock_libraries_and_the_head_give_an_encoder_runs_scores(bert, words, tmp_path, changes):
    recipe = encoder(bert, words, epochs=1, **changes)
    run = go(recipe, tmp_path / "run")
    method = load(run.path)
    item = method.items(["she is gone again"])[0]
    batch = {name: torch.tensor([values]) for name, values in item.items()}
    head = load_file(run.path / "head.safetensors")
    with torch.inference_mode():
        hidden = stock(bert, run.path, recipe, AutoModel)(**batch).last_hidden_state
        pooled = pool(hidden.float(), batch["attention_mask"], recipe.pooling)
        normed = torch.nn.functional.layer_norm(pooled, pooled.shape[-1:])
        theirs = (normed @ head["weight"].T + head["bias"]).log_softmax(-1)
    torch.testing.assert_close(theirs.double(), method.log_scores([item]), atol=1e-5, rtol=0)


def test_recomputed_layers_learn_the_same(bert, words, tmp_path):
    plain, spared = (
        go(encoder(bert, words, epochs=2, gradient_checkpointing=on), tmp_path / str(on))
        for on in (False, True)
    )
    one, other = weights(plain.path), weights(spared.path)
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=1e-5, rtol=1e-4)


def test_packing_learns_what_padding_learns(llama, words, tmp_path):
    options = {"epochs": 2, "lora": {"r": 4, "dropout": 0.0}, "lr": 1e-3}
    padded, together = (
        go(
            parse(causal(llama, words, packing=on, **options).model_dump(), "own.yaml"),
            tmp_path / str(on),
        )
        for on in (False, True)
    )
    assert "packed" in together.environment["summary"]
    for one, other in zip(padded.metrics(), together.metrics(), strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], abs=1e-4)
        assert one["validation_loss"] == pytest.approx(other["validation_loss"], abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "text-encoder", "packing": True}, "packing True is for text-llm"),
        ({"dtype": "bfloat16", "lora": None}, "too coarse to be trained in full"),
        (
            {"dtype": "bfloat16", "lora": {"modules_to_save": ["lm_head"]}},
            "modules_to_save are trained in full",
        ),
    ],
)
def test_what_cannot_be_is_one_line(changes, said):
    with pytest.raises(TextualizeError, match=said):
        parse({"method": "text-llm", "model": "somewhere", **changes}, "own.yaml")
