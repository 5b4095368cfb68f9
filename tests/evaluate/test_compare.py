"""pytest tests/evaluate/test_compare.py"""

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textualize.errors import TextualizeError
from textualize.evaluate import compare, metrics
from textualize.evaluate.compare import Answers
from textualize.labels import LabelSet
from textualize.types import Clip, Prediction, Record

LABELS = LabelSet("own", ("a", "b", "c"), {})


def answers(name="m", n=60, groups=12, skill=0.6, seed=0, shift=0):
    rng = np.random.default_rng(seed)
    true = np.random.default_rng(99).integers(0, 3, n)
    wrong = rng.random(n) > skill
    predicted = np.where(wrong, rng.integers(0, 3, n), true)
    ids = tuple(f"c{i + shift:03d}" for i in range(n))
    return Answers(name, ids, true, predicted, tuple(f"g{i % groups}" for i in range(n)), 3)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 2), st.sampled_from("wxyz")), min_size=1),
    st.sampled_from(sorted(metrics.SCORES)),
)
def test_interval_holds_the_value(rows, statistic):
    true, predicted, groups = map(list, zip(*rows, strict=True))
    found = compare.cluster_bootstrap(
        true, predicted, groups, statistic, n_classes=3, draws=100, seed=1
    )
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0
    assert found.value == pytest.approx(metrics.score(statistic, true, predicted, 3))
    assert found.few_groups


def test_order_of_clips_changes_nothing():
    a = answers()
    order = np.random.default_rng(5).permutation(len(a.ids))
    groups = [a.groups[i] for i in order]
    one = compare.cluster_bootstrap(a.true, a.predicted, a.groups, "macro_f1", n_classes=3)
    two = compare.cluster_bootstrap(
        a.true[order], a.predicted[order], groups, "macro_f1", n_classes=3
    )
    assert one == two
    assert not one.few_groups


def test_groups_of_one_clip_are_the_ordinary_bootstrap():
    a = answers(n=200, groups=200)
    found = compare.cluster_bootstrap(
        a.true, a.predicted, a.groups, "accuracy", n_classes=3, draws=4000
    )
    right = a.true == a.predicted
    drawn = np.random.default_rng(7).choice(right, (4000, 200)).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert found.low == pytest.approx(low, abs=0.012)
    assert found.high == pytest.approx(high, abs=0.012)


def test_clips_that_stand_or_fall_together_widen_the_interval():
    true = np.zeros(200, dtype=int)
    predicted = np.repeat(np.random.default_rng(0).integers(0, 2, 20), 10)
    together = [f"s{i // 10}" for i in range(200)]
    alone = [f"c{i}" for i in range(200)]
    wide, narrow = (
        compare.cluster_bootstrap(true, predicted, g, "accuracy", n_classes=2)
        for g in (together, alone)
    )
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(11)
    hits = 0
    for i in range(100):
        right = rng.random(80) < 0.7
        found = compare.cluster_bootstrap(
            np.zeros(80, int), (~right).astype(int), [f"g{k}" for k in range(80)], "accuracy",
            n_classes=2, draws=300, seed=i,
        )  # fmt: skip
        hits += found.low <= 0.7 <= found.high
    assert hits >= 87


def test_two_thousand_draws_of_a_thousand_clips_take_under_a_second():
    a = answers(n=1000, groups=1000)
    start = time.process_time()
    compare.cluster_bootstrap(a.true, a.predicted, a.groups, "macro_f1", n_classes=3)
    assert time.process_time() - start < 1.0


def test_same_answers_do_not_differ():
    a, b = answers("a"), answers("b")
    found = compare.paired_difference(a, b)
    assert (found.value, found.low, found.high, found.p, found.mcnemar_p) == (0, 0, 0, 1, 1)
    assert (found.only_a, found.only_b, found.dropped, found.clear) == (0, 0, 0, False)


def test_difference_turns_its_sign_with_the_order():
    a, b = answers("a", skill=0.9, seed=1), answers("b", skill=0.4, seed=2)
    one, two = compare.paired_difference(a, b), compare.paired_difference(b, a)
    assert one.value == pytest.approx(-two.value)
    assert one.low == pytest.approx(-two.high)
    assert one.p == pytest.approx(two.p)
    assert one.clear and one.value > 0 and one.p < 0.01


def test_pairing_is_sharper_than_two_single_intervals():
    a = answers("a", n=200, skill=0.6, seed=1)
    better = a.predicted.copy()
    better[:10] = a.true[:10]
    b = Answers("b", a.ids, a.true, better, a.groups, 3)
    paired = compare.paired_difference(b, a, "accuracy")
    single = compare.cluster_bootstrap(a.true, a.predicted, a.groups, "accuracy", n_classes=3)
    assert paired.high - paired.low < (single.high - single.low) / 2


def test_different_clips_are_refused_or_left_out_and_counted():
    whole = answers("a", n=65)
    a, b = whole.only(whole.ids[:60]), replace(whole.only(whole.ids[5:]), method="b")
    with pytest.raises(TextualizeError, match=r"10 of 65 .*'a' lacks 5, 'b' lacks 5.*intersect"):
        compare.paired_difference(a, b)
    found = compare.paired_difference(a, b, intersect=True)
    assert (found.clips, found.dropped) == (55, 10)
    with pytest.raises(TextualizeError, match="nothing to compare"):
        compare.paired_difference(a, answers("b", shift=900), intersect=True)


def test_other_labels_are_refused():
    a, b = answers("a"), answers("b")
    turned = Answers("b", b.ids, (b.true + 1) % 3, b.predicted, b.groups, 3)
    with pytest.raises(TextualizeError, match="different labels or groups"):
        compare.paired_difference(a, turned)


def test_holm_and_mcnemar_hand_values():
    assert compare.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert compare.holm([0.5, 0.9]) == [1.0, 1.0]
    assert compare.holm([]) == []
    assert compare.mcnemar(5, 0) == pytest.approx(0.0625)
    assert compare.mcnemar(3, 3) == 1.0


def test_answers_read_records_and_predictions():
    records = [
        Record(Clip("z", None, subject="s1", label="a")),
        Record(Clip("y", None, subject="s2", label="b")),
        Record(Clip("x", None, subject="s2", label=None)),
    ]
    said = [Prediction("x", "m", "c"), Prediction("z", "m", None), Prediction("y", "m", "b")]
    found = compare.answers("m", said, records, LABELS)
    assert found.ids == ("y", "z")
    assert found.true.tolist() == [1, 0]
    assert found.predicted.tolist() == [1, -1]
    assert found.groups == ("s2", "s1")
    with pytest.raises(TextualizeError, match="twice"):
        compare.answers("m", [*said, said[0]], records, LABELS)
    with pytest.raises(TextualizeError, match="not among the records"):
        compare.answers("m", [Prediction("q", "m", "a")], records, LABELS)
    with pytest.raises(TextualizeError, match="label set"):
        compare.answers("m", [Prediction("z", "m", "joy")], records, LABELS)


def test_nothing_to_resample_is_refused():
    with pytest.raises(TextualizeError, match="no clip"):
        compare.cluster_bootstrap([], [], [], "accuracy", n_classes=2)
    with pytest.raises(TextualizeError, match="2 groups for 1"):
        compare.cluster_bootstrap([0], [0], ["a", "b"], "accuracy", n_classes=2)
    with pytest.raises(TextualizeError, match="draws"):
        compare.cluster_bootstrap([0], [0], ["a"], "accuracy", n_classes=2, draws=0)
