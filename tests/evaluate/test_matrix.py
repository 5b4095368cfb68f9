import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from transformers import LlamaConfig, LlamaForCausalLM

from textualize.cli import run
from textualize.errors import TextualizeError
from textualize.evaluate.answers import answers
from textualize.evaluate.compare import paired_difference
from textualize.evaluate.matrix import run_prompts
from textualize.evaluate.matrix_build import build_matrix, spread_of
from textualize.evaluate.matrix_page import rebuilt_matrix
from textualize.evaluate.prompted import LocalModel, Worded
from textualize.evaluate.sealed import LEDGER
from textualize.evaluate.settings import (
    PromptSuite,
    Setting,
    is_prompt_suite,
    load_prompt_suite,
    paraphrases,
    template_of,
)
from textualize.evaluate.verify import verify_report
from textualize.finetune.recipe import Shots, TextRecipe
from textualize.labels import LabelSet
from textualize.store import Corpus, Entry, Item, write_item
from textualize.text.causal import TextLLM
from textualize.text.scratch import scratch_tokenizer
from textualize.types import Clip, Prediction, Span, Status, Track, Utterance

torch.set_num_threads(1)
LABELS = LabelSet("two", ("calm", "happy"), {})
SAID = ("<b>no</b> I won't", "that is so good", "what now", "oh")


def spoken(text):
    said = (Utterance(Span(0.0, 1.0), text, source="test"),)
    return Item(Status("observed", "test"), {}, said)


def filled(folder, split=lambda subject: None):
    """A corpus of six people, eight clips each: words and two action units."""
    made = Corpus.create(folder, LABELS, [])
    rng = np.random.default_rng(1)
    entries = []
    for s in range(6):
        for i in range(8):
            name, values = f"s{s}c{i}", rng.random((6, 2)).astype(np.float32)
            face = Track(values, 12.5, 0.0, ("AU06", "AU12"), "probability", "test")
            write_item(made.folder, name, Item(Status("observed", "test"), {"aus": face}))
            write_item(made.folder, f"{name}w", spoken(f"{SAID[i % 4]} {s}"))
            clip = Clip(name, None, subject=f"s{s}", label=LABELS.labels[i % 2], split=split(s))
            entries.append(Entry(clip, {"face": name, "speech": f"{name}w"}))
    made.write_entries(entries)
    return made


@pytest.fixture
def corpus(tmp_path):
    return filled(tmp_path / "c")


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A folder with a tiny untrained LLaMA without a chat template."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("llama")
    tokenizer = scratch_tokenizer([*SAID, *LABELS.labels, "Words: Face: Options: Emotion:"], 400)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48}
    heads = {"num_attention_heads": 4, "initializer_range": 0.2, "max_position_embeddings": 2048}
    ends = {"eos_token_id": tokenizer.eos_token_id}
    LlamaForCausalLM(
        LlamaConfig(vocab_size=len(tokenizer), **shape, **heads, **ends)
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def report(model, tmp_path_factory):
    """The folder of one finished report."""
    folder = tmp_path_factory.mktemp("matrix")
    run_prompts(suite(model), filled(folder / "c"), folder / "runs", folder / "report")
    return folder / "report"


def suite(model="m", **changes):
    values = {
        "title": "<i>t</i>",
        "model": model,
        "templates": ["words_first", "bare"],
        "modalities": ["TV", "T"],
        "paraphrases": 2,
        "folds": 3,
        "draws": 100,
    }
    return PromptSuite.model_validate(values | changes)


# --- cells


def test_cells_are_every_level_of_every_axis_with_the_paraphrases_there_are():
    cells = suite(answers=["words", "letters"], shots=[0, 2]).settings
    assert len(set(cells)) == len(cells) == 2 * 2 * 2 * (2 + 1)  # bare has no part to paraphrase
    assert cells[0] == suite().reference == Setting("words_first", "TV")
    assert {c.paraphrase for c in cells if c.template == "bare"} == {1}


@pytest.mark.parametrize("template", ["words_first", "asked", "facs"])
def test_a_paraphrase_changes_the_question_and_nothing_else(template, corpus):
    from textualize.prompt import render_with

    record = corpus.records()[0]
    texts = []
    for n in range(1, paraphrases(template) + 1):
        loaded = template_of(Setting(template, paraphrase=n))
        texts.append(render_with(loaded, record, labels=LABELS.labels).text.splitlines())
        assert ("@" in loaded.name) == (n > 1)
    assert len(texts) == 3
    assert {len(t) for t in texts} == {len(texts[0])}
    for one in texts[1:]:
        apart = [(a, b) for a, b in zip(texts[0], one, strict=True) if a != b]
        assert len(apart) == 1 and all("calm, happy" in line for line in apart[0])
    with pytest.raises(TextualizeError, match="has 3 wordings; given 9"):
        template_of(Setting(template, paraphrase=9))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": None}, "give a model or an endpoint"),
        ({"modalities": ["T", "T"]}, "names a level twice"),
        ({"shots": [-1]}, "counted from 0"),
        ({"endpoint": {"url": "file:///etc/passwd", "model": "m"}}, "url"),
    ],
)
def test_a_suite_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        suite(**changes)


def test_the_shipped_suite_is_a_matrix_and_others_are_not(tmp_path):
    shipped = load_prompt_suite("prompts")
    assert len(shipped.templates) >= 6 and len(shipped.modalities) >= 4
    assert is_prompt_suite("prompts") and not is_prompt_suite("demo")
    (tmp_path / "x.yaml").write_text("title: t\nmodel: m\ntemplate: bare")
    with pytest.raises(TextualizeError, match=r"x\.yaml: 'templates'.*keys are"):
        load_prompt_suite(str(tmp_path / "x.yaml"))


# --- asked


def test_a_matrix_says_of_every_clip_what_its_cell_says_by_itself(model, corpus):
    """Sharing cues, prompts and beginnings changes no answer."""
    records = corpus.records()
    train, asked = records[:24], records[24:29]
    local = LocalModel.open(model, LABELS, train)
    settings = [
        *suite().settings,
        Setting("asked", "TV", answers="letters"),
        Setting("words_first", "T", shots=2),
        Setting("narrative", "TV", wording="sentences"),
    ]
    cells = [
        local.ask(s, asked, Shots(count=s.shots, by="balanced") if s.shots else None)
        for s in settings
    ]
    for cell, found in zip(cells, local.answer(cells), strict=True):
        shots = Shots(count=2, by="balanced") if cell.setting.shots else None
        alone = by_itself(model, cell.setting, shots, train)
        for one, other in zip(found.predictions, alone.predict(asked), strict=True):
            assert one.clip_id == other.clip_id
            assert one.scores == pytest.approx(other.scores, abs=1e-4)
        assert len(found.tokens) == len(asked) and min(found.tokens) > 5


def by_itself(model, setting, shots, train):
    """The method that a recipe of these settings trains and predicts with, of paraphrase 1."""
    recipe = TextRecipe(
        method="text-llm", model=model, epochs=0, lora=None, max_tokens=None, shots=shots,
        template=setting.template, modalities=setting.modalities, answers=setting.answers,
        wording=setting.wording,
    )  # fmt: skip
    made = TextLLM.build(recipe, LABELS, train)
    made.reader = replace(made.reader, template=template_of(setting))
    return made


def test_cues_are_worded_once_for_all_cells(corpus, monkeypatch):
    from textualize.evaluate import prompted

    counted = []
    honest = prompted.describe
    monkeypatch.setattr(
        prompted, "describe", lambda r, **k: counted.append(r.clip.id) or honest(r, **k)
    )
    worded, records = Worded(), corpus.records()[:3]
    for letters in ("T", "TV", "TVA", "V"):
        for record in records:
            got = worded.cues(record, "terse", letters)
            senses = [{"T": "speech", "V": "face", "A": "prosody"}[x] for x in letters]
            assert got == honest(record, senses)
    assert sorted(counted) == sorted(r.clip.id for r in records)


def test_letters_need_a_template_that_lists_the_options(model, corpus, tmp_path):
    (tmp_path / "own.jinja").write_text("{{ transcript }}")
    local = LocalModel.open(model, LABELS, [])
    with pytest.raises(TextualizeError, match="does not list the options"):
        local.ask(Setting(str(tmp_path / "own.jinja"), answers="letters"), corpus.records(), None)


# --- run


def test_a_finished_cell_is_never_asked_again(model, corpus, tmp_path):
    where = tmp_path / "runs", tmp_path / "report"
    done = run_prompts(suite(model), corpus, *where)
    cells = len(suite().settings)
    tests = 2 if done.matrix.winner.setting != suite().reference else 1
    assert (done.asked, done.kept) == (cells + tests, 0)
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs/cells").iterdir()}
    again = run_prompts(suite(model), corpus, *where)
    assert (again.asked, again.kept) == (0, cells + tests)
    assert again.matrix.cells == done.matrix.cells and again.matrix.winner == done.matrix.winner
    more = run_prompts(suite(model, modalities=["TV", "T", "V"]), corpus, *where)
    assert more.kept >= cells and more.asked <= 3 + 2
    assert all(p.stat().st_mtime_ns == stamp for p, stamp in stamps.items())


def test_the_report_is_whole_escaped_and_verified(model, corpus, tmp_path):
    out = tmp_path / "report"
    done = run_prompts(suite(model), corpus, tmp_path / "runs", out)
    page = (out / "report.html").read_text()
    assert "<b>no</b>" not in page and "<i>t</i>" not in page
    assert "&lt;b&gt;no&lt;/b&gt;" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    assert str(done.matrix.winner.setting) in (out / "report.md").read_text()
    stored, made = rebuilt_matrix(out)
    assert stored == made
    assert verify_report(out).equal


@pytest.mark.parametrize(
    "tamper",
    [
        lambda out: rewrite(out / "report.json", '"gains"', '"gain"'),
        lambda out: changed_number(out, lambda j: j["cells"][3]["score"], "low"),
        lambda out: changed_number(out, lambda j: j["gains"][0], "spread"),
        lambda out: changed_number(out, lambda j: j["gains"][0]["interval"], "high"),
        lambda out: changed_number(out, lambda j: j["winner"]["test"], "value"),
        lambda out: rewrite(out / "predictions.jsonl", '"label": "calm"', '"label": "happy"'),
        lambda out: rewrite(out / "report.html", "</h1>", " </h1>"),
        lambda out: rewrite(out / "report.md", "best", "worst"),
    ],
)
def test_what_is_changed_behind_its_back_is_found(report, tmp_path, tamper):
    out = tmp_path / "copy"
    shutil.copytree(report, out)
    assert verify_report(out).equal
    tamper(out)
    try:
        equal = verify_report(out).equal
    except (TextualizeError, KeyError):
        equal = False
    assert not equal


def rewrite(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def changed_number(out, find, key):
    value = json.loads((out / "report.json").read_text())
    find(value)[key] += 0.25
    (out / "report.json").write_text(json.dumps(value))


def test_a_changed_transcript_is_asked_about_again(model, corpus, tmp_path):
    where = tmp_path / "runs", tmp_path / "report"
    first = run_prompts(suite(model), corpus, *where)
    asked = first_clip(where[1])

    write_item(corpus.folder, f"{asked}w", spoken("other"))
    again = run_prompts(suite(model), corpus, *where)
    assert again.asked >= len(first.matrix.cells)


def test_the_command_line_knows_a_matrix_by_its_keys(model, corpus, tmp_path, capsys):
    own = suite(model, templates=["words_first"], modalities=["T"], paraphrases=1)
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own.model_dump(mode="json")))
    asked = ["evaluate", str(tmp_path / "own.yaml"), "--runs", str(tmp_path / "runs")]
    assert run([*asked, "--out", str(tmp_path / "report")]) == 2
    assert "give --corpus" in capsys.readouterr().err
    told = [*asked, "--out", str(tmp_path / "report"), "--corpus", str(corpus.folder)]
    assert run(told) == 0
    assert "Of 1 ways to ask" in capsys.readouterr().out
    assert run(["verify", str(tmp_path / "report")]) == 0


def first_clip(report):
    return json.loads((report / "predictions.jsonl").read_text().splitlines()[0])["clip_id"]


def test_a_sealed_test_part_is_not_answered_until_opened(model, tmp_path):
    made = filled(tmp_path / "c", lambda s: ("train", "validation", "test")[s % 3])
    where = tmp_path / "runs", tmp_path / "report"
    own = suite(model, folds=None)
    sealed = run_prompts(own, made, *where)
    assert sealed.matrix.winner.test is None and sealed.matrix.tested == 0
    assert '"part": "test"' not in (where[1] / "predictions.jsonl").read_text()
    assert (where[0] / LEDGER).read_text() == ""
    opened = run_prompts(own, made, *where, open_test=True)
    assert opened.matrix.tested == 16 and opened.matrix.winner.test is not None
    assert opened.matrix.winner.setting == sealed.matrix.winner.setting  # chosen on validation
    (line,) = (where[0] / LEDGER).read_text().splitlines()
    assert json.loads(line)["sealed"] is True
    assert "opened" in " ".join(opened.matrix.provenance)


def test_an_endpoint_is_asked_the_same_and_unread_answers_count_wrong(corpus, tmp_path, stub):
    replies = {"T": "happy", "TV": "I cannot say"}

    def reply(asked, number):
        content = asked["messages"][-1]["content"]
        choice = {"message": {"content": replies["TV" if "Face:" in content else "T"]}}
        return 200, {"choices": [choice], "usage": {"prompt_tokens": 11}}

    server = stub(reply)
    told = []
    own = suite(None, endpoint={"url": server.url, "model": "m"}, templates=["words_first"])
    done = run_prompts(own, corpus, tmp_path / "r", tmp_path / "p", say=told.append)
    assert any("were sent to" in line for line in (*told, *done.matrix.header.warnings))
    cells = {c.setting.modalities: c for c in done.matrix.cells}
    assert cells["TV"].accuracy == 0 and cells["TV"].unparsed == done.matrix.clips
    assert cells["T"].accuracy == 0.5 and cells["T"].unparsed == 0 and cells["T"].tokens == 11
    asked = len(server.bodies)
    run_prompts(own, corpus, tmp_path / "r", tmp_path / "p")
    assert len(server.bodies) == asked


# --- what it came to


def test_gains_are_of_matched_cells_beside_the_spread_of_wording(corpus):
    from textualize.evaluate.matrix_findings import Header
    from textualize.evaluate.settings import CellAnswers

    records = corpus.records()[:16]
    right = {
        Setting("a", "T"): 8, Setting("a", "T", paraphrase=2): 10,
        Setting("a", "TV"): 12, Setting("a", "TV", paraphrase=2): 11,
        Setting("b", "T"): 16,
    }  # fmt: skip

    def answered(n):
        flip = {"calm": "happy", "happy": "calm"}
        said = [r.clip.label if i < n else flip[r.clip.label] for i, r in enumerate(records)]
        made = [Prediction(r.clip.id, "m", x, {}, "") for r, x in zip(records, said, strict=True)]
        return CellAnswers(tuple(made), (5,) * len(made))

    header = Header("t", "m", "c", "accuracy", LABELS.labels, Setting("a", "T"), 100, 0, "", "", {})
    matrix = build_matrix(header, {s: answered(n) for s, n in right.items()}, {}, records)
    senses, template = {g.axis: g for g in matrix.gains}["modalities"], matrix.gains[0]
    assert (senses.level, senses.against, senses.pairs) == ("TV", "T", 2)
    assert senses.value == pytest.approx((4 / 16 + 1 / 16) / 2)
    assert (senses.low, senses.high) == pytest.approx((1 / 16, 4 / 16))
    assert senses.spread == pytest.approx((2 / 16 + 1 / 16) / 2)
    assert senses.verdict.startswith("more than wording, ")
    made = {s: answers(str(s), answered(n).predictions, records, LABELS) for s, n in right.items()}
    drawn = [
        paired_difference(made[Setting("a", "TV", paraphrase=n)],
                          made[Setting("a", "T", paraphrase=n)], "accuracy", draws=100)
        for n in (1, 2)
    ]  # fmt: skip
    assert senses.interval.low < senses.value < senses.interval.high
    assert senses.interval.low >= min(d.low for d in drawn)
    assert senses.interval.high <= max(d.high for d in drawn)
    pair = made[Setting("b", "T")], made[Setting("a", "T")]
    alone = paired_difference(*pair, "accuracy", draws=100)
    assert (template.interval.low, template.interval.high) == (alone.low, alone.high)
    assert (template.axis, template.pairs, template.value) == ("template", 1, pytest.approx(0.5))
    assert matrix.winner.setting == Setting("b", "T") and matrix.winner.test is None
    assert matrix.spread == senses.spread


def test_a_level_of_one_wording_has_no_spread():
    assert spread_of({Setting("a"): 0.2, Setting("b"): 0.4}, {Setting("a"): 1}) is None
