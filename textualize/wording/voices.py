"""What is heard in a voice: the numbers that are worded, their limits and their words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from textualize.wording.scales import Z_SLIGHT, Register


@dataclass(frozen=True, slots=True)
class Voice:
    """One thing heard in a voice: which number it reads, and its words.

    `track`, `column` and `functional` name the number (see `speakers.FUNCTIONALS`). `edges` are
    four ascending limits between the five `words`; the middle word is the unremarkable one.
    `less` and `more` compare with the speaker's usual; empty where the absolute says more.
    `slight` is the z-score from which a difference is worded. In sentences the words of one `group`
    share its beginning, and `spoken` has what is said in place of a bare word.
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
    group: str
    slight: float = Z_SLIGHT
    spoken: Mapping[str, str] = field(default_factory=dict, hash=False)

    def absolute(self, value: float) -> str:
        """Return the word of the range `value` is in."""
        return self.words[sum(value > edge for edge in self.edges)]

    def said(self, words: str) -> str:
        """Return terse words as a sentence has them."""
        if words in self.spoken:
            return self.spoken[words]
        degree, _, word = words.rpartition(" ")
        return f"{degree} {self.spoken.get(word, word)}".lstrip()


_ACTED = "about the 5th, 20th, 80th, 95th percentile of 480 acted clips of 16 people, RAVDESS"
_SAMPLED = "5th, 20th, 80th, 95th percentile of 200 acted clips of 16 people, RAVDESS"
_RATE = "English speech runs at about 3-5 syllables/s, Tauroza & Allison 1990"
_AFFECT_EDGES = (0.2, 0.4, 0.6, 0.8)
_AFFECT_WORDS = ("very low", "low", "medium", "high", "very high")
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
        "pitch",
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
        "pitch",
        spoken={"small": "rather flat"},
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
        "speaks",
        spoken={
            "quiet": "quietly",
            "very quiet": "very quietly",
            "loud": "loudly",
            "very loud": "very loudly",
        },
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
        "loudness varying",
        spoken={
            "small": "little",
            "very small": "very little",
            "large": "much",
            "very large": "very much",
            "smaller": "less",
            "larger": "more",
        },
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
        "speaks",
        slight=0.3,  # counts of a few syllables are coarse: spread is wide, shifts in it small
        spoken={"slow": "slowly", "very slow": "very slowly"},
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
        "pitch",
        spoken={
            "falling": "falling at the end",
            "steeply falling": "falling steeply at the end",
            "rising": "rising at the end",
            "steeply rising": "rising steeply at the end",
        },
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
        "voice",
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
        "voice",
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
        "voice",
    ),
    # Of running speech; Praat's limits for sustained vowels (1.04 %, 0.35 dB) lie far below.
    Voice(
        "voice",
        "prosody",
        "jitter_pct",
        "mean",
        "steadier",
        "less steady",
        (1.7, 2.1, 3.3, 3.9),
        ("very steady", "steady", "even", "unsteady", "very unsteady"),
        _SAMPLED,
        "voice",
    ),
    Voice(
        "voice",
        "prosody",
        "shimmer_db",
        "mean",
        "smoother",
        "coarser",
        (0.98, 1.11, 1.35, 1.49),
        ("very smooth", "smooth", "even", "coarse", "very coarse"),
        _SAMPLED,
        "voice",
    ),
    # A model's dimensions, 0-1, and no sensor's numbers; 0.5 parts high from low in Richet et al.
    # 2024.
    Voice(
        "arousal",
        "affect",
        "arousal",
        "mean",
        "lower",
        "higher",
        _AFFECT_EDGES,
        _AFFECT_WORDS,
        "ours",
        "arousal",
    ),
    Voice(
        "valence",
        "affect",
        "valence",
        "mean",
        "lower",
        "higher",
        _AFFECT_EDGES,
        _AFFECT_WORDS,
        "ours",
        "valence",
    ),
    Voice(
        "dominance",
        "affect",
        "dominance",
        "mean",
        "lower",
        "higher",
        _AFFECT_EDGES,
        _AFFECT_WORDS,
        "ours",
        "dominance",
    ),
)


@dataclass(frozen=True, slots=True)
class Course:
    """How something heard moves over a clip: its last third against its first.

    `column` of the track "prosody" is read where it is voiced, none for the tempo. `edges` are the
    limits below and above which `less` or `more` is said, in terse words and in a sentence.
    """

    subject: str
    column: str
    edges: tuple[float, float]
    less: tuple[str, str]
    more: tuple[str, str]
    group: str

    def worded(self, moved: float) -> tuple[str, str] | None:
        """Return the words for a change; None where it is within the edges or NaN."""
        low, high = self.edges
        return self.less if moved < low else self.more if moved > high else None


# Pitch and level sink by themselves towards a sentence's end; beyond the 10th and 90th percentile
# of RAVDESS' single sentences (960 clips of 16 people, where the 90th is 0.2 st and 2.7 dB).
COURSES = (
    Course(
        "pitch",
        "f0_st",
        (-7.0, 1.5),
        ("sinking over time",) * 2,
        ("rising over time",) * 2,
        "pitch",
    ),
    Course(
        "loudness",
        "energy_db",
        (-8.0, 3.0),
        ("fading over time", "more and more quietly"),
        ("growing over time", "louder and louder"),
        "speaks",
    ),
)
# The mean time from syllable to syllable, pauses left out, in the second half of them over that in
# the first; ours (80 % of the demo's 168 clips of two sentences lie within 0.72-1.45).
TEMPO = Course(
    "speaking rate",
    "",
    (0.67, 1.5),
    ("quickening over time", "faster and faster"),
    ("slowing over time", "slower and slower"),
    "speaks",
)
TEMPO_SYLLABLES = 12  # a sentence of fewer has its own rhythm; ours
PAUSE_S = 0.6  # from syllable to syllable; ours
COURSE_ROWS = 30  # voiced, 0.3 s; fewer have no first and last third worth the name

LONG_PAUSE_S = 0.5  # shorter silences are part of articulation and breathing, Goldman-Eisler 1968
_COUNTS = ("no", "one", "two", "three")


def pause_words(pauses: int, longest_s: float, register: Register = "terse") -> str:
    """Return how many pauses there were and whether the longest was long.

    >>> pause_words(0, 0.0), pause_words(1, 0.62), pause_words(5, 0.3)
    ('no pause', 'one pause, long', 'many pauses, short')
    >>> pause_words(2, 0.7, "sentences")
    'two long pauses'
    """
    if pauses <= 0:
        return "no pause"
    count = _COUNTS[pauses] if pauses < len(_COUNTS) else "many"
    noun = "pause" if pauses == 1 else "pauses"
    length = "long" if longest_s >= LONG_PAUSE_S else "short"
    return f"{count} {length} {noun}" if register == "sentences" else f"{count} {noun}, {length}"
