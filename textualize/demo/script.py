"""What each demo clip shows and says.

Twelve drawn people play seven compound emotions twice each. No modality is enough by itself: some
faces show only what two emotions share, groups of emotions share a voice, and the words tell
something in about half of the clips. All of it derives from one seed.

Action units of the emotions after Du, Tao and Martinez (2014), "Compound facial expressions of
emotion", PNAS 111(15); which emotions are confused, the voices and the words are made up here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textualize.demo.face import ACTIONS, Pose, Scene
from textualize.demo.head import Look
from textualize.labels import label_set

SEED = 23
RATE_HZ = 12.5
NEUTRAL_S = 0.4  # every clip opens with a face at rest
IDLE = {1: 0.06, 2: 0.06, 12: 0.06, 20: 0.04, 25: 0.06}  # what a resting face does by itself
EMOTIONS = label_set("compound7").labels

Rng = np.random.Generator
Track = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Voice:
    """How a subject speaks: espeak-ng voice, pitch setting 0-99, words per minute, level in dB."""

    name: str
    pitch: int = 50
    wpm: int = 180
    level_db: float = -25.0


@dataclass(frozen=True, slots=True)
class Subject:
    """One drawn person: id, looks, voice, wall and clothes."""

    id: str
    look: Look
    voice: Voice
    scene: Scene


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


def subjects() -> tuple[Subject, ...]:
    """Return the twelve drawn people s01 to s12."""
    looks = (
        Look((226, 180, 152), (72, 46, 30), (88, 118, 150), (188, 100, 98), "short", seed=1),
        Look(
            (198, 144, 112),
            (34, 26, 24),
            (92, 60, 38),
            (168, 84, 84),
            "long",
            0.96,
            0.94,
            0.9,
            1.06,
            0.92,
            1.15,
            0.9,
            1.2,
            2,
        ),
        Look(
            (142, 96, 70),
            (30, 24, 22),
            (70, 44, 28),
            (132, 72, 70),
            "buzz",
            1.03,
            1.04,
            1.1,
            1.0,
            1.15,
            1.2,
            1.15,
            0.9,
            3,
        ),
        Look(
            (236, 196, 172),
            (176, 116, 62),
            (84, 132, 110),
            (200, 112, 108),
            "bob",
            0.97,
            0.95,
            0.92,
            1.08,
            0.9,
            1.05,
            0.9,
            1.15,
            4,
        ),
        Look(
            (176, 124, 92),
            (26, 22, 24),
            (78, 50, 32),
            (150, 80, 78),
            "curly",
            0.98,
            0.96,
            0.95,
            1.04,
            1.02,
            1.2,
            0.95,
            1.1,
            5,
        ),
        Look(
            (214, 166, 136),
            (108, 104, 102),
            (96, 110, 120),
            (172, 96, 92),
            "short",
            1.04,
            1.05,
            1.12,
            0.96,
            1.1,
            0.9,
            1.2,
            0.8,
            6,
        ),
        Look(
            (112, 74, 54),
            (28, 22, 20),
            (58, 38, 26),
            (118, 62, 62),
            "bun",
            0.97,
            0.95,
            0.92,
            1.08,
            1.05,
            1.3,
            0.95,
            1.15,
            7,
        ),
        Look(
            (230, 186, 150),
            (40, 32, 30),
            (70, 46, 30),
            (186, 98, 96),
            "short",
            1.02,
            0.98,
            1.0,
            0.97,
            0.95,
            0.98,
            1.05,
            0.95,
            8,
        ),
        Look(
            (240, 200, 180),
            (150, 70, 40),
            (90, 130, 90),
            (204, 116, 112),
            "long",
            0.99,
            0.97,
            0.95,
            1.05,
            0.95,
            1.0,
            0.95,
            1.0,
            9,
        ),
        Look(
            (188, 136, 102),
            (46, 34, 28),
            (80, 56, 36),
            (160, 86, 82),
            "curly",
            1.03,
            1.03,
            1.08,
            0.98,
            1.08,
            1.1,
            1.15,
            0.9,
            10,
        ),
        Look(
            (222, 174, 140),
            (60, 42, 34),
            (74, 90, 110),
            (186, 96, 100),
            "bun",
            0.95,
            0.93,
            0.9,
            1.1,
            0.9,
            1.1,
            0.88,
            1.2,
            11,
        ),
        Look(
            (156, 108, 78),
            (36, 30, 28),
            (66, 44, 30),
            (140, 78, 74),
            "short",
            1.0,
            1.0,
            1.02,
            1.0,
            1.05,
            1.12,
            1.1,
            1.0,
            12,
        ),
    )
    voices = (
        Voice("en-us+m5", 52, 182, -24.5),
        Voice("en-us+f5", 45, 178, -25.0),
        Voice("en-us+m1", 46, 180, -24.0),
        Voice("en-us+f2", 48, 186, -25.5),
        Voice("en-us+f1", 54, 180, -24.5),
        Voice("en-us+m6", 45, 174, -25.0),
        Voice("en-us+f5", 55, 184, -25.0),
        Voice("en-us+edward", 54, 178, -24.0),
        Voice("en-us+f2", 54, 176, -24.5),
        Voice("en-us+adam", 48, 182, -25.5),
        Voice("en-us+f1", 46, 174, -25.0),
        Voice("en-us", 46, 188, -24.5),
    )
    scenes = (
        Scene((-0.4, -0.5, 0.8), 0.55, (1.0, 1.0, 1.0), (150, 165, 175), (70, 90, 130)),
        Scene((0.5, -0.4, 0.8), 0.60, (1.03, 1.0, 0.95), (186, 170, 150), (130, 60, 70)),
        Scene((-0.2, -0.7, 0.7), 0.66, (1.06, 1.03, 1.0), (170, 180, 160), (200, 190, 170)),
        Scene((0.3, -0.3, 0.9), 0.58, (0.97, 1.0, 1.04), (130, 150, 170), (60, 110, 100)),
        Scene((-0.6, -0.3, 0.75), 0.58, (1.03, 1.0, 0.97), (200, 190, 180), (90, 70, 120)),
        Scene((0.6, -0.4, 0.7), 0.56, (1.0, 1.0, 1.0), (120, 130, 128), (60, 62, 70)),
        Scene((0.1, -0.5, 0.9), 0.72, (1.10, 1.06, 1.02), (190, 180, 165), (190, 150, 60)),
        Scene((-0.5, -0.6, 0.6), 0.60, (1.0, 1.0, 1.02), (160, 160, 170), (110, 130, 150)),
        Scene((0.4, -0.6, 0.7), 0.55, (1.02, 1.0, 0.98), (140, 160, 140), (80, 120, 80)),
        Scene((-0.3, -0.4, 0.85), 0.62, (1.03, 1.0, 0.96), (175, 165, 160), (150, 90, 50)),
        Scene((0.2, -0.4, 0.9), 0.60, (1.0, 1.0, 1.0), (165, 175, 190), (170, 80, 110)),
        Scene((-0.5, -0.4, 0.75), 0.64, (1.04, 1.02, 1.0), (180, 185, 180), (50, 80, 110)),
    )
    people = zip(looks, voices, scenes, strict=True)
    return tuple(Subject(f"s{i:02d}", *person) for i, person in enumerate(people, 1))


def lines(seed: int = SEED) -> tuple[Line, ...]:
    """Return what all 168 clips are to be, subject by subject; equal seeds give equal lines."""
    out = []
    for number, subject in enumerate(subjects(), 1):
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
    return Line(
        id=name,
        subject=subject,
        emotion=emotion,
        label=CONFUSED[emotion] if wrong else emotion,
        face=face,
        shown=shown,
        sentences=sentences,
        levels=levels,
        pitch_st=5.0 * levels.pitch + 0.5 * float(rng.standard_normal()),
        rate=float(1.28**levels.rate * np.exp(0.03 * rng.standard_normal())),
        gain_db=6.5 * levels.loudness + 0.7 * float(rng.standard_normal()),
        pause_s=pause,
        seed=int(rng.integers(2**31)),
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

    `voice` (T,) is the loudness of the speech per frame, 0-1; it opens lips and jaw a little.
    The first 0.4 s are neutral.
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
        idle = IDLE.get(action, 0.0) * np.clip(_drift(rng, times, 1.6), 0, 1)
        curves[action] = line.face.get(action, 0.0) * shape * waver + idle * awake
    curves[25] = curves[25] + 0.15 * voice * awake
    curves[26] = curves[26] + 0.08 * voice * awake
    tired = rng.uniform(0.05, 0.3) if 5 not in line.face else 0.0
    curves[43] = tired * awake * (1 + _drift(rng, times, 1.5)) / 2
    for frame in _blinks(rng, times):
        for offset, shut in enumerate((0.55, 1.0, 0.45)):
            curves[43][frame + offset] = max(curves[43][frame + offset], shut)
    curves[5] = curves[5] * (1 - curves[43])  # a closed lid is not raised
    return {k: np.round(np.clip(v, 0, 1), 2) for k, v in curves.items()}


def _blinks(rng: Rng, times: Track) -> list[int]:
    """Return the first frames of the blinks, one about every 1.5 s after the neutral start."""
    at = rng.uniform(0.6, 1.4)
    out = []
    while at < times[-1] - 3 / RATE_HZ:
        out.append(int(at * RATE_HZ))
        at += rng.uniform(1.0, 2.2)
    return out


def poses(line: Line, frames: int) -> tuple[Pose, ...]:
    """Return the head's pose per frame: slow turns within about 12 degrees, still at first."""
    rng = np.random.default_rng([line.seed, 2])
    times = np.arange(frames) / RATE_HZ
    awake = 0.25 + 0.75 * _rise(times, NEUTRAL_S, 0.5)
    reach = (0.26, 0.08, 0.10, 0.10, 0.06)  # yaw, pitch, roll, x, y
    swing = [a * rng.uniform(0.3, 1.0) * awake * _drift(rng, times, 2.6) for a in reach]
    gaze = 0.03 * _drift(rng, times, 1.2)
    zoom = rng.uniform(47.5, 51.5)
    return tuple(
        Pose(*(float(s[i]) for s in swing), zoom=float(zoom), gaze=float(gaze[i]))
        for i in range(frames)
    )
