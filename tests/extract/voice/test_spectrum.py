"""The log-mel sensor: known levels, and no trace of where the sound was cut."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from textualize.extract import sensor
from textualize.extract.sensor import Reading
from textualize.extract.sound import Stretch
from textualize.extract.voice.spectrum import BANDS, FLOOR_DB, NAMES, LogMel
from textualize.types import Clip, Float32, Span

pytest.importorskip("librosa")
RATE = 16_000


def heard(audio: Float32, cuts: tuple[int, ...] = (), start: float = 0.0) -> Reading:
    def sound() -> Any:
        at = 0
        for piece in np.split(audio, cuts):
            yield Stretch(start + at / RATE, piece)
            at += len(piece)

    span = Span(start, start + len(audio) / RATE)
    media: Any = SimpleNamespace(sound=sound, span=span, clip=Clip("c", None))
    return sensor.read(LogMel(), media)


def values(audio: Float32, cuts: tuple[int, ...] = ()) -> Float32:
    return heard(audio, cuts).tracks["audio"].values


def tone(hz: float, seconds: float = 1.0, level: float = 1.0) -> Float32:
    return np.asarray(
        level * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE), "f4"
    )


def noise(samples: int) -> Float32:
    return np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)


def test_the_track_is_as_promised() -> None:
    reading = heard(noise(RATE), start=5.0)
    track = reading.tracks["audio"]
    assert track.values.shape == (10, BANDS) and track.values.dtype == np.float32
    assert (track.rate_hz, track.start, track.unit) == (10.0, 5.0, "named")
    assert track.names == NAMES and NAMES[0] == "mel00_db" and len(set(NAMES)) == BANDS
    assert np.isfinite(track.values).all()


@pytest.mark.parametrize("hz", [200.0, 1000.0, 3000.0, 6000.0])
def test_a_full_scale_sine_is_near_0_db_in_its_band(hz: float) -> None:
    row = values(tone(hz))[4]
    assert -4 < row.max() < 3
    quieter = values(tone(hz, level=0.1))[4]
    assert quieter.max() == pytest.approx(row.max() - 20, abs=0.01)
    far = np.abs(np.arange(BANDS) - int(row.argmax())) > 8
    assert row[far].max() < row.max() - 40


def test_higher_tones_are_in_higher_bands() -> None:
    bands = [int(values(tone(hz, 0.3))[1].argmax()) for hz in (100, 300, 900, 2000, 4000, 7000)]
    assert bands == sorted(bands) and len(set(bands)) == 6


@pytest.mark.parametrize(
    "cuts", [(1,), (8000,), (399, 400, 401), (1600, 3200, 4801), tuple(range(100, 15900, 777))]
)
def test_cuts_leave_no_trace(cuts: tuple[int, ...]) -> None:
    audio = noise(16_123) * np.linspace(0, 1, 16_123, dtype=np.float32)
    np.testing.assert_allclose(values(audio, cuts), values(audio), atol=1e-4)


@pytest.mark.parametrize("samples", [2, 160, 399, 1600, 1601, 1999, 2000, 2001, 4000])
def test_every_begun_tenth_of_a_second_has_a_row(samples: int) -> None:
    audio = noise(samples)
    assert len(values(audio)) == -(-samples // 1600)
    assert np.isfinite(values(audio)).all()


def test_a_short_last_row_is_not_drowned_by_what_follows_the_sound() -> None:
    audio = noise(1600 + 800)
    rows = values(audio)
    assert abs(rows[1].mean() - rows[0].mean()) < 3


def test_silence_inside_is_at_the_floor_and_alone_is_absent() -> None:
    rows = values(np.concatenate([noise(RATE), np.zeros(RATE, np.float32)]))
    assert (rows[11:] == FLOOR_DB).all()
    for audio, reason in (
        (np.zeros(RATE, "f4"), "silence"),
        (np.zeros(0, "f4"), "no audio stream"),
    ):
        status = heard(audio).status
        assert (status.state, status.reason) == ("absent", reason)


def test_rows_are_means_of_librosa_frames() -> None:
    import librosa

    audio = noise(3 * 1600 + 400)
    power = librosa.feature.melspectrogram(
        y=audio, sr=RATE, n_fft=400, hop_length=160, center=False, window="hann",
        n_mels=BANDS, fmin=50.0, fmax=8000.0, norm=None,
    )  # fmt: skip
    unity = (np.hanning(401)[:-1].sum() / 2) ** 2
    frames = 10 * np.log10(power.T / unity)
    whole = frames[:30].reshape(3, 10, BANDS).mean(axis=1)
    np.testing.assert_allclose(values(audio)[:3], whole, atol=1e-3)
