"""The sound's log-mel spectrum at 10 Hz: features for methods that have no model's weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from textualize.errors import missing_package
from textualize.extract.sensor import Options, Reader, Reading, Reads
from textualize.extract.sound import SAMPLE_RATE, Stretch
from textualize.types import Float32, Modality, Status, Track

if TYPE_CHECKING:
    from textualize.extract.video import Media

BANDS = 64
LOWEST_HZ, HIGHEST_HZ = 50.0, 8000.0
FLOOR_DB = -100.0
RATE_HZ = 10.0
FRAME = 400  # 25 ms
HOP = 160
ROW = round(SAMPLE_RATE / RATE_HZ)
NAMES = tuple(f"mel{band:02d}_db" for band in range(BANDS))
_BLOCK = 300  # rows transformed at once: 30 s


class LogMel:
    """64 mel bands in dB, averaged over each tenth of a second (track "audio").

    The mel filters are librosa's (Slaney's scale, 50-8000 Hz, peaks at 1). Levels are dB re a
    full-scale sine at the middle of the band, floor -100: they follow the microphone's gain. Row i
    is the mean of the ten 25 ms frames that begin in its tenth of a second; nothing depends on
    where the sound was cut into stretches.
    """

    name = "mel"
    version = "1"
    modality: Modality = "audio"
    weights = ""
    reads: tuple[Reads, ...] = ("sound",)

    def __init__(self) -> None:
        """Make the filters; raises TextualizeError without librosa."""
        try:
            from librosa.filters import mel
        except ImportError:
            raise missing_package("the mel sensor", "librosa", "extract") from None
        self.options: Options = {"bands": BANDS}
        self._filters: Float32 = mel(
            sr=SAMPLE_RATE,
            n_fft=FRAME,
            n_mels=BANDS,
            fmin=LOWEST_HZ,
            fmax=HIGHEST_HZ,
            norm=None,
        )

    def begin(self, media: Media) -> Reader:
        """Return a reader that gives the track; absent without sound or in digital silence."""
        return _MelReader(media.span.start, self._filters)


class _MelReader(Reader):
    def __init__(self, start: float, filters: Float32) -> None:
        self._start, self._filters = start, filters
        self._held = np.zeros(0, np.float32)
        self._rows: list[Float32] = []
        self._samples = 0
        self._low, self._high = np.inf, -np.inf

    def sound(self, stretch: Stretch) -> None:
        samples = stretch.samples
        if not len(samples):
            return
        self._samples += len(samples)
        self._low = min(self._low, float(samples.min()))
        self._high = max(self._high, float(samples.max()))
        self._held = np.concatenate([self._held, samples])
        whole = (len(self._held) - FRAME) // ROW  # the last frame looks into the next row
        if whole > 0:
            self._rows.append(mel_rows(self._held[: whole * ROW + FRAME], self._filters, whole))
            self._held = self._held[whole * ROW :].copy()

    def finish(self) -> Reading:
        if not self._samples:
            return Reading(Status("absent", LogMel.name, "no audio stream"))
        if self._low == self._high:
            return Reading(Status("absent", LogMel.name, "silence"))
        rest = -(-len(self._held) // ROW)
        if rest:
            self._rows.append(mel_rows(self._held, self._filters, rest))
        values = np.concatenate(self._rows)
        track = Track(values, RATE_HZ, self._start, NAMES, "named", LogMel.name)
        return Reading(Status("observed", LogMel.name), {"audio": track})


def mel_rows(samples: Float32, filters: Float32, rows: int) -> Float32:
    """Return `rows` mean log-mel spectra in dB, one per 0.1 s from the first sample, (rows, 64).

    `samples` (N,) at 16 kHz; beyond their end is silence, but a frame that begins there is not
    counted. `filters` (64, 201) are the bands' weights.
    """
    per_row = ROW // HOP
    needed = rows * ROW + FRAME
    padded = np.pad(samples[:needed], (0, max(0, needed - len(samples))))
    frames: Any = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    begun = np.arange(rows * per_row) * HOP < len(samples)
    window = np.hanning(FRAME + 1)[:-1].astype(np.float32)
    unity = float(window.sum() / 2) ** 2  # a full-scale sine in the middle of a bin
    values = np.empty((rows, BANDS), np.float32)
    for first in range(0, rows, _BLOCK):
        last = min(first + _BLOCK, rows)
        at = slice(first * per_row, last * per_row)
        power = np.abs(np.fft.rfft(frames[at] * window, axis=1)) ** 2 @ filters.T / unity
        level = np.maximum(10 * np.log10(np.maximum(power, 1e-12)), FLOOR_DB)
        weight = begun[at].reshape(-1, per_row, 1)
        summed = (level.reshape(-1, per_row, BANDS) * weight).sum(axis=1)
        values[first:last] = summed / weight.sum(axis=1)
    return values
