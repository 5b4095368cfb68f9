"""How a voice sounded, in words: level, liveliness and quality, what changed, and pauses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textualize.speakers import FUNCTIONALS, functionals, relative
from textualize.types import Cue, Float32, Record, State, Track
from textualize.wording.ladder import voice_cues
from textualize.wording.scales import Register, listed, relative_words
from textualize.wording.timing import change
from textualize.wording.voices import (
    COURSE_ROWS,
    COURSES,
    PAUSE_S,
    TEMPO,
    TEMPO_SYLLABLES,
    VOICES,
    Voice,
    pause_words,
)

NO_VOICE = "no voice heard"
# Of the sound; ours. A detector of speech misses cries, whispers and song, so that what was
# measured is announced as doubtful and not kept back.
SPEECH_ENOUGH = 0.1
_TRACKS = ("prosody", "speech_rate", "affect")
_USUAL = " than usual"
_ORDER = ("speaks", "pitch")  # a sentence begins with these groups
_SYLLABLE_S = 0.1  # hardly any syllable is shorter
_WHEN = (" at the end", " over time")
_PLAIN = {"speaks": "tempo and loudness", "loudness varying": "loudness range"}


@dataclass(frozen=True, slots=True)
class Heard:
    """One thing said about a voice: `words` follow `subject`, or, in sentences, the `group`."""

    group: str
    subject: str
    words: str
    said: str
    neutral: bool
    source: str


def prosody_cues(record: Record, register: Register = "terse") -> list[Cue]:
    """Return the cues of a record that has a track "prosody" or "affect"."""
    track = record.tracks.get("prosody")
    voiced = track is not None and _voiced(track)
    known = all(relative(record, n) is not None for n in _TRACKS if n in record.tracks)
    if register == "graded" and known:
        cues = voice_cues(record, voiced)
    else:
        cues = _worded(record, voiced, register)
    if track is not None and not (voiced and cues):
        cues.insert(0, Cue("prosody", "absent", NO_VOICE, None, track.source))
    doubt = _doubt(record) if voiced else None
    if doubt is None:
        return cues
    return [doubt, *(Cue(c.modality, "uncertain", c.text, c.span, c.source) for c in cues)]


def _worded(record: Record, voiced: bool, register: Register) -> list[Cue]:
    heard = _levels(record, voiced)
    if voiced:
        heard += _courses(record.tracks["prosody"])
    cues = _sentences(heard) if register == "sentences" else _terse(heard)
    if "speech_rate" in record.tracks and voiced:
        cues += _pauses(record.tracks["speech_rate"], register)
    return cues


def _voiced(track: Track) -> bool:
    """Tell whether any frame is voiced; noise has loudness but no voice to describe."""
    return "voiced" not in track.names or bool(np.nansum(track.column("voiced")) > 0)


def _doubt(record: Record) -> Cue | None:
    """Return what to say where hardly any of the sound is speech; None where it is or may be."""
    track = record.tracks.get("speech_rate")
    if track is None or "speech_fraction" not in track.names:
        return None
    share = _mean(track, "speech_fraction")
    if not share < SPEECH_ENOUGH:  # NaN was not checked
        return None
    text = f"speech in only {100 * share:.0f} % of the sound"
    if share == 0:
        text = "no speech in the sound, it may not be a voice"
    return Cue("prosody", "uncertain", text, None, track.source)


# --- what is heard ------------------------------------------------------------------------------


def _levels(record: Record, voiced: bool) -> list[Heard]:
    """Return each number of VOICES that was measured, in the table's order."""
    tracks = {n: record.tracks[n] for n in _TRACKS if n in record.tracks}
    usual = {name: relative(record, name) for name in tracks}
    heard: list[Heard] = []
    for voice in VOICES:
        track = tracks.get(voice.track)
        if track is None or voice.column not in track.names or not (voiced or _is_model(voice)):
            continue
        at = FUNCTIONALS.index(voice.functional), track.names.index(voice.column)
        value = float(functionals(track)[at])
        z = usual[voice.track]
        if np.isfinite(value):  # a voice may have no voiced frame long enough for this number
            relation = float(z[at]) if z is not None and voice.more else None
            heard.append(_heard(voice, value, relation, track.source))
    return heard


def _is_model(voice: Voice) -> bool:
    return voice.track == "affect"


def _heard(voice: Voice, value: float, z: float | None, source: str) -> Heard:
    if z is None:
        words = voice.absolute(value)
        neutral = words == voice.words[2]
        return Heard(voice.group, voice.subject, words, voice.said(words), neutral, source)
    words_or_none = relative_words(z, voice.less, voice.more, voice.slight)
    if words_or_none is None:
        return Heard(voice.group, voice.subject, "as usual", "as usual", True, source)
    said = voice.said(words_or_none)
    return Heard(voice.group, voice.subject, words_or_none + _USUAL, said + _USUAL, False, source)


def _courses(track: Track) -> list[Heard]:
    """Return what rises, sinks, quickens or slows over the clip."""
    voiced = np.ones(len(track.values), bool)
    if "voiced" in track.names:
        voiced = track.column("voiced") > 0
    moved = [(TEMPO, _tempo(track, voiced))]
    for course in COURSES:
        if course.column in track.names:
            values = track.column(course.column)[voiced]
            enough = np.isfinite(values).sum() >= COURSE_ROWS
            moved.append((course, change(values) if enough else float("nan")))
    return [
        Heard(course.group, course.subject, *words, neutral=False, source=track.source)
        for course, by in moved
        if (words := course.worded(by)) is not None
    ]


def _tempo(track: Track, voiced: NDArray[np.bool_]) -> float:
    """Return how much slower the syllables of the second half follow each other; NaN for few."""
    if (
        "energy_db" not in track.names
        or voiced.sum() < TEMPO_SYLLABLES * _SYLLABLE_S * track.rate_hz
    ):
        return float("nan")
    from textualize.extract.voice.prosody import (
        syllable_nuclei,  # scipy: not for `import textualize`
    )

    steps = np.diff(syllable_nuclei(track.column("energy_db"), voiced)) / track.rate_hz
    steps = steps[steps < PAUSE_S]
    half = len(steps) // 2
    if len(steps) + 1 < TEMPO_SYLLABLES:
        return float("nan")
    return float(steps[-half:].mean() / steps[:half].mean())


def _mean(track: Track, column: str) -> float:
    summary: Float32 = functionals(track)[FUNCTIONALS.index("mean")]
    return float(summary[track.names.index(column)])


def _pauses(track: Track, register: Register) -> list[Cue]:
    if "pauses" not in track.names or "longest_pause_s" not in track.names:
        return []
    count, longest = _mean(track, "pauses"), _mean(track, "longest_pause_s")
    if not (np.isfinite(count) and np.isfinite(longest)):
        return []
    text = pause_words(round(count), longest, register)
    return [Cue("prosody", "neutral" if count < 1 else "observed", text, None, track.source)]


# --- how it is said -----------------------------------------------------------------------------


def _terse(heard: Sequence[Heard]) -> list[Cue]:
    return [
        Cue("prosody", _state(h.neutral), f"{h.subject} {h.words}", None, h.source) for h in heard
    ]


def _state(neutral: bool) -> State:
    return "neutral" if neutral else "observed"


def _sentences(heard: Sequence[Heard]) -> list[Cue]:
    """Return one clause per group: "pitch higher and livelier than usual, falling at the end"."""
    found = dict.fromkeys(h.group for h in heard)
    groups = dict.fromkeys([*(g for g in _ORDER if g in found), *found])
    return [_clause(group, [h for h in heard if h.group == group]) for group in groups]


def _clause(group: str, heard: Sequence[Heard]) -> Cue:
    said = [h.said for h in heard if not h.neutral]
    if not said:
        usual = "as usual" if any(h.words == "as usual" for h in heard) else "unremarkable"
        text = f"{_PLAIN.get(group, group)} {usual}"
        return Cue("prosody", "neutral", text, None, heard[0].source)
    against = [text.removesuffix(_USUAL) for text in said if text.endswith(_USUAL)]
    level = [text for text in said if not text.endswith((_USUAL, *_WHEN))]
    moves = _moves([text for text in said if text.endswith(_WHEN)])
    parts = [listed(against) + _USUAL] if against else []
    parts += [listed(level)] if level else []
    text = ", ".join([*parts, *moves])
    return Cue("prosody", "observed", f"{group} {text}", None, heard[0].source)


def _moves(said: Sequence[str]) -> list[str]:
    """Return what moves when; one verb is enough where two would be the same.

    >>> _moves(["rising at the end", "rising over time"])
    ['rising at the end and over time']
    """
    verbs: dict[str, list[str]] = {}
    for text in said:
        verb, _, when = text.partition(" ")
        verbs.setdefault(verb, []).append(when)
    return [f"{verb} {listed(when)}" for verb, when in verbs.items()]
