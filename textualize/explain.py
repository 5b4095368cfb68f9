"""What a prediction rests on: take each piece of evidence away and predict again.

The same pieces are taken from the record itself, so that a method that reads words and one that
reads features are explained alike: an action unit, a prosodic measure, an utterance. The effect is
the fall of the predicted label's probability (occlusion; negative = the piece spoke against it).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from textualize.errors import TextualizeError
from textualize.methods import Method
from textualize.speakers import is_summarised
from textualize.types import Record, Status, Track


@dataclass(frozen=True, slots=True)
class Effect:
    """How much the label's probability falls without one piece of evidence."""

    what: str
    change: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """A prediction and its pieces, strongest effect first."""

    clip_id: str
    method: str
    label: str
    probability: float
    effects: tuple[Effect, ...]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def explain(method: Method, record: Record) -> Explanation:
    """Return the effect of every piece of the record on the method's answer.

    Raises:
        TextualizeError: the method's answer for the record could not be read.
    """
    pieces = list(without_each(record))
    whole, *parts = method.predict([record, *(r for _, r in pieces)])
    if whole.label is None:
        raise TextualizeError(f"{whole.method} gave no readable answer for '{record.clip.id}'")
    before = whole.scores[whole.label]
    effects = [
        Effect(what, before - part.scores.get(whole.label, 0.0))
        for (what, _), part in zip(pieces, parts, strict=True)
    ]
    effects.sort(key=lambda e: -abs(e.change))
    return Explanation(record.clip.id, whole.method, whole.label, before, tuple(effects))


def without_each(record: Record) -> Iterator[tuple[str, Record]]:
    """Yield (name, record without it) for every named column, every utterance, each whole sense."""
    for name, track in record.tracks.items():
        if is_summarised(track):
            for i, column in enumerate(track.names):
                if np.isfinite(track.values[:, i]).any():
                    yield f"{name} {column}", _with_track(record, name, _blank(track, i))
    for i, utterance in enumerate(record.utterances):
        kept = (*record.utterances[:i], *record.utterances[i + 1 :])
        status = dict(record.status)
        if not kept and "speech" in status:
            status["speech"] = Status("absent", status["speech"].source, "taken away")
        yield f'words "{utterance.text[:60]}"', replace(record, utterances=kept, status=status)


def _blank(track: Track, column: int) -> Track:
    values = track.values.copy()
    values[:, column] = np.nan
    return replace(track, values=values)


def _with_track(record: Record, name: str, track: Track) -> Record:
    return replace(record, tracks={**record.tracks, name: track})
