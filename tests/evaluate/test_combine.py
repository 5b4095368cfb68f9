"""pytest tests/evaluate/test_combine.py"""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textualize import cli
from textualize.errors import TextualizeError
from textualize.evaluate import combine, metrics
from textualize.evaluate.combine import Part, fused
from textualize.evaluate.finished import evaluate
from textualize.evaluate.fusing import with_combination
from textualize.evaluate.suite import Suite, run_suite
from textualize.evaluate.tables import report_markdown
from textualize.evaluate.verify import verify_report
from textualize.finetune.run_folder import RunFolder
from textualize.labels import LabelSet
from textualize.methods import load
from textualize.types import Clip, Prediction, Record

LABELS = LabelSet("own", ("x", "y", "z"), {})


def world(clips, seed=0):
    """Records and two methods' answers; each sees the class through noise of its own."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 3, clips)
    records = {
        f"c{i:03d}": Record(Clip(f"c{i:03d}", None, group=f"g{i % 20}", label=LABELS.labels[t]))
        for i, t in enumerate(true)
    }
    sides = []
    for name in ("words", "tracks"):
        logits = 1.2 * np.eye(3)[true] + rng.normal(0, 1, (clips, 3))
        p = np.exp(3 * logits)  # three times too sure
        p /= p.sum(1, keepdims=True)
        sides.append(
            [
                Prediction(c, name, LABELS.labels[row.argmax()],
                           dict(zip(LABELS.labels, row.tolist(), strict=True)))
                for c, row in zip(records, p, strict=True)
            ]
        )  # fmt: skip
    return records, sides


def halves(side):
    middle = len(side) // 2
    return Part(side[:middle], side[middle:])


def accuracy(predictions, records):
    return np.mean([p.label == records[p.clip_id].clip.label for p in predictions])


def loss(predictions, records):
    return -np.mean([np.log(p.scores[records[p.clip_id].clip.label]) for p in predictions])


def test_two_noisy_methods_are_better_together_and_calibrated():
    records, (words, tracks) = world(1200)
    a, b = halves(words), halves(tracks)
    together, weights = fused(a, b, records, LABELS)
    assert accuracy(together, records) > max(accuracy(x.tested, records) for x in (a, b)) + 0.02
    assert loss(together, records) < min(loss(x.tested, records) for x in (a, b))
    assert all(0 < w < 0.6 for w in weights)  # both were three times too sure
    for p in together:
        assert sum(p.scores.values()) == pytest.approx(1) and p.label == max(
            p.scores, key=p.scores.get
        )


def test_noise_gets_no_weight():
    records, (words, tracks) = world(900)
    rng = np.random.default_rng(9)
    order = rng.permutation(len(tracks))
    noise = [replace(tracks[j], clip_id=p.clip_id) for j, p in zip(order, tracks, strict=True)]
    together, weights = fused(halves(words), halves(noise), records, LABELS)
    assert weights[1] < 0.2 * weights[0]
    assert abs(accuracy(together, records) - accuracy(halves(words).tested, records)) < 0.05


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000))
def test_weights_are_at_least_as_good_as_either_method_alone_on_what_they_are_fitted(seed):
    rng = np.random.default_rng(seed)
    words, tracks = np.log(rng.dirichlet(np.ones(3), (2, 30)))
    true = rng.integers(0, 3, 30)
    found = combine.fitted(words, tracks, true)

    def at(weights):
        return -np.log(combine.pooled(words, tracks, weights)[np.arange(30), true]).mean()

    assert at(found) <= min(at((1, 0)), at((0, 1)), at((0, 0))) + 1e-6


def test_unreadable_answers_say_nothing_and_two_of_them_stay_unreadable():
    records, (words, tracks) = world(60)
    silent = Prediction(words[-1].clip_id, "words", None, {})
    a, b = halves([*words[:-1], silent]), halves(tracks)
    together, _ = fused(a, b, records, LABELS)
    assert together[-1].label == tracks[-1].label
    b = halves([*tracks[:-1], replace(silent, method="tracks")])
    assert fused(a, b, records, LABELS)[0][-1].label is None


def test_numbers_are_combined_by_least_squares():
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2, 80)
    records = {f"c{i}": Record(Clip(f"c{i}", None, label=float(t))) for i, t in enumerate(true)}
    one, other = 0.5 * true + 1, rng.normal(0, 1, 80)
    sides = [
        halves([Prediction(c, n, float(x)) for c, x in zip(records, own, strict=True)])
        for n, own in (("a", one), ("b", other))
    ]
    numeric = LabelSet("numbers", (), {})
    together, weights = fused(*sides, records, numeric)
    assert weights == pytest.approx((2.0, 0.0, -2.0), abs=1e-6)
    assert [p.label for p in together] == pytest.approx(true[40:].tolist())


def test_what_cannot_be_combined_is_said():
    records, (words, tracks) = world(20)
    bare = [replace(p, scores={}) for p in words]
    with pytest.raises(TextualizeError, match="gives no class probabilities"):
        fused(halves(bare), halves(tracks), records, LABELS)
    with pytest.raises(TextualizeError, match="different clips"):
        fused(halves(words[:10]), halves(tracks), records, LABELS)


def parts(invented, name):
    """Halves of each method's clips stand for its validation and its test."""
    own = invented.predictions[name]
    test = {r.clip.id for r in invented.records[24:]}
    return {None: [Part([p for p in own if p.clip_id not in test],
                        [p for p in own if p.clip_id in test])]}  # fmt: skip


def test_report_gains_a_combination_and_comes_back_from_json(invented):
    records = {r.clip.id: r for r in invented.records}
    report = invented.report(draws=50)
    found, given_ = with_combination(
        report, lambda n: parts(invented, n), invented.predictions, records, invented.labels
    )
    (name,) = given_
    assert found.combined.name == name == " + ".join(report.headline)
    assert {g.b for g in found.combined.gains} == set(report.headline)
    assert all(g.clips == 24 for g in found.combined.gains)
    validation = {r.name: r.trained.validation for r in report.rows}
    assert found.combined.better == max(report.headline, key=validation.get)
    assert found.combined.gain.b == found.combined.better
    assert len(found.combined.weights) == 1
    back = combine.combined_from_json(json.loads(json.dumps(asdict(found.combined))))
    assert back == found.combined
    assert name in report_markdown(found)


def test_nothing_is_fitted_on_the_clips_it_is_scored_on(invented):
    records = {r.clip.id: r for r in invented.records}
    report = invented.report(draws=20)

    def same(name):
        return {None: [Part(invented.predictions[name], invented.predictions[name])]}

    found, given_ = with_combination(report, same, invented.predictions, records, invented.labels)
    assert found.combined is None and not given_
    assert "not combined: no validation clips apart" in found.warnings[-1]


@pytest.fixture(scope="module")
def runs(people, tmp_path_factory):
    """Two finished runs on one fold of a corpus, one that reads words and one that reads tracks."""
    where = tmp_path_factory.mktemp("runs")
    suite = Suite.model_validate({
        "title": "t", "methods": ["bag-of-words", "linear"], "folds": 2, "only_folds": [1],
        "overrides": {"linear": {"tracks": ["aus", "prosody"], "speaker_relative": False}},
        "draws": 100,
    })  # fmt: skip
    corpus = people(where / "c", "class")
    run_suite(suite, corpus, where / "suite", where / "of-suite")
    return corpus, [where / "suite" / name / "fold1of2" for name in suite.methods]


def test_finished_runs_are_combined_with_weights_of_their_validation_clips(runs, tmp_path, capsys):
    corpus, folders = runs
    asked = ["evaluate", *map(str, folders), "--corpus", str(corpus.folder)]
    assert cli.run([*asked, "--out", str(tmp_path / "r"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    found = combine.combined_from_json(told["combined"])
    assert found.name == "bag-of-words-fold1of2 + linear-fold1of2"

    records = {r.clip.id: r for r in corpus.records()}
    held, tested = (RunFolder(folders[0]).parts[p] for p in ("validation", "test"))
    sides = [
        Part(*(load(run).predict([records[i] for i in ids]) for ids in (held, tested)))
        for run in folders
    ]
    answers, weights = fused(*sides, records, corpus_labels(told))
    assert found.weights == (tuple(round(w, 4) for w in weights),)
    lines = (tmp_path / "r/predictions.jsonl").read_text("utf-8").splitlines()
    own = {x["clip_id"]: x for x in map(json.loads, lines) if x["name"] == found.name}
    assert {i: x["label"] for i, x in own.items()} == {p.clip_id: p.label for p in answers}
    for p in answers:
        assert own[p.clip_id]["scores"] == pytest.approx(dict(p.scores))
    true, said = (
        [told["labels"].index(x) for x in column]
        for column in ([records[p.clip_id].clip.label for p in answers], [p.label for p in answers])
    )
    score = metrics.score("macro_f1", true, said, len(told["labels"]))
    assert found.score.value == pytest.approx(score)
    for gain in found.gains:
        row = next(r for r in told["rows"] if r["name"] == gain.b)
        single = row["scores"]["macro_f1"]["value"]
        assert gain.value == pytest.approx(found.score.value - single)
    assert verify_report(tmp_path / "r").equal


def corpus_labels(told):
    return LabelSet("own", tuple(told["labels"]), {})


def test_runs_that_are_asked_about_their_validation_clips_are_not_combined(runs, tmp_path):
    corpus, folders = runs
    held = RunFolder(folders[0]).parts["validation"]
    records = [r for r in corpus.records() if r.clip.id in held]
    report = evaluate(folders, records, out=tmp_path, corpus=corpus).report
    assert report.combined is None
    assert any("words and features are not combined" in w for w in report.warnings)
