"""pytest tests/evaluate/test_compare.py"""

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap, ttest_1samp
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from textualize.errors import TextualizeError
from textualize.evaluate import compare, metrics
from textualize.evaluate.answers import Answers, together
from textualize.evaluate.answers import answers as read_answers
from textualize.evaluate.tallies import score_tallies, tally
from textualize.finetune.train import train
from textualize.labels import NUMBERS, LabelSet, labels_of
from textualize.methods import load
from textualize.types import Clip, Prediction, Record, Track

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
    found = read_answers("m", said, records, LABELS)
    assert found.ids == ("y", "z")
    assert found.true.tolist() == [1, 0]
    assert found.predicted.tolist() == [1, -1]
    assert found.groups == ("s2", "s1")
    with pytest.raises(TextualizeError, match="twice"):
        read_answers("m", [*said, said[0]], records, LABELS)
    with pytest.raises(TextualizeError, match="not among the records"):
        read_answers("m", [Prediction("q", "m", "a")], records, LABELS)
    with pytest.raises(TextualizeError, match="label set"):
        read_answers("m", [Prediction("z", "m", "joy")], records, LABELS)


def test_nothing_to_resample_is_refused():
    with pytest.raises(TextualizeError, match="no clip"):
        compare.cluster_bootstrap([], [], [], "accuracy", n_classes=2)
    with pytest.raises(TextualizeError, match="2 groups for 1"):
        compare.cluster_bootstrap([0], [0], ["a", "b"], "accuracy", n_classes=2)
    with pytest.raises(TextualizeError, match="draws"):
        compare.cluster_bootstrap([0], [0], ["a"], "accuracy", n_classes=2, draws=0)


# --- seeds and numbers --------------------------------------------------------------------------


def seeded(name="m", seeds=4, **options):
    return together([answers(name, seed=10 * i + 1, **options) for i in range(seeds)])


def numbers(name="n", n=120, groups=12, noise=0.5, seed=0):
    true = np.random.default_rng(5).normal(2.0, 1.0, n)
    said = true + np.random.default_rng(seed).normal(0, noise, n)
    ids = tuple(f"c{i:03d}" for i in range(n))
    return Answers(name, ids, true, said, tuple(f"g{i % groups}" for i in range(n)), 0)


def test_one_seed_is_drawn_as_no_seed():
    a = answers()
    assert compare.interval(a, "macro_f1") == compare.interval(together([a]), "macro_f1")
    assert compare.interval(a, "macro_f1") == compare.cluster_bootstrap(
        a.true, a.predicted, a.groups, "macro_f1", n_classes=3
    )


def test_a_score_of_seeds_is_their_mean_and_spread_widens_its_interval():
    good, bad = answers("m", skill=0.95, seed=1), answers("m", skill=0.3, seed=2)
    mixed = together([good, bad])
    each = [metrics.score("accuracy", s.true, s.predicted, 3) for s in (good, bad)]
    found = compare.interval(mixed, "accuracy")
    assert found.value == pytest.approx(np.mean(each))
    alike = compare.interval(together([good, good]), "accuracy")
    assert alike == compare.interval(good, "accuracy")
    assert found.high - found.low > 3 * (alike.high - alike.low)
    assert found.low <= each[1] + 0.1 and found.high >= each[0] - 0.1


def test_variance_of_seeds_is_that_of_their_resampled_mean():
    ids = tuple(map(str, range(40)))
    true = np.zeros(40, int)
    rows = np.stack([np.where(np.arange(40) < k, 0, 1) for k in (8, 16, 24, 32)])
    same = Answers("m", ids, true, rows, ("one",) * 40, 2)  # one group: only seeds vary
    found = compare.interval(same, "accuracy", draws=4000)
    drawn = np.random.default_rng(1).choice([0.2, 0.4, 0.6, 0.8], (4000, 4)).mean(1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.03)


def test_seeds_are_compared_by_their_means_and_counted_by_the_first():
    a, b = seeded("a", skill=0.9), seeded("b", seeds=2, skill=0.4)
    found = compare.paired_difference(a, b, "accuracy")
    means = [
        np.mean([metrics.score("accuracy", m.true, row, 3) for row in m.seeds]) for m in (a, b)
    ]
    assert found.value == pytest.approx(means[0] - means[1]) and found.clear
    first = compare.paired_difference(
        replace(a, predicted=a.seeds[0]), replace(b, predicted=b.seeds[0]), "accuracy"
    )
    assert (found.only_a, found.only_b) == (first.only_a, first.only_b)
    assert found.favours == "a"


def test_seeds_must_answer_the_same_clips():
    with pytest.raises(TextualizeError, match="seeds of 'm' answer different clips"):
        together([answers(), answers(shift=1)])


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.05, 3.0))
def test_sums_give_the_scores_of_the_numbers(seed, noise):
    a = numbers(noise=noise, seed=seed)
    whole = a.tallies().sum(axis=1)[0]
    for name, direct in (("ccc", metrics.ccc), ("pcc", metrics.pcc), ("icc", metrics.icc),
                         ("mae", metrics.mae), ("rmse", metrics.rmse)):  # fmt: skip
        assert score_tallies(name, whole, 0) == pytest.approx(direct(a.predicted, a.true), abs=1e-9)


def test_numbers_have_hand_values_and_undefined_correlations():
    def score(name, said, true):
        return float(score_tallies(name, tally(true, said, ["g"] * len(true), 0).sum(0), 0))

    x, y = [0.1, 0.4, -0.2, 0.3], [0, 0.5, -0.1, 0.1]
    assert score("ccc", x, y) == pytest.approx(0.8333333333)
    assert score("icc", [1, 2, 3, 4, 5], [1, 3, 2, 5, 4]) == pytest.approx(0.8)
    assert score("icc", [1, 2, 3, 4, 5], [2, 4, 3, 6, 5]) == pytest.approx(0.8)
    assert score("ccc", [0.1, 0.1, 0.1], [1, 2, 3]) == 0.0
    assert np.isnan(score("pcc", [0.1, 0.1, 0.1], [1, 2, 3]))
    assert score("mae", [1, 2], [2, 4]) == 1.5
    with pytest.raises(TextualizeError, match="not a finite number"):
        tally([1.0, np.nan], [1.0, 2.0], ["a", "b"], 0)


def test_intervals_of_numbers_hold_the_value_and_errors_favour_the_lower():
    good, bad = numbers("good", noise=0.3, seed=1), numbers("bad", noise=1.5, seed=2)
    for name in ("ccc", "pcc", "icc", "mae", "rmse"):
        found = compare.interval(good, name, draws=300)
        assert found.low <= found.value <= found.high
        difference = compare.paired_difference(good, bad, name, draws=300)
        assert difference.favours == "good" and difference.only_a is None
        assert (difference.value < 0) == (name in ("mae", "rmse"))
    constant = replace(good, predicted=np.full_like(good.true, 2.0))
    with pytest.raises(TextualizeError, match="pcc of 'good' is undefined"):
        compare.interval(constant, "pcc")


def test_numbers_are_read_and_other_answers_refused():
    records = [Record(Clip("a", None, label=1.5)), Record(Clip("b", None, label=-2))]
    said = [Prediction("a", "m", 1.0), Prediction("b", "m", 0.0)]
    found = read_answers("m", said, records, NUMBERS)
    assert found.true.tolist() == [1.5, -2.0] and found.predicted.tolist() == [1.0, 0.0]
    with pytest.raises(TextualizeError, match="1 clips have another answer .*'b' None"):
        read_answers("m", [said[0], Prediction("b", "m", None)], records, NUMBERS)


# --- against scipy and statsmodels --------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 30))
def test_mcnemar_is_that_of_statsmodels(only_a, only_b, both):
    table = [[both, only_a], [only_b, 7]]
    assert compare.mcnemar(only_a, only_b) == pytest.approx(mcnemar(table, exact=True).pvalue)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_that_of_statsmodels(p_values):
    expected = multipletests(p_values, method="holm")[1]
    assert compare.holm(p_values) == pytest.approx(expected.tolist())


def test_intervals_are_those_of_scipy_over_groups():
    a, b = answers("a", n=240, groups=24, skill=0.8, seed=1), answers("b", n=240, groups=24, seed=2)
    tallies = [m.tallies()[0] for m in (a, b)]

    def scored(index, axis=-1):
        drawn = [t[index].sum(axis=-3) for t in tallies]  # groups stand before (C, C + 1)
        return np.asarray([metrics.SCORES["macro_f1"](d) for d in drawn])

    def difference(index, axis=-1):
        one, other = scored(index)
        return one - other

    level = 1 - 2 * compare.tail(24)
    options = {"n_resamples": 4000, "method": "percentile", "rng": np.random.default_rng(3)}
    for statistic, found in (
        (lambda i, axis=-1: scored(i)[0], compare.interval(a, "macro_f1", draws=4000)),
        (difference, compare.paired_difference(a, b, "macro_f1", draws=4000)),
    ):
        expected = bootstrap(
            (np.arange(24),), statistic, confidence_level=level, vectorized=True, **options
        ).confidence_interval
        assert (found.low, found.high) == pytest.approx(
            (expected.low, expected.high), abs=0.1 * (expected.high - expected.low)
        )


def test_intervals_of_few_groups_are_wider_than_percentiles_and_those_of_many_are_not():
    for groups, expected in ((6, 0.44), (300, 0.005)):  # sqrt(G / (G - 1)) t / z - 1
        method = answers(n=300, groups=groups)
        drawn = compare._drawn([method], [method.tallies()], "accuracy", 4000, 0)[0]
        low, high = np.percentile(drawn, [2.5, 97.5])
        found = compare.interval(method, "accuracy", draws=4000)
        assert (found.high - found.low) / (high - low) - 1 == pytest.approx(expected, abs=0.15)
    assert compare.tail(1) == pytest.approx(0.025) and compare.tail(10**6) == pytest.approx(
        0.025, abs=1e-5
    )


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(8, 30), st.floats(0.3, 0.9))
def test_p_is_below_five_percent_where_the_interval_leaves_out_0(seed, groups, skill):
    a = answers("a", n=90, groups=groups, skill=skill, seed=seed)
    b = answers("b", n=90, groups=groups, skill=0.6, seed=seed + 1)
    found = compare.paired_difference(a, b, "accuracy", draws=4000, seed=seed)
    assert 0 < found.p <= 1
    if found.p < 0.045:
        assert found.low > 0 or found.high < 0
    if found.p > 0.055:
        assert found.low <= 0 <= found.high


@pytest.mark.parametrize("more", [0.05, 0.1, 0.2, 0.3])
@pytest.mark.parametrize("groups", [12, 16, 40])
def test_p_is_about_that_of_a_t_test_of_the_groups_far_into_the_tail(more, groups):
    rng = np.random.default_rng(groups)
    true = rng.integers(0, 3, 30 * groups)
    owners = np.arange(len(true)) % groups
    gain = np.clip(more + 0.05 * rng.standard_normal(groups), 0.0, 0.5)
    draw = rng.random(len(true))
    right_b = draw < 0.5
    right_a = draw < 0.5 + gain[owners]
    ids, names = tuple(map(str, range(len(true)))), tuple(f"g{o}" for o in owners)
    one, two = (
        Answers(m, ids, true, np.where(right, true, (true + 1) % 3), names, 3)
        for m, right in (("a", right_a), ("b", right_b))
    )
    found = compare.paired_difference(one, two, "accuracy")
    each = np.array([(right_a ^ right_b)[owners == g].mean() for g in range(groups)])
    expected = float(ttest_1samp(each, 0.0).pvalue)
    assert found.p > 0
    assert abs(np.log10(found.p) - np.log10(expected)) < 0.25 * max(1.0, -np.log10(expected))


# --- simulated truth ----------------------------------------------------------------------------


def clustered(rng, groups, clips=8):
    """Answers of two methods to clips of people who differ in skill and in what they express."""
    mix = rng.dirichlet(np.full(3, 3.0), groups).cumsum(axis=1)
    true = (rng.random((groups, clips, 1)) > mix[:, None, :-1]).sum(axis=2)
    easy = rng.normal(0, 0.8, groups)
    said = []
    for skill in (0.4, 0.9):
        right = 1 / (1 + np.exp(-(skill + easy + rng.normal(0, 0.5, groups))))
        wrong = rng.random((groups, clips)) > right[:, None]
        said.append(np.where(wrong, (true + rng.integers(1, 3, true.shape)) % 3, true))
    names = tuple(f"g{g}" for g in range(groups) for _ in range(clips))
    ids = tuple(f"c{i:07d}" for i in range(groups * clips))
    first, second = said
    return (
        Answers("a", ids, true.ravel(), first.ravel(), names, 3),
        Answers("b", ids, true.ravel(), second.ravel(), names, 3),
    )


@pytest.mark.slow
@pytest.mark.parametrize("statistic", ["accuracy", "macro_f1"])
@pytest.mark.parametrize("groups", [10, 20, 40])
def test_coverage_is_within_two_points_of_nominal_on_clustered_clips(statistic, groups):
    rng = np.random.default_rng(groups)
    truth = [metrics.score(statistic, m.true, m.predicted, 3) for m in clustered(rng, 40_000)]
    hits = np.zeros(2)
    sims = 2000
    for i in range(sims):
        a, b = clustered(rng, groups)
        one = compare.interval(b, statistic, draws=600, seed=i)
        two = compare.paired_difference(b, a, statistic, draws=600, seed=i)
        hits += [one.low <= truth[1] <= one.high, two.low <= truth[1] - truth[0] <= two.high]
    assert (np.abs(hits / sims - 0.95) <= 0.02).all(), hits / sims


def test_permuted_labels_score_chance(tmp_path):
    rng = np.random.default_rng(4)
    names = ("calm", "happy")

    def face(i):
        values = rng.normal(0.2 + 0.5 * (i % 2), 0.1, (4, 2)).clip(0, 1).astype(np.float32)
        track = Track(values, 12.5, 0.0, ("AU06", "AU12"), "probability", "t")
        clip = Clip(f"c{i:03d}", None, group=f"g{i // 4}", label=names[i % 2])
        return Record(clip, {"aus": track})

    def scored(records, where):
        run = train("linear", records[:96], records[96:120], where, labels=labels_of(names),
                    overrides=["tracks=[aus]", "speaker_relative=false"])  # fmt: skip
        said = load(run.path).predict(records[120:])
        own = read_answers("m", said, records[120:], labels_of(names))
        return compare.interval(own, "accuracy", draws=400).value

    honest = [face(i) for i in range(240)]
    assert scored(honest, tmp_path / "honest") > 0.95
    chance = []
    for i in range(8):  # of one permutation the 120 tested clips may agree by 9 points more or less
        order = rng.permutation(240)
        permuted = [r.with_label(honest[j].clip.label) for r, j in zip(honest, order, strict=True)]
        chance.append(scored(permuted, tmp_path / f"permuted{i}"))
    assert np.mean(chance) == pytest.approx(0.5, abs=0.05)
