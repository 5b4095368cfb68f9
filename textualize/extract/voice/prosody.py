"""How something is said: pitch, loudness, voice quality every 10 ms, and the clip's tempo.

Nothing here looks at words. Levels are in dB re full scale of the recording, so they follow the
microphone's gain; everything else is relative to the peak of its stretch of sound (the clip, up to
five minutes) and does not. Any sound with a period has a pitch: whether it was a voice is asked of
the voice activity detector, and answered in the status and in `speech_fraction`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.signal import find_peaks

from textualize.extract.sensor import Options, Reader, Reading, Reads
from textualize.extract.sound import SAMPLE_RATE, Stretch
from textualize.extract.speech.voice_activity import installed, voice_activity
from textualize.extract.voice.pitch import HOP_S, centred_frames, track_pitch
from textualize.extract.voice.voice_quality import voice_quality
from textualize.types import Float32, Modality, Status, Track

if TYPE_CHECKING:
    from textualize.extract.video import Media

Float64 = NDArray[np.float64]

RATE_HZ = 100.0
REFERENCE_HZ = 55.0  # 0 semitones, the note A1
FLOOR_DB = -80.0
SILENCE_DB = -45.0  # below the clip's loudest frame: silence
PAUSE_S = 0.25  # shorter gaps are stop closures
NUCLEUS_DB = 2.0  # prominence of a syllable's energy peak (de Jong & Wempe 2009)
NUCLEUS_GAP_S = 0.08  # between two syllables
FINAL_S = 0.5  # voiced time the final slope is fitted to
WINDOW = 512  # 32 ms
BANDS = 26  # mel bands the flux is taken over
COLUMNS = (
    "f0_st",
    "energy_db",
    "voiced",
    "hnr_db",
    "tilt_db",
    "centroid_hz",
    "flux_db",
    "slope_low_db_khz",
    "slope_mid_db_khz",
    "h1_h2_db",
    "jitter_pct",
    "shimmer_db",
)
_HZ = np.arange(WINDOW // 2 + 1) * SAMPLE_RATE / WINDOW
RATE_COLUMNS = (
    "syllables_per_s",
    "articulation_per_s",
    "pause_s",
    "pauses",
    "longest_pause_s",
    "final_slope_st_s",
    "speech_s",
    "f0_range_st",
    "speech_fraction",
)


class Prosody:
    """Pitch, level and voice quality at 100 Hz ("prosody"), tempo per clip ("speech_rate").

    Where no speech was found the status is still observed, and says so: a cry or a hum is a
    voice too, a flute is not.
    """

    name = "prosody"
    version = "2"
    modality: Modality = "prosody"
    weights = ""
    reads: tuple[Reads, ...] = ("sound",)

    def __init__(self) -> None:
        """Build the sensor; its options say whether speech can be told from other sound."""
        self.options: Options = {"voice_activity": "silero" if installed() else "not installed"}

    def begin(self, media: Media) -> Reader:
        """Return a reader that gives both tracks; absent without sound or in digital silence."""
        checked = self.options["voice_activity"] == "silero"
        return _ProsodyReader(media.span.start, checked)


class _ProsodyReader(Reader):
    def __init__(self, start: float, checked: bool) -> None:
        self._start = start
        self._rows: list[Float32] = []
        self._samples = 0
        self._low, self._high = np.inf, -np.inf
        self._spoken_s = 0.0 if checked else float("nan")

    def sound(self, stretch: Stretch) -> None:
        samples = stretch.samples
        if not len(samples):
            return
        self._samples += len(samples)
        self._low = min(self._low, float(samples.min()))
        self._high = max(self._high, float(samples.max()))
        self._rows.append(prosody(samples))
        if np.isfinite(self._spoken_s):
            self._spoken_s += sum(span.duration for span in voice_activity(samples))

    def finish(self) -> Reading:
        if not self._samples:
            return Reading(Status("absent", Prosody.name, "no audio stream"))
        if self._low == self._high:
            return Reading(Status("absent", Prosody.name, "silence"))
        seconds = self._samples / SAMPLE_RATE
        values = np.concatenate(self._rows)
        tempo = speech_rate(values, self._spoken_s / seconds)[None]
        tracks = {
            "prosody": Track(values, RATE_HZ, self._start, COLUMNS, "named", Prosody.name),
            "speech_rate": Track(
                tempo, 1 / seconds, self._start, RATE_COLUMNS, "named", Prosody.name
            ),
        }
        return Reading(Status("observed", Prosody.name, self._doubt(seconds)), tracks)

    def _doubt(self, seconds: float) -> str:
        if np.isnan(self._spoken_s):
            return "not checked for speech: faster-whisper is not installed"
        if self._spoken_s:
            return ""
        return f"no speech found in {seconds:.1f} s of sound: what was measured may not be a voice"


def prosody(audio: Float32) -> Float32:
    """Return the COLUMNS of 16 kHz mono audio (N,) at 100 Hz, shape (T, 12).

    - f0_st: semitones above 55 Hz; NaN when unvoiced
    - energy_db: mean square of 32 ms, dB re full scale (a full-scale sine is -3), floor -80
    - voiced: 0 or 1
    - hnr_db: harmonics-to-noise ratio; NaN when unvoiced
    - tilt_db: energy in 50-1000 Hz over that in 1-5 kHz; high is soft or dark, low is pressed
      or bright
    - centroid_hz: mean frequency weighted by power
    - flux_db: mean change of the mel bands' levels since 10 ms before; high is abrupt or rough
    - slope_low_db_khz, slope_mid_db_khz: slope of the spectrum in 0-500 and 500-1500 Hz
    - h1_h2_db: first over second harmonic; high is breathy, low is pressed; NaN when unvoiced
    - jitter_pct, shimmer_db: change from period to period, of its length and of its level, within
      25 ms; NaN when unvoiced (see `voice_quality`)

    The spectral columns are NaN in silence, 45 dB below the loudest frame. They follow the
    low-level descriptors of eGeMAPS (Eyben et al. 2016, IEEE Trans. Affective Computing 7(2)).
    What is relative to the loudest frame or the peak is so within `audio`: give a clip at once up
    to five minutes.
    """
    pitch = track_pitch(audio, SAMPLE_RATE)
    frames = centred_frames(audio, SAMPLE_RATE, WINDOW)
    square = np.einsum("tn,tn->t", frames, frames, dtype=np.float64) / WINDOW
    energy = np.maximum(10 * np.log10(np.maximum(square, 1e-12)), FLOOR_DB)
    # A noise floor 80 dB below the loudest frame: levels stay finite, and a gain cancels.
    floor = max(1e-8 * float(square.max()) * WINDOW, 1e-30)  # above 0 in digital silence too
    shape = _spectral_shape(frames, pitch.f0_hz, floor)
    shape[energy < max(float(energy.max()) + SILENCE_DB, FLOOR_DB + 1)] = np.nan
    f0_st = 12 * np.log2(pitch.f0_hz / REFERENCE_HZ)
    voice = np.stack([f0_st, energy, pitch.voiced, pitch.hnr_db], axis=1)
    steady = voice_quality(audio, SAMPLE_RATE, pitch.f0_hz)
    return np.concatenate([voice, shape, steady], axis=1, dtype=np.float32, casting="same_kind")


def speech_rate(values: Float32, speech_fraction: float = float("nan")) -> Float32:
    """Return the RATE_COLUMNS of one clip from its `prosody` rows, shape (9,).

    - syllables_per_s: syllable nuclei per second from the first to the last sound of speech
    - articulation_per_s: the same without the pauses
    - pause_s, pauses, longest_pause_s: pauses of at least 0.25 s between those two
    - final_slope_st_s: slope of the last 0.5 s of voiced pitch, semitones per second
    - speech_s: seconds of speech without pauses
    - f0_range_st: 10th to 90th percentile of the pitch
    - speech_fraction: share of the sound in which a detector found speech, 0-1, as given; NaN
      where none was asked

    A clip without any voiced frame gives 0 syllables and 0 seconds of speech, NaN for the others
    measured here.
    """
    f0, energy, voiced = values[:, 0], values[:, 1], values[:, 2] > 0
    if not voiced.any():
        return np.array([0, 0, *[np.nan] * 4, 0, np.nan, speech_fraction], np.float32)
    speaking = _speaking(energy, voiced)
    first, last = np.flatnonzero(speaking)[[0, -1]]
    pauses = [p for p in _run_lengths(~speaking[first : last + 1]) if p * HOP_S >= PAUSE_S]
    total = (last + 1 - first) * HOP_S
    speech = total - sum(pauses) * HOP_S
    nuclei = len(syllable_nuclei(energy, voiced))
    low, high = np.nanpercentile(f0, [10, 90])
    return np.array(
        [
            nuclei / total,
            nuclei / speech,
            sum(pauses) * HOP_S,
            len(pauses),
            max(pauses, default=0) * HOP_S,
            _final_slope(f0),
            speech,
            high - low,
            speech_fraction,
        ],
        np.float32,
    )


def syllable_nuclei(energy_db: Float32, voiced: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the frames of the syllables' energy peaks (de Jong & Wempe 2009).

    A peak of the smoothed level counts when it stands 2 dB above the dips beside it, is voiced
    and within 25 dB of the clip's loudest tenth.
    """
    smooth = np.convolve(np.pad(energy_db, 2, mode="edge"), np.full(5, 0.2), mode="valid")
    height = float(np.percentile(smooth[voiced], 90)) - 25.0 if voiced.any() else np.inf
    padded = np.concatenate([[FLOOR_DB], smooth, [FLOOR_DB]])  # a peak may touch the ends
    gap = round(NUCLEUS_GAP_S / HOP_S)
    peaks, _ = find_peaks(padded, height=height, prominence=NUCLEUS_DB, distance=gap)
    peaks = peaks - 1
    return np.asarray(peaks[voiced[peaks]], np.int64)


def _spectral_shape(frames: Float32, f0_hz: Float32, floor: float) -> Float64:
    """The columns from tilt_db on, (T, 6), of frames (T, WINDOW)."""
    window = np.hanning(WINDOW).astype(np.float32)
    low, high = (_HZ >= 50) & (_HZ < 1000), (_HZ >= 1000) & (_HZ < 5000)
    shape = np.empty((len(frames), 6))
    bands = np.empty((len(frames), BANDS))
    for at in range(0, len(frames), 4000):  # bounds the memory of an hour-long file
        rows = slice(at, at + 4000)
        power = np.abs(fft.rfft(frames[rows] * window, axis=1)).astype(np.float64) ** 2 + floor
        bands[rows] = 10 * np.log10(power @ _mel_bands(BANDS))
        shape[rows, 0] = 10 * np.log10(power[:, low].sum(1) / power[:, high].sum(1))
        shape[rows, 1] = power @ _HZ / power.sum(1)
        shape[rows, 3] = _slope(power, 0, 500)
        shape[rows, 4] = _slope(power, 500, 1500)
        first, second = (_harmonic(power, f0_hz[rows] * n) for n in (1, 2))
        shape[rows, 5] = 10 * np.log10(first / second)
    shape[0, 2] = np.nan  # the first frame has changed from nothing
    shape[1:, 2] = np.abs(np.diff(bands, axis=0)).mean(axis=1)
    return shape


def _slope(power: Float64, low_hz: float, high_hz: float) -> Float64:
    """Least-squares slope of the level over frequency in dB per kHz, (T,)."""
    inside = (low_hz <= _HZ) & (high_hz > _HZ)
    khz = (_HZ[inside] - _HZ[inside].mean()) / 1000
    return np.asarray(10 * np.log10(power[:, inside]) @ khz / (khz @ khz))


def _harmonic(power: Float64, hz: Float32) -> Float64:
    """Power of the strongest of the three bins around `hz` (T,); NaN where that is NaN."""
    middle = np.round(np.nan_to_num(hz) * WINDOW / SAMPLE_RATE).astype(int)
    bins = np.clip(middle[:, None] + np.array([-1, 0, 1]), 0, WINDOW // 2)
    best = np.take_along_axis(power, bins, axis=1).max(axis=1)
    return np.where(np.isfinite(hz), best, np.nan)


def _mel_bands(count: int, low_hz: float = 80.0, high_hz: float = 7600.0) -> Float64:
    """Triangular weights (bins, count), evenly spaced in mel."""
    edges = 700 * np.expm1(np.linspace(np.log1p(low_hz / 700), np.log1p(high_hz / 700), count + 2))
    rise = (_HZ[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - _HZ[:, None]) / (edges[2:] - edges[1:-1])
    return np.asarray(np.maximum(0.0, np.minimum(rise, fall)))


def _speaking(energy: Float32, voiced: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Frames within 30 dB of the voice's level, plus the voiced ones, from first to last."""
    level = float(np.percentile(energy[voiced], 90))
    return voiced | (energy > level - 30.0)


def _run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [int(n) for n in edges[1::2] - edges[::2]]


def _final_slope(f0_st: Float32) -> float:
    at = np.flatnonzero(np.isfinite(f0_st))[-round(FINAL_S / HOP_S) :]
    if len(at) < 10:
        return float("nan")
    return float(np.polyfit(at * HOP_S, f0_st[at], 1)[0])
