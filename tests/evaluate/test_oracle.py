"""What is chosen with labels of whom it is tested on is shown, and wins nothing."""

from dataclasses import replace

import pytest

from textualize.errors import TextualizeError
from textualize.evaluate import html
from textualize.evaluate.suite import Suite, run_suite
from textualize.methods import read_with

SAID = "oracle: epochs chosen with labels of the person adapted to"
ORACLE = {"recipe": "subject-msda", "set": {
    "choose": "oracle", "tracks": ["aus"], "hidden": 4, "epochs": 1, "speaker_relative": False,
}}  # fmt: skip


def test_an_oracle_is_in_no_comparison_however_well_it_does(invented):
    best = replace(invented.runs["jca"], method="subject-msda", validation=0.999, reads="labels")
    report = invented.report(runs={**invented.runs, "jca": best})
    fair = invented.report()
    assert fair.row("jca").family == "features" and fair.difference("bert", "jca")
    assert (report.row("jca").family, report.row("jca").reads) == ("oracle", "labels")
    assert report.headline == ("bert", "concat")
    assert not any("jca" in (d.a, d.b) for d in report.differences)
    assert SAID in html.render_report(
        report, invented.records, invented.prompts, invented.predictions, limit=1
    )
    assert SAID not in html.render_report(
        fair, invented.records, invented.prompts, invented.predictions, limit=1
    )


@pytest.mark.parametrize("pair", [("oracle", "linear"), ("linear", "oracle")])
def test_a_claim_of_an_oracle_is_refused_before_anything_is_trained(pair, people, tmp_path):
    suite = Suite.model_validate({
        "title": "t", "methods": ["linear", "oracle"], "variants": {"oracle": ORACLE},
        "overrides": {"linear": {"tracks": ["aus"]}}, "folds": "subjects",
        "claims": [{"better": pair[0], "than": pair[1], "says": "so"}],
    })  # fmt: skip
    corpus = people(tmp_path / "c", "class")
    with pytest.raises(TextualizeError, match="a claim is of 'oracle', an oracle") as caught:
        run_suite(suite, corpus, tmp_path / "runs", tmp_path / "report")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_a_suite_reports_an_oracle_apart(people, tmp_path):
    fair = {**ORACLE, "set": {**ORACLE["set"], "choose": "source"}}
    suite = Suite.model_validate({
        "title": "t", "methods": ["oracle", "fair"], "variants": {"oracle": ORACLE, "fair": fair},
        "folds": "subjects", "draws": 100,
    })  # fmt: skip
    corpus = people(tmp_path / "c", "class")
    done = run_suite(suite, corpus, tmp_path / "runs", tmp_path / "report")
    assert done.report.row("oracle").family == "oracle"
    assert done.report.row("fair").family == "features"
    assert any(SAID in note for note in done.report.row("oracle").trained.notes)
    assert not any(SAID in note for note in done.report.row("fair").trained.notes)
    assert SAID in (tmp_path / "report" / "report.html").read_text("utf-8")


def test_what_a_recipe_has_a_method_read():
    assert read_with("subject-msda", {}) == "tracks"
    assert read_with("subject-msda", {"pictures": "crops"}) == "pictures"
    assert read_with("subject-msda", {"pictures": "crops", "choose": "oracle"}) == "labels"
    assert read_with("dmsn", {"pictures": "crops"}) == "pictures"
    assert read_with("majority", {}) == "nothing"
