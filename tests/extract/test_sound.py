"""Stretches hold every sample once, in time order, and are cut where it is quiet."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textualize.extract import sound
from textualize.extract.sound import SAMPLE_RATE, quietest, stretches


def joined(pieces, most=10**9, start=0.0):
    parts = list(stretches(pieces, start, most))
    at = start
    for part in parts:
        assert part.time == pytest.approx(at)
        at += len(part.samples) / SAMPLE_RATE
    return np.concatenate([np.zeros(0, np.float32), *(p.samples for p in parts)])


@given(st.lists(st.integers(1, 4000), max_size=8), st.integers(500, 3000))
def test_pieces_that_follow_each_other_come_out_as_they_went_in(lengths, full):
    rng = np.random.default_rng(0)
    whole = rng.normal(size=sum(lengths)).astype(np.float32)
    ends = np.cumsum(lengths)
    pieces = [(int(e - n), whole[e - n : e]) for e, n in zip(ends, lengths, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sound, "STRETCH_S", full / SAMPLE_RATE)
        np.testing.assert_array_equal(joined(pieces), whole)


def test_gaps_are_silence_and_overlaps_and_overhangs_are_dropped():
    one, two = np.ones(10, np.float32), np.full(10, 2.0, np.float32)
    out = joined([(-3, one), (12, two), (15, one)], most=24)
    expected = [1] * 7 + [0] * 5 + [2] * 10 + [1] * 2
    np.testing.assert_array_equal(out, expected)


def test_a_long_gap_costs_one_stretch_at_a_time():
    late = 3600 * SAMPLE_RATE
    longest = max(len(s.samples) for s in stretches([(late, np.ones(5, np.float32))], 0.0, 10**9))
    assert longest <= 300 * SAMPLE_RATE


def test_a_long_sound_is_cut_in_its_quietest_half_second():
    rng = np.random.default_rng(0)
    samples = rng.normal(size=300 * SAMPLE_RATE).astype(np.float32)
    pause = slice(round(271.0 * SAMPLE_RATE), round(271.6 * SAMPLE_RATE))
    samples[pause] *= 0.01
    assert pause.start < quietest(samples) < pause.stop
    early = slice(round(100 * SAMPLE_RATE), round(101 * SAMPLE_RATE))
    samples[early] = 0  # quieter, but too early: a stretch stays near its length
    assert pause.start < quietest(samples) < pause.stop


def test_where_the_sound_starts_is_where_the_first_stretch_starts():
    (only,) = stretches([(0, np.ones(160, np.float32))], 2.5, 1600)
    assert only.time == 2.5 and len(only.samples) == 160
