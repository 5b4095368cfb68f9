import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from textualize.speakers import FUNCTIONALS, attach, functionals, relative
from textualize.types import Clip, Record, Track


def track(values, names=("x",)):
    return Track(np.asarray(values, np.float32), 10.0, 0.0, names, "named", "test")


def record(number, values, subject="s"):
    return Record(Clip(f"c{number}", None, subject=subject, label="secret"), {"t": track(values)})


def test_hand_values():
    values = functionals(track([[0.0], [1.0], [2.0], [np.nan], [4.0]]))
    by_name = dict(zip(FUNCTIONALS, values[:, 0], strict=True))
    assert np.isclose(by_name["mean"], 1.75)
    assert np.isclose(by_name["slope"], 10.0)  # one unit per 0.1 s
    assert np.isclose(by_name["p10"], np.percentile([0, 1, 2, 4], 10))


def test_one_row_has_no_spread_and_no_slope():
    np.testing.assert_allclose(functionals(track([[3.0]]))[:, 0], [3, 0, 3, 3, 0])


def test_a_column_never_seen_is_nan():
    assert np.isnan(functionals(track([[np.nan], [np.nan]]))).all()


def test_relative_is_a_z_score_over_the_subjects_clips():
    records = attach([record(i, [[float(i)]]) for i in range(5)])
    z = np.array([relative(r, "t")[0, 0] for r in records])
    assert abs(z.mean()) < 1e-6
    assert np.isclose(z.std(), 1.0)


def test_other_subjects_and_labels_change_nothing():
    own = [record(i, [[float(i)]]) for i in range(5)]
    others = [record(10 + i, [[100.0 + i]], "other") for i in range(5)]
    alone = attach(own)
    together = attach([r.with_label("different") for r in own] + others)[:5]
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(relative(a, "t"), relative(b, "t"))


def test_too_few_clips_or_no_subject_give_none():
    assert all(r.speaker is None for r in attach([record(i, [[1.0]]) for i in range(3)]))
    assert all(r.speaker is None for r in attach([record(i, [[1.0]], None) for i in range(9)]))


def test_constant_functionals_are_zero_not_infinite():
    records = attach([record(i, [[2.0], [2.0]]) for i in range(4)])
    np.testing.assert_array_equal(relative(records[0], "t"), np.zeros((len(FUNCTIONALS), 1)))


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30), st.floats(-100, 100))
def test_functionals_follow_a_shift(values, shift):
    base = functionals(track(np.array(values)[:, None]))
    moved = functionals(track(np.array(values)[:, None] + shift))
    np.testing.assert_allclose(moved[[0, 2, 3]], base[[0, 2, 3]] + shift, atol=1e-2)
    np.testing.assert_allclose(moved[1], base[1], atol=1e-2)
