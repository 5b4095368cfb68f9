import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textualize.datasets.folds import (
    chosen_fold,
    grouped_folds,
    leave_one_subject_out,
    made_folds,
    published_fold,
)
from textualize.datasets.stratify import equal_parts, held_out, strata
from textualize.errors import TextualizeError
from textualize.types import Clip

PARTS = ("train", "validation", "test")


def clips(groups=8, each=6, splits=None):
    return [
        Clip(
            f"g{g}c{i}", None, group=f"g{g}", label="ab"[i % 2],
            split=splits[g % len(splits)] if splits else None,
        )
        for g in range(groups)
        for i in range(each)
    ]  # fmt: skip


corpora = st.lists(
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=6), min_size=5, max_size=16
).map(
    lambda groups: [
        Clip(f"g{g:02}c{i}", None, subject=f"s{g:02}", label=label)
        for g, labels in enumerate(groups)
        for i, label in enumerate(labels)
    ]
)


def sides(fold, of):
    return [{of[i] for i in getattr(fold, part)} for part in PARTS]


@settings(max_examples=25, deadline=None)
@given(corpora, st.integers(3, 4), st.integers(0, 5))
def test_no_group_is_on_two_sides_and_every_clip_is_tested_once(made, count, seed):
    folds = grouped_folds(made, count, seed)
    group = {c.id: c.fold_group for c in made}
    for fold in folds:
        assert not any(a & b for a, b in itertools.combinations(sides(fold, group), 2))
        assert len(fold.train) + len(fold.validation) + len(fold.test) == len(made)
        assert all(sides(fold, group)) and not fold.leaks
    assert sorted(i for f in folds for i in f.test) == sorted(c.id for c in made)


@settings(max_examples=12, deadline=None)
@given(corpora, st.randoms(use_true_random=False))
def test_the_order_of_the_clips_changes_nothing(made, random):
    mixed = random.sample(made, len(made))
    assert grouped_folds(made, 3) == grouped_folds(mixed, 3)
    assert leave_one_subject_out(made) == leave_one_subject_out(mixed)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from("aaaabbc"), min_size=8, max_size=60), st.integers(2, 4))
def test_free_clips_are_stratified_within_one_clip_of_ideal(labels, count):
    part = equal_parts(labels, [f"{i:03}" for i in range(len(labels))], count)
    off = distances(labels, part, [1 / count] * count)
    assert off.max() < 1
    assert np.ptp(np.bincount(part, minlength=count)) <= 2


@settings(max_examples=25, deadline=None)
@given(corpora, st.integers(2, 5))
def test_a_held_out_part_is_whole_groups(made, parts):
    groups = [c.fold_group for c in made]
    out = held_out([str(c.label) for c in made], groups, parts)
    assert 0 < out.sum() < len(out)
    assert not {g for g, o in zip(groups, out, strict=True) if o} & {
        g for g, o in zip(groups, out, strict=True) if not o
    }


def distances(labels, part, shares):
    kinds = sorted(set(labels))
    counts = np.array([[sum((part == p) & (np.array(labels) == k)) for k in kinds]
                       for p in range(len(shares))])  # fmt: skip
    return np.abs(counts - np.outer(shares, counts.sum(0)))


def test_groups_are_placed_nearly_as_well_as_trying_everything():
    """Two to three parts of four to eight uneven groups, against all assignments."""
    rng = np.random.default_rng(7)
    excess = []
    for _ in range(30):
        groups, parts = rng.integers(4, 8), int(rng.integers(2, 4))
        group = np.repeat(np.arange(groups), rng.integers(1, 9, groups))
        labels = [f"l{x}" for x in rng.integers(0, 3, len(group))]
        ours = equal_parts(labels, [f"g{g}" for g in group], parts)
        shares = [1 / parts] * parts
        best = min(
            distances(labels, np.array(tried)[group], shares).max()
            for tried in itertools.product(range(parts), repeat=int(groups))
            if len(set(tried)) == parts
        )
        excess.append(distances(labels, ours, shares).max() - best)
    assert np.mean(np.array(excess) < 1e-9) > 0.85
    assert max(excess) <= 2


@pytest.mark.filterwarnings("ignore:The least populated class")
def test_the_greedy_placement_is_never_worsened_and_often_improved():
    from sklearn.model_selection import StratifiedGroupKFold

    rng = np.random.default_rng(3)
    gains = []
    for _ in range(20):
        group = np.repeat(np.arange(10), rng.integers(1, 12, 10))
        labels = [f"l{x}" for x in rng.choice(4, len(group), p=[0.5, 0.3, 0.15, 0.05])]
        greedy = np.zeros(len(group), int)
        splitter = StratifiedGroupKFold(3, shuffle=True, random_state=0)
        for i, (_, held) in enumerate(splitter.split(labels, labels, group)):
            greedy[held] = i
        ours = equal_parts(labels, [f"g{g:02}" for g in group], 3)
        shares = [1 / 3] * 3
        gains.append(
            distances(labels, greedy, shares).max() - distances(labels, ours, shares).max()
        )
    assert min(gains) >= -1e-9 and np.mean(np.array(gains) > 0.5) > 0.4


def test_numbers_are_stratified_by_quantile():
    made = [Clip(f"c{i:02}", None, subject=f"s{i:02}", label=i / 7) for i in range(40)]
    assert len(set(strata([c.label for c in made]))) == 5
    means = [np.mean([int(i[1:]) for i in f.test]) for f in grouped_folds(made, 4)]
    assert np.ptp(means) < 6


def test_folds_are_deterministic_and_their_digest_tells_them_apart():
    one, two = grouped_folds(clips(), 3, 0), grouped_folds(clips(), 3, 0)
    assert [f.digest for f in one] == [f.digest for f in two]
    assert len({f.digest for f in one}) == 3
    assert [f.digest for f in grouped_folds(clips(), 3, 1)] != [f.digest for f in one]


def test_every_subject_is_tested_alone():
    made = clips(6, 4)
    made = [Clip(c.id, None, subject=c.group, label=c.label) for c in made]
    folds = leave_one_subject_out(made)
    assert [f.name for f in folds] == [f"g{i}" for i in range(6)]
    for fold in folds:
        assert {i[:2] for i in fold.test} == {fold.name} and len(fold.test) == 4
        assert not {i[:2] for i in fold.train} & {i[:2] for i in fold.validation}


def test_a_dialogue_of_two_subjects_cannot_be_left_out():
    made = [Clip(f"c{i}", None, subject=f"s{i % 4}", group="d", label="a") for i in range(8)]
    with pytest.raises(TextualizeError, match="hold clips of several subjects"):
        leave_one_subject_out(made)
    with pytest.raises(TextualizeError, match="have no subject"):
        leave_one_subject_out(clips())
    with pytest.raises(TextualizeError, match="three subjects; 2"):
        leave_one_subject_out([Clip(f"c{i}", None, subject=f"s{i % 2}", label="a") for i in "0123"
                               for i in [int(i)]])  # fmt: skip


def test_too_few_groups_are_refused():
    with pytest.raises(TextualizeError, match="at least 5 groups"):
        grouped_folds(clips(4), 4)


def test_one_group_cannot_be_train_and_validation():
    made = [Clip(f"c{i}", None, group="big" if i < 9 else f"g{i}", label="a") for i in range(12)]
    with pytest.raises(TextualizeError, match="leaves one group for train and validation"):
        grouped_folds(made, 2)


def test_own_splits_are_used():
    fold = published_fold(clips(6, 4, ["train", "validation", "test"]))
    assert {i[:2] for i in fold.test} == {"g2", "g5"}
    assert {i[:2] for i in fold.validation} == {"g1", "g4"}


def test_validation_is_held_out_of_train_when_it_is_reported_on():
    fold = published_fold(clips(12, 4, ["train", "train", "validation"]), "validation")
    assert {int(i[1:].split("c")[0]) % 3 for i in fold.test} == {2}
    assert {int(i[1:].split("c")[0]) % 3 for i in fold.validation} <= {0, 1}


def test_a_group_in_two_published_splits_is_refused():
    made = clips(6, 4, ["train", "validation", "test"])
    made.append(Clip("x", None, group="g0", label="a", split="test"))
    with pytest.raises(TextualizeError, match="both sides"):
        published_fold(made)


def test_half_of_a_left_out_subjects_clips_are_to_adapt_to():
    made = [Clip(c.id, None, subject=c.group, label=c.label) for c in clips(5, 7)]
    folds = made_folds(made, "subjects")
    for fold, whole in zip(folds, leave_one_subject_out(made), strict=True):
        assert (fold.train, fold.validation) == (whole.train, whole.validation)
        assert sorted((*fold.unlabelled, *fold.test)) == sorted(whole.test)
        assert len(fold.unlabelled) == 4 and len(fold.test) == 3
        assert fold.digest != replace(fold, unlabelled=()).digest
    reversed_order = made_folds(made[::-1], "subjects")
    assert reversed_order == folds
    with pytest.raises(TextualizeError, match="1 subjects have one clip .*'lone'"):
        made_folds([*made, Clip("x", None, subject="lone", label="a")], "subjects")


def test_a_split_named_unlabelled_is_to_adapt_to_and_nothing_else():
    made = clips(8, 4, ["train", "train", "test", "unlabelled"])
    fold = published_fold(made)
    assert set(fold.unlabelled) == {c.id for c in made if c.split == "unlabelled"}
    assert not set(fold.unlabelled) & {*fold.train, *fold.validation, *fold.test}
    assert published_fold(clips(6, 4, ["train", "train", "test"])).unlabelled == ()


def test_presets():
    made = clips(9, 6, ["train", "train", "test"])
    assert len(made_folds(made)) == 1 and len(made_folds(made, "grouped")) == 4
    assert made_folds(made, "3") == made_folds(made, 3) == grouped_folds(made, 3)
    assert made_folds(made, "published") == [published_fold(made)] == made_folds(made)
    assert chosen_fold(made, 3, 2, "test") == grouped_folds(made, 3)[1]
    assert (
        len(made_folds([Clip(c.id, None, subject=c.group, label="a") for c in made], "loso")) == 9
    )
    with pytest.raises(TextualizeError, match=r"a \.json file; given 'random'"):
        made_folds(made, "random")


def test_unlabelled_clips_and_bad_numbers_are_refused():
    with pytest.raises(TextualizeError, match="no label"):
        grouped_folds([*clips(), Clip("u", None, group="z")], 3)
    with pytest.raises(TextualizeError, match="--fold should be 1 to 3; given 4"):
        chosen_fold(clips(), 3, 4, "test")
    with pytest.raises(TextualizeError, match="no split 'dev'"):
        published_fold(clips(4, 4, ["train"]), test="dev")
    with pytest.raises(TextualizeError, match="no split 'train'"):
        published_fold(clips(4, 4, ["validation"]))


def test_a_corpus_of_training_clips_holds_out_groups_and_has_no_test_part():
    made = clips(12, 3, ["train"])
    fold = published_fold(made)
    assert (fold.name, fold.test) == ("train/validation", ())
    assert sorted((*fold.train, *fold.validation)) == sorted(c.id for c in made)
    group = {c.id: c.fold_group for c in made}
    assert not {group[i] for i in fold.train} & {group[i] for i in fold.validation}


@pytest.mark.parametrize("groups", [5, 6, 8, 12, 16, 30])
def test_groups_with_a_number_each_are_divided_too(groups):
    own = [
        Clip(f"c{g}_{k}", None, group=f"g{g}", label=1.7 * g) for g in range(groups) for k in "ab"
    ]
    for seed in range(5):
        for fold in grouped_folds(own, 4, seed):
            assert fold.train and fold.validation and fold.test
