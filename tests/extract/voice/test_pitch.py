"""The pitch tracker on sounds whose pitch is known."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from textualize.extract.voice.pitch import (
    HOP_S,
    Pitch,
    centred_frames,
    f0_agreement,
    frame_count,
    track_pitch,
)
from textualize.types import Float32

RATE = 16_000


def cents(f0: Float32, true: object) -> Float32:
    return np.asarray(1200 * np.log2(f0 / np.asarray(true)), np.float32)


def harmonics(f0: object, seconds: float = 1.0, rolloff: float = 1.0, first: int = 1) -> Float32:
    """A voice-like sum of harmonics below 7 kHz; f0 in Hz, a number or one per sample."""
    hz = np.broadcast_to(np.asarray(f0, float), round(seconds * RATE))
    phase = 2 * np.pi * np.cumsum(hz) / RATE
    parts = [
        np.where(hz * n < 7000, np.sin(n * phase + n) / n**rolloff, 0.0) for n in range(first, 30)
    ]
    sound = np.sum(parts, axis=0)
    return np.asarray(0.3 * sound / np.abs(sound).max(), np.float32)


def voiced_share(pitch: Pitch) -> float:
    return float(pitch.voiced.mean())


@pytest.mark.parametrize("f0", [70.0, 85.0, 110.0, 163.7, 220.0, 301.3, 415.0, 480.0])
@pytest.mark.parametrize("rolloff", [0.5, 1.0, 2.0, 30.0])
def test_steady_tones_within_ten_cents(f0: float, rolloff: float) -> None:
    pitch = track_pitch(harmonics(f0, rolloff=rolloff), RATE)
    assert voiced_share(pitch) > 0.95
    assert np.nanmax(np.abs(cents(pitch.f0_hz[3:-3], f0))) < 10


@pytest.mark.parametrize("f0", [90.0, 150.0, 230.0])
def test_missing_fundamental_is_no_octave_error(f0: float) -> None:
    pitch = track_pitch(harmonics(f0, first=2), RATE)
    assert np.nanmax(np.abs(cents(pitch.f0_hz[3:-3], f0))) < 10


@pytest.mark.parametrize(("start", "end"), [(80.0, 160.0), (320.0, 140.0), (100.0, 450.0)])
def test_glides_are_followed_at_the_right_time(start: float, end: float) -> None:
    seconds = 2.0
    hz = start * (end / start) ** np.linspace(0, 1, round(seconds * RATE))
    pitch = track_pitch(harmonics(hz, seconds), RATE)
    times = np.arange(len(pitch.f0_hz)) * HOP_S
    true = start * (end / start) ** (times / seconds)
    assert voiced_share(pitch) > 0.95
    assert np.nanmax(np.abs(cents(pitch.f0_hz, true)[4:-4])) < 10


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100])
def test_other_sample_rates(rate: int) -> None:
    times = np.arange(rate) / rate
    sound = np.sum([np.sin(2 * np.pi * 120 * n * times) / n for n in range(1, 20)], axis=0)
    pitch = track_pitch(sound.astype(np.float32), rate)
    assert abs(len(pitch.f0_hz) - 100) <= 1
    assert np.nanmax(np.abs(cents(pitch.f0_hz[3:-3], 120.0))) < 10


def test_gain_and_offset_change_nothing() -> None:
    rng = np.random.default_rng(0)
    sound = harmonics(140.0) + rng.normal(0, 0.02, RATE).astype(np.float32)
    whole = track_pitch(sound, RATE)
    for other in (sound * np.float32(2**-8), -sound * np.float32(4)):
        same = track_pitch(other, RATE)
        np.testing.assert_array_equal(same.voiced, whole.voiced)
        np.testing.assert_allclose(same.f0_hz, whole.f0_hz, rtol=1e-5)
    lifted = track_pitch(sound + np.float32(0.2), RATE)
    inside = slice(3, -3)  # at the ends the step from zero padding is real
    np.testing.assert_allclose(lifted.f0_hz[inside], whole.f0_hz[inside], rtol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_white_noise_is_unvoiced(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 0.1, 3 * RATE).astype(np.float32)
    assert voiced_share(track_pitch(noise, RATE)) < 0.02


@pytest.mark.parametrize("sound", [np.zeros(RATE), np.full(RATE, 0.3), np.ones(3), np.zeros(0)])
def test_no_sound_has_no_pitch(sound: Float32) -> None:
    pitch = track_pitch(sound.astype(np.float32), RATE)
    assert len(pitch.f0_hz) == len(pitch.hnr_db) == frame_count(len(sound), RATE)
    assert voiced_share(pitch) == 0 if len(sound) else True


def test_voice_between_silences_is_voiced_only_there() -> None:
    quiet = np.zeros(RATE // 2, np.float32)
    pitch = track_pitch(np.concatenate([quiet, harmonics(200.0, 0.5), quiet]), RATE)
    assert pitch.voiced[53:97].all()
    assert not pitch.voiced[:47].any()
    assert not pitch.voiced[103:].any()


def test_harmonicity_falls_with_noise_and_is_about_right() -> None:
    rng = np.random.default_rng(1)
    clean = harmonics(150.0, 2.0)
    power = float(np.mean(clean**2))
    measured = []
    for hnr in (20.0, 10.0, 5.0):
        noise = rng.normal(0, np.sqrt(power / 10 ** (hnr / 10)), len(clean))
        pitch = track_pitch((clean + noise).astype(np.float32), RATE)
        measured.append(float(np.nanmedian(pitch.hnr_db)))
    assert measured == sorted(measured, reverse=True)
    np.testing.assert_allclose(measured, [20, 10, 5], atol=1.5)


def test_long_sound_in_blocks_is_the_same_as_short_ones() -> None:
    hz = np.repeat([110.0, 210.0], 11 * RATE)  # more frames than one block holds
    pitch = track_pitch(harmonics(hz, 22.0), RATE)
    assert len(pitch.f0_hz) == 2200
    assert np.nanmax(np.abs(cents(pitch.f0_hz[5:1090], 110.0))) < 10
    assert np.nanmax(np.abs(cents(pitch.f0_hz[1110:-5], 210.0))) < 10


def test_frames_are_centred_on_the_hops() -> None:
    audio = np.zeros(1600, np.float32)
    audio[480] = 1.0
    frames = centred_frames(audio, RATE, 400)
    assert frames.shape == (10, 400)
    assert frames[3, 200] == 1.0
    assert frames.sum() == np.float32(sum(abs(480 - 160 * i) <= 200 for i in range(10)))


def test_real_voices_are_in_their_range(assets: Path) -> None:
    parts = []
    resampler = av.AudioResampler("flt", "mono", RATE)
    with av.open(str(assets / "data/speech/ljspeech/LJ001-0001.wav")) as container:
        for frame in container.decode(audio=0):
            parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
    pitch = track_pitch(np.concatenate(parts), RATE)
    assert 170 < np.nanmedian(pitch.f0_hz) < 260  # a woman reading
    assert 0.35 < voiced_share(pitch) < 0.85
    jumps = np.abs(np.diff(12 * np.log2(pitch.f0_hz)))
    assert np.nanmean(jumps > 9) < 0.01


# --- agreement of two trackers -------------------------------------------------------------------


def test_agreement_of_a_track_with_itself_and_with_its_octave() -> None:
    f0 = np.array([np.nan, 100.0, 110.0, 120.0, np.nan])
    same = f0_agreement(f0, f0)
    assert same[:3] == (0.0, 0.0, 0.0)
    assert same.r == pytest.approx(1.0)
    octave = f0_agreement(2 * f0, f0)
    assert octave.median_cents == pytest.approx(1200)
    assert (octave.gross_error_rate, octave.voicing_disagreement) == (1.0, 0.0)
    assert octave.r == pytest.approx(1.0)


def test_agreement_by_hand() -> None:
    reference = np.array([100.0, 100.0, 200.0, 200.0, np.nan, 150.0, np.nan, np.nan])
    ours = np.array([100.0, 121.0, 200.0, 100.0, 90.0, np.nan, np.nan, np.nan])
    found = f0_agreement(ours, reference)
    assert found.voicing_disagreement == 2 / 8
    assert found.gross_error_rate == 2 / 4
    cents = [0, 1200 * np.log2(1.21), 0, 1200]
    assert found.median_cents == pytest.approx(np.median(cents))
    assert found.r == pytest.approx(np.corrcoef(ours[:4], reference[:4])[0, 1])


def test_agreement_where_there_is_nothing_to_compare() -> None:
    nothing = np.full(3, np.nan)
    assert f0_agreement(nothing, np.array([1.0, np.nan, np.nan]))[0] == pytest.approx(1 / 3)
    assert np.isnan(f0_agreement(nothing, nothing)[1:]).all()
    assert np.isnan(f0_agreement(nothing[:0], nothing[:0])).all()
    assert np.isnan(f0_agreement(np.full(3, 90.0), np.full(3, 90.0)).r)  # no spread
    with pytest.raises(ValueError, match="3 and 2"):
        f0_agreement(nothing, nothing[:2])


def test_librosa_agrees(assets: Path) -> None:
    librosa = pytest.importorskip("librosa")
    sound, _ = librosa.load(assets / "data/speech/ljspeech/LJ001-0002.wav", sr=RATE)
    other, _, _ = librosa.pyin(
        sound, fmin=60, fmax=500, sr=RATE, frame_length=1024, hop_length=160, resolution=0.25
    )
    ours = track_pitch(sound, RATE).f0_hz
    found = f0_agreement(ours, other[: len(ours)])
    assert found.voicing_disagreement < 0.2
    assert found.median_cents < 25
    assert found.gross_error_rate < 0.02
    assert found.r > 0.95
