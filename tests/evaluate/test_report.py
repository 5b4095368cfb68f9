"""pytest tests/evaluate/test_report.py"""

import json
import time
from dataclasses import replace

import pytest

from textualize.errors import TextualizeError
from textualize.evaluate import metrics
from textualize.evaluate.digests import DIGESTS
from textualize.evaluate.findings import Report
from textualize.evaluate.report import build_report
from textualize.evaluate.report_files import FILES, write_report
from textualize.evaluate.tables import report_markdown
from textualize.evaluate.trained_run import read_run
from textualize.files import read_json
from textualize.finetune.recipe import parse
from textualize.finetune.run_folder import RunFolder
from textualize.labels import LabelSet
from textualize.types import Clip, Prediction, Record


def test_rows_are_sorted_by_family_and_scored(invented):
    report = invented.report(draws=200)
    assert [r.family for r in report.rows] == ["floor"] * 2 + ["text"] * 2 + ["features"] * 2
    labels = invented.labels
    said = {p.clip_id: p.label for p in invented.predictions["bert"]}
    true = [labels.index(r.clip.label) for r in invented.records]
    predicted = [labels.index(said[r.clip.id]) for r in invented.records]
    row = report.row("bert")
    for name, found in row.scores.items():
        assert found.value == pytest.approx(metrics.score(name, true, predicted, 7))
        assert found.low <= found.value <= found.high
    assert (row.clips, row.groups, row.trained.parameters) == (48, 12, 10_000_000)
    assert sum(sum(c) for c in row.confusion) == 48


def test_order_of_clips_changes_nothing(invented):
    turned = {n: list(reversed(p)) for n, p in invented.predictions.items()}
    again = build_report(
        list(reversed(invented.records)), turned, invented.labels, prompts=invented.prompts,
        runs=invented.runs, created="2026-01-01", draws=200,
    )  # fmt: skip
    assert again == invented.report(draws=200)


def test_every_words_by_tracks_pair_is_compared_and_corrected(invented):
    report = invented.report(draws=200)
    pairs = {(d.a, d.b) for d in report.differences}
    assert pairs == {(a, b) for a in ("bag-of-words", "bert", "llm") for b in ("concat", "jca")}
    assert all(d.p_holm >= d.p for d in report.differences)
    one = invented.report(draws=200, pairs=[("bert", "llm")])
    assert one.headline == ("bert", "llm") and len(one.differences) == 1
    assert one.differences[0].p_holm == one.differences[0].p
    with pytest.raises(TextualizeError, match="no predictions of gpt"):
        invented.report(pairs=[("gpt", "llm")])


def test_headline_is_chosen_on_validation_not_on_the_scores_shown(invented):
    runs = {
        **invented.runs,
        "llm": replace(invented.runs["llm"], validation=0.99),
        "concat": replace(invented.runs["concat"], validation=0.99),
    }
    report = invented.report(runs=runs, draws=200)
    assert report.headline == ("llm", "concat")
    found = report.headline_difference()
    assert found.value == pytest.approx(
        report.row("llm").scores["macro_f1"].value - report.row("concat").scores["macro_f1"].value
    )
    assert "llm" in report.finding() and "concat" in report.finding()


def test_no_headline_without_validation_scores_and_it_says_so(invented):
    runs = {**invented.runs, "jca": replace(invented.runs["jca"], validation=None)}
    report = invented.report(runs=runs, draws=50)
    assert report.headline is None and report.headline_difference() is None
    assert any("no validation score of jca" in w for w in report.warnings)
    assert "No headline" in report.finding()


def test_unparsed_answers_are_wrong_counted_and_announced(invented):
    silent = [replace(p, label=None, scores={}) for p in invented.predictions["bert"]]
    report = build_report(
        invented.records, {"text-encoder": silent}, invented.labels, draws=50, created="x"
    )
    row = report.row("text-encoder")
    assert row.unparsed == 48 and row.scores["accuracy"].value == 0.0 and row.ece is None
    assert any("48 of 48 answers" in w for w in report.warnings)


def test_clip_sets_must_agree(invented):
    fewer = {**invented.predictions, "jca": invented.predictions["jca"][:-3]}
    with pytest.raises(TextualizeError, match=r"3 of 48 .*'jca' lacks 3"):
        build_report(invented.records, fewer, invented.labels, runs=invented.runs)
    report = build_report(
        invented.records, fewer, invented.labels, runs=invented.runs, intersect=True, draws=50
    )
    assert (report.clips, report.dropped) == (45, 3)
    assert any("3 clips were left out" in w for w in report.warnings)


def test_unlabelled_and_unanswered_clips_are_counted(invented):
    records = [invented.records[0].with_label(None), *invented.records[1:]]
    answered = {n: p[:-2] for n, p in invented.predictions.items()}
    report = build_report(records, answered, invented.labels, runs=invented.runs, draws=50)
    assert (report.clips, report.unlabelled) == (45, 1)
    assert any("1 of 48 clips have no label" in w for w in report.warnings)
    assert any("2 labelled clips were answered by no method" in w for w in report.warnings)


def test_states_speakers_splits_and_few_groups_are_told(invented):
    report = invented.report(draws=50)
    assert report.cue_states["face"] == {"absent": 5, "observed": 43}
    assert report.cue_states["speech"]["uncertain"] == 43
    assert report.speaker == {"with": 43, "of": 48}
    bare = invented.report(prompts=None, draws=50)
    assert bare.cue_states["speech"] == {"absent": 5, "not_run": 43}
    lines = "\n".join(report.provenance())
    assert "43 of 48 clips" in lines and "bert: truncated prompts: 3 of 120" in lines
    other = {**invented.runs, "jca": replace(invented.runs["jca"], split_digest="beef")}
    assert any("2 different splits" in w for w in invented.report(runs=other, draws=50).warnings)
    kept = [r for r in invented.records if r.clip.subject in ("s01", "s02")]
    ids = {r.clip.id for r in kept}
    few = build_report(
        kept,
        {n: [p for p in own if p.clip_id in ids] for n, own in invented.predictions.items()},
        invented.labels,
        runs=invented.runs,
        draws=50,
    )
    assert any("few groups: 2" in w for w in few.warnings)
    assert few.rows[0].scores["accuracy"].few_groups


def test_a_name_needs_a_run_or_a_known_method(invented):
    with pytest.raises(TextualizeError, match="'mine' is no known method"):
        build_report(invented.records, {"mine": invented.predictions["jca"]}, invented.labels)
    with pytest.raises(TextualizeError, match="no predictions"):
        build_report(invented.records, {}, invented.labels)


def test_probabilities_that_are_not_numbers_are_refused(invented):
    first, *rest = invented.predictions["jca"]
    broken = replace(first, scores={k: float("nan") for k in first.scores})
    with pytest.raises(TextualizeError, match="not numbers for 1 clips"):
        build_report(invented.records, {"jca": [broken, *rest]}, invented.labels, draws=20)


def test_a_finished_run_folder_is_read(tmp_path):
    labels = LabelSet("own", ("a", "b"), {})
    recipe = parse({"method": "jca", "seed": 4}, "test")
    run = RunFolder(tmp_path / "jca")
    train, held = (Record(Clip(x, None, label="a")) for x in "xy")
    run.begin(recipe, labels, [train], [held])
    with pytest.raises(TextualizeError, match="unfinished"):
        read_run(run.path)
    run.finish({"parameters": 7, "validation macro_f1": 0.4}, ["one note"], time.time())
    found = read_run(run.path, clips_per_s=3.0)
    assert (found.method, found.parameters, found.validation) == ("jca", 7, 0.4)
    assert (found.seed, found.notes, found.clips_per_s) == (4, ("one note",), 3.0)
    assert found.split_digest == read_json(run.path / "splits.json", "splits")["digest"]


def test_json_round_trip(invented):
    report = invented.report(draws=50)
    value = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert value == report.to_json()
    assert Report.from_json(value) == report


def test_markdown_names_every_method_and_class(invented):
    text = report_markdown(invented.report(draws=50))
    assert all(f"| {n} |" in text for n in (*invented.predictions, *invented.labels.labels))
    head = next(line for line in text.splitlines() if line.startswith("| method"))
    assert all(
        line.count("|") == head.count("|")
        for line in text.split("\n## ")[0].splitlines()
        if line.startswith(("| bert |", "| jca |"))
    )


def test_written_predictions_recompute_the_reported_scores(invented, tmp_path):
    report = invented.report(draws=50)
    page = write_report(
        report, tmp_path / "out", invented.records, invented.prompts, invented.predictions
    )
    assert page.name == "report.html"
    written = sorted(p.name for p in page.parent.iterdir())
    assert written == sorted([*FILES, DIGESTS])
    lines = [
        json.loads(line)
        for line in (page.parent / "predictions.jsonl").read_text("utf-8").splitlines()
    ]
    for row in report.rows:
        own = [line for line in lines if line["name"] == row.name]
        right = sum(line["true"] == line["label"] for line in own)
        assert right / len(own) == pytest.approx(row.scores["accuracy"].value)
    saved = json.loads((page.parent / "report.json").read_text("utf-8"))
    assert Report.from_json(saved) == report


def test_a_seed_that_answers_twice_is_refused(invented):
    twice = [*invented.predictions["jca"], Prediction(invented.records[0].clip.id, "jca", None)]
    with pytest.raises(TextualizeError, match="twice"):
        build_report(invented.records, {"jca": twice}, invented.labels)
