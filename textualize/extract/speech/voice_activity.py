"""Where there is a voice: Silero's detector, the whispers it misses, and music.

The detector is the one inside faster-whisper. It finds most whispered speech too; where the room
is noisy or the whisper faint it does not, and there the spectrum is asked: a whisper has no
pitch, but its shape changes with every syllable, which neither noise nor applause does.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from textualize.errors import missing_package
from textualize.extract.sound import SAMPLE_RATE
from textualize.types import Float32, Span

VOICE = 0.5  # probability of speech (Silero) from which a frame counts as speech
FRAME = 512  # samples of one probability
PAD_S = 0.2  # kept on both sides of speech
PAUSE_S = 0.3  # a shorter silence does not end a span

# Measured on speech resynthesised from noise through its own linear prediction (shape 4.2-7.3 dB,
# with noise 10 dB below 3.3-4.5, period at most 0.42), noises real and made (shape at most 1.8)
# and tones, melodies and sirens (period at least 0.9).
SHAPE_DB = 3.0  # change of the spectrum's shape from which a window can be whispered
PERIODIC = 0.6  # autocorrelation from which a window has a pitch, which a whisper has not
TONAL = 0.8  # and from which, with a spectrum of peaks, it is a tone or music
LINES = 0.01  # spectral flatness below which a spectrum is lines
PEAKS = 0.1  # and below which it has peaks (noise: 0.56)
SILENT_DB = -75.0  # level re full scale, 300-6500 Hz, of what is not worth looking at
WINDOW_S = 2.0
_HOP = 320
_FFT = 512
_EDGES_HZ = (300, 600, 1000, 1500, 2200, 3200, 4500, 6500)


class Sound(NamedTuple):
    """What a piece of sound is like where it is loud.

    `shape_db`: how much the spectrum's shape changes over time, dB. `period`: median of the
    highest autocorrelation at 70-500 Hz, 0-1. `flatness`: median spectral flatness, 0 (lines) to
    0.56 (noise). `level_db` re full scale in the speech band.
    """

    shape_db: float
    period: float
    flatness: float
    level_db: float

    @property
    def whispered(self) -> bool:
        """Whether it could be whispered speech: it has no pitch, but syllables."""
        breathy = self.period < PERIODIC and self.flatness > LINES
        return self.level_db > SILENT_DB and self.shape_db >= SHAPE_DB and breathy

    @property
    def tonal(self) -> bool:
        """Whether it is lines, or has a steady pitch: a tone or music."""
        lines = self.flatness < LINES or (self.flatness < PEAKS and self.period >= TONAL)
        return self.level_db > SILENT_DB and lines


def installed() -> bool:
    """Return whether the detector is there."""
    return find_spec("faster_whisper") is not None


def voice_probability(samples: Float32) -> Float32:
    """Return the probability of speech in each 32 ms, shape (T,), of 16 kHz mono sound (N,).

    Raises TextualizeError without faster-whisper, which brings the detector.
    """
    key = hashlib.blake2b(np.ascontiguousarray(samples).data, digest_size=16).digest()
    if key not in _LATEST:
        _LATEST.clear()
        _LATEST[key] = _detected(samples)
    return _LATEST[key]


_LATEST: dict[bytes, Float32] = {}  # several sensors ask about the same stretch


def _detected(samples: Float32) -> Float32:
    if not len(samples):
        return np.zeros(0, np.float32)
    try:
        from faster_whisper.vad import get_vad_model
    except ImportError:
        raise missing_package("voice activity", "faster-whisper", "extract") from None
    whole = np.pad(samples, (0, -len(samples) % FRAME))
    return np.asarray(get_vad_model()(whole), np.float32).reshape(-1)


def has_voice(samples: Float32) -> bool:
    """Return whether there is speech anywhere in 16 kHz mono sound."""
    return bool((voice_probability(samples) >= VOICE).any())


def voice_activity(samples: Float32, threshold: float = VOICE) -> list[Span]:
    """Return the spans of speech in 16 kHz mono sound, seconds from its start, in order.

    Speech begins at `threshold` and goes on until it stays 0.15 below for `PAUSE_S`; each span
    is widened by `PAD_S`. Raises TextualizeError without faster-whisper.
    """
    probability = voice_probability(samples)
    step = FRAME / SAMPLE_RATE
    loud, held = probability >= threshold, probability >= max(threshold - 0.15, 0.01)
    runs = [(a * step, b * step) for a, b in _runs(held) if loud[a:b].any()]
    joined = _joined([Span(a, b) for a, b in runs], PAUSE_S)
    end = len(samples) / SAMPLE_RATE
    padded = [Span(max(0.0, s.start - PAD_S), min(end, s.end + PAD_S)) for s in joined]
    return _joined([s for s in padded if s], 0.0)


def whispers(samples: Float32, spoken: list[Span]) -> list[Span]:
    """Return where, outside the spans already `spoken`, the sound is like a whisper.

    Looked at in windows of `WINDOW_S` that overlap by half. Seconds from the start of the sound.
    """
    found: list[Span] = []
    end = len(samples) / SAMPLE_RATE
    for start in np.arange(0.0, max(end - WINDOW_S / 2, WINDOW_S / 4), WINDOW_S / 2):
        window = Span(float(start), min(end, float(start) + WINDOW_S))
        taken = sum((window & span).duration for span in spoken)
        if taken > window.duration / 2:
            continue
        piece = samples[round(window.start * SAMPLE_RATE) : round(window.end * SAMPLE_RATE)]
        if sound_of(piece).whispered:
            found.append(window)
    return _joined(found, 0.0)


def sound_of(samples: Float32) -> Sound:
    """Return what 16 kHz mono sound is like; see `Sound`.

    >>> tone = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000).astype(np.float32)
    >>> sound_of(tone).tonal, sound_of(tone).whispered
    (True, False)
    """
    if len(samples) < 4 * _FFT:
        return Sound(0.0, 0.0, 0.0, -100.0)
    window, hz, starts = _analysis()
    frames = np.lib.stride_tricks.sliding_window_view(samples, _FFT)[::_HOP] * window
    power = np.abs(np.fft.rfft(frames)) ** 2
    bands = np.add.reduceat(power, starts, axis=1)[:, :-1] / np.diff(starts)
    levels = 10 * np.log10(bands + 1e-7)
    mean = levels.mean(axis=1)
    loud = mean >= np.percentile(mean, 40)
    inside = power[:, (hz > _EDGES_HZ[0]) & (hz < _EDGES_HZ[-1])]
    flatness = np.exp(np.log(inside + 1e-12).mean(axis=1)) / (inside.mean(axis=1) + 1e-12)
    # Full-scale white noise has power sum(window²) in each bin.
    energy = 10 * np.log10(inside.mean() / float((window**2).sum()) + 1e-10)
    return Sound(
        shape_db=float(_shape(levels)[loud].std()),
        period=float(np.median(_period(frames[loud], window))),
        flatness=float(np.median(flatness[loud])),
        level_db=float(energy),
    )


def _shape(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return band levels (T, D) without their second-long mean and what all bands share."""
    smooth = _averaged(levels, 3)
    own = smooth - _averaged(smooth, 50)
    return np.asarray(own - own.mean(axis=1, keepdims=True))


def _averaged(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    kernel = np.ones(width)
    count = _same(np.ones(len(values)), kernel)
    return np.stack([_same(column, kernel) / count for column in values.T], axis=1)


def _same(values: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    before = (len(kernel) - 1) // 2
    return np.convolve(values, kernel)[before : before + len(values)]


def _period(frames: NDArray[np.float64], window: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the highest autocorrelation of each frame (T, N) at 70-500 Hz, window removed."""

    def correlation(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.fft.irfft(np.abs(np.fft.rfft(x, 2 * _FFT)) ** 2)[..., :_FFT]

    own, shape = correlation(frames), correlation(window)
    scaled = own / np.maximum(own[:, :1], 1e-9) / (shape / shape[0])
    return np.asarray(scaled[:, SAMPLE_RATE // 500 : SAMPLE_RATE // 70].max(axis=1))


@functools.cache
def _analysis() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return the window, the frequency of each bin, and the bin each band starts at."""
    hz = np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE)
    return np.hanning(_FFT), hz, np.searchsorted(hz, _EDGES_HZ)


def _runs(flags: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    yield from ((int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True))


def _joined(spans: list[Span], gap_s: float) -> list[Span]:
    joined: list[Span] = []
    for span in spans:
        if joined and span.start - joined[-1].end <= gap_s:
            joined[-1] = Span(joined[-1].start, max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined
