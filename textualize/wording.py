"""Numbers to words: the names, the thresholds and the grades, each in one table.

Nothing here knows a record. What people do is worded in the terms of FACS and of phonetics,
never as an emotion: a cue must not answer the question it is evidence for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from textualize.types import Unit

# FACS nomenclature (Ekman, Friesen & Hager 2002); the first twenty but 16, 18, 22, 27 and 45 are
# the ones of Richet et al. 2024. AU7 is the LID tightener, AU23 the LIP tightener.
AU_NAMES: Mapping[str, str] = {
    "AU01": "inner brow raiser",
    "AU02": "outer brow raiser",
    "AU04": "brow lowerer",
    "AU05": "upper lid raiser",
    "AU06": "cheek raiser",
    "AU07": "lid tightener",
    "AU09": "nose wrinkler",
    "AU10": "upper lip raiser",
    "AU11": "nasolabial deepener",
    "AU12": "lip corner puller",
    "AU14": "dimpler",
    "AU15": "lip corner depressor",
    "AU16": "lower lip depressor",
    "AU17": "chin raiser",
    "AU18": "lip pucker",
    "AU20": "lip stretcher",
    "AU22": "lip funneler",
    "AU23": "lip tightener",
    "AU24": "lip pressor",
    "AU25": "lip part",
    "AU26": "jaw drop",
    "AU27": "mouth stretch",
    "AU28": "lip suck",
    "AU43": "eyes closed",
    "AU45": "blink",
}

_ROUNDING = 1e-6  # a float32 0.2 is a little above 0.2 and must not count as above it


@dataclass(frozen=True, slots=True)
class Scale:
    """When an action unit counts as active, and how strong, in one unit.

    `words` grade what is above `active`, then `clear`, then `strong`. `clip_mean` multiplies all
    three when a track has a single row: a mean over the clip is lower than its peak. `unworded`
    action units are left to methods that read numbers.
    """

    active: float
    clear: float
    strong: float
    words: tuple[str, str, str]
    clip_mean: float
    source: str
    unworded: frozenset[str] = frozenset()

    def grade(self, value: float, single_row: bool = False) -> str | None:
        """Return the word for `value`, or None when it is not strictly above `active`.

        >>> AU_SCALES["probability"].grade(0.5), AU_SCALES["probability"].grade(0.95)
        (None, 'strong')
        """
        factor = self.clip_mean if single_row else 1.0
        edges = (self.active, self.clear, self.strong)
        passed = sum(value > factor * edge + _ROUNDING for edge in edges)
        return self.words[passed - 1] if passed else None


_STRENGTH = ("slight", "clear", "strong")
AU_SCALES: Mapping[Unit, Scale] = {
    # Listed iff above 0.5: Richet et al. 2024. The upper two split py-feat's crowded top third.
    "probability": Scale(0.5, 0.7, 0.9, _STRENGTH, 1.0, "Richet et al. 2024; upper two ours"),
    # OpenFace maps FACS A-E to 1-5. A is a trace, B slight, C marked: Ekman et al. 2002.
    "intensity": Scale(1.0, 2.0, 3.0, _STRENGTH, 0.5, "FACS A, B, C as 1, 2, 3"),
    # 0/1 says nothing about strength; the fraction of seen frames says how lasting it was.
    "presence": Scale(0.2, 0.5, 0.8, ("briefly", "often", "throughout"), 1.0, "ours"),
    # 0 is the clip's own neutral, 1 a full action.
    # The landmarks' AU 17 runs against py-feat's on real faces (see `extract/action_units.py`):
    # a sentence about it would mislead.
    "deviation": Scale(
        0.25,
        0.5,
        0.8,
        _STRENGTH,
        1.0,
        "ours; noise of resting frames is < 0.2",
        frozenset({"AU17"}),
    ),
}

# |z| among the same person's clips: below the first it is as usual (Cohen's medium effect).
Z_SLIGHT, Z_PLAIN, Z_MUCH = 0.5, 1.0, 1.7


def relative_words(z: float, less: str, more: str, slight: float = Z_SLIGHT) -> str | None:
    """Return how far a z-score is from usual, or None when it is within the usual.

    >>> relative_words(1.8, "lower", "higher"), relative_words(-0.7, "less", "more")
    ('much higher', 'slightly less')
    >>> relative_words(0.3, "less", "more") is None
    True
    """
    size = abs(z)
    if not size >= slight:  # NaN is not a difference
        return None
    word = more if z > 0 else less
    if size >= Z_MUCH:
        return f"much {word}"
    return word if size >= Z_PLAIN else f"slightly {word}"


@dataclass(frozen=True, slots=True)
class Voice:
    """One thing heard in a voice: which number it reads, and its words.

    `track`, `column` and `functional` name the number (see `speakers.FUNCTIONALS`). `edges` are
    four ascending limits between the five `words`; the middle word is the unremarkable one.
    `less` and `more` compare with the speaker's usual; empty where the absolute says more.
    `slight` is the z-score from which a difference is worded.
    """

    subject: str
    track: str
    column: str
    functional: str
    less: str
    more: str
    edges: tuple[float, float, float, float]
    words: tuple[str, str, str, str, str]
    source: str
    slight: float = Z_SLIGHT

    def absolute(self, value: float) -> str:
        """Return the word of the range `value` is in."""
        return self.words[sum(value > edge for edge in self.edges)]


_ACTED = "about the 5th, 20th, 80th, 95th percentile of 480 acted clips of 16 people, RAVDESS"
_RATE = "English speech runs at about 3-5 syllables/s, Tauroza & Allison 1990"
VOICES: tuple[Voice, ...] = (
    # 10, 14, 25, 29 st above 55 Hz are 98, 123, 233, 294 Hz; the middle holds most speakers of
    # either sex, so an unknown speaker is called high or low only beyond it.
    Voice(
        "pitch",
        "prosody",
        "f0_st",
        "mean",
        "lower",
        "higher",
        (10, 14, 25, 29),
        ("very low", "low", "medium", "high", "very high"),
        "ours",
    ),
    # Conversational f0 spreads over about 2-4 st: 't Hart, Collier & Cohen 1990.
    Voice(
        "pitch variation",
        "prosody",
        "f0_st",
        "std",
        "flatter",
        "livelier",
        (1.5, 2.3, 4.5, 6.0),
        ("monotone", "small", "medium", "lively", "very lively"),
        "direction 't Hart et al. 1990; limits " + _ACTED,
    ),
    # dB re full scale, exceeded by a tenth of the frames; depends on the recording's gain, hence
    # the wide middle.
    Voice(
        "loudness",
        "prosody",
        "energy_db",
        "p90",
        "quieter",
        "louder",
        (-48, -40, -22, -14),
        ("very quiet", "quiet", "medium", "loud", "very loud"),
        "ours",
    ),
    Voice(
        "loudness variation",
        "prosody",
        "energy_db",
        "std",
        "smaller",
        "larger",
        (12, 15, 22, 26),
        ("very small", "small", "medium", "large", "very large"),
        _ACTED,
    ),
    Voice(
        "speaking rate",
        "speech_rate",
        "articulation_per_s",
        "mean",
        "slower",
        "faster",
        (2.5, 3.2, 4.6, 5.3),
        ("very slow", "slow", "medium", "fast", "very fast"),
        _RATE,
        slight=0.3,  # counts of a few syllables are coarse: spread is wide, shifts in it small
    ),
    Voice(
        "final pitch",
        "speech_rate",
        "final_slope_st_s",
        "mean",
        "",
        "",
        (-20, -8, 6, 15),
        ("steeply falling", "falling", "level", "rising", "steeply rising"),
        _ACTED,
    ),
    # Tilt is low band minus high band: steep in soft, breathy voice, shallow in pressed voice
    # (Hammarberg et al. 1980).
    Voice(
        "voice",
        "prosody",
        "tilt_db",
        "mean",
        "more pressed",
        "softer and breathier",
        (2.0, 5.0, 11.5, 14.0),
        ("very pressed", "pressed", "even", "soft", "very soft and breathy"),
        "direction Hammarberg et al. 1980; limits " + _ACTED,
    ),
    # Harmonics-to-noise of healthy sustained vowels is near 20 dB, of running speech near 10.
    Voice(
        "voice tone",
        "prosody",
        "hnr_db",
        "mean",
        "rougher",
        "clearer",
        (5.0, 6.5, 11.5, 14.0),
        ("very rough", "rough", "even", "clear", "very clear"),
        _ACTED,
    ),
    Voice(
        "voice timbre",
        "prosody",
        "centroid_hz",
        "mean",
        "darker",
        "brighter",
        (600, 800, 1400, 1800),
        ("very dark", "dark", "even", "bright", "very bright"),
        _ACTED,
    ),
)

LONG_PAUSE_S = 0.5  # shorter silences are part of articulation and breathing, Goldman-Eisler 1968
_COUNTS = ("no", "one", "two", "three")


def pause_words(pauses: int, longest_s: float) -> str:
    """Return how many pauses there were and whether the longest was long.

    >>> pause_words(0, 0.0), pause_words(1, 0.62), pause_words(5, 0.3)
    ('no pause', 'one pause, long', 'many pauses, short')
    """
    if pauses <= 0:
        return "no pause"
    count = _COUNTS[pauses] if pauses < len(_COUNTS) else "many"
    noun = "pause" if pauses == 1 else "pauses"
    length = "long" if longest_s >= LONG_PAUSE_S else "short"
    return f"{count} {noun}, {length}"
