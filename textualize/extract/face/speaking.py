"""Which of the faces in view speaks: lips that open when the sound gets louder.

Between two pictures the opening of a speaker's lips and the loudness of the sound change together;
those of a listener, or of someone who speaks at the same time, do not (Hershey and Movellan 1999,
"Audio vision: using audio-visual synchrony to locate sounds"). Both changes are taken for normal
variables with correlation 0.3 in the one who speaks and 0 in all others, which gives every picture
evidence for each face; a hidden Markov model whose states are the faces and "nobody in view" adds
it up over time (Rabiner 1989, eq. 19-27). Sound may lead or trail the picture by up to 80 ms.

Of six talkers (GRID, 3 s each), two at a time side by side with the sound of either, the right one
was likelier in 30 of 30 clips at 25 pictures a second, in 28 at 12.5 and in 24 at 10; at 10 in 26
clips one was likely enough to be chosen, in 23 of them the right one.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from textualize.extract.face.action_units import Float64
from textualize.extract.face.people import Person, Policy, preferred
from textualize.extract.sound import SAMPLE_RATE, Stretch

_HOP_S = 0.02
_HOP = round(_HOP_S * SAMPLE_RATE)
_LAGS_S = (0.0, -0.04, 0.04, -0.08, 0.08)
_FLOOR = 1e-3  # of the loudest power: below is silence, 30 dB down
_AUDIBLE = 1e-7  # power of a full-scale signal at -70 dB: a clip without more has no sound
_CORRELATION = 0.3  # of six talkers at 10 to 25 Hz 0.36 to 0.55; lower, so as not to be too sure
_STEP_S = 0.25  # pictures further apart say nothing about the movement between them
_STILL = 0.02  # of the outer eye distance: lips at rest seem to move by this
_EXTREME = 3.0  # standard deviations; more is a tracking error or a bang
_TURNS_S = 6.0  # how long a speaker's turn lasts on average
_BLOCK_S = 120.0  # decided at once
_SURE = 0.5
_VOICE_S = 1.0  # how far from the nearest sound a picture may be to say who makes it


class Loudness:
    """The power of a clip's sound every 20 ms, collected stretch by stretch."""

    def __init__(self) -> None:
        """Start before the first stretch."""
        self._power = array("f")
        self._rest = np.zeros(0, np.float32)

    def add(self, stretch: Stretch) -> None:
        """Take the next stretch; stretches follow each other without a gap."""
        samples = np.concatenate([self._rest, stretch.samples])
        whole = len(samples) // _HOP * _HOP
        hops, self._rest = samples[:whole].reshape(-1, _HOP), samples[whole:].copy()
        self._power.extend((np.einsum("tn,tn->t", hops, hops) / _HOP).tolist())

    @property
    def power(self) -> Float64:
        """Mean power of each 20 ms from the start of the clip's span, (N,)."""
        return np.array(self._power, np.float64)


class Speaking(NamedTuple):
    """Who speaks when: `probability` for each person, (N,) on its own pictures, NaN in silence.

    `person` (T,) is the index of the person to whom the sound around each picture is put down, -1
    for none; all -1 where it never became likelier than not.
    """

    probability: list[Float64]
    person: NDArray[np.intp]


def who_speaks(
    persons: Sequence[Person], times: Float64, start: float, power: Float64
) -> Speaking | None:
    """Return who speaks in a clip, or None where there is no sound to go by.

    `times` (T,) are those of the pictures in seconds, `power` that of every 20 ms from `start`.
    """
    if not len(power) or power.max() <= _AUDIBLE or not persons:
        return None
    floor = _FLOOR * float(np.quantile(power, 0.999))
    blocks = _blocks(times)
    moves = [_lip_moves(p, times) for p in persons]
    swells = [_swells(times - start + lag, power, floor) for lag in _LAGS_S]
    fits = [
        sum(_posterior(_evidence(moves, s, b, times)[1], times[b])[1] for b in blocks)
        for s in swells
    ]
    change = swells[int(np.argmax(fits))]
    heard = _near_sound(times, change)
    probability = [np.full(len(p), np.nan) for p in persons]
    person = np.full(len(times), -1, np.intp)
    for block in blocks:
        here, evidence = _evidence(moves, change, block, times)
        posterior, _ = _posterior(evidence, times[block])
        posterior[~heard[block]] = np.nan
        for column, j in enumerate(here):
            frames = persons[j].frames
            mine = (frames >= block.start) & (frames < block.stop)
            probability[j][mine] = posterior[frames[mine] - block.start, column]
        if len(here):
            likely = np.nan_to_num(posterior[:, : len(here)])
            best = likely.argmax(axis=1)
            sure = likely[np.arange(len(best)), best] >= _SURE
            person[block] = np.where(sure, np.array(here)[best], -1)
    return Speaking(probability, person)


def held(person: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the choice with every -1 replaced by the choice before it, or the first made.

    >>> held(np.array([-1, 2, -1, 0, -1])).tolist()
    [2, 2, 2, 0, 0]
    """
    made = np.flatnonzero(person >= 0)
    if not len(made):
        return person
    at = np.searchsorted(made, np.arange(len(person)), side="right") - 1
    return np.asarray(person[made[np.maximum(at, 0)]])


def _blocks(times: Float64) -> list[slice]:
    index = ((times - times[0]) / _BLOCK_S).astype(int)
    edges = [0, *(np.flatnonzero(np.diff(index)) + 1).tolist(), len(times)]
    return [slice(a, b) for a, b in zip(edges, edges[1:], strict=False)]


def _lip_moves(person: Person, times: Float64) -> tuple[NDArray[np.int64], Float64]:
    """Return pictures that follow one of the same face, and the lips' move, (N,) standardised."""
    frames, lips = person.frames, person.lips
    at = times[frames]
    follows = (np.diff(frames) == 1) & (np.diff(at) <= _STEP_S)
    move = np.diff(lips)[follows]
    size = max(float(np.sqrt(np.mean(move**2))), _STILL) if len(move) else _STILL
    return frames[1:][follows], np.clip(move / size, -_EXTREME, _EXTREME)


def _swells(at: Float64, power: Float64, floor: float) -> Float64:
    """Return how much louder each picture's 40 ms are than the picture's before, (T,)."""
    total = np.concatenate([[0.0], np.cumsum(power)])
    first = np.rint(at / _HOP_S).astype(int) - 1
    low, high = (np.clip(i, 0, len(power)) for i in (first, first + 2))
    mean = (total[high] - total[low]) / np.maximum(high - low, 1)
    swell = np.diff(np.log(np.maximum(mean, floor)), prepend=np.nan)
    swell[0] = 0.0
    size = float(np.sqrt(np.mean(swell[swell != 0] ** 2))) if swell.any() else 1.0
    return np.clip(swell / size, -_EXTREME, _EXTREME)


def _evidence(
    moves: Sequence[tuple[NDArray[np.int64], Float64]],
    change: Float64,
    block: slice,
    times: Float64,
) -> tuple[list[int], Float64]:
    """Return who is in view in a block and the log-likelihood ratio of each speaking, (T, P + 1).

    The last column is "nobody in view", 0 as is all that is not seen. In silence lips that move
    speak against their owner, lips at rest for nobody.
    """
    here, columns = [], []
    r2 = _CORRELATION**2
    for j, (frames, move) in enumerate(moves):
        mine = (frames >= block.start) & (frames < block.stop)
        if not mine.any():
            continue
        x, y = move[mine], change[frames[mine]]
        ratio = -np.log1p(-r2) / 2 - (r2 * (x**2 + y**2) - 2 * _CORRELATION * x * y) / 2 / (1 - r2)
        column = np.zeros(block.stop - block.start)
        column[frames[mine] - block.start] = np.where(y == 0, np.minimum(ratio, 0.0), ratio)
        here.append(j)
        columns.append(column)
    columns.append(np.zeros(block.stop - block.start))
    return here, np.stack(columns, axis=1)


def _posterior(evidence: Float64, times: Float64) -> tuple[Float64, float]:
    """Return the probability of each state, (T, S), and the evidence's log-likelihood.

    Forward-backward. A turn ends at random, on average after six seconds; who follows is anyone.
    """
    count, states = evidence.shape
    likely = np.exp(evidence)
    stay = np.exp(-np.diff(times, prepend=times[0]) / _TURNS_S)
    forward = np.empty_like(likely)
    total = 0.0
    now = np.full(states, 1.0 / states)
    for t in range(count):
        now = (stay[t] * now + (1 - stay[t]) / states) * likely[t]
        size = now.sum()
        total += float(np.log(size))
        now = now / size
        forward[t] = now
    back = np.ones(states)
    for t in range(count - 2, -1, -1):
        back = back * likely[t + 1]
        back = stay[t + 1] * back + (1 - stay[t + 1]) * back.mean()
        back /= back.sum()
        forward[t] *= back
    return forward / forward.sum(axis=1, keepdims=True), total


def _near_sound(times: Float64, change: Float64) -> NDArray[np.bool_]:
    """Return which pictures are at most a second from a change in the sound, (T,)."""
    sounding = times[change != 0]
    if not len(sounding):
        return np.zeros(len(times), bool)
    at = np.searchsorted(sounding, times).clip(1, max(1, len(sounding) - 1))
    last = np.minimum(at, len(sounding) - 1)
    apart = np.minimum(np.abs(times - sounding[at - 1]), np.abs(times - sounding[last]))
    return np.asarray(apart <= _VOICE_S)


class Choice(NamedTuple):
    """Who is read: `person` (T,) index for each picture, -1 for nobody, `why` in words.

    `speaking` is how sure it is that each person speaks, (N,) on that person's pictures.
    """

    person: NDArray[np.intp]
    speaking: list[Float64]
    why: str


def choose(
    persons: Sequence[Person], times: Float64, start: float, power: Float64, policy: Policy
) -> Choice:
    """Return which person is read in each picture, (T,), by the policy.

    A clip's only person is always read. While nobody in view is likely to speak, the last speaker
    stays chosen, in view or not. Where the one chosen is not, on average over the clip, likelier
    than not to speak, the largest is chosen instead.
    """
    found = who_speaks(persons, times, start, power) if policy in ("speaker", "all") else None
    speaking = found.probability if found else [np.full(len(p), np.nan) for p in persons]
    if len(persons) == 1:
        return Choice(np.zeros(len(times), np.intp), speaking, "")
    if policy in ("largest", "most_confident"):
        said = policy.replace("_", " ") + " face was read"
        return Choice(preferred(persons, times, policy), speaking, f"the {said}")
    if found is not None:
        person = held(found.person)
        sure = np.concatenate([speaking[j][person[p.frames] == j] for j, p in enumerate(persons)])
        known = sure[np.isfinite(sure)]
        confidence = float(known.mean()) if len(known) else 0.0
        if confidence >= _SURE:
            return Choice(person, speaking, f"the speaker was read (confidence {confidence:.2f})")
    lack = (
        "no sound tells who speaks" if found is None else "no one's lips clearly follow the sound"
    )
    why = f"the largest face was read: {lack}"
    return Choice(preferred(persons, times, "largest"), speaking, why)
