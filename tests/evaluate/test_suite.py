import json
from pathlib import Path

import numpy as np
import pytest

from textualize.errors import TextualizeError
from textualize.evaluate.cells import together
from textualize.evaluate.suite import Suite, load_suite, run_suite, suite_folds
from textualize.evaluate.verify import verify_report
from textualize.store import Corpus, Entry, Item, write_item
from textualize.types import Clip, Status, Track


@pytest.fixture
def corpus(tmp_path):
    made = Corpus.create(tmp_path / "c", None, [])
    rng = np.random.default_rng(1)
    entries = []
    for s in range(6):
        for i in range(8):
            values = rng.normal(0.15 + 0.6 * (i % 2), 0.1, (6, 2)).clip(0, 1).astype(np.float32)
            face = Track(values, 12.5, 0.0, ("AU06", "AU12"), "probability", "test")
            write_item(made.folder, f"s{s}c{i}", Item(Status("observed", "test"), {"aus": face}))
            clip = Clip(f"s{s}c{i}", None, subject=f"s{s}", label=("calm", "happy")[i % 2])
            entries.append(Entry(clip, {"face": f"s{s}c{i}"}))
    made.write_entries(entries)
    return made


def suite(**changes):
    values = {"title": "t", "methods": ["majority", "bag-of-words"], "folds": 3, "draws": 200}
    return Suite.model_validate(values | changes)


def test_every_clip_is_tested_once_by_every_method_and_nothing_is_done_twice(corpus, tmp_path):
    done = run_suite(suite(), corpus, tmp_path / "runs", tmp_path / "report")
    assert (done.trained, done.reused) == (6, 0)
    assert done.report.clips == 48 and done.report.groups == 6
    assert {r.name for r in done.report.rows} == {"majority", "bag-of-words"}
    assert done.report.row("bag-of-words").scores["accuracy"].value > 0.9
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").rglob("model.*")}
    again = run_suite(suite(), corpus, tmp_path / "runs", tmp_path / "report")
    assert (again.trained, again.reused) == (0, 6)
    assert stamps == {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").rglob("model.*")}
    assert again.report.row("bag-of-words").scores == done.report.row("bag-of-words").scores
    assert verify_report(tmp_path / "report").equal


def test_opening_the_test_part_twice_is_shown(corpus, tmp_path):
    first = run_suite(suite(), corpus, tmp_path / "runs", tmp_path / "report")
    assert not any("opened" in w for w in first.report.warnings)
    for path in (tmp_path / "runs").rglob("predictions.jsonl"):
        path.unlink()
    second = run_suite(suite(), corpus, tmp_path / "runs", tmp_path / "report")
    assert sum("opened 2 times" in w for w in second.report.warnings) == 6


def test_training_never_sees_a_test_clip(corpus, tmp_path):
    run_suite(suite(), corpus, tmp_path / "runs", tmp_path / "report")
    for path in (tmp_path / "runs").rglob("splits.json"):
        splits = json.loads(path.read_text())
        subjects = [{i[:2] for i in splits[p]} for p in ("train", "validation", "test")]
        assert not subjects[0] & subjects[1] and not (subjects[0] | subjects[1]) & subjects[2]


def test_a_changed_number_is_found(corpus, tmp_path):
    run_suite(suite(), corpus, tmp_path / "runs", tmp_path / "report")
    path = tmp_path / "report/predictions.jsonl"
    lines = path.read_text().splitlines()
    changed = json.loads(lines[0])
    changed["label"] = {"calm": "happy", "happy": "calm"}[changed["label"]]
    path.write_text("\n".join([json.dumps(changed), *lines[1:]]))
    found = verify_report(tmp_path / "report")
    assert not found.equal and found.first


def test_only_some_folds(corpus):
    folds = suite_folds(suite(only_folds=[2]), corpus.records())
    assert [f.name for f in folds] == ["2/3"]
    with pytest.raises(TextualizeError, match="only_folds should be 1 to 3; given 9"):
        suite_folds(suite(only_folds=[9]), corpus.records())


@pytest.mark.parametrize(
    "text, message",
    [
        ("methods: [jca]", "title"),
        ("title: t\nmethods: [jca]\nfold: 3", "keys are"),
        ("a: [", "YAML"),
    ],
)
def test_unusable_suites_are_one_line(tmp_path, text, message):
    path = Path(tmp_path / "s.yaml")
    path.write_text(text)
    with pytest.raises(TextualizeError, match=message):
        load_suite(str(path))


def test_folds_together_sum_minutes_and_keep_notes(corpus, tmp_path):
    from textualize.evaluate.findings import Trained

    a = Trained("jca", minutes=1.0, validation=0.5, clips_per_s=10.0, tokens=30.0, notes=("x",))
    b = Trained("jca", minutes=2.0, validation=0.7, clips_per_s=20.0, tokens=40.0)
    both = together([a, b])
    assert both.minutes == 3.0 and (both.clips_per_s, both.tokens) == (15.0, 35.0)
    assert both.validation == pytest.approx(0.6) and both.notes == ("fold 1: x",)
