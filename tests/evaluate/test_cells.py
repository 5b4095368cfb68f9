"""Several seeds, numbers, variants, claims and lost modalities, through a whole suite."""

import json

import numpy as np
import pytest

from textualize.errors import TextualizeError
from textualize.evaluate import metrics
from textualize.evaluate.findings import Report
from textualize.evaluate.finished import evaluate
from textualize.evaluate.named_runs import evaluation_records, seed_runs
from textualize.evaluate.suite import Suite, run_suite, suite_corpus
from textualize.evaluate.verify import verify_report
from textualize.files import read_json

READS = {"tracks": ["aus", "prosody"], "speaker_relative": False}
QUICK = READS | {"hidden": 4, "epochs": 2, "batch_size": 64}


@pytest.fixture(scope="module")
def corpus(people, tmp_path_factory):
    return people(tmp_path_factory.mktemp("classes") / "c", "class")


def suite(**changes):
    values = {
        "title": "t",
        "methods": ["majority", "linear", "concat", "concat-face"],
        "variants": {"concat-face": {"recipe": "concat", "set": {"tracks": ["aus"]}}},
        "overrides": {"linear": READS, "concat": QUICK, "concat-face": QUICK | {"tracks": ["aus"]}},
        "folds": 2,
        "seeds": [3, 5],
        "draws": 100,
        "statistic": "accuracy",
    }
    return Suite.model_validate(values | changes)


@pytest.fixture(scope="module")
def done(corpus, tmp_path_factory):
    where = tmp_path_factory.mktemp("seeds")
    given = suite(
        draws=1000,  # of six groups a hundred cannot be clear
        claims=[{"better": "linear", "than": "majority", "says": "looking helps"}],
        robustness={"modalities": {"face": ["aus"], "voice": ["prosody"]}, "shares": [0.5, 1.0]},
    )
    said = []
    found = run_suite(given, corpus, where / "runs", where / "report", say=said.append)
    return given, found, where, said


def test_each_seed_is_a_run_of_its_own_and_nothing_is_done_twice(corpus, done):
    given, found, where, _ = done
    # two folds: two seeds of two methods; what draws nothing is trained for the first seed
    assert (found.trained, found.reused) == (2 * (2 * 2 + 2), 0)
    assert (where / "runs/concat/fold1of2/seed-3/README.md").is_file()
    assert not (where / "runs/linear/fold1of2/seed-5").exists()
    again = run_suite(given, corpus, where / "runs", where / "again")
    assert (again.trained, again.reused) == (0, 12)
    assert again.report.rows == found.report.rows
    assert again.report.weakened == found.report.weakened
    assert not any("opened" in w for w in again.report.warnings)


def test_scores_are_means_over_seeds_and_can_be_recomputed(done):
    _, found, where, _ = done
    row = found.report.row("concat")
    assert row.seeds == (3, 5) and len(row.by_seed) == 2
    assert row.scores["accuracy"].value == pytest.approx(np.mean(row.by_seed))
    assert sum(map(sum, row.confusion)) == 2 * 48
    assert found.report.row("linear").seeds == (3,)
    lines = [json.loads(x) for x in (where / "report/predictions.jsonl").read_text().splitlines()]
    own = [x for x in lines if x["name"] == "concat" and x["seed"] == 5]
    assert np.mean([x["true"] == x["label"] for x in own]) == pytest.approx(row.by_seed[1])
    assert verify_report(where / "report").equal
    stored = Report.from_json(read_json(where / "report/report.json", "report"))
    assert stored.rows == found.report.rows and stored.weakened == found.report.weakened
    told = "\n".join(found.report.provenance())
    assert "seeds 3, 5" in told and "resamples seeds as well" in told


def test_a_claim_is_measured_and_said(done):
    _, found, where, _ = done
    ((claim, difference, verdict),) = found.report.claim_rows()
    assert (difference.a, difference.b) == ("linear", "majority")
    assert verdict == "holds" and difference.clear
    page = (where / "report/report.html").read_text()
    assert "looking helps" in page and "As a modality is lost" in page
    assert "looking helps" in (where / "report/report.md").read_text()


def test_what_is_lost_lowers_the_score_of_what_reads_it(done):
    _, found, _, _ = done
    scores = {(w.method, w.modality, w.how, w.share): w.score.value for w in found.report.weakened}
    for how in ("missing", "noise"):
        whole, half, none = (scores["linear", "face", how, s] for s in (0.0, 0.5, 1.0))
        assert whole > half > none and whole == found.report.row("linear").scores["accuracy"].value
    assert {m for m, _, _, _ in scores} == {"linear", "concat", "concat-face"}
    assert ("concat-face", "voice", "missing", 1.0) not in scores


def test_a_folder_of_seeds_is_compared_as_one_method(corpus, done, tmp_path):
    _, _, where, _ = done
    folder = where / "runs/concat/fold1of2"
    assert [p.name for p in seed_runs(folder)] == ["seed-3", "seed-5"]
    records = evaluation_records(corpus.records(), [folder])
    found = evaluate([folder], records, out=tmp_path, statistic="accuracy")
    (row,) = found.report.rows
    assert row.seeds == (3, 5) and row.clips == len(records) == 24
    assert seed_runs(where / "runs") == []


def test_runs_are_evaluated_on_other_people(people, done, tmp_path):
    _, _, where, _ = done
    fresh = people(tmp_path / "fresh", "class", "new_")
    runs = [where / "runs/linear/fold1of2/seed-3", where / "runs/linear/fold2of2/seed-3"]
    assert len(evaluation_records(fresh.records(), runs)) == 48  # none of them is a run's own
    with pytest.raises(TextualizeError, match="no labelled record"):
        evaluation_records(fresh.records(), runs[:1], "test")


def test_numbers_have_their_own_scores(people, tmp_path):
    corpus = people(tmp_path / "c", "number")
    found = run_suite(
        suite(statistic="ccc", methods=["majority", "linear", "concat"], variants={},
              overrides={"linear": READS, "concat": QUICK}),
        corpus, tmp_path / "runs", tmp_path / "report",
    )  # fmt: skip
    report = found.report
    assert report.labels == () and report.noise is None and report.class_counts == ()
    linear, mean = report.row("linear"), report.row("majority")
    assert set(linear.scores) == {"ccc", "pcc", "icc", "mae", "rmse"}
    assert linear.scores["ccc"].value > 0.7 > 0.1 > mean.scores["ccc"].value
    assert linear.confusion == () and linear.per_class == ()
    lines = [
        json.loads(x) for x in (tmp_path / "report/predictions.jsonl").read_text().splitlines()
    ]
    own = [x for x in lines if x["name"] == "linear"]
    truth, said = [x["true"] for x in own], [x["label"] for x in own]
    assert linear.scores["mae"].value == pytest.approx(metrics.mae(said, truth))
    assert report.constant["mae"] == pytest.approx(np.abs(truth - np.mean(truth)).mean())
    assert verify_report(tmp_path / "report").equal
    page = (tmp_path / "report/report.html").read_text()
    assert "ICC(3,1)" in page and "Confusion" not in page
    assert "the mean of these clips" in "\n".join(report.provenance())


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"seeds": [1, 1]}, "seed twice"),
        ({"methods": ["linear", "linear"], "variants": {}}, "names 'linear' twice"),
        ({"variants": {"x": {"recipe": "concat"}}}, "'x' is not among methods"),
        ({"claims": [{"better": "jca", "than": "linear", "says": ""}]}, "claims are of 'jca'"),
        ({"claims": [{"better": "linear", "than": "concat", "says": "", "p": 1}]}, "p"),
        ({"robustness": {"modalities": {}, "share": [1]}}, "share"),
        ({"robustness": {"modalities": {}, "methods": ["jca"]}}, "robustness is of 'jca'"),
        ({"synthetic": {"clips": 3}}, "clips"),
    ],
)
def test_unusable_keys_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        suite(**changes)


def test_robustness_is_of_the_methods_asked_for(corpus, done, tmp_path):
    _, _, where, _ = done
    asked = {"modalities": {"face": ["aus"]}, "shares": [1.0], "methods": ["linear"]}
    found = run_suite(suite(robustness=asked), corpus, where / "runs", tmp_path / "report")
    assert {w.method for w in found.report.weakened} == {"linear"}


def test_a_modality_nobody_has_is_one_line(corpus, tmp_path):
    lost = suite(methods=["linear"], variants={}, robustness={"modalities": {"smell": ["nose"]}})
    with pytest.raises(TextualizeError, match="no tested clip has track nose of 'smell'"):
        run_suite(lost, corpus, tmp_path / "runs", tmp_path / "report")


def test_a_suite_makes_its_corpus_or_is_given_one(corpus, tmp_path):
    with pytest.raises(TextualizeError, match="give --corpus"):
        suite_corpus(suite(), None, tmp_path)
    alone = suite(synthetic={"train": 8, "validation": 4, "test": 4, "unlabelled": 0})
    with pytest.raises(TextualizeError, match="makes its own corpus"):
        suite_corpus(alone, corpus.folder, tmp_path)
    assert len(list(suite_corpus(alone, None, tmp_path).records())) == 16
