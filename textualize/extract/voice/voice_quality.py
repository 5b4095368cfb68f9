"""How steady a voice is: its pulses, how their distance jitters, how their strength shimmers.

Pulses are placed one period from the next where the waveform is most like itself, as Praat's
"To PointProcess (cc)" does; jitter and shimmer are Praat's "local" measures over them.

Against Praat 6.1.38 (parselmouth 0.4.7, "To Pitch (ac)" at 60-500 Hz) on 133 recordings, JFK, four
of LJSpeech and 128 of RAVDESS (16 actors, 8 emotions), one value a recording:

    =========  ==================  =====  ============  =================  ==============
    measure    pitch taken from    r      median ratio  median difference  Praat's median
    =========  ==================  =====  ============  =================  ==============
    jitter     `track_pitch`       0.90   1.05          0.22 %             2.63 %
    jitter     Praat               0.93   1.00          0.14 %
    shimmer    `track_pitch`       0.84   1.01          0.05 dB            1.21 dB
    shimmer    Praat               0.88   0.99          0.05 dB
    =========  ==================  =====  ============  =================  ==============
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from textualize.extract.voice.pitch import HOP_S
from textualize.types import Float32

Float64 = NDArray[np.float64]

WINDOW_S = 0.05  # around a frame: three periods of the lowest voice
SHORTEST, LONGEST = 0.8, 1.25  # of a period: where the next pulse is looked for
LIKENESS = 0.3  # correlation of two periods below which there is no next pulse
PERIOD_FACTOR = 1.3  # two periods further apart than this are no neighbours
AMPLITUDE_FACTOR = 1.6  # nor two amplitudes
REACH = 0.2  # of a period on either side of a pulse: where its strength is measured


@dataclass(frozen=True, slots=True, eq=False)
class Pulses:
    """The glottal pulses of a recording, in time order.

    `time` (N,) in seconds, `level` (N,) the root mean square around each, `run` (N,) the voiced
    stretch each belongs to.
    """

    time: Float64
    level: Float64
    run: NDArray[np.int64]


def voice_quality(audio: Float32, sample_rate: int, f0_hz: Float32) -> Float32:
    """Return jitter in % and shimmer in dB around each frame, shape (T, 2).

    Both are means over the neighbouring periods within 25 ms of the frame; NaN where `f0_hz` (T,),
    the pitch every 10 ms, is, and where fewer than two periods are known.
    """
    pulses = find_pulses(audio, sample_rate, f0_hz)
    at, change, period = period_changes(pulses)
    frames = np.arange(len(f0_hz)) * HOP_S
    jitter = 100 * _mean_around(frames, at, change) / _mean_around(frames, at, period)
    at, change = level_changes(pulses)
    both = np.stack([jitter, _mean_around(frames, at, change)], axis=1)
    both[~np.isfinite(f0_hz)] = np.nan
    return np.asarray(both, np.float32)


def local_jitter(pulses: Pulses) -> float:
    """Return a recording's jitter: mean change of the period over the mean period, in %."""
    _, change, period = period_changes(pulses)
    return float(100 * change.mean() / period.mean()) if len(change) else float("nan")


def local_shimmer(pulses: Pulses) -> float:
    """Return a recording's shimmer: mean change of the level from pulse to pulse, in dB."""
    _, change = level_changes(pulses)
    return float(change.mean()) if len(change) else float("nan")


def period_changes(pulses: Pulses) -> tuple[Float64, Float64, Float64]:
    """Return times, changes between neighbouring periods, and their means, (M,) each, seconds.

    Two periods are neighbours when they share a pulse and the longer is at most 1.3 times the
    shorter.
    """
    period = np.diff(pulses.time)
    first, second = period[:-1], period[1:]
    same = pulses.run[2:] == pulses.run[:-2]
    near = same & (np.maximum(first, second) <= PERIOD_FACTOR * np.minimum(first, second))
    mean = (first + second) / 2
    return pulses.time[1:-1][near], np.abs(second - first)[near], mean[near]


def level_changes(pulses: Pulses) -> tuple[Float64, Float64]:
    """Return times and changes of level in dB, (M,) each, between neighbouring pulses.

    Pulses are neighbours within one voiced stretch when the stronger is at most 1.6 times the
    weaker.
    """
    first, second = pulses.level[:-1], pulses.level[1:]
    low = np.minimum(first, second)
    high = np.maximum(first, second)
    near = (pulses.run[1:] == pulses.run[:-1]) & (low > 0) & (high <= AMPLITUDE_FACTOR * low)
    change = 20 * np.log10(high[near] / low[near])
    return (pulses.time[:-1] + pulses.time[1:])[near] / 2, change


def find_pulses(audio: Float32, sample_rate: int, f0_hz: Float32) -> Pulses:
    """Return the pulses of `audio` (N,) where `f0_hz` (T,), its pitch every 10 ms, is finite.

    In each voiced stretch the first is the largest excursion near the middle; from there each
    next one, both ways, is where one period of the waveform correlates most with the last.
    """
    sound = np.asarray(audio, np.float64) - (audio.mean(dtype=np.float64) if len(audio) else 0.0)
    power = np.concatenate([[0.0], np.cumsum(sound**2)])
    times: list[float] = []
    runs: list[int] = []
    voiced = np.isfinite(f0_hz)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], voiced.astype(np.int8), [0]])))
    for number, (start, end) in enumerate(edges.reshape(-1, 2)):
        period = sample_rate / np.asarray(f0_hz[start:end], np.float64)
        hop = HOP_S * sample_rate
        found = _Run(sound, power, period, start * hop, hop).pulses()
        times += found
        runs += [number] * len(found)
    at = np.array(times)
    run = np.array(runs, np.int64)
    return Pulses(at / sample_rate, _levels(sound, at, run), run)


class _Run:
    """One voiced stretch; all times in samples."""

    def __init__(
        self, sound: Float64, power: Float64, period: Float64, first: float, hop: float
    ) -> None:
        self._sound, self._power = sound, power
        self._period, self._first, self._hop = period.tolist(), first, hop
        self._start = max(0.0, first - hop / 2)
        self._end = min(len(sound) - 1.0, first + (len(period) - 0.5) * hop)

    def pulses(self) -> list[float]:
        middle = (self._start + self._end) / 2
        half = self._at(middle) / 2
        low = max(0, int(middle - half))
        near = self._sound[low : int(middle + half) + 1]
        if not near.any():
            return []
        seed = float(low + np.argmax(np.abs(near)))
        return [*reversed(self._walk(seed, -1)), seed, *self._walk(seed, 1)]

    def _at(self, time: float) -> float:
        row = round((time - self._first) / self._hop)
        return float(self._period[min(max(row, 0), len(self._period) - 1)])

    def _walk(self, time: float, way: int) -> list[float]:
        found: list[float] = []
        while True:
            step = self._step(time, way)
            if step is None:
                return found
            time += step
            if not self._start <= time <= self._end:
                return found
            found.append(time)

    def _step(self, time: float, way: int) -> float | None:
        """Return how far the next pulse is, or None where no period follows."""
        period = self._at(time)
        length = max(4, round(period))
        begin = round(time) - length // 2
        near, far = int(SHORTEST * period), int(np.ceil(LONGEST * period))
        low = begin + (near if way > 0 else -far)
        high = begin + (far if way > 0 else -near)
        if min(begin, low) < 0 or max(begin, high) + length > len(self._sound):
            return None
        here = self._sound[begin : begin + length]
        products = np.correlate(self._sound[low : high + length], here, "valid")
        power = self._power
        energy = power[low + length : high + length + 1] - power[low : high + 1]
        own = power[begin + length] - power[begin]
        likeness = products / np.sqrt(np.maximum(energy * own, 1e-30))
        best = int(likeness.argmax())
        if likeness[best] < LIKENESS:
            return None
        return low + best - begin + _vertex(likeness, best)


def _vertex(curve: Float64, at: int) -> float:
    """Return how far from `at` the top of the parabola through it and its neighbours is."""
    if not 0 < at < len(curve) - 1:
        return 0.0
    before, here, after = curve[at - 1 : at + 2].tolist()
    bend = before - 2 * here + after
    return float(0.5 * (before - after) / bend) if bend < 0 else 0.0


def _levels(sound: Float64, at: Float64, run: NDArray[np.int64]) -> Float64:
    """Return the root mean square around each pulse, under a Hann window of 0.2 periods a side."""
    if len(at) < 2:
        return np.full(len(at), np.nan)
    period = np.where(run[1:] == run[:-1], np.diff(at), np.nan)
    after, before = np.append(period, np.nan), np.append(np.nan, period)
    # A pulse at the end of its stretch has one period; one alone has none and no level.
    first, last = np.isfinite(before), np.isfinite(after)
    before, after = np.where(first, before, after), np.where(last, after, before)
    side = np.linspace(-1, 1, 21)
    reach = REACH * np.where(side < 0, before[:, None], after[:, None])
    alone = ~np.isfinite(before)
    where = at[:, None] + np.where(alone[:, None], 0.0, side * reach)
    around = map_coordinates(sound, where[None], order=3, mode="constant")
    window = np.cos(np.pi / 2 * side) ** 2
    return np.where(alone, np.nan, np.sqrt(around**2 @ window / window.sum()))


def _mean_around(frames: Float64, at: Float64, values: Float64) -> Float64:
    """Return the mean of the values whose time is within 25 ms of each frame; NaN for none."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    first = np.searchsorted(at, frames - WINDOW_S / 2)
    last = np.searchsorted(at, frames + WINDOW_S / 2, side="right")
    count = last - first
    return np.where(count > 0, (total[last] - total[first]) / np.maximum(count, 1), np.nan)
