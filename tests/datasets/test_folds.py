import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textualize.datasets.folds import chosen_fold, grouped_folds, published_fold
from textualize.errors import TextualizeError
from textualize.types import Clip


def clips(groups=8, each=6, splits=None):
    return [
        Clip(
            f"g{g}c{i}", None, group=f"g{g}", label="ab"[i % 2],
            split=splits[g % len(splits)] if splits else None,
        )
        for g in range(groups)
        for i in range(each)
    ]  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.integers(5, 14), st.integers(1, 5), st.integers(2, 4), st.integers(0, 5))
def test_no_group_is_on_two_sides_and_every_clip_is_tested_once(groups, each, count, seed):
    made = clips(groups, each * 2)
    folds = grouped_folds(made, count, seed)
    group = {c.id: c.group for c in made}
    for fold in folds:
        sides = [{group[i] for i in part} for part in (fold.train, fold.validation, fold.test)]
        assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
        assert len(fold.train) + len(fold.validation) + len(fold.test) == len(made)
    assert sorted(i for f in folds for i in f.test) == sorted(c.id for c in made)


def test_folds_are_deterministic_and_their_digest_tells_them_apart():
    one, two = grouped_folds(clips(), 3, 0), grouped_folds(clips(), 3, 0)
    assert [f.digest for f in one] == [f.digest for f in two]
    assert len({f.digest for f in one}) == 3


@pytest.mark.parametrize("split", [None, ["train", "train", "test"]])
def test_the_order_of_the_clips_changes_nothing(split):
    made = clips(9, 6, split)
    mixed = [made[i] for i in np.random.default_rng(0).permutation(len(made))]
    for a, b in ((made, mixed), (made, made[::-1])):
        assert chosen_fold(a, None, 1, "test") == chosen_fold(b, None, 1, "test")
        assert grouped_folds(a, 3) == grouped_folds(b, 3)


def test_classes_are_balanced_over_folds():
    made = clips(12, 6)
    label = {c.id: c.label for c in made}
    for fold in grouped_folds(made, 4):
        share = np.mean([label[i] == "a" for i in fold.test])
        assert 0.3 < share < 0.7


def test_too_few_groups_are_refused():
    with pytest.raises(TextualizeError, match="at least 5 groups"):
        grouped_folds(clips(4), 4)


def test_own_splits_are_used():
    fold = published_fold(clips(6, 4, ["train", "validation", "test"]))
    assert {i[:2] for i in fold.test} == {"g2", "g5"}
    assert {i[:2] for i in fold.validation} == {"g1", "g4"}


def test_validation_is_held_out_of_train_when_it_is_reported_on():
    fold = published_fold(clips(12, 4, ["train", "train", "validation"]), "validation")
    assert {int(i[1:].split("c")[0]) % 3 for i in fold.test} == {2}
    assert {int(i[1:].split("c")[0]) % 3 for i in fold.validation} <= {0, 1}


def test_a_group_in_two_published_splits_is_refused():
    made = [*clips(6, 4, ["train", "validation", "test"]), Clip("x", None, group="g0", label="a", split="test")]  # fmt: skip  # noqa: E501
    with pytest.raises(TextualizeError, match="both sides"):
        published_fold(made)


def test_unlabelled_clips_and_bad_numbers_are_refused():
    with pytest.raises(TextualizeError, match="no label"):
        grouped_folds([*clips(), Clip("u", None, group="z")], 3)
    with pytest.raises(TextualizeError, match="--fold should be 1 to 3; given 4"):
        chosen_fold(clips(), 3, 4, "test")
    with pytest.raises(TextualizeError, match="no split 'test'"):
        published_fold(clips(4, 4, ["train"]))
