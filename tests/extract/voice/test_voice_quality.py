"""Jitter and shimmer of voices whose periods are known."""

from __future__ import annotations

import numpy as np
import pytest

from textualize.extract.voice.pitch import track_pitch
from textualize.extract.voice.voice_quality import (
    Pulses,
    find_pulses,
    level_changes,
    local_jitter,
    local_shimmer,
    period_changes,
    voice_quality,
)
from textualize.types import Float32

RATE = 16_000


def voice(periods: Float32, levels: Float32) -> Float32:
    """A pulse-like sum of harmonics; period i lasts periods[i] s, with levels[i]."""
    edges = np.concatenate([[0.0], np.cumsum(periods)])
    times = np.arange(int(edges[-1] * RATE)) / RATE
    cycle = np.interp(times, edges, np.arange(len(edges)))
    sound = np.sum([np.cos(2 * np.pi * n * cycle) / n for n in range(1, 20)], axis=0)
    # The level changes between pulses, half a period after each.
    level = np.asarray(levels)[np.clip(np.round(cycle).astype(int), 0, len(levels) - 1)]
    return np.asarray(0.1 * sound * level, np.float32)


def alternating(count: int, middle: float, share: float) -> Float32:
    return np.asarray(middle * (1 + share * (-1.0) ** np.arange(count)), np.float32)


def measured(sound: Float32) -> Pulses:
    return find_pulses(sound, RATE, track_pitch(sound, RATE).f0_hz)


@pytest.mark.parametrize("f0", [80.0, 123.0, 210.0, 310.0])
def test_a_steady_voice_has_neither(f0: float) -> None:
    count = int(f0)
    pulses = measured(voice(alternating(count, 1 / f0, 0), np.ones(count)))
    assert len(pulses.time) == pytest.approx(count, abs=6)  # some at the ends
    assert local_jitter(pulses) < 0.15
    assert local_shimmer(pulses) < 0.1


@pytest.mark.parametrize("f0", [90.0, 150.0, 240.0])
@pytest.mark.parametrize("jitter", [1.0, 2.0, 4.0])
def test_known_jitter_is_measured(f0: float, jitter: float) -> None:
    rng = np.random.default_rng(0)
    steps = rng.choice([-1.0, 1.0], round(2 * f0))
    periods = (1 + steps * jitter / 100) / f0  # half of the neighbours differ, by 2 * jitter
    pulses = measured(voice(periods, np.ones(len(periods))))
    true = 100 * np.abs(np.diff(periods)).mean() / periods.mean()
    assert local_jitter(pulses) == pytest.approx(true, rel=0.3)


@pytest.mark.parametrize("f0", [90.0, 150.0, 240.0])
@pytest.mark.parametrize("ratio", [1.1, 1.3])
def test_known_shimmer_is_measured(f0: float, ratio: float) -> None:
    rng = np.random.default_rng(1)
    levels = rng.choice([1.0, ratio], round(2 * f0))
    pulses = measured(voice(alternating(len(levels), 1 / f0, 0), levels))
    true = np.abs(np.diff(20 * np.log10(levels))).mean()
    assert local_shimmer(pulses) == pytest.approx(true, rel=0.15)


def test_gain_offset_and_sign_change_nothing() -> None:
    rng = np.random.default_rng(2)
    periods = (1 + rng.normal(0, 0.01, 200)) / 140
    sound = voice(periods, 1 + rng.normal(0, 0.05, 200))
    f0 = track_pitch(sound, RATE).f0_hz
    whole = voice_quality(sound, RATE, f0)
    for other in (sound * np.float32(0.125), -sound, sound + np.float32(0.2)):
        same = voice_quality(other, RATE, f0)
        np.testing.assert_array_equal(np.isfinite(same), np.isfinite(whole))
        np.testing.assert_allclose(same, whole, rtol=1e-3, atol=1e-3)


def test_frames_show_where_the_voice_is_rough() -> None:
    rng = np.random.default_rng(3)
    smooth, rough = np.full(150, 1 / 150), (1 + 0.03 * rng.choice([-1, 1], 150)) / 150
    sound = voice(np.concatenate([smooth, rough]), np.ones(300))
    values = voice_quality(sound, RATE, track_pitch(sound, RATE).f0_hz)
    assert np.nanmedian(values[10:90, 0]) < 0.5 < 1.5 < np.nanmedian(values[110:190, 0])


def test_unvoiced_frames_have_none() -> None:
    tone = voice(np.full(60, 1 / 120), np.ones(60))
    sound = np.concatenate([np.zeros(RATE // 2, np.float32), tone, np.zeros(RATE // 2, np.float32)])
    f0 = track_pitch(sound, RATE).f0_hz
    values = voice_quality(sound, RATE, f0)
    assert values.shape == (len(f0), 2) and values.dtype == np.float32
    assert np.isnan(values[~np.isfinite(f0)]).all()
    assert np.isfinite(values[55:95]).all()


@pytest.mark.parametrize("samples", [0, 1, 40, 400])
def test_sounds_without_two_periods_have_none(samples: int) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)
    frames = max(int(samples > 0), samples // 160)
    for f0 in (np.full(frames, np.nan), np.full(frames, 60.0)):
        pulses = find_pulses(sound, RATE, f0.astype(np.float32))
        assert np.isnan(local_jitter(pulses)) and np.isnan(local_shimmer(pulses))
        assert np.isnan(voice_quality(sound, RATE, f0.astype(np.float32))).all()
    silent = np.zeros(1600, np.float32)
    assert not len(find_pulses(silent, RATE, np.full(10, 100, np.float32)).time)


def test_neighbours_by_hand() -> None:
    time = np.array([0.0, 0.010, 0.021, 0.030, 0.050, 1.0, 1.01])
    level = np.array([1.0, 1.2, 1.0, 2.0, 2.0, 1.0, 1.0])
    pulses = Pulses(time, level, np.array([0, 0, 0, 0, 0, 1, 1]))
    at, change, period = period_changes(pulses)
    np.testing.assert_allclose(at, [0.010, 0.021])  # 9 ms and 20 ms are no neighbours
    np.testing.assert_allclose(change, [0.001, 0.002])
    np.testing.assert_allclose(period, [0.0105, 0.010])
    assert local_jitter(pulses) == pytest.approx(100 * 0.0015 / 0.01025)
    at, change = level_changes(pulses)
    np.testing.assert_allclose(at, [0.005, 0.0155, 0.040, 1.005])  # 1 to 2 is too far
    np.testing.assert_allclose(change, [20 * np.log10(1.2), 20 * np.log10(1.2), 0, 0], atol=1e-12)


def test_no_pulse_is_counted_twice() -> None:
    sound = voice(np.full(300, 1 / 150), np.ones(300))
    time = find_pulses(sound, RATE, track_pitch(sound, RATE).f0_hz).time
    assert (np.diff(time) > 0.5 / 150).all()
