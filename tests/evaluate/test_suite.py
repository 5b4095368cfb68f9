import json
import shutil
from pathlib import Path

import pytest

from textualize.errors import TextualizeError
from textualize.evaluate.cells import together
from textualize.evaluate.suite import Suite, load_suite, run_suite, suite_folds
from textualize.evaluate.verify import verify_report


@pytest.fixture(scope="module")
def corpus(faces, tmp_path_factory):
    return faces(tmp_path_factory.mktemp("suite") / "c", 6)


def suite(**changes):
    values = {"title": "t", "methods": ["majority", "bag-of-words"], "folds": 3, "draws": 200}
    return Suite.model_validate(values | changes)


@pytest.fixture(scope="module")
def done(corpus, tmp_path_factory):
    """What the suite came to, and the folder it wrote."""
    where = tmp_path_factory.mktemp("done")
    return run_suite(suite(), corpus, where / "runs", where / "report"), where


@pytest.fixture
def copy(done, tmp_path):
    return shutil.copytree(done[1], tmp_path / "copy")


def test_every_clip_is_tested_once_by_every_method_and_nothing_is_done_twice(corpus, done, copy):
    first = done[0]
    assert (first.trained, first.reused) == (6, 0)
    assert first.report.clips == 48 and first.report.groups == 6
    assert {r.name for r in first.report.rows} == {"majority", "bag-of-words"}
    assert first.report.row("bag-of-words").scores["accuracy"].value > 0.9
    stamps = {p: p.stat().st_mtime_ns for p in (copy / "runs").rglob("model.*")}
    assert stamps
    again = run_suite(suite(), corpus, copy / "runs", copy / "report")
    assert (again.trained, again.reused) == (0, 6)
    assert stamps == {p: p.stat().st_mtime_ns for p in (copy / "runs").rglob("model.*")}
    assert again.report.row("bag-of-words").scores == first.report.row("bag-of-words").scores
    assert verify_report(copy / "report").equal


def test_opening_the_test_part_twice_is_shown(corpus, done, copy):
    assert not any("opened" in w for w in done[0].report.warnings)
    for path in (copy / "runs").rglob("predictions.jsonl"):
        path.unlink()
    second = run_suite(suite(), corpus, copy / "runs", copy / "report")
    assert sum("opened 2 times" in w for w in second.report.warnings) == 6


def test_training_never_sees_a_test_clip(done):
    found = list((done[1] / "runs").rglob("splits.json"))
    assert len(found) == 6
    for path in found:
        splits = json.loads(path.read_text())
        subjects = [{i[:2] for i in splits[p]} for p in ("train", "validation", "test")]
        assert not subjects[0] & subjects[1] and not (subjects[0] | subjects[1]) & subjects[2]


def test_a_changed_number_is_found(copy):
    path = copy / "report/predictions.jsonl"
    lines = path.read_text().splitlines()
    changed = json.loads(lines[0])
    changed["label"] = {"calm": "happy", "happy": "calm"}[changed["label"]]
    path.write_text("\n".join([json.dumps(changed), *lines[1:]]))
    found = verify_report(copy / "report")
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


def test_folds_together_sum_minutes_and_keep_notes():
    from textualize.evaluate.findings import Trained

    a = Trained("jca", minutes=1.0, validation=0.5, clips_per_s=10.0, tokens=30.0, notes=("x",))
    b = Trained("jca", minutes=2.0, validation=0.7, clips_per_s=20.0, tokens=40.0)
    both = together([a, b])
    assert both.minutes == 3.0 and (both.clips_per_s, both.tokens) == (15.0, 35.0)
    assert both.validation == pytest.approx(0.6) and both.notes == ("fold 1: x",)
