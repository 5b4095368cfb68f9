"""pytest tests/evaluate/test_strata.py"""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from textualize.evaluate import strata
from textualize.evaluate.answers import Answers
from textualize.evaluate.tables import against_one_another
from textualize.types import Clip, Record, Span, Status, Utterance


def said(clip, *utterances, status=None):
    return Record(
        Clip(clip, None),
        utterances=tuple(Utterance(Span(0, 1), t, (), None, c) for t, c in utterances),
        status=status or {},
    )


def answers(name, true, predicted, classes=3, groups=None):
    ids = tuple(f"c{i:02d}" for i in range(len(true)))
    groups = groups or tuple(f"g{i % 4}" for i in range(len(true)))
    return Answers(name, ids, np.array(true), np.array(predicted), groups, classes)


def test_conditions_count_words_and_weigh_confidence_by_them():
    status = {"face": Status("absent", "s", "no face")}
    found = strata.condition_of(said("a", ("one two three", 0.9), ("four", 0.5), status=status))
    assert found.words == 4 and found.confidence == pytest.approx(0.8)
    assert found.states["face"] == "absent" and found.states["speech"] == "not_run"
    assert strata.condition_of(said("a", ("given words", None))).confidence is None
    assert strata.condition_of(said("a")).words == 0


def test_strata_split_the_clips_and_score_each_part():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 40)
    guess = np.where(rng.random(40) < 0.6, true, (true + 1) % 3)
    method = answers("m", true, guess)
    words = rng.integers(0, 30, 40)
    conditions = [
        strata.Condition(c, int(n), None, {"face": "absent" if n % 2 else "observed"})
        for c, n in zip(method.ids, words, strict=True)
    ]
    found = strata.strata_of(conditions, [method], draws=20, seed=0)
    assert {s.by for s in found} == {"words per clip", "face sensor"}  # others sort all alike
    for by in ("words per clip", "face sensor"):
        assert sum(s.clips for s in found if s.by == by) == 40
    (absent,) = [s for s in found if s.name == "absent"]
    odd = words % 2 == 1
    assert absent.clips == odd.sum() and absent.score == "accuracy"
    assert absent.scores["m"].value == pytest.approx((true == guess)[odd].mean())
    named = [s.name for s in found if s.by == "words per clip"]
    assert named == ["none", "1 to 5", "6 to 10", "11 to 20", "more than 20"][-len(named) :]


def test_numbers_are_scored_by_their_error():
    method = answers("m", [1.0, 2.0, 3.0], [1.5, 2.0, 2.0], classes=0)
    conditions = [strata.Condition(c, i * 7, None, {}) for i, c in enumerate(method.ids)]
    found = strata.strata_of(conditions, [method], draws=20, seed=0)
    assert [s.scores["m"].value for s in found] == [0.5, 0.0, 1.0]
    assert strata.agreement_of(method, method, [], draws=20, seed=0) is None


def test_agreement_counts_every_clip_once_and_agrees_with_scikit_learn():
    rng = np.random.default_rng(1)
    true, one, other = rng.integers(0, 3, (3, 60))
    one[0] = -1  # an answer that could not be read
    a, b = answers("a", true, one), answers("b", true, other)
    found = strata.agreement_of(a, b, ("x", "y", "z"), draws=20, seed=0)
    counts = (found.both, found.only_a, found.only_b, found.neither_same, found.neither_apart)
    assert sum(counts) == 60
    assert found.only_a == ((one == true) & (other != true)).sum()
    assert found.oracle.value == pytest.approx(((one == true) | (other == true)).mean())
    assert found.kappa == pytest.approx(cohen_kappa_score(one, other))
    assert sum(n for _, n, _ in found.by_class) == found.only_a
    right = dict(zip(a.ids, one == true, strict=True))
    assert found.a_right and all(right[c] for c in found.a_right)
    assert not any(right[c] for c in found.b_right)


def test_kappa_of_one_answer_for_all_is_unknown():
    same = answers("a", [0, 1], [0, 0])
    assert strata.agreement_of(same, same, ("x", "y", "z"), draws=20, seed=0).kappa is None


def test_json_and_tables(invented):
    report = invented.report(draws=20)
    back = [strata.stratum_from_json(json.loads(json.dumps(asdict(s)))) for s in report.strata]
    assert tuple(back) == report.strata
    stored = json.loads(json.dumps(asdict(report.agreement)))
    assert strata.agreement_from_json(stored) == report.agreement
    titles = [title for title, _, _ in against_one_another(report)]
    assert titles[0] == "Who is right" and "By what was said and seen (accuracy)" in titles
    for _, head, rows in against_one_another(report):
        assert all(len(row) == len(head) for row in rows)
    assert not against_one_another(replace(report, strata=(), agreement=None))
