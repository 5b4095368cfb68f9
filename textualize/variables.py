"""What a template may read of a record, by name.

Cues and words only: no clip id, no file name, no label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from textualize.describe import clean_transcript
from textualize.types import Cue, Modality, Record, Track, Utterance
from textualize.wording import AU_NAMES
from textualize.wording.face import au_scale

LETTERS: Mapping[str, Modality] = {"T": "speech", "V": "face", "A": "prosody"}
VARIABLES = (
    "face speech prosody transcript context following labels modalities levels aus_active "
    "visual_emotions prosody_words arousal valence dominance face_state speech_state "
    "prosody_state register meanings"
).split()


def variables(
    record: Record,
    cues: Sequence[Cue],
    letters: str,
    around: tuple[Sequence[Utterance], Sequence[Utterance]],
) -> dict[str, Any]:
    """Return the values by name; `around` is what was said before the clip and after it."""
    by: dict[str, tuple[Cue, ...]] = {
        m: tuple(c for c in cues if c.modality == m) for m in LETTERS.values()
    }
    spoken = [cue.text for cue in by["speech"] if cue.state in ("observed", "uncertain")]
    states = {
        f"{name}_state": cues_of[0].state if cues_of else "not_run" for name, cues_of in by.items()
    }
    values: dict[str, Any] = {
        **by,
        "transcript": " ".join(spoken),
        "context": _pairs(around[0]),
        "following": _pairs(around[1]),
        "modalities": letters,
        **states,
    }
    return values | _published_values(record, letters)


def _pairs(turns: Iterable[Utterance]) -> tuple[tuple[str, str], ...]:
    """Return (speaker, text) of the turns that have words."""
    said = ((clean_transcript(t.speaker or ""), clean_transcript(t.text)) for t in turns)
    return tuple((speaker or "Someone", text) for speaker, text in said if text)


# Richet et al. 2024 list these action units, in this order.
_PUBLISHED_AUS = tuple(
    f"AU{n:02d}" for n in (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 20, 23, 24, 25, 26, 28, 43)
)
_PUBLISHED_NAMES = {"AU25": "Lip Part", "AU43": "Eyes Closed"}  # where they are not those of FACS


def _published_values(record: Record, letters: str) -> dict[str, Any]:
    """Return what the template `richet2024` needs beyond cues; None where it was not measured."""
    tracks = record.tracks
    aus = tracks.get("aus") if "V" in letters else None
    emotions = tracks.get("emotions") if "V" in letters else None
    named = tracks.get("prosody_emotions") if "A" in letters else None
    affect = tracks.get("affect") if "A" in letters else None
    values: dict[str, Any] = {
        "aus_active": None if aus is None else _active_names(aus),
        "visual_emotions": None if emotions is None else _top_three(emotions),
        "prosody_words": None if named is None else _prosody_pairs(named),
    }
    for name in ("arousal", "valence", "dominance"):
        values[name] = None if affect is None else _affect(affect, name)
    return values


def _window_max(track: Track) -> dict[str, float]:
    """Return each column's maximum over time; columns never seen are left out."""
    seen = np.isfinite(track.values)
    highest = np.where(seen, track.values, -np.inf).max(axis=0, initial=-np.inf)
    return {n: float(v) for n, v in zip(track.names, highest, strict=True) if np.isfinite(v)}


def _active_names(track: Track) -> tuple[str, ...]:
    """Return the action units whose maximum is strictly above active (0.5 for probabilities)."""
    highest = _window_max(track)
    active = au_scale(track).active
    shown = [au for au in _PUBLISHED_AUS if highest.get(au, 0.0) > active]
    return tuple(_PUBLISHED_NAMES.get(au, AU_NAMES[au].title()) for au in shown)


def _top_three(track: Track) -> tuple[str, ...] | None:
    """Return the three most probable names; ties in column order; () when all are zero."""
    highest = _window_max(track)
    if not highest:
        return None
    ranked = sorted(highest, key=lambda name: -highest[name])
    return tuple(ranked[:3]) if highest[ranked[0]] > 0 else ()


def _prosody_pairs(track: Track) -> tuple[str, ...] | None:
    """Return "High Joy" or "Low Joy" for the ten highest (utterance, name) scores; High > 0.3."""
    pairs = [
        (float(score), name)
        for row in track.values
        for score, name in zip(row, track.names, strict=True)
        if np.isfinite(score)
    ]
    top = sorted(pairs, key=lambda pair: -pair[0])[:10]
    high = float(np.float32(0.3))  # a stored 0.3 is a little above 0.3; it must stay Low
    return tuple(f"{'High' if score > high else 'Low'} {name}" for score, name in top) or None


def _affect(track: Track, name: str) -> float | None:
    """Return a dimension's mean over the clip, 0-1, rounded to two decimals as published."""
    if name not in track.names:
        return None
    column = track.column(name)
    seen = column[np.isfinite(column)]
    return round(float(seen.mean()), 2) if len(seen) else None
