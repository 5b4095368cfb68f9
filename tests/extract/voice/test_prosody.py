"""The prosody sensor: known sounds, gain, and what is known of real speakers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from textualize.extract import sensor
from textualize.extract.sensor import Reading
from textualize.extract.sound import Stretch, stretches
from textualize.extract.speech import voice_activity
from textualize.extract.voice import prosody as module
from textualize.extract.voice.prosody import (
    COLUMNS,
    RATE_COLUMNS,
    Prosody,
    prosody,
    speech_rate,
    syllable_nuclei,
)
from textualize.types import Clip, Float32, Span

RATE = 16_000


def media(audio: Float32, start: float = 0.0, has_audio: bool = True) -> Any:
    span = Span(start, start + len(audio) / RATE)

    def sound() -> Iterator[Stretch]:
        yield from stretches([(0, audio)], start, len(audio)) if has_audio else ()

    return SimpleNamespace(sound=sound, has_audio=has_audio, span=span, clip=Clip("c", None))


def heard(audio: Float32, start: float = 0.0, has_audio: bool = True) -> Reading:
    return sensor.read(Prosody(), media(audio, start, has_audio))


def vowel(seconds: float, f0: float = 150.0, level: float = 0.2, rolloff: float = 1.0) -> Float32:
    times = np.arange(round(seconds * RATE)) / RATE
    harmonics = range(1, int(7000 / f0))
    sound = np.sum([np.sin(2 * np.pi * f0 * n * times + n) / n**rolloff for n in harmonics], axis=0)
    return np.asarray(level * sound / np.abs(sound).max(), np.float32)


def syllables(count: int, every_s: float, **voice: float) -> Float32:
    """`count` vowels with a dip of level between them, no pause."""
    sound = vowel(count * every_s, **voice)
    times = np.arange(len(sound)) / RATE
    return np.asarray(sound * (0.05 + np.sin(np.pi * times / every_s) ** 2), np.float32)


def silence(seconds: float) -> Float32:
    return np.zeros(round(seconds * RATE), np.float32)


def column(values: Float32, name: str) -> Float32:
    return values[:, COLUMNS.index(name)]


def tempo(audio: Float32) -> dict[str, float]:
    return dict(zip(RATE_COLUMNS, speech_rate(prosody(audio)).tolist(), strict=True))


# --- frames ----------------------------------------------------------------------------------


def test_tracks_have_the_promised_shape_and_times() -> None:
    audio = vowel(1.234)
    reading = heard(audio, start=10.0)
    assert reading.status.state == "observed"
    dense, rate = reading.tracks["prosody"], reading.tracks["speech_rate"]
    assert dense.values.shape == (123, len(COLUMNS))
    assert dense.values.dtype == rate.values.dtype == np.float32
    assert (dense.rate_hz, dense.start, dense.unit) == (100.0, 10.0, "named")
    assert (dense.names, rate.names) == (COLUMNS, RATE_COLUMNS)
    assert rate.values.shape == (1, len(RATE_COLUMNS))
    assert 1 / rate.rate_hz == pytest.approx(1.234)
    assert COLUMNS[:6] == ("f0_st", "energy_db", "voiced", "hnr_db", "tilt_db", "centroid_hz")
    assert COLUMNS[-2:] == ("jitter_pct", "shimmer_db") and len(COLUMNS) == 12
    assert RATE_COLUMNS[-1] == "speech_fraction" and len(RATE_COLUMNS) == 9


@pytest.mark.parametrize(
    ("audio", "has_audio", "reason"),
    [
        (np.zeros(0, np.float32), True, "no audio stream"),
        (np.zeros(800, np.float32), False, "no audio stream"),
        (np.zeros(RATE, np.float32), True, "silence"),
        (np.full(RATE, 0.25, np.float32), True, "silence"),  # a constant is no sound
    ],
)
def test_nothing_to_hear_is_absent(audio: Float32, has_audio: bool, reason: str) -> None:
    reading = heard(audio, has_audio=has_audio)
    assert (reading.status.state, reading.status.reason) == ("absent", reason)
    assert not reading.tracks


@pytest.mark.parametrize("samples", [1, 7, 159, 160, 161, 399, 2000])
def test_the_shortest_sounds_have_rows(samples: int) -> None:
    audio = np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)
    reading = heard(audio + np.arange(samples, dtype=np.float32) * 1e-3)
    if samples > 1:  # one sample is a constant
        assert len(reading.tracks["prosody"].values) == max(1, samples // 160)
        assert np.isfinite(reading.tracks["prosody"].column("energy_db")).all()


def test_known_levels_and_pitch() -> None:
    times = np.arange(RATE) / RATE
    full = np.sin(2 * np.pi * 440 * times).astype(np.float32)
    values = prosody(full)[5:-5]
    assert column(values, "energy_db") == pytest.approx(-3.01, abs=0.1)
    assert column(values, "f0_st") == pytest.approx(36.0, abs=0.05)  # three octaves over A1
    assert np.all(column(values, "voiced") == 1)
    assert column(values, "centroid_hz") == pytest.approx(440, abs=15)
    assert column(prosody(np.concatenate([full, silence(1)])), "energy_db").min() == -80


def test_spectral_columns_follow_the_spectrum() -> None:
    dark, bright = (prosody(vowel(0.6, rolloff=r))[5:-5] for r in (2.0, 0.5))
    for name, sign in {
        "tilt_db": 1,
        "centroid_hz": -1,
        "slope_low_db_khz": -1,
        "slope_mid_db_khz": -1,
        "h1_h2_db": 1,
    }.items():
        assert sign * (column(dark, name).mean() - column(bright, name).mean()) > 0, name
    # Amplitudes 1 / n**2 put the second harmonic 12 dB below the first.
    assert column(dark, "h1_h2_db").mean() == pytest.approx(12.04, abs=1.5)


def test_slope_of_white_noise_is_flat_and_flux_is_high() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * RATE).astype(np.float32)
    values = prosody(noise)[5:-5]
    assert abs(column(values, "slope_mid_db_khz").mean()) < 1.0
    steady = prosody(vowel(1.0, f0=100.0))[5:-5]
    assert column(values, "flux_db").mean() > 5 * column(steady, "flux_db").mean()
    assert np.isnan(column(values, "h1_h2_db")).mean() > 0.95


def test_silence_inside_a_clip_is_unseen_in_the_spectral_columns() -> None:
    values = prosody(np.concatenate([vowel(0.5), silence(0.5), vowel(0.5)]))
    quiet = values[55:95]
    seen_in_voice = ("f0_st", "hnr_db", "tilt_db", "centroid_hz", "flux_db", "h1_h2_db")
    for name in (*seen_in_voice, "jitter_pct", "shimmer_db"):
        assert np.isnan(column(quiet, name)).all(), name
        assert np.isfinite(column(values[5:45], name)).all(), name
    assert np.all(column(quiet, "voiced") == 0)
    assert np.all(column(quiet, "energy_db") == -80)


def test_gain_moves_the_level_only() -> None:
    rng = np.random.default_rng(3)
    audio = syllables(6, 0.2) + rng.normal(0, 1e-3, round(1.2 * RATE)).astype(np.float32)
    loud, soft = prosody(audio), prosody(audio * np.float32(0.25))
    shift = column(loud, "energy_db") - column(soft, "energy_db")
    assert shift == pytest.approx(12.04, abs=0.01)
    others = [i for i, name in enumerate(COLUMNS) if name != "energy_db"]
    np.testing.assert_allclose(soft[:, others], loud[:, others], rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(speech_rate(soft), speech_rate(loud), rtol=1e-3)


# --- long sounds ---------------------------------------------------------------------------------


def test_a_long_sound_is_read_in_stretches_that_stay_in_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("textualize.extract.sound.STRETCH_S", 6.0)
    monkeypatch.setattr("textualize.extract.sound._SEARCH_S", 3.0)
    monkeypatch.setattr(module, "installed", lambda: False)
    talk = np.concatenate([syllables(10, 0.2), silence(0.6)])
    audio = np.concatenate([np.tile(talk, 12), vowel(0.31)])
    audio = audio + np.random.default_rng(0).normal(0, 1e-3, len(audio)).astype(np.float32)
    source = media(audio, start=3.0)
    assert len(list(source.sound())) > 4
    reading = sensor.read(Prosody(), source)
    at_once = prosody(audio)
    values = reading.tracks["prosody"].values
    assert len(values) == len(at_once)
    difference = np.abs(column(values, "energy_db") - column(at_once, "energy_db"))
    assert np.mean(difference > 1e-3) < 0.02  # only the frames a cut goes through
    both = np.isfinite(column(values, "f0_st")) & np.isfinite(column(at_once, "f0_st"))
    assert np.mean(column(values, "voiced") == column(at_once, "voiced")) > 0.99
    close = np.abs(column(values, "f0_st") - column(at_once, "f0_st"))[both] < 0.05
    assert close.mean() > 0.99
    whole = speech_rate(at_once)[:-1]
    np.testing.assert_allclose(reading.tracks["speech_rate"].values[0, :-1], whole, rtol=0.05)


def test_silent_stretches_of_a_long_sound_are_rows_without_a_voice() -> None:
    reader = Prosody().begin(media(vowel(1.0)))
    for time, samples in enumerate((silence(1), vowel(1.0), silence(1))):
        reader.sound(Stretch(float(time), samples))
    values = reader.finish().tracks["prosody"].values
    assert len(values) == 300
    assert not column(values, "voiced")[:95].any() and not column(values, "voiced")[205:].any()
    assert np.isnan(column(values, "centroid_hz")[:95]).all()
    assert (column(values, "energy_db")[:95] == -80).all()


# --- speech or not -------------------------------------------------------------------------------


def fraction(reading: Reading) -> float:
    return float(reading.tracks["speech_rate"].column("speech_fraction")[0])


@pytest.mark.skipif(not voice_activity.installed(), reason="faster-whisper is not installed")
def test_what_is_not_speech_is_said(assets: Path) -> None:
    times = np.arange(3 * RATE) / RATE
    tone = (0.3 * np.sin(2 * np.pi * 220 * times)).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * RATE).astype(np.float32)
    for sound in (tone, noise):
        reading = heard(sound)
        assert (reading.status.state, fraction(reading)) == ("observed", 0.0)
        assert "no speech found in 3.0 s" in reading.status.reason
    speech = heard(load(assets / "data/speech/jfk.flac"))
    assert speech.status.reason == ""
    assert 0.5 < fraction(speech) < 1.0


def test_without_a_detector_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Prosody().options
    monkeypatch.setattr(module, "installed", lambda: False)
    reading = heard(vowel(0.5))
    assert "not checked for speech" in reading.status.reason
    assert np.isnan(fraction(reading))
    assert Prosody().options != found  # such a result has a key of its own


# --- tempo -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "every_s"), [(4, 0.3), (8, 0.2), (12, 0.15), (1, 0.4)])
def test_syllables_are_counted(count: int, every_s: float) -> None:
    values = prosody(np.concatenate([silence(0.3), syllables(count, every_s), silence(0.3)]))
    nuclei = syllable_nuclei(column(values, "energy_db"), column(values, "voiced") > 0)
    assert len(nuclei) == count
    middles = 0.3 + (np.arange(count) + 0.5) * every_s
    np.testing.assert_allclose(nuclei * 0.01, middles, atol=0.04)
    assert tempo(syllables(count, every_s))["syllables_per_s"] == pytest.approx(
        1 / every_s, rel=0.15
    )


def test_pauses_are_inside_the_speech_only() -> None:
    talk = syllables(5, 0.2)
    parts = [silence(1.0), talk, silence(0.6), talk, silence(0.15), talk, silence(1.0)]
    measured = tempo(np.concatenate(parts))
    assert measured["pauses"] == 1  # 0.15 s is too short
    assert measured["pause_s"] == pytest.approx(0.6, abs=0.08)
    assert measured["longest_pause_s"] == measured["pause_s"]
    assert measured["speech_s"] == pytest.approx(3.15, abs=0.15)
    assert measured["articulation_per_s"] == pytest.approx(15 / 3.15, rel=0.1)
    assert measured["syllables_per_s"] == pytest.approx(15 / 3.75, rel=0.1)


def glide(start: float, end: float, seconds: float) -> Float32:
    hz = start * (end / start) ** np.linspace(0, 1, round(seconds * RATE))
    phase = 2 * np.pi * np.cumsum(hz) / RATE
    sound = np.sum([np.sin(n * phase) / n for n in range(1, 12)], axis=0)
    return np.asarray(0.1 * sound, np.float32)


def test_final_slope_and_range_of_a_glide() -> None:
    rising = tempo(glide(110.0, 220.0, 2.0))
    assert rising["final_slope_st_s"] == pytest.approx(6.0, abs=0.3)
    assert rising["f0_range_st"] == pytest.approx(0.8 * 12, abs=0.4)
    assert tempo(glide(220.0, 110.0, 2.0))["final_slope_st_s"] == pytest.approx(-6.0, abs=0.3)


def test_noise_without_voice_has_no_syllables() -> None:
    measured = tempo(np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32))
    assert measured["syllables_per_s"] == measured["articulation_per_s"] == 0
    assert measured["speech_s"] == 0
    assert np.isnan(measured["f0_range_st"])


# --- real speakers ---------------------------------------------------------------------------


def load(path: Path) -> Float32:
    resampler = av.AudioResampler("flt", "mono", RATE)
    with av.open(str(path)) as container:
        parts = [
            part.to_ndarray()[0]
            for frame in container.decode(audio=0)
            for part in resampler.resample(frame)
        ]
    parts += [part.to_ndarray()[0] for part in resampler.resample(None)]
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def acted(assets: Path) -> Callable[[str], dict[str, Float32]]:
    """Clips of RAVDESS by name pattern: modality-channel-emotion-intensity-statement-take-actor."""
    root = assets / "data/ravdess/audio"
    return lambda pattern: {
        path.stem: prosody(load(path)) for path in sorted(root.glob(f"Actor_*/{pattern}.flac"))
    }


def pitch_and_level(values: Float32) -> tuple[float, float]:
    voiced = column(values, "voiced") > 0
    level = float(column(values, "energy_db")[voiced].mean())
    return float(np.nanmean(column(values, "f0_st"))), level


def test_women_are_higher_and_strong_is_louder(acted: Callable[[str], Any]) -> None:
    clips = {name: pitch_and_level(v) for name, v in acted("03-01-0[56]-0?-01-01-*").items()}
    assert len(clips) == 64
    women = np.array([v[0] for name, v in clips.items() if int(name[-2:]) % 2 == 0])
    men = np.array([v[0] for name, v in clips.items() if int(name[-2:]) % 2 == 1])
    assert np.mean(women[:, None] > men[None]) > 0.8
    pairs = [
        (value, clips[name.replace("-01-01-01-", "-02-01-01-")])
        for name, value in clips.items()
        if name.split("-")[3] == "01"
    ]
    assert len(pairs) == 32
    assert np.mean([strong[1] > normal[1] for normal, strong in pairs]) > 0.8
    assert np.mean([strong[0] > normal[0] for normal, strong in pairs]) > 0.75


def test_syllables_of_a_known_sentence(assets: Path) -> None:
    values = prosody(load(assets / "data/speech/jfk.flac"))
    voiced = column(values, "voiced") > 0
    nuclei = len(syllable_nuclei(column(values, "energy_db"), voiced))
    assert 22 <= nuclei <= 31  # 28 were spoken
