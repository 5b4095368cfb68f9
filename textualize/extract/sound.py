"""Sound in stretches: placed by time, silence where there is a gap, cut where it is quiet.

A stretch is at most five minutes, so that a day of sound costs no more memory than a song, and
ends in the quietest half second near that length, so that hardly a word is cut in two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from textualize.types import Float32

SAMPLE_RATE = 16000
STRETCH_S = 300.0
_SEARCH_S = 60.0  # how far before the end of a full stretch the quietest place is looked for
_QUIET_S = 0.5
_HOP = SAMPLE_RATE // 20


class Stretch(NamedTuple):
    """Sound without a gap: `samples` (N,) float32 at 16 kHz mono, the first at `time` seconds."""

    time: float
    samples: Float32


def stretches(pieces: Iterable[tuple[int, Float32]], start: float, most: int) -> Iterator[Stretch]:
    """Yield the stretches that pieces (sample index, samples) make up.

    Index 0 is at `start` seconds. What lies before it, after `most` samples, or where there is
    sound already is dropped; where there is none, up to the next piece, is silence.
    """
    full = round(STRETCH_S * SAMPLE_RATE)
    held: list[Float32] = []
    count = done = 0
    for at, samples in pieces:
        ahead = done + count
        silence = min(at, most) - ahead
        fresh = samples[max(0, ahead - at) : max(0, most - at)]
        for block in (*_zeros(silence, full), fresh):
            if not len(block):
                continue
            held.append(block)
            count += len(block)
            while count >= full:
                joined = np.concatenate(held)
                cut = quietest(joined[:full])
                yield Stretch(start + done / SAMPLE_RATE, joined[:cut].copy())
                held, count, done = [joined[cut:].copy()], count - cut, done + cut
    if count:
        yield Stretch(start + done / SAMPLE_RATE, np.concatenate(held))


def quietest(samples: Float32) -> int:
    """Return where to cut: the middle of the quietest half second of the last minute."""
    begin = max(len(samples) - round(_SEARCH_S * SAMPLE_RATE), len(samples) // 2)
    tail = samples[begin:]
    hops = tail[: len(tail) // _HOP * _HOP].reshape(-1, _HOP)
    width = round(_QUIET_S * SAMPLE_RATE / _HOP)
    if len(hops) < width:
        return len(samples)
    power = np.einsum("tn,tn->t", hops, hops, dtype=np.float64)
    level = np.convolve(power, np.ones(width), mode="valid")
    return begin + round((int(np.argmin(level)) + width / 2) * _HOP)


def _zeros(count: int, block: int) -> Iterator[Float32]:
    while count > 0:
        yield np.zeros(min(count, block), np.float32)
        count -= block
