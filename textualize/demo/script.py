"""What each demo clip shows and says.

Twelve drawn people, or more (`crowd.py`), play seven compound emotions twice each. No modality is
enough by itself: some faces show only what two emotions share, groups of emotions share a voice,
and the words tell something in about half of the clips. All of it derives from one seed.

Action units of the emotions after Du, Tao and Martinez (2014), "Compound facial expressions of
emotion", PNAS 111(15); which emotions are confused, the voices and the words are made up here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textualize.demo.crowd import SWAY, crowd, lit
from textualize.demo.face import ACTIONS
from textualize.demo.people import Subject
from textualize.demo.stage import Pose, Scene
from textualize.labels import label_set

SEED = 23
PEOPLE = 12  # that ship
RATE_HZ = 12.5
NEUTRAL_S = 0.4  # every clip opens with a face at rest
EMOTIONS = label_set("compound7").labels

Rng = np.random.Generator
Track = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Levels:
    """Voice relative to the speaker's own: -1 low, 0 usual, 1 high."""

    pitch: int
    rate: int
    loudness: int


@dataclass(frozen=True, slots=True)
class Line:
    """What one clip is to be. `emotion` is played, `label` is what the manifest says.

    `face` maps action units to their peak 0-1; `sentences` are spoken one after the other, with
    `pause_s` between them; `pitch_st`, `rate` and `gain_db` are relative to the subject's voice.
    `sway` is how far the head turns, of what it usually does.
    """

    id: str
    subject: Subject
    emotion: str
    label: str
    face: Mapping[int, float]
    shown: str
    sentences: tuple[str, ...]
    levels: Levels
    pitch_st: float
    rate: float
    gain_db: float
    pause_s: float
    seed: int
    scene: Scene
    sway: float = 1.0


# Action units of each emotion with the chance that a clip shows them.
FACES: Mapping[str, Mapping[int, float]] = {
    "fearfully surprised": {1: 1, 2: 1, 5: 1, 20: 0.9, 25: 1, 26: 0.4},
    "happily surprised": {1: 1, 2: 1, 12: 1, 25: 1, 26: 0.4, 5: 0.3, 6: 0.5},
    "sadly surprised": {1: 1, 4: 0.9, 25: 1, 26: 0.9},
    "disgustedly surprised": {1: 1, 2: 1, 5: 0.9, 10: 1, 9: 0.5, 17: 0.3},
    "angrily surprised": {4: 1, 25: 1, 26: 0.9, 5: 0.7, 7: 0.3},
    "sadly fearful": {1: 1, 4: 1, 15: 0.9, 25: 0.9, 20: 0.4},
    "sadly angry": {4: 1, 15: 1, 17: 0.7, 7: 0.4},
}
# The emotion each one's face is mistaken for; an ambiguous face shows only what both have.
CONFUSED: Mapping[str, str] = {
    "fearfully surprised": "disgustedly surprised",
    "happily surprised": "disgustedly surprised",
    "sadly surprised": "sadly fearful",
    "disgustedly surprised": "fearfully surprised",
    "angrily surprised": "sadly surprised",
    "sadly fearful": "sadly surprised",
    "sadly angry": "sadly fearful",
}
VOICES: Mapping[str, Levels] = {
    "fearfully surprised": Levels(1, 1, 0),
    "happily surprised": Levels(1, 1, 0),
    "sadly surprised": Levels(0, -1, -1),
    "disgustedly surprised": Levels(0, -1, -1),
    "angrily surprised": Levels(-1, 0, 1),
    "sadly fearful": Levels(1, -1, -1),
    "sadly angry": Levels(-1, 0, 1),
}
PAUSES: Mapping[str, float] = {"sadly surprised": 0.5, "sadly fearful": 0.5, "sadly angry": 0.5}

AMBIGUOUS, SWAPPED, DROPPED = 0.33, 0.13, 0.13  # faces; DROPPED is per action unit
LEVEL_LOST, PAUSED = 0.10, 0.5  # a voice level stays usual; a pause is made where it may be
CUED, MISLED = 0.55, 0.20  # words: a telling phrase; another emotion's phrase
MISLABELLED = 0.03

NEUTRAL_SENTENCES = (
    "my brother has a new job",
    "it was on the news today",
    "it happened in the morning",
    "the man opened the door",
    "the doctor called this morning",
    "they told me about the house",
    "i saw it on television",
    "we are going home today",
)
CUES: Mapping[str, tuple[str, ...]] = {
    "fearfully surprised": (
        "did you hear that noise",
        "there is someone behind us",
        "we have to get out of here",
        "stay away from the window",
    ),
    "happily surprised": (
        "what a gift",
        "i love it so much",
        "thank you so much for this",
        "that is so wonderful",
    ),
    "sadly surprised": (
        "nobody told me she was gone",
        "i thought we had more time",
        "so she is not coming back",
        "he died last night",
    ),
    "disgustedly surprised": (
        "that smells like something dead",
        "there is a bug in my food",
        "there was blood in the water",
        "there is something in my mouth",
    ),
    "angrily surprised": (
        "what were you thinking",
        "how dare you say that",
        "why did you do that to me",
        "nobody asked you to do that",
    ),
    "sadly fearful": (
        "i do not want to lose you",
        "i am so lost without you",
        "what if she never comes home",
        "i have no money left",
    ),
    "sadly angry": (
        "after all i did for you",
        "you always forget about me",
        "you broke your promise again",
        "nobody ever listens to me",
    ),
}


def lines(seed: int = SEED, people: int = PEOPLE) -> tuple[Line, ...]:
    """Return what all clips are to be, 14 a person; equal seeds give equal lines."""
    out = []
    for number, subject in enumerate(crowd(people, seed), 1):
        order = np.random.default_rng([seed, number]).permutation(np.repeat(EMOTIONS, 2))
        for clip, emotion in enumerate(order, 1):
            rng = np.random.default_rng([seed, number, clip])
            out.append(_line(f"{subject.id}_c{clip:02d}", subject, str(emotion), rng))
    return tuple(out)


def _line(name: str, subject: Subject, emotion: str, rng: Rng) -> Line:
    shown, face = _face(emotion, rng)
    sentences = _sentences(emotion, rng)
    usual = VOICES[emotion]
    kept = rng.random(3) >= LEVEL_LOST
    levels = Levels(*(int(k) * v for k, v in zip(kept, _values(usual), strict=True)))
    wrong = rng.random() < MISLABELLED
    pause = PAUSES.get(emotion, 0.0) if rng.random() < PAUSED else 0.0
    pitch_st = 5.0 * levels.pitch + 0.5 * float(rng.standard_normal())
    rate = float(1.28**levels.rate * np.exp(0.03 * rng.standard_normal()))
    gain_db = 6.5 * levels.loudness + 0.7 * float(rng.standard_normal())
    own = int(rng.integers(2**31))
    return Line(
        id=name,
        subject=subject,
        emotion=emotion,
        label=CONFUSED[emotion] if wrong else emotion,
        face=face,
        shown=shown,
        sentences=sentences,
        levels=levels,
        pitch_st=pitch_st,
        rate=rate,
        gain_db=gain_db,
        pause_s=pause,
        seed=own,
        scene=lit(subject.scene, rng) if subject.varies else subject.scene,
        sway=float(rng.uniform(*SWAY)) if subject.varies else 1.0,
    )


def _values(levels: Levels) -> tuple[int, int, int]:
    return levels.pitch, levels.rate, levels.loudness


def _face(emotion: str, rng: Rng) -> tuple[str, dict[int, float]]:
    """Return what kind of face is shown ("own", "shared" or "other") and its peaks."""
    chances = dict(FACES[emotion])
    other = FACES[CONFUSED[emotion]]
    draw = rng.random()
    shown = "shared" if draw < AMBIGUOUS else "own"
    if draw >= 1 - SWAPPED:
        shown, chances = "other", dict(other)
    if shown == "shared":
        chances = {k: min(v, other[k]) for k, v in chances.items() if k in other}
    peaks = {}
    for action, chance in chances.items():
        there, lost, peak = rng.random(), rng.random(), rng.uniform(0.6, 1.0)
        if there < chance and (lost >= DROPPED or shown == "shared"):
            peaks[action] = float(peak)
    if 26 in peaks:  # a dropped jaw parts the lips
        peaks[25] = max(peaks.get(25, 0.0), 0.9 * peaks[26])
    return shown, peaks


def _sentences(emotion: str, rng: Rng) -> tuple[str, ...]:
    """Return two sentences: a neutral one, and a cue, a misleading cue or a neutral one."""
    first, second = rng.choice(NEUTRAL_SENTENCES, 2, replace=False)
    draw = rng.random()
    if draw < CUED:
        second = rng.choice(CUES[emotion])
    elif draw < CUED + MISLED:
        second = rng.choice(CUES[str(rng.choice([e for e in EMOTIONS if e != emotion]))])
    pair = (str(first), str(second))
    return pair if rng.random() < 0.6 else pair[::-1]


def _drift(rng: Rng, times: Track, slow_s: float) -> Track:
    """Return smooth noise in [-1, 1] over `times`: three sines of period about `slow_s`."""
    periods = slow_s * rng.uniform(0.6, 1.6, 3)
    phases = rng.uniform(0, 2 * np.pi, 3)
    waves = np.sin(2 * np.pi * times[:, None] / periods + phases)
    return np.asarray(waves.mean(1))


def _rise(times: Track, start: float, length: float) -> Track:
    t = np.clip((times - start) / length, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def actions(line: Line, voice: Track) -> dict[int, Track]:
    """Return each action unit's drawn intensity per frame, 0-1 rounded to 2 decimals.

    `voice` (T,) is the loudness of the speech per frame, 0-1; it parts the lips a little. The
    first 0.4 s are neutral; lids droop and blink after that.
    """
    rng = np.random.default_rng([line.seed, 1])
    times = np.arange(len(voice)) / RATE_HZ
    start, length = rng.uniform(0.4, 0.6), rng.uniform(0.35, 0.7)
    fall = rng.uniform(0.55, 0.8) * times[-1]
    keep = rng.uniform(0.2, 0.9)
    shape = _rise(times, start, length) * (1 - (1 - keep) * _rise(times, fall, 0.6))
    awake = _rise(times, NEUTRAL_S, 0.2)
    curves: dict[int, Track] = {}
    for action in ACTIONS:
        waver = 1 - 0.22 * (1 + _drift(rng, times, 1.3)) / 2
        curves[action] = line.face.get(action, 0.0) * shape * waver
    curves[25] = curves[25] + 0.18 * voice * awake
    tired = rng.uniform(0.05, 0.3) if 5 not in line.face else 0.0
    curves[43] = tired * awake * (1 + _drift(rng, times, 1.5)) / 2
    for frame in _blinks(rng, times):
        for offset, shut in enumerate((0.55, 1.0, 0.45)):
            curves[43][frame + offset] = max(curves[43][frame + offset], shut)
    curves[5] = curves[5] * (1 - curves[43])  # a closed lid is not raised
    return {k: np.asarray(np.round(np.clip(v, 0, 1), 2), np.float64) for k, v in curves.items()}


def _blinks(rng: Rng, times: Track) -> list[int]:
    """Return the first frames of the blinks, one about every 1.5 s after the neutral start."""
    at = rng.uniform(0.6, 1.4)
    out = []
    while at < times[-1] - 3 / RATE_HZ:
        out.append(int(at * RATE_HZ))
        at += rng.uniform(1.0, 2.2)
    return out


def poses(line: Line, frames: int) -> tuple[Pose, ...]:
    """Return the head's pose per frame: slow turns, still at first.

    They are within about 12 degrees where `sway` is 1.
    """
    rng = np.random.default_rng([line.seed, 2])
    times = np.arange(frames) / RATE_HZ
    awake = 0.25 + 0.75 * _rise(times, NEUTRAL_S, 0.5)
    reach = (0.26, 0.08, 0.10, 0.10, 0.06)  # yaw, pitch, roll, x, y
    swing = [line.sway * a * rng.uniform(0.3, 1.0) * awake * _drift(rng, times, 2.6) for a in reach]
    gaze = 0.03 * _drift(rng, times, 1.2)
    zoom = rng.uniform(47.5, 51.5)
    rows = np.column_stack([*swing, np.full(frames, zoom), gaze])
    return tuple(Pose(*row) for row in rows.tolist())
