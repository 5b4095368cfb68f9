import json
import re
from dataclasses import replace

import numpy as np
import pytest

from textualize import cli
from textualize.errors import TextualizeError
from textualize.evaluate import metrics
from textualize.evaluate.digests import DIGESTS
from textualize.evaluate.series import (
    answers_per_step,
    class_scores,
    steps_of,
    value_scores,
)
from textualize.evaluate.spoken import interval_text
from textualize.evaluate.steps_report import evaluate_steps
from textualize.evaluate.verify import verify_report
from textualize.files import file_digest
from textualize.finetune import train as training
from textualize.finetune.recipe import parse
from textualize.predictions import read_predictions
from textualize.store import Corpus, Entry, Item, write_item
from textualize.types import Clip, Prediction, Record, Span, Status, Track

NAN = float("nan")
LABELS = ("a", "b", "c")
# majority, mean logit and mean probability choose three different classes
FRAMES = np.array([[6, 0, 5], [3, 2, 2], [1, 6, 3], [0, 6, 3], [4, 1, 3]], float)


def series(rows, rate_hz=1.0, start=0.0, names=("v",)):
    values = np.asarray(rows, np.float32).reshape(len(rows), -1)
    return Track(values, rate_hz, start, names, "named", "test")


def pair(rows, said, clip="c", rate_hz=1.0, **about):
    tracks = {"said": series(rows, rate_hz)}
    names = ("v",) if np.ndim(said) == 1 else LABELS
    own = Prediction(clip, "jca", None, series=series(said, 1.0, 0.0, names))
    return Record(Clip(clip, None, Span(0.0, len(said)), group=clip, **about), tracks), own


def test_a_row_is_answered_by_the_step_it_falls_into():
    at, inside = steps_of(series(np.zeros(8), 2.0, start=-0.5), series(np.zeros(3)))
    assert inside.tolist() == [False, True, True, True, True, True, True, False]
    assert at[1:7].tolist() == [0, 0, 1, 1, 2, 2]


def test_scores_are_those_of_all_rows_together():
    rng = np.random.default_rng(0)
    data = [pair(rng.normal(size=12), rng.normal(size=6), f"c{i}", 2.0) for i in range(4)]
    records, answers = zip(*data, strict=True)
    (found,) = value_scores(answers, records, "said", -5.0)
    true = np.concatenate([r.tracks["said"].values[:, 0] for r in records])
    said = np.concatenate([p.series.values[:, 0].repeat(2) for p in answers])
    assert (found.what, found.count, found.beyond) == ("v", 48, 0)
    for name, measure in (("ccc", metrics.ccc), ("mae", metrics.mae), ("rmse", metrics.rmse)):
        own = found.scores[name]
        assert own.value == pytest.approx(measure(said, true))
        assert own.low <= own.value <= own.high


def test_what_is_not_annotated_is_not_scored():
    one = pair([0.1, -5.0, 0.4, NAN, 0.9], [0.1, -5.0, 0.4, 0.0], "c1")
    two = pair([0.3, 0.2], [0.2, 0.3], "c2")
    records, answers = zip(one, two, strict=True)
    (found,) = value_scores(answers, records, "said", -5.0)
    assert (found.count, found.beyond) == (4, 1)
    assert found.scores["mae"].value == pytest.approx(0.05)
    (kept,) = value_scores(answers, records, "said", None)
    assert kept.count == 5


def test_three_votes_are_told_apart():
    p = np.exp(FRAMES) / np.exp(FRAMES).sum(1, keepdims=True)
    found = {}
    for truth in LABELS:
        record, answer = pair([0, -1, 1, 1, NAN], p, label=truth)
        other, more = pair([0, 1, 2, 2, 1], np.eye(3)[[0, 1, 2, 2, 1]], "d", label="c")
        scores = class_scores([answer, more], [record, other], "said", LABELS)
        assert [s.what for s in scores] == [
            "rows", "clips, majority", "clips, mean_logit", "clips, mean_probability",
        ]  # fmt: skip
        assert (scores[0].count, scores[0].scores["accuracy"].value) == (8, 1.0)
        found[truth] = [s.scores["accuracy"].value for s in scores[1:]]
    # the second clip is a "b" or a "c" by two rows each: the lowest of equals is wrong
    base = min(found["a"])
    assert [np.argmax([found[t][i] - base for t in LABELS]) for i in range(3)] == [0, 2, 1]


def test_an_answer_without_a_series_is_refused():
    record, answer = pair([0.1, 0.2], [0.1, 0.2])
    with pytest.raises(TextualizeError, match="'c' has no series"):
        value_scores([replace(answer, series=None)], [record], "said", None)
    with pytest.raises(TextualizeError, match="nothing is annotated"):
        value_scores(*[[x] for x in pair([NAN, NAN], [0.1, 0.2])][::-1], "said", None)


@pytest.fixture
def corpus(tmp_path):
    """Twelve clips whose face shows what is annotated; none has a label."""
    made, entries = Corpus.create(tmp_path / "corpus", None), []
    rng = np.random.default_rng(0)
    for i in range(12):
        face = rng.normal(size=(20, 2)).astype(np.float32)
        tracks = {
            "aus": Track(face, 5.0, 0.0, ("A", "B"), "deviation", "test"),
            "said": Track(face[:, :1].copy(), 5.0, 0.0, ("valence",), "named", "by hand"),
        }
        part = "test" if i >= 8 else "validation" if i >= 6 else "train"
        clip = Clip(f"c{i:02d}", None, group=f"g{i}", split=part)
        write_item(made.folder, f"{i:02d}", Item(Status("observed", "test"), tracks))
        entries.append(Entry(clip, {"test": f"{i:02d}"}, "", {}))
    made.write_entries(entries)
    return made


def test_a_run_is_scored_on_clips_it_has_not_seen(corpus, tmp_path, capsys):
    values = {"method": "concat", "tracks": ["aus"], "steps": 10, "epochs": 40, "lr": 0.02,
              "hidden": 0, "dropout": 0.0, "task": "values", "per_step": "said",
              "batch_size": 2}  # fmt: skip
    recipe = parse(values, "test")
    records, clips = training.annotated(recipe, corpus.records())
    assert len(records) == 12 and {c.label for c in clips} == {"said"}
    parts = {p: [records[c.id] for c in clips if c.split == p] for p in ("train", "validation")}
    tested = [c.id for c in clips if c.split == "test"]
    run = training.train(recipe, *parts.values(), tmp_path / "run", test=tested).path
    assert answers_per_step(run) == "said"
    out = tmp_path / "report"
    with pytest.raises(TextualizeError, match="sealed.*--open-test"):
        evaluate_steps([run], corpus, None, out)
    report = evaluate_steps([run], corpus, None, out, open_test=True)
    ((found,),) = (r.scores for r in report.runs)
    assert (run / "openings.jsonl").is_file()
    assert found.count == 4 * 20
    assert found.scores["ccc"].value > 0.5  # two rows a step: no answer reaches 0.67
    assert len(read_predictions(out / "1-run" / "predictions.jsonl")) == 4
    stored = json.loads((out / "1-run" / "steps.json").read_text())
    assert stored[0]["scores"]["ccc"]["value"] == found.scores["ccc"].value
    check_steps_report(out, found)
    with pytest.raises(TextualizeError, match="trained or chosen on 2 of these clips"):
        evaluate_steps([run], corpus, "validation", out)
    folder = str(corpus.folder)
    asked = ["evaluate", str(run), "--corpus", folder, "--out", str(tmp_path), "--json"]
    assert cli.run(asked) == 2 and "--open-test" in capsys.readouterr().err
    assert cli.run([*asked, "--open-test"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(x["what"], x["count"]) for x in told] == [("valence", 80)]
    assert (tmp_path / "1-run" / "steps.json").is_file()


FIRST = r'(?<="values": \[\[)[^],]+'  # the first number of a series


def check_steps_report(folder, found):
    """The page and the tables tell the scores, and whatever is changed is found."""
    numbers = interval_text(found.scores["ccc"])
    page, text = ((folder / n).read_text("utf-8") for n in ("report.html", "report.md"))
    assert numbers in page and numbers in text and "4 annotated clips of 4 groups" in page
    assert "<script" not in page and "default-src 'none'" in page
    whole = verify_report(folder)
    assert whole.equal and whole.numbers > 10
    for name, old, new in (
        ("report.json", '"count": 80', '"count": 81'),
        ("report.json", '"groups": 4', '"groups": 40'),
        ("annotation.jsonl", FIRST, "7.5"),
        ("1-run/predictions.jsonl", FIRST, "7.5"),
        ("1-run/steps.json", '"count": 80', '"count": 90'),
        ("report.md", "valence", "arousal"),
        ("report.html", "valence", "arousal"),
    ):
        kept = (folder / name).read_text("utf-8")
        (folder / name).write_text(re.sub(old, new, kept, count=1), "utf-8")
        assert (folder / name).read_text("utf-8") != kept
        changed = verify_report(folder)
        assert not changed.equal and name in changed.changed
        digests = json.loads((folder / DIGESTS).read_text("utf-8"))
        signed = digests | {name: file_digest(folder / name)}
        (folder / DIGESTS).write_text(json.dumps(signed), "utf-8")
        if name != "report.html":  # a page is only digested
            assert not verify_report(folder).equal
        (folder / name).write_text(kept, "utf-8")
        (folder / DIGESTS).write_text(json.dumps(digests), "utf-8")
    assert verify_report(folder).equal
