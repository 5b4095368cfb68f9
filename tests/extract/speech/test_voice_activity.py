"""Voice activity: speech is found, whispers too, noise and tones are not."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter

from textualize.extract.sound import SAMPLE_RATE
from textualize.extract.speech.voice_activity import (
    Sound,
    has_voice,
    sound_of,
    voice_activity,
    voice_probability,
    whispers,
)
from textualize.types import Float32, Span

pytest.importorskip("faster_whisper")

SECONDS = 6
TIME = np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE
NOISE = np.random.default_rng(1).normal(size=len(TIME))


def load(path: Path) -> Float32:
    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
    parts = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
    parts += [part.to_ndarray()[0] for part in resampler.resample(None)]
    return np.asarray(np.concatenate(parts), np.float32)


def whispered(speech: Float32, order: int = 16) -> Float32:
    """Speech resynthesised from noise through its own linear prediction: no voice is left."""
    rng = np.random.default_rng(0)
    size, hop = 400, 160
    window = np.hanning(size)
    flat = np.append(speech[0], speech[1:] - 0.97 * speech[:-1])
    made = np.zeros(len(speech) + size)
    for at in range(0, len(speech) - size, hop):
        frame = flat[at : at + size] * window
        lags = np.correlate(frame, frame, "full")[size - 1 : size + order]
        if lags[0] < 1e-8:
            continue
        lags[0] *= 1.0001
        prediction = solve_toeplitz(lags[:-1], lags[1:])
        filtered = lfilter([1], [1, *-prediction], rng.normal(size=size + 200))[200:] * window
        made[at : at + size] += filtered * np.sqrt(lags[0] / (filtered @ filtered))
    made = made[: len(speech)]
    return np.asarray(0.1 * made / np.abs(made).max(), np.float32)


def tone(hz: float) -> NDArray[np.float64]:
    return 0.2 * np.sin(2 * np.pi * hz * TIME)


def melody() -> NDArray[np.float64]:
    """Plucked notes, two a second; Silero takes an attack or two for speech."""
    notes = np.zeros(len(TIME))
    half = SAMPLE_RATE // 2
    for i, hz in enumerate((262, 294, 330, 349, 392, 440, 494, 523, 494, 440, 392, 349)):
        harmonics = sum(np.sin(2 * np.pi * hz * h * TIME[:half]) / h for h in range(1, 6))
        notes[i * half : (i + 1) * half] = 0.1 * harmonics * np.exp(-4 * TIME[:half])
    return notes


def pink() -> NDArray[np.float64]:
    spectrum = np.fft.rfft(NOISE)
    made = np.fft.irfft(spectrum / np.maximum(np.arange(len(spectrum)), 1) ** 0.5, len(NOISE))
    return 0.2 * made / np.abs(made).max()


NOT_SPEECH = {
    "silence": np.zeros(len(TIME)),
    "dither": 1e-4 * NOISE,
    "white": 0.05 * NOISE,
    "pink": pink(),
    "hum": tone(50) + 0.002 * NOISE,
    "tone": tone(440),
    "siren": 0.2 * np.sin(2 * np.pi * np.cumsum(600 + 200 * np.sin(np.pi * TIME)) / SAMPLE_RATE),
    "chord": sum(tone(hz) for hz in (220.0, 277.2, 329.6)) / 2,
    "drums": NOISE * np.exp(-15 * (TIME % 0.25)) * 0.3,
    "syllabic noise": 0.05 * NOISE * (1 + np.sin(2 * np.pi * 4 * TIME)),
    "surf": 0.05 * NOISE * (1 + np.sin(2 * np.pi * 0.3 * TIME)),
}


@pytest.mark.parametrize("name", NOT_SPEECH)
@pytest.mark.parametrize("gain", [1.0, 0.05])
def test_what_is_not_speech_is_neither_voice_nor_whisper(name: str, gain: float) -> None:
    sound = np.asarray(NOT_SPEECH[name] * gain, np.float32)
    assert not has_voice(sound)
    assert voice_activity(sound) == []
    assert whispers(sound, []) == []


def test_melodies_are_tonal_and_never_whispers() -> None:
    for notes in (melody(), melody() + 0.01 * NOISE):
        assert sound_of(np.asarray(notes, np.float32)).tonal
        assert whispers(np.asarray(notes, np.float32), []) == []


def test_noise_and_speech_are_not_tonal(assets: Path) -> None:
    for name in ("white", "pink", "drums", "silence"):
        assert not sound_of(np.asarray(NOT_SPEECH[name], np.float32)).tonal, name
    assert not sound_of(whispered(load(assets / "data/grid/brbk7n.mpg"))).tonal


def test_speech_is_found_where_it_is(assets: Path) -> None:
    speech = load(assets / "data/speech/jfk.flac")
    quiet = np.zeros(4 * SAMPLE_RATE, np.float32)
    alone = voice_activity(speech)
    moved = voice_activity(np.concatenate([quiet, speech, quiet]))
    assert sum(s.duration for s in alone) > 6
    assert all(0 <= s.start < s.end <= len(speech) / SAMPLE_RATE for s in alone)
    assert all(a.end < b.start for a, b in zip(alone, alone[1:], strict=False))
    assert moved[0].start == pytest.approx(4 + alone[0].start, abs=0.3)
    assert moved[-1].end == pytest.approx(4 + alone[-1].end, abs=0.5)


def test_word_bounds_of_a_corpus_lie_inside(assets: Path) -> None:
    rows = (assets / "data/grid/swwp2s.align").read_text().split("\n")
    spoken = [r.split() for r in rows if r and "sil" not in r]
    first, last = int(spoken[0][0]) / 25_000, int(spoken[-1][1]) / 25_000
    spans = voice_activity(load(assets / "data/grid/swwp2s.mpg"))
    assert spans[0].start == pytest.approx(first, abs=0.35)
    assert spans[-1].end == pytest.approx(last, abs=0.35)


def test_a_higher_threshold_finds_less(assets: Path) -> None:
    speech = load(assets / "data/speech/jfk.flac")
    found = [sum(s.duration for s in voice_activity(speech, t)) for t in (0.2, 0.5, 0.8, 0.999)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < found[0]


def test_probability_is_of_each_32_ms_and_remembers_only_what_it_heard() -> None:
    noise = np.asarray(0.05 * NOISE[:5000], np.float32)
    first = voice_probability(noise)
    assert first.shape == (10,)
    assert voice_probability(noise.copy()) is first
    noise *= 0.5
    assert voice_probability(noise) is not first
    assert voice_probability(np.zeros(0, np.float32)).shape == (0,)
    assert voice_activity(np.zeros(0, np.float32)) == []


@pytest.mark.parametrize("clip", ["data/speech/jfk.flac", "data/grid/brbk7n.mpg"])
@pytest.mark.parametrize("noise_db", [-60.0, -10.0])
def test_whispers_are_found_by_one_or_the_other(assets: Path, clip: str, noise_db: float) -> None:
    whisper = whispered(load(assets / clip))
    level = np.sqrt(np.mean(whisper**2)) * 10 ** (noise_db / 20)
    noisy = np.asarray(whisper + level * np.resize(NOISE, len(whisper)), np.float32)
    for gain in (1.0, 0.05):
        spoken = voice_activity(noisy * np.float32(gain))
        found = [*spoken, *whispers(noisy * np.float32(gain), spoken)]
        assert sum(s.duration for s in found) > 0.25 * len(noisy) / SAMPLE_RATE


def test_spoken_windows_are_not_whispered_again(assets: Path) -> None:
    whisper = whispered(load(assets / "data/speech/jfk.flac"))
    whole = Span(0.0, len(whisper) / SAMPLE_RATE)
    assert whispers(whisper, []) != []
    assert whispers(whisper, [whole]) == []


def test_short_sound_is_nothing() -> None:
    assert sound_of(np.ones(100, np.float32)) == Sound(0.0, 0.0, 0.0, -100.0)
    assert whispers(np.ones(100, np.float32), []) == []
    assert whispers(np.zeros(0, np.float32), []) == []
