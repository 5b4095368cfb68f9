"""A split named test is read on demand only, and every time it was is told."""

import json
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from textualize.datasets.given import Fold
from textualize.errors import TextualizeError
from textualize.evaluate import sealed
from textualize.evaluate.finished import evaluate
from textualize.evaluate.named_runs import evaluation_records
from textualize.evaluate.suite import Suite, run_suite
from textualize.evaluate.verify import verify_report
from textualize.finetune.run_folder import RunFolder
from textualize.store import Corpus, Entry, Item, write_item
from textualize.types import Clip, Status, Track

SPLITS = ("train", "train", "train", "validation", "test", "test")


@pytest.fixture
def corpus(tmp_path):
    made = Corpus.create(tmp_path / "c", None, [])
    rng = np.random.default_rng(1)
    entries = []
    for s, split in enumerate(SPLITS):
        for i in range(4):
            name = f"s{s}c{i}"
            values = rng.normal(0.15 + 0.6 * (i % 2), 0.1, (6, 2)).clip(0, 1).astype(np.float32)
            face = Track(values, 12.5, 0.0, ("AU06", "AU12"), "probability", "test")
            write_item(made.folder, name, Item(Status("observed", "test"), {"aus": face}))
            clip = Clip(name, None, subject=f"s{s}", label=("calm", "happy")[i % 2], split=split)
            entries.append(Entry(clip, {"face": name}))
    made.write_entries(entries)
    return made


def suite(**changes):
    values = {"title": "ours", "methods": ["majority"], "folds": None, "draws": 100}
    return Suite.model_validate(values | changes)


def lines(path):
    return [json.loads(x) for x in path.read_text().splitlines()]


def test_a_suite_reports_on_validation_until_test_is_opened(corpus, tmp_path):
    runs, said = tmp_path / "runs", []
    shut = run_suite(suite(), corpus, runs, tmp_path / "shut", say=said.append)
    assert shut.report.title == "ON VALIDATION, test not opened: ours"
    assert any("sealed" in x for x in said) and shut.report.clips == 4
    assert {x["clip_id"][:2] for x in lines(tmp_path / "shut/predictions.jsonl")} == {"s3"}
    assert not list(runs.rglob("predictions.jsonl")) and not lines(runs / "openings.jsonl")
    assert sealed.WARNING in shut.report.warnings
    assert shut.report.opened == "" and verify_report(tmp_path / "shut").equal

    opened = run_suite(suite(), corpus, runs, tmp_path / "open", open_test=True)
    assert opened.report.title == "ours" and opened.report.clips == 8
    assert sealed.WARNING not in opened.report.warnings
    (line,) = lines(runs / "openings.jsonl")
    run = RunFolder(runs / "majority" / line["run"].split("/")[1])
    assert line["sealed"] and line["commit"] == sealed.package_commit()
    assert line["split_digest"] == json.loads((run.path / "splits.json").read_text())["digest"]
    assert line["run_digest"] == sealed.run_digest(run.path)
    assert opened.report.opened.startswith("the sealed test part was opened 1 times, first 20")
    assert opened.report.opened in opened.report.provenance()
    again = run_suite(suite(), corpus, runs, tmp_path / "again", open_test=True)
    assert len(lines(runs / "openings.jsonl")) == 1  # kept answers are no second look
    assert not any("opened" in w for w in again.report.warnings)
    shut_again = run_suite(suite(), corpus, runs, tmp_path / "shut again")
    assert shut_again.report.rows[0].scores == shut.report.rows[0].scores


def test_cross_validation_stays_one_command(corpus, tmp_path):
    done = run_suite(suite(folds=3), corpus, tmp_path / "runs", tmp_path / "report")
    assert done.report.title == "ours" and done.report.clips == 24
    assert [x["sealed"] for x in lines(tmp_path / "runs/openings.jsonl")] == [False] * 3
    assert done.report.opened == ""
    assert any(x.kind == "test split" for x in done.report.leaks)  # and that is told


def test_runs_answer_the_test_split_on_demand_and_a_second_look_is_told(corpus, tmp_path):
    run_suite(suite(), corpus, tmp_path / "runs", tmp_path / "shut")
    run = next((tmp_path / "runs").rglob("splits.json")).parent
    held = evaluation_records(corpus.records(), [run], open_test=False)
    assert {r.clip.split for r in held} == {"validation"}
    on = evaluate([run], held, out=tmp_path / "v", corpus=corpus)
    assert on.report.title.startswith("ON VALIDATION") and sealed.WARNING in on.report.warnings
    assert not [x for x in on.report.leaks if x.severity == "leak"]
    with pytest.raises(TextualizeError, match="8 of these clips .* sealed.*--open-test"):
        evaluation_records(corpus.records(), [run], "test", open_test=False)
    tested = evaluation_records(corpus.records(), [run])
    with pytest.raises(TextualizeError, match="sealed"):
        evaluate([run], tested, out=tmp_path / "t")
    assert not lines(tmp_path / "runs/openings.jsonl")
    once = evaluate([run], tested, out=tmp_path / "t", corpus=corpus, open_test=True)
    assert "opened 1 times" in once.report.opened
    twice = evaluate([run], tested, out=tmp_path / "t", corpus=corpus, open_test=True)
    assert any("the test part was opened 2 times by majority" in w for w in twice.report.warnings)
    mixed = [*held, *tested]
    with pytest.raises(TextualizeError, match="used 4 of these clips for validation"):
        evaluate([run], mixed, out=tmp_path / "m", open_test=True)


def test_a_run_digest_changes_with_what_it_answers_with(corpus, tmp_path):
    run_suite(suite(), corpus, tmp_path / "runs", tmp_path / "report")
    run = next((tmp_path / "runs").rglob("splits.json")).parent
    before = sealed.run_digest(run)
    (run / "README.md").write_text("words")
    assert sealed.run_digest(run) == before
    (run / "model.json").write_text("{}")
    assert sealed.run_digest(run) != before


def test_a_damaged_ledger_is_one_line(tmp_path):
    path = tmp_path / sealed.LEDGER
    path.write_text('{"when": "now"}\n{"when": \n')
    with pytest.raises(TextualizeError, match=r"openings\.jsonl:2 is damaged"):
        sealed.opened_line([path])


def test_what_is_sealed():
    clips = {s + str(i): Clip(s + str(i), None, split=s) for s in ("train", "test") for i in (1, 2)}
    own = Fold("f", ("train1",), ("train2",), ("test1", "test2"))
    assert sealed.is_sealed(own, clips)
    assert not sealed.is_sealed(replace(own, test=("test1", "train2")), clips)
    assert not sealed.is_sealed(replace(own, test=()), clips)


def test_the_commit_is_the_one_git_names():
    found = sealed.package_commit()
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    assert found.removesuffix("-dirty") == head.stdout.strip()
