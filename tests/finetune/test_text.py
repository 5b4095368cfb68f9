from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from textualize.errors import TextualizeError
from textualize.evaluate.metrics import score
from textualize.finetune import text
from textualize.finetune.checkpoints import SEAL, WEIGHTS, last_whole, seal, whole
from textualize.finetune.recipe import Lora, Scratch, TextRecipe
from textualize.finetune.run_folder import RunFolder
from textualize.finetune.trainer import TextTrainer, class_weights
from textualize.labels import LabelSet
from textualize.methods import load
from textualize.text.encoder import TextEncoder
from textualize.types import Clip, Record, Span, Status, Utterance

torch.set_num_threads(1)  # two busy threads on a shared machine are ten times slower than one

LABELS = LabelSet("own", ("glad", "mad", "sad"), {})
WORDS = {
    "glad": ["what a lovely day", "this is great fun", "I love it"],
    "mad": ["get out of here", "how dare you say that", "leave me alone now"],
    "sad": ["she is gone", "I miss him so much", "nothing matters any more, does it"],
}


def records(part: str, copies: int) -> list[Record]:
    found = []
    for copy in range(copies):
        for label, sentences in WORDS.items():
            for i, sentence in enumerate(sentences):
                name = f"{part}-{label}-{i}-{copy}"
                words = f"{sentence} {'again ' * copy}".strip()
                clip = Clip(name, None, label=label, transcript=words)
                status = {"speech": Status("observed", "sidecar")}
                found.append(Record(clip, {}, (Utterance(Span(0, 1), words),), status))
    return found


TRAIN, VALIDATION = records("train", 4), records("validation", 2)


def encoder(model: str, words: str, **changes) -> TextRecipe:
    values = {
        "model": model,
        "template": words,
        "modalities": "T",
        "epochs": 4,
        "batch_size": 4,
        "lr": 1e-2,
        "patience": 9,
    }
    return TextRecipe(method="text-encoder", **(values | changes))


def trained(recipe: TextRecipe, out: Path, train=TRAIN, validation=VALIDATION) -> RunFolder:
    run = RunFolder(out)
    assert run.begin(recipe, LABELS, train, validation)
    go = text.train_encoder if recipe.method == "text-encoder" else text.train_causal
    go(recipe, train, validation, run)
    return run


def validated(run: RunFolder) -> dict[str, float]:
    truth = [LABELS.index(r.clip.label) for r in VALIDATION]
    guess = [LABELS.index(p.label) for p in load(run.path).predict(VALIDATION)]
    return {name: score(name, truth, guess, 3) for name in ("macro_f1", "accuracy")}


@pytest.mark.parametrize("lora", [Lora(), None])
def test_it_learns_and_the_loaded_run_is_the_selected_epoch(bert, words, tmp_path, lora):
    lr = 1e-2 if lora else 2e-3
    run = trained(encoder(bert, words, lora=lora, lr=lr), tmp_path / "run")
    lines = run.metrics()
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert lines[-1]["train_loss"] < 0.7 * lines[0]["train_loss"]
    selected = [line for line in lines if line["selected"]]
    assert selected == [max(lines, key=lambda line: line["macro_f1"])]  # the first of equals
    found = validated(run)
    assert found == {name: selected[0][name] for name in found}
    assert selected[0]["accuracy"] > 0.5
    assert run.complete
    assert not (run.path / "checkpoints").exists()
    assert (run.path / ("adapter" if lora else "model")).is_dir()


def test_the_same_seed_gives_the_same_weights(bert, words, tmp_path):
    recipe = encoder(bert, words, epochs=2)
    one, two = (trained(recipe, tmp_path / name) for name in ("one", "two"))
    assert weights(one) == weights(two)
    other = trained(encoder(bert, words, epochs=2, seed=1), tmp_path / "three")
    assert weights(one) != weights(other)


def weights(run: RunFolder) -> dict[str, list]:
    files = [run.path / "adapter" / "adapter_model.safetensors", run.path / "head.safetensors"]
    return {k: v.tolist() for file in files for k, v in load_file(file).items()}


def test_coarser_products_are_for_training_alone(bert, words, tmp_path, monkeypatch):
    seen: dict[str, set[str]] = {"train": set(), "score": set()}
    losses, scores = TextEncoder.losses, TextEncoder.log_scores

    def in_training(self, *inputs):
        seen["train"].add(torch.get_float32_matmul_precision())
        return losses(self, *inputs)

    def in_scoring(self, *inputs):
        seen["score"].add(torch.get_float32_matmul_precision())
        return scores(self, *inputs)

    monkeypatch.setattr(TextEncoder, "losses", in_training)
    monkeypatch.setattr(TextEncoder, "log_scores", in_scoring)
    coarse = encoder(bert, words, epochs=2, matmul="bfloat16")
    run = trained(coarse, tmp_path / "coarse")
    assert seen == {"train": {"medium"}, "score": {"highest"}}
    assert weights(run) == weights(trained(coarse, tmp_path / "again"))
    assert torch.get_float32_matmul_precision() == "highest"
    trained(encoder(bert, words, epochs=1), tmp_path / "exact")
    assert seen["train"] == {"medium", "highest"}


@pytest.mark.parametrize("torn", [False, True])
def test_a_broken_training_goes_on_and_ends_the_same(bert, words, tmp_path, monkeypatch, torn):
    recipe = encoder(bert, words)
    unbroken = trained(recipe, tmp_path / "unbroken")
    run = RunFolder(tmp_path / "broken")
    run.begin(recipe, LABELS, TRAIN, VALIDATION)
    with monkeypatch.context() as broken:
        broken.setattr(TextTrainer, "evaluate", _broken_at(3))
        with pytest.raises(KeyboardInterrupt):
            text.train_encoder(recipe, TRAIN, VALIDATION, run)
    newest = max((run.path / "checkpoints").iterdir(), key=lambda f: int(f.name.split("-")[1]))
    if torn:
        data = (newest / WEIGHTS).read_bytes()
        (newest / WEIGHTS).write_bytes(data[: len(data) // 2])
        assert last_whole(run.path / "checkpoints") not in (None, newest)
    assert run.begin(recipe, LABELS, TRAIN, VALIDATION)
    text.train_encoder(recipe, TRAIN, VALIDATION, run)
    assert weights(run) == weights(unbroken)
    assert run.metrics() == unbroken.metrics()


def _broken_at(epoch: int):
    plain = TextTrainer.evaluate

    def evaluate(self, *args, **options):
        if round(self.state.epoch) == epoch:
            raise KeyboardInterrupt
        return plain(self, *args, **options)

    return evaluate


def test_a_training_broken_after_its_last_epoch_trains_no_more(bert, words, tmp_path, monkeypatch):
    recipe = encoder(bert, words, epochs=3)
    run = RunFolder(tmp_path / "run")
    run.begin(recipe, LABELS, TRAIN, VALIDATION)
    with monkeypatch.context() as broken:
        broken.setattr(RunFolder, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            text.train_encoder(recipe, TRAIN, VALIDATION, run)
    before = weights(run)
    with monkeypatch.context() as refused:
        refused.setattr(TextTrainer, "training_step", None)
        text.train_encoder(recipe, TRAIN, VALIDATION, run)
    assert run.complete
    assert weights(run) == before


def test_training_stops_when_nothing_gets_better(bert, words, tmp_path):
    run = trained(encoder(bert, words, epochs=9, patience=2, lr=1e-9), tmp_path / "run")
    assert len(run.metrics()) == 3
    assert [line["selected"] for line in run.metrics()] == [True, False, False]


def test_a_checkpoint_is_whole_only_as_it_was_sealed(tmp_path):
    checkpoint = tmp_path / "checkpoint-1"
    checkpoint.mkdir()
    (checkpoint / "a").write_text("a")
    assert not whole(checkpoint)
    seal(checkpoint)
    assert whole(checkpoint)
    (checkpoint / "a").write_text("b")
    assert not whole(checkpoint)
    (checkpoint / SEAL).write_text("{")
    assert last_whole(tmp_path) is None


def test_class_weights_make_every_class_count_the_same():
    weights = class_weights([0, 0, 0, 1, 1, 2], 4)
    total = weights[[0, 0, 0, 1, 1, 2]]
    assert total[:3].sum() == pytest.approx(2.0)
    assert total[3:5].sum() == pytest.approx(2.0)
    assert total[5] == pytest.approx(2.0)
    assert weights[3] == 0


def test_balancing_changes_what_is_learned(bert, words, tmp_path):
    few = [r for r in TRAIN if r.clip.label != "sad"] + TRAIN[-1:]
    plain = trained(encoder(bert, words, epochs=1), tmp_path / "plain", few)
    even = trained(encoder(bert, words, epochs=1, class_balanced=True), tmp_path / "even", few)
    assert weights(plain) != weights(even)


def test_cut_prompts_are_counted_in_the_card(bert, words, tmp_path):
    long = [r for r in records("more", 13) if len(r.transcript.split()) > 14][-3:]
    assert len(long) == 3
    run = trained(encoder(bert, words, epochs=1, max_tokens=16), tmp_path / "run", [*TRAIN, *long])
    card = (run.path / "README.md").read_text()
    total = len(TRAIN) + 3
    assert f"truncated train prompts: 3 of {total} (longer than 16 tokens" in card
    assert f"| truncated prompts | 3 of {total + len(VALIDATION)} |" in card


def test_a_label_outside_the_set_is_one_line(bert, words, tmp_path):
    strange = [TRAIN[0].with_label("bored"), *TRAIN[1:]]
    run = RunFolder(tmp_path / "run")
    run.begin(encoder(bert, words), LABELS, strange, VALIDATION)
    with pytest.raises(TextualizeError, match="'bored' is not in label set"):
        text.train_encoder(encoder(bert, words), strange, VALIDATION, run)


def test_no_validation_is_refused(bert, words, tmp_path):
    run = RunFolder(tmp_path / "run")
    run.begin(encoder(bert, words), LABELS, TRAIN, [])
    with pytest.raises(TextualizeError, match="given 36 and 0"):
        text.train_encoder(encoder(bert, words), TRAIN, [], run)


# --- text-llm ---


def test_a_model_from_scratch_is_a_plain_folder_and_says_so(words, tmp_path):
    recipe = TextRecipe(
        method="text-llm",
        model="scratch",
        lora=None,
        template=words,
        modalities="T",
        scratch=Scratch(hidden=32, layers=2, heads=2, vocabulary=320),
        epochs=4,
        batch_size=4,
        lr=5e-3,
        patience=9,
        max_tokens=64,
    )
    run = trained(recipe, tmp_path / "run")
    lines = run.metrics()
    assert lines[-1]["train_loss"] < 0.5 * lines[0]["train_loss"]
    selected = next(line for line in lines if line["selected"])
    found = validated(run)
    assert found == {name: selected[name] for name in found}
    AutoModelForCausalLM.from_pretrained(run.path / "model")
    assert "trained from scratch" in (run.path / "README.md").read_text()


def test_an_adapter_on_a_real_checkpoint(assets: Path, words, tmp_path):
    base = str(assets / "weights" / "babyllama-tok105")
    recipe = TextRecipe(
        method="text-llm",
        model=base,
        template=words,
        modalities="T",
        epochs=2,
        batch_size=4,
        lr=5e-3,
        max_tokens=128,
    )
    run = trained(recipe, tmp_path / "run")
    lines = run.metrics()
    assert lines[-1]["train_loss"] < 0.8 * lines[0]["train_loss"]
    selected = next(line for line in lines if line["selected"])
    found = validated(run)
    assert found == {name: selected[name] for name in found}
    stock = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base), run.path / "adapter"
    )
    assert stock.peft_config["default"].task_type == "CAUSAL_LM"
    assert "weights sha256" in (run.path / "README.md").read_text()
