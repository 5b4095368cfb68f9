"""The register "graded": every number against the person's usual, one rung at a time.

"AU4 more AU4 much" is two rungs above the usual, "pitch less" one below. A rung names its subject
again and every lower rung is said as well, so that texts share words as far as numbers are alike:
a reader of n-grams sees that much lies beyond more, which words for single levels do not tell.
"""

from __future__ import annotations

import bisect
import math
from typing import NamedTuple

from textualize.speakers import FUNCTIONALS, relative
from textualize.types import Cue, Record, State

# |z| at which the rungs begin: seven levels that a normal distribution fills equally.
EDGES = (0.18, 0.57, 1.07)
MORE = ("more", "much", "most")
LESS = ("less", "little", "least")


class Heard(NamedTuple):
    """A number of the voice: the word it goes by, and where it is (see `speakers.FUNCTIONALS`)."""

    subject: str
    track: str
    column: str
    functional: str = "mean"


# The columns are explained in `extract/voice/prosody.py`. One word each, none of them a judgement.
VOICE: tuple[Heard, ...] = (
    Heard("pitch", "prosody", "f0_st"),
    Heard("melody", "prosody", "f0_st", "std"),
    Heard("drift", "prosody", "f0_st", "slope"),
    Heard("loudness", "prosody", "energy_db"),
    Heard("peaks", "prosody", "energy_db", "p90"),
    Heard("dynamics", "prosody", "energy_db", "std"),
    Heard("swell", "prosody", "energy_db", "slope"),
    Heard("voicing", "prosody", "voiced"),
    Heard("clearness", "prosody", "hnr_db"),
    Heard("softness", "prosody", "tilt_db"),
    Heard("brightness", "prosody", "centroid_hz"),
    Heard("flux", "prosody", "flux_db"),
    Heard("lowslope", "prosody", "slope_low_db_khz"),
    Heard("midslope", "prosody", "slope_mid_db_khz"),
    Heard("breath", "prosody", "h1_h2_db"),
    Heard("jitter", "prosody", "jitter_pct"),
    Heard("shimmer", "prosody", "shimmer_db"),
    Heard("pace", "speech_rate", "syllables_per_s"),
    Heard("rate", "speech_rate", "articulation_per_s"),
    Heard("silence", "speech_rate", "pause_s"),
    Heard("pauses", "speech_rate", "pauses"),
    Heard("gap", "speech_rate", "longest_pause_s"),
    Heard("ending", "speech_rate", "final_slope_st_s"),
    Heard("duration", "speech_rate", "speech_s"),
    Heard("range", "speech_rate", "f0_range_st"),
    Heard("share", "speech_rate", "speech_fraction"),
    Heard("arousal", "affect", "arousal"),
    Heard("valence", "affect", "valence"),
    Heard("dominance", "affect", "dominance"),
)


def level(z: float) -> int:
    """Return the level of a z-score among the person's clips, -3 to 3; 0 for NaN.

    >>> level(0.1), level(-0.3), level(2.0)
    (0, -1, 3)
    """
    if math.isnan(z):
        return 0
    rung = bisect.bisect_left(EDGES, abs(z))
    return rung if z > 0 else -rung


def rungs(subject: str, at: int) -> str:
    """Return the words of a level other than 0.

    >>> rungs("AU4", 2), rungs("pitch", -1)
    ('AU4 more AU4 much', 'pitch less')
    """
    words = MORE if at > 0 else LESS
    return " ".join(f"{subject} {word}" for word in words[: abs(at)])


def voice_cues(record: Record, voiced: bool) -> list[Cue]:
    """Return what is heard, in the order of VOICE, against the speaker's usual.

    The record's tracks must have the speaker's statistics; where nothing is `voiced`, only a
    model's dimensions are worded.
    """
    usual = {name: relative(record, name) for name in {h.track for h in VOICE}}
    cues = []
    for heard in VOICE:
        z, track = usual[heard.track], record.tracks.get(heard.track)
        if z is None or track is None or heard.column not in track.names:
            continue
        value = float(z[FUNCTIONALS.index(heard.functional), track.names.index(heard.column)])
        if math.isfinite(value) and (voiced or heard.track == "affect"):
            at = level(value)
            state: State = "observed" if at else "neutral"
            text = rungs(heard.subject, at) if at else f"{heard.subject} as usual"
            cues.append(Cue("prosody", state, text, None, track.source))
    return cues
