import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textualize.types import Span
from textualize.wording.timing import BRIEF_S, ENOUGH_ROWS, change, timing

RATE = 10.0


def curve(*spans, seconds=9.0, rate=RATE, level=1.0):
    values = np.zeros(round(seconds * rate), np.float32)
    for start, end in spans:
        values[round(start * rate) : round(end * rate)] = level
    return values


def words(values, rate=RATE, step=0.25, start=0.0):
    when = timing(values, start + np.arange(len(values)) / rate, rate, 0.5)
    return None if when is None else when.words(step)


@pytest.mark.parametrize(
    ("spans", "said"),
    [
        ([(0.0, 9.0)], "throughout"),
        ([(0.5, 8.5)], "throughout"),
        ([(0.0, 2.5)], "at the start"),
        ([(6.5, 9.0)], "at the end"),
        ([(8.6, 9.0)], "briefly at the end"),
        ([(3.2, 5.5)], "in the middle"),
        ([(0.5, 4.2)], "in the first half"),
        ([(5.0, 9.0)], "in the second half"),
        ([(2.9, 3.2)], "briefly in the first half"),
        ([(2.5, 7.0)], ""),
        ([(1.0, 2.0), (5.0, 6.5)], "twice"),
        ([(0.0, 1.0), (1.5, 2.5)], "twice at the start"),
        ([(1, 2), (4, 5), (7, 8)], "three times"),
        ([(0, 1), (2, 3), (4, 5), (7, 8)], "repeatedly"),
        ([], ""),
    ],
)
def test_when_is_said_as_a_person_would(spans, said):
    assert words(curve(*spans)) == said


def test_a_ramp_grows_and_its_reverse_fades_and_a_step_does_neither():
    ramp = np.linspace(0.3, 1.0, 90, dtype=np.float32)
    assert words(ramp) == "growing"
    assert words(ramp[::-1]) == "fading"
    assert words(curve((2.0, 9.0))) not in ("growing", "fading")
    assert words(ramp, step=0.8) == ""


@pytest.mark.parametrize(
    ("values", "rate"),
    [
        (np.ones(ENOUGH_ROWS - 1), 5.0),
        (np.ones(20), 30.0),  # two thirds of a second
        (np.ones(20), 2.0),  # rows too far apart to see anything brief
        (np.full(50, np.nan), 10.0),
    ],
)
def test_without_rows_enough_nothing_is_said_about_time(values, rate):
    assert words(values.astype(np.float32), rate) is None


def test_a_dip_and_a_flicker_are_no_events():
    assert words(curve((1.0, 1.5), (1.7, 2.2))) == "at the start"  # one episode
    flicker = curve((4.0, 4.1))
    assert words(flicker) == ""
    assert timing(flicker, np.arange(90) / RATE, RATE, 0.5).episodes == ()


@given(st.integers(1, 40), st.integers(5, 40))
def test_rows_that_were_not_seen_do_not_split_an_action(lost_at, length):
    values = curve((0.0, 9.0))
    values[lost_at : lost_at + length] = np.nan
    assert words(values) == "throughout"


@given(
    st.lists(st.floats(0, 1, width=32), min_size=ENOUGH_ROWS, max_size=80),
    st.floats(0, 1e4),
    st.sampled_from([10.0, 12.5, 25.0]),
)
def test_episodes_are_apart_in_order_and_inside_whatever_the_curve(values, start, rate):
    values = np.array(values, np.float32)
    when = timing(values, start + np.arange(len(values)) / rate, rate, 0.5)
    if when is None:
        assert len(values) / rate < 1.0
        return
    edges = [t for e in when.episodes for t in (e.start, e.end)]
    assert edges == sorted(edges)
    assert all(when.seen.start <= t <= when.seen.end + 1e-6 for t in edges)
    assert all(e.duration > 0 for e in when.episodes)
    assert when.span is None or bool(when.span & when.seen)
    assert words(values, rate, start=start) == words(values, rate)


def test_brief_ends_at_half_a_second():
    assert "briefly" in words(curve((4.0, 4.0 + BRIEF_S)))
    assert "briefly" not in words(curve((4.0, 4.2 + BRIEF_S)))


def test_the_span_is_from_the_first_onset_to_the_last_offset():
    values = curve((1.0, 2.0), (5.0, 6.5))
    when = timing(values, 100 + np.arange(90) / RATE, RATE, 0.5)
    assert when.span == Span(pytest.approx(101.0), pytest.approx(106.5))
    assert timing(curve((0, 9)), np.arange(90) / RATE, RATE, 0.5).span is None


def test_change_is_the_last_third_minus_the_first():
    assert change(np.array([0.0, np.nan, 1.0, 5.0])) == 5.0
    assert np.isnan(change(np.array([1.0, 2.0])))
