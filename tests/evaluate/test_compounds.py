"""Scores without Other, two-hot scores, and compounds scored from basics, by hand and by others."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from textualize.errors import TextualizeError
from textualize.evaluate import compounds, metrics
from textualize.evaluate.answers import answers, together
from textualize.evaluate.compounds import (
    DROPPED,
    RESTRICTED,
    TWO_HOT,
    compound_scores,
    member_matrix,
    translated,
)
from textualize.evaluate.findings import Report
from textualize.evaluate.finished import evaluate
from textualize.evaluate.html import render_report
from textualize.evaluate.report import build_report
from textualize.evaluate.tables import report_markdown
from textualize.evaluate.verify import verify_report
from textualize.files import read_json
from textualize.finetune.train import train
from textualize.labels import LABEL_SETS, LabelSet, basics_from_compounds, compounds_from_basics
from textualize.store import Corpus, Entry, Item, write_item
from textualize.types import Clip, Prediction, Record, Status, Track

EIGHT, SEVEN, BASIC7 = (LABEL_SETS[x] for x in ("compound8", "compound7", "basic7"))


def drawn(clips=120, seed=0, skill=0.4):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 8, clips)
    scores = rng.dirichlet(np.ones(8), clips)
    scores[np.arange(clips), true] += skill
    scores /= scores.sum(axis=1, keepdims=True)
    records = [
        Record(Clip(f"c{i:03d}", None, group=f"g{i % 12}", label=EIGHT.labels[t]))
        for i, t in enumerate(true)
    ]
    said = [
        Prediction(r.clip.id, "m", EIGHT.labels[int(p.argmax())],
                   dict(zip(EIGHT.labels, p.tolist(), strict=True)))
        for r, p in zip(records, scores, strict=True)
    ]  # fmt: skip
    return records, said, true, scores


def test_both_scores_without_other_are_sklearns_on_the_clips_left():
    records, said, true, scores = drawn()
    found = compound_scores(answers("m", said, records, EIGHT), said, EIGHT, draws=100, seed=0)
    kept = true != 7
    own = {"labels": list(range(7)), "average": "macro", "zero_division": 0}
    assert found[DROPPED].value == pytest.approx(
        f1_score(true[kept], scores[kept].argmax(1), **own)
    )
    assert found[RESTRICTED].value == pytest.approx(
        f1_score(true[kept], scores[kept][:, :7].argmax(1), **own)
    )
    assert found[RESTRICTED].value > found[DROPPED].value
    assert found[DROPPED].low < found[DROPPED].value < found[DROPPED].high


def test_two_hot_is_sklearns_multilabel_macro_f1():
    records, said, true, scores = drawn()
    found = compound_scores(answers("m", said, records, EIGHT), said, EIGHT, draws=100, seed=0)
    members = member_matrix(EIGHT)
    assert members[7].sum() == 0 and (members[:7].sum(axis=1) == 2).all()
    expected = f1_score(members[true], members[scores.argmax(1)], average="macro", zero_division=0)
    assert found[TWO_HOT].value == pytest.approx(expected)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(-1, 6)), min_size=1))
def test_counts_without_a_class_and_two_hot_of_any_answers(rows):
    true, said = (np.array(x) for x in zip(*rows, strict=True))
    counts = metrics.confusion(true, said, 7)
    kept = true != 3
    rest = [x for x in range(7) if x != 3]
    left = float(metrics.SCORES["macro_f1"](metrics.without(counts, 3)))
    if kept.any():
        expected = f1_score(true[kept], said[kept], labels=rest, average="macro", zero_division=0)
        assert left == pytest.approx(expected)
    else:
        assert left == 0.0
    members = member_matrix(SEVEN)
    hot = np.where(said[:, None] >= 0, members[said], 0)
    multi = f1_score(members[true], hot, average="macro", zero_division=0)
    assert float(metrics.two_hot_f1(counts, members)) == pytest.approx(multi)


def test_what_cannot_be_restricted_or_has_no_compounds_is_left_out():
    records, said, _, _ = drawn(40)
    bare = [replace(p, scores={}) for p in said]
    own = answers("m", bare, records, EIGHT)
    assert set(compound_scores(own, bare, EIGHT, draws=100, seed=0)) == {DROPPED, TWO_HOT}
    unread = [replace(said[0], label=None, scores={}), *said[1:]]
    own = answers("m", unread, records, EIGHT)
    assert set(compound_scores(own, unread, EIGHT, draws=100, seed=0)) == {
        DROPPED, RESTRICTED, TWO_HOT
    }  # fmt: skip
    plain = LabelSet("own", ("calm", "glad"), {})
    records = [Record(Clip("a", None, label="calm"))]
    told = [Prediction("a", "m", "calm")]
    assert compound_scores(answers("m", told, records, plain), told, plain, draws=9, seed=0) == {}


def test_seeds_and_reports_have_these_scores_and_verify_recomputes_them(tmp_path):
    records, one, _, _ = drawn(60, seed=1)
    _, two, _, _ = drawn(60, seed=1, skill=0.9)
    both = together([answers("m", x, records, EIGHT) for x in (one, two)])
    found = compound_scores(both, {0: one, 1: two}, EIGHT, draws=100, seed=0)
    each = [
        compound_scores(answers("m", x, records, EIGHT), x, EIGHT, draws=100, seed=0)
        for x in (one, two)
    ]
    assert found[TWO_HOT].value == pytest.approx(np.mean([e[TWO_HOT].value for e in each]))
    told = [replace(p, method="majority") for p in one]
    report = build_report(records, {"majority": told}, EIGHT, draws=100)
    assert report.rows[0].beside[TWO_HOT].value == each[0][TWO_HOT].value
    assert Report.from_json(report.to_json()).rows == report.rows
    assert "macro F1 without Other, dropped" in report_markdown(report)


# --- algebra ------------------------------------------------------------------------------------


def test_rules_by_hand_and_basics_by_any_name():
    scores = {"neutral": 0.1, "anger": 0.3, "joy": 0.0, "sadness": 0.2, "fear": 0.1,
              "surprise": 0.3, "disgust": 0.0}  # fmt: skip
    product = compounds_from_basics(scores, SEVEN)
    raw = {"fearfully surprised": 0.03, "happily surprised": 0.0, "sadly surprised": 0.06,
           "disgustedly surprised": 0.0, "angrily surprised": 0.09, "sadly fearful": 0.02,
           "sadly angry": 0.06}  # fmt: skip
    assert product == pytest.approx({k: v / 0.26 for k, v in raw.items()})
    least = compounds_from_basics(scores, EIGHT, "min")
    assert least["angrily surprised"] == pytest.approx(0.3 / 0.9) and least["other"] == 0
    with pytest.raises(TextualizeError, match="rule"):
        compounds_from_basics(scores, SEVEN, "mean")
    with pytest.raises(TextualizeError, match="need the score of 'disgust'"):
        compounds_from_basics({k: v for k, v in scores.items() if k != "disgust"}, SEVEN)
    assert compounds_from_basics({**dict.fromkeys(scores, 0.0), "neutral": 1.0}, SEVEN) == {}


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0.001, 1), min_size=7, max_size=7), st.sampled_from(["product", "min"]))
def test_both_ways_give_probabilities_and_the_two_basics_of_a_certain_compound(raw, rule):
    basics = dict(zip(BASIC7.labels, np.array(raw) / sum(raw), strict=True))
    there = compounds_from_basics(basics, SEVEN, rule)
    back = basics_from_compounds(there, SEVEN, BASIC7)
    assert sum(there.values()) == pytest.approx(1) and sum(back.values()) == pytest.approx(1)
    for label, pair in SEVEN.pairs.items():
        certain = basics_from_compounds({label: 1.0}, SEVEN, BASIC7)
        assert {b for b, p in certain.items() if p} == set(pair)
        again = compounds_from_basics(certain, SEVEN, rule)
        assert max(again, key=lambda x: again[x]) == label


def test_an_answer_of_which_nothing_is_left_could_not_be_read():
    calm = dict.fromkeys(BASIC7.labels, 0.0) | {"neutral": 1.0}
    found = translated([Prediction("a", "m", "neutral", calm), Prediction("b", "m", "anger")],
                       BASIC7, SEVEN)  # fmt: skip
    assert [(p.label, dict(p.scores)) for p in found] == [(None, {}), (None, {})]


@pytest.fixture
def corpora(tmp_path):
    """The same faces twice: labelled with one of two emotions' intensities, or with the pair."""
    made = {}
    rng = np.random.default_rng(3)
    basics = [("anger", "sadness"), ("fear", "sadness"), ("happiness", "surprise")]
    for kind in ("basic", "compound"):
        corpus = Corpus.create(tmp_path / kind, None, [])
        entries = []
        for i in range(48):
            pair = basics[i % 3]
            own = (pair[i // 3 % 2],) if kind == "basic" else pair
            face = rng.normal(0.1, 0.05, (6, 6))
            for name in own:
                face[:, BASIC7.labels.index(name) - 1] += 0.6
            label = own[0]
            if kind == "compound":
                label = next(k for k, v in SEVEN.pairs.items() if set(v) == set(pair))
            name = f"{kind}{i}"
            units = tuple(f"AU{n:02d}" for n in (1, 2, 4, 6, 12, 15))
            values = face.clip(0, 1).astype(np.float32)
            track = Track(values, 12.5, 0.0, units, "probability", "t")
            write_item(corpus.folder, name, Item(Status("observed", "test"), {"aus": track}))
            entries.append(Entry(Clip(name, None, subject=f"{kind}{i % 8}", label=label),
                                 {"face": name}))  # fmt: skip
        corpus.write_entries(entries)
        made[kind] = corpus
    return made


def test_a_run_of_basics_answers_compounds_beside_one_that_answers_them(corpora, tmp_path):
    settings = ["tracks=[aus]", "speaker_relative=false"]
    runs = []
    for kind, labels in (("basic", BASIC7), ("compound", SEVEN)):
        own = corpora[kind].records()
        runs.append(
            train("linear", own[:24], own[24:36], tmp_path / f"run-{kind}", labels=labels,
                  test=[r.clip.id for r in own[36:]], overrides=settings).path
        )  # fmt: skip
    tested = corpora["compound"].records()[36:]
    done = evaluate(runs, tested, labels=SEVEN, out=tmp_path / "report")
    named = "run-basic, compounds from basics (product)"
    assert {r.name for r in done.report.rows} == {named, "run-compound"}
    assert done.report.row(named).scores["accuracy"].value > 0.8  # never saw a compound
    ((claim, difference, _),) = done.report.claim_rows()
    assert (difference.a, difference.b) == ("run-compound", named)
    assert claim.says == "run-compound is better than compounds from basics"
    assert verify_report(tmp_path / "report").equal
    least = evaluate(runs[:1], tested, labels=SEVEN, out=tmp_path / "min", rule="min")
    assert least.report.rows[0].name.endswith("(min)")
    other = corpora["basic"].records()[36:]
    back = evaluate(runs[1:], other, labels=BASIC7, out=tmp_path / "back")
    (row,) = back.report.rows
    assert row.name == "run-compound, basics from compounds"
    assert row.scores["accuracy"].value > 1 / 7 and row.unparsed == 0
    assert read_json(tmp_path / "back/report.json", "report")["labels"] == list(BASIC7.labels)


def test_what_cannot_be_translated_is_refused_as_before():
    polarity = LABEL_SETS["polarity2"]
    assert compounds.translation(polarity, SEVEN) == compounds.translation(SEVEN, polarity) == ""


def test_the_page_has_these_scores_where_there_are_compounds(invented):
    page = render_report(invented.report(draws=50), invented.records, {}, invented.predictions)
    assert 'id="compounds"' in page and TWO_HOT in page
