import json
import re
import time
from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from textualize.errors import TextualizeError
from textualize.files import read_json
from textualize.finetune.card import about_corpus, loading
from textualize.finetune.recipe import load_recipe
from textualize.finetune.run_folder import RunFolder
from textualize.finetune.train import train, train_seeds
from textualize.labels import LABEL_SETS, LabelSet
from textualize.surroundings import attach
from textualize.text.scratch import scratch_tokenizer
from textualize.types import Clip, Record, Span, Status, Utterance

torch.set_num_threads(1)

LABELS = LabelSet("own", ("a", "b"), {})


def records(start, count):
    return [Record(Clip(f"c{i}", None, label="ab"[i % 2])) for i in range(start, start + count)]


def recipe(**changes):
    return load_recipe("majority").model_copy(update=changes)


def test_a_run_is_finished_when_its_card_is_written(tmp_path):
    run = RunFolder(tmp_path / "r")
    assert run.begin(recipe(), LABELS, records(0, 4), records(4, 2), ["c9"])
    assert not run.complete
    run.write_metrics([{"epoch": 1, "macro_f1": 0.5}])
    run.finish({"parameters": 0}, ["one prompt was cut"], time.time())
    assert run.complete and run.test_ids == ["c9"] and run.labels == LABELS
    card = (run.path / "README.md").read_text()
    assert "one prompt was cut" in card and "not what a person feels" in card
    assert not run.begin(recipe(), LABELS, records(0, 4), records(4, 2), ["c9"])


def card_of(tmp_path, labels, train, validation, **begun):
    """The card of a majority run over clips with these ids, and its folder."""
    run = RunFolder(tmp_path / "r")
    run.begin(recipe(), labels, train, validation, **begun)
    run.finish({"label": "a"}, [], time.time())
    return (run.path / "README.md").read_text(), run


def test_the_card_tells_what_how_well_and_what_not_for(tmp_path):
    leaks = ["2 clips of 1 source are in train and test"]
    run = train(
        recipe(seed=3, select="weighted_f1"), records(0, 6), records(6, 20), tmp_path / "r",
        labels=LABELS, corpus="plays", leaks=leaks, test=["c99"],
    )  # fmt: skip
    card = (run.path / "README.md").read_text()
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", card, re.MULTILINE))
    assert rows["corpus"] == "plays" and rows["seed"] == "3"
    assert rows["split digest"] == read_json(run.path / "splits.json", "splits")["digest"][:16]
    assert rows["selected by"] == "the best validation weighted_f1"
    assert (rows["train clips"], rows["validation clips"]) == ("6", "20")
    assert f"- {leaks[0]}" in card and rows["test clips (they leak, see below)"] == "1"
    assert "face: 26 of 26 train and validation clips were not measured" in card
    assert "emotion *expressed as annotated in the corpus 'plays'*" in card
    assert "consent" in card and "Art. 5(1)(f)" in card
    assert "MELD" not in card and "base model" not in rows


def test_the_card_holds_the_interval_and_every_class_of_the_kept_answers(tmp_path):
    held = records(6, 20)  # a, b, a, b, …
    run = RunFolder(tmp_path / "r")
    run.begin(recipe(select="accuracy"), LABELS, records(0, 4), held)
    run.write_validation(held, ["a"] * 18 + ["b", None])
    run.finish({}, [], time.time())
    card = (run.path / "README.md").read_text()
    found = re.search(r"accuracy (\d\.\d+) \[(\d\.\d+), (\d\.\d+)\].*20 groups", card)
    value, low, high = map(float, found.groups())
    assert value == 0.45 and low < value < high
    assert (
        "| a | 0.500 | 0.900 | 0.643 | 10 |" in card
        and "| b | 0.000 | 0.000 | 0.000 | 10 |" in card
    )


def test_one_group_has_no_interval(tmp_path):
    held = [replace(r, clip=replace(r.clip, group="one")) for r in records(4, 4)]
    run = RunFolder(tmp_path / "r")
    run.begin(recipe(), LABELS, records(0, 4), held)
    run.write_validation(held, list("abab"))
    run.finish({}, [], time.time())
    card = (run.path / "README.md").read_text()
    assert "macro_f1 1.000, without an interval: all clips are of one group" in card


def test_a_card_says_what_is_read_beyond_the_clip_and_the_future_first(tmp_path):
    said = ("one", "two", "three", "four", "five", "six")
    turns = [Utterance(Span(0, 0), text, speaker="Ana") for text in said]
    talk = []
    for group in "xyz":
        for i, turn in enumerate(turns):
            clip = Clip(f"{group}{i}", None, group=group, context=tuple(turns[:i]))
            clip = replace(clip, label="ab"[i % 2], transcript=turn.text)
            status = {"speech": Status("observed", "test")}
            talk.append(Record(clip, {}, (turn,), status))
    talk = attach(talk)
    settings = ["turns=1", "future_turns=2", "template=transcript", "modalities=T"]
    chosen = load_recipe("bag-of-words", settings)
    run = train(chosen, talk[:12], talk[12:], tmp_path / "r", labels=LABELS)
    card = (run.path / "README.md").read_text()
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", card, re.MULTILINE))
    assert "THE FUTURE: up to 2 turns after it" in rows["reads beyond the clip"]
    assert "- train: 10 of 12 clips with turns after them (reads the future, up to 2)" in card
    assert "cannot answer while a dialogue goes on" in card.split("Intended use")[1]
    plain = train(load_recipe("bag-of-words"), talk[:12], talk[12:], tmp_path / "p", labels=LABELS)
    assert "uture" not in (plain.path / "README.md").read_text().split("## Recipe")[0]


def test_several_seeds_have_a_card_with_mean_spread_and_every_class(tmp_path):
    runs = train_seeds(
        recipe(seeds=[4, 9]), records(0, 4), records(4, 6), tmp_path / "s", labels=LABELS,
        corpus="plays",
    )  # fmt: skip
    card = (tmp_path / "s" / "README.md").read_text()
    score = runs[0].environment["summary"]["validation macro_f1"]
    assert f"validation macro_f1: {score:.3f} ± 0.000 (standard deviation)" in card
    assert "| [seed-4](seed-4/README.md) |" in card and "| [seed-9](seed-9/README.md) |" in card
    splits = json.loads((runs[0].path / "splits.json").read_text())
    assert f"Corpus: plays; split digest {splits['digest'][:16]}." in card
    assert "| a | 0.667 | 0.667 | 0.667 |" in card and "| b | 0.000 | 0.000 | 0.000 |" in card


def test_a_card_without_validation_answers_says_so(tmp_path):
    card, run = card_of(tmp_path, LABELS, records(0, 4), records(4, 2))
    assert "were not kept" in card
    run.write_validation([], [])
    run.finish({}, [], time.time())
    assert "There was no validation part" in (run.path / "README.md").read_text()


def meld(*names):
    return [Record(Clip(n, None, label="joy")) for n in names]


def test_the_card_of_a_run_on_meld_says_it_is_television_and_names_bad_videos(tmp_path):
    clips = meld("train_dia125_utt3", "train_dia1_utt0"), meld("validation_dia0_utt0")
    card, _ = card_of(tmp_path, LABEL_SETS["meld7"], *clips)
    assert "scripted lines, spoken by professional actors" in card
    assert "train_dia125_utt3: the published video is damaged; its text was read" in card


@pytest.mark.parametrize("labels, name", [("meld7", "mine_utt0"), ("basic7", "train_dia1_utt0")])
def test_only_meld_is_called_meld(labels, name):
    splits = {"train": [name], "validation": [], "test": []}
    assert about_corpus(labels, splits) == []
    assert len(about_corpus("meld7", splits | {"train": ["test_dia9_utt1#000"]})) == 2


def test_a_failed_sensor_is_told_in_the_card(tmp_path):
    broken = [replace(r, status={"face": Status("failed", "test", "odd")}) for r in records(0, 4)]
    card, _ = card_of(tmp_path, LABELS, broken, records(4, 2))
    assert "face: 4 of 6 train and validation clips could not be measured" in card


@pytest.mark.parametrize(
    "model, said",
    [
        ("minilm", ("all-MiniLM-L6-v2", "in an ordinary package", "Apache-2.0")),
        ("meta-llama/Meta-Llama-3-8B", ("meta-llama/Meta-Llama-3-8B", "abc", "Meta Llama 3")),
        ("someone/model", ("someone/model", "abc", "see the model's page")),
        ("scratch", ("scratch: LLaMA", None, "none needed")),
    ],
)  # fmt: skip
def test_the_card_names_base_revision_and_licence(tmp_path, model, said):
    run = RunFolder(tmp_path / "r")
    chosen = load_recipe("text-llm", [f"model={model}"])
    run.begin(chosen, LABELS, records(0, 4), records(4, 2))
    summary = {"model": "scratch: LLaMA, 3 layers" if model == "scratch" else model}
    run.finish(summary | ({} if model in ("minilm", "scratch") else {"revision": "abc"}), [], 0.0)
    card = (run.path / "README.md").read_text()
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", card, re.MULTILINE))
    base, revision, licence = said
    assert base in rows["base model"] and licence in rows["licence of the base"]
    assert rows.get("revision") == revision


@pytest.mark.parametrize(
    "kind, words", [("nf4", 'bnb_4bit_quant_type="nf4"'), ("int8", "load_in_8bit")]
)
def test_a_quantised_run_is_loaded_quantised(tmp_path, kind, words):
    (tmp_path / "adapter").mkdir()
    values = load_recipe("llama3-8b-qlora", [f"quantization={kind}"]).model_dump(mode="json")
    code = loading(tmp_path, values, "abc")
    compile(code, "card", "exec")
    assert words in code and "quantization_config=quantised" in code and 'revision="abc"' in code


@pytest.mark.parametrize("lora", ["{r: 2}", "null"])
@pytest.mark.parametrize(
    "recipe_name, pooling",
    [
        ("text-encoder", "mean"),
        ("text-encoder", "last"),
        ("text-encoder", "last_line"),
        ("text-llm", "last"),
    ],
)
def test_the_cards_code_gives_the_runs_logits_with_transformers_and_peft_alone(
    tmp_path, recipe_name, pooling, lora
):
    folder = tiny_llama(tmp_path / "base")
    template = "dialogue" if pooling == "last_line" else "transcript"
    changes = [f"template={template}", "turns=1", "epochs=1", f"lora={lora}", "max_tokens=64"]
    changes += ["modalities=T", f"model={folder}", f"pooling={pooling}"]
    chosen = load_recipe(recipe_name, changes)
    said = (Utterance(Span(0, 1), "a lovely day"),)
    heard = (Utterance(Span(0, 1), "a b", speaker="Ann"),)
    spoken = [
        replace(r, utterances=said, clip=replace(r.clip, context=heard)) for r in records(0, 6)
    ]
    run = train(chosen, spoken[:4], spoken[4:], tmp_path / "r", labels=LABELS)
    card = (run.path / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL).group(1)
    names = {}
    exec(code.replace("RUN", str(run.path)), names)  # noqa: S102
    method = names["method"]
    items = method.items(method.reader.texts(spoken[:1]))
    ids = torch.tensor([items[0]["input_ids"]])
    with torch.inference_mode():
        if recipe_name == "text-encoder":
            text = method.reader.texts(spoken[:1])[0]
            theirs = names["logits"](text)[None].double().log_softmax(-1)
            assert torch.allclose(theirs, method.log_scores(items), atol=1e-5)
        else:
            theirs, ours = names["net"](ids).logits, method.net(ids).logits
            assert torch.allclose(theirs, ours, atol=1e-5)


def tiny_llama(folder):
    torch.manual_seed(0)
    tokenizer = scratch_tokenizer(["a lovely day", "a b"], 300)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=2, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, initializer_range=0.2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_another_recipe_or_split_in_the_folder_is_refused_and_nothing_is_lost(tmp_path):
    run = train(recipe(), records(0, 4), records(4, 2), tmp_path / "r", labels=LABELS)
    before = (run.path / "recipe.yaml").read_text()
    with pytest.raises(TextualizeError, match="another recipe, split or labels"):
        train(recipe(seed=1), records(0, 4), records(4, 2), run.path, labels=LABELS)
    with pytest.raises(TextualizeError, match="another recipe, split or labels"):
        train(recipe(), records(0, 3), records(4, 2), run.path, labels=LABELS)
    assert (run.path / "recipe.yaml").read_text() == before and run.complete


def test_a_run_from_before_a_key_existed_is_still_the_same_run(tmp_path):
    run = train(recipe(), records(0, 4), records(4, 2), tmp_path / "r", labels=LABELS)
    lines = (run.path / "recipe.yaml").read_text().splitlines()
    (run.path / "recipe.yaml").write_text("\n".join(x for x in lines if "class_b" not in x))
    assert not run.begin(recipe(), LABELS, records(0, 4), records(4, 2))


def test_a_run_that_never_started_can_be_begun_again_with_another_recipe(tmp_path):
    run = RunFolder(tmp_path / "r")
    run.begin(recipe(), LABELS, records(0, 4), records(4, 2))
    assert run.begin(recipe(seed=3), LABELS, records(0, 4), records(4, 2))
    assert run.recipe_values["seed"] == 3


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(TextualizeError, match="not empty and not a run folder"):
        RunFolder(tmp_path).begin(recipe(), LABELS, records(0, 4), records(4, 2))


@pytest.mark.parametrize("parts", [((0, 4), (3, 2), []), ((0, 4), (4, 2), ["c5"]), ((0, 4), (4, 2), ["c0"])])  # fmt: skip  # noqa: E501
def test_overlapping_parts_are_refused(tmp_path, parts):
    training, validation, test = parts
    with pytest.raises(TextualizeError, match="share 1 clips"):
        RunFolder(tmp_path / "r").begin(
            recipe(), LABELS, records(*training), records(*validation), test
        )


def test_a_label_outside_the_set_names_the_clip(tmp_path):
    odd = [Record(Clip("odd", None, label="z"))]
    with pytest.raises(TextualizeError, match="clip 'odd': label 'z' is not in label set"):
        train(recipe(), [*records(0, 4), *odd], records(4, 2), tmp_path / "r", labels=LABELS)
    assert not (tmp_path / "r").exists()


def test_a_newer_run_is_refused(tmp_path):
    run = train(recipe(), records(0, 4), records(4, 2), tmp_path / "r", labels=LABELS)
    about = json.loads((run.path / "labels.json").read_text())
    (run.path / "labels.json").write_text(json.dumps({**about, "schema": 9}))
    with pytest.raises(TextualizeError, match="schema 9"):
        _ = run.labels
