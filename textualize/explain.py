"""What a prediction rests on: take each piece of evidence away and predict again.

The same pieces are taken from the record itself, so that a method that reads words and one that
reads features are explained alike: an action unit, a prosodic measure, an utterance, an earlier
turn. The effect is the fall of the predicted label's probability and log-probability (occlusion;
negative = the piece spoke against it). For a method that reads words, the cue the piece was worded
as stands beside it, and pieces its prompt never held are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from textualize.errors import TextualizeError
from textualize.methods import Method
from textualize.prompt import Template, render_with
from textualize.speakers import is_summarised
from textualize.types import Prediction, Prompt, Record, Status, Track

LEAST = 1e-12  # a probability below counts as this much, so that its logarithm is finite


@dataclass(frozen=True, slots=True)
class Effect:
    """How much the label's probability, and its natural logarithm, fall without one piece.

    `cue` is what the prompt said of it, "before → after" where other words take its place; empty
    for an earlier turn and for methods that read no words or read a clip in windows.
    """

    what: str
    change: float
    log_change: float = 0.0
    cue: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A prediction and its pieces, strongest effect on the log-probability first.

    `prompt` is what the method read, empty if it reads no words or reads the clip in windows;
    `unread` counts the pieces that were measured but are not told by the prompt.
    """

    clip_id: str
    method: str
    label: str
    probability: float
    effects: tuple[Effect, ...]
    prompt: str = ""
    unread: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def explain(method: Method, record: Record) -> Explanation:
    """Return the effect of every piece of the record on the method's answer.

    All variants are predicted together, in the method's own batches.

    Raises:
        TextualizeError: the method's answer for the record could not be read.
    """
    template, options = _reads(method)
    pieces = list(without_each(record, template.turns if template else 0))
    cues, text, unread = [""] * len(pieces), "", 0
    if template is not None:
        prompt = render_with(template, record, labels=options)
        others = [render_with(template, r, labels=options) for _, r in pieces]
        told = [i for i, other in enumerate(others) if other.text != prompt.text]
        unread = len(pieces) - len(told)
        pieces = [pieces[i] for i in told]
        cues, text = [worded(prompt, others[i]) for i in told], prompt.text
    whole, *parts = method.predict([record, *(r for _, r in pieces)])
    if whole.label is None:
        raise TextualizeError(f"{whole.method} gave no readable answer for '{record.clip.id}'")
    effects = [
        _effect(whole, part, what, cue)
        for part, (what, _), cue in zip(parts, pieces, cues, strict=True)
    ]
    effects.sort(key=lambda e: -abs(e.log_change))
    probability = whole.scores[whole.label]
    return Explanation(
        record.clip.id, whole.method, whole.label, probability, tuple(effects), text, unread
    )


def _reads(method: Method) -> tuple[Template | None, tuple[str, ...]]:
    """Return the template a method reads whole clips by, and the options its prompt lists."""
    reader = getattr(method, "reader", method)
    template = getattr(reader, "template", None)
    return (
        (template, getattr(reader, "options", ())) if isinstance(template, Template) else (None, ())
    )


def _effect(whole: Prediction, part: Prediction, what: str, cue: str) -> Effect:
    label = str(whole.label)
    before, after = whole.scores[label], part.scores.get(label, 0.0)
    logs = [math.log(max(p, LEAST)) for p in (before, after)]
    return Effect(what, before - after, logs[0] - logs[1], cue)


def worded(prompt: Prompt, other: Prompt) -> str:
    """Return the cues of `prompt` that `other` lacks, "→" and those that came in their place.

    What is as usual goes unsaid, as in the prompt, where anything else is left to say.
    """
    gone, new = (
        [c for c in mine.cues if c.text not in {o.text for o in theirs.cues}]
        for mine, theirs in ((prompt, other), (other, prompt))
    )
    told = [[c.text for c in cues if c.state != "neutral"] for cues in (gone, new)]
    if not any(told):
        told = [[c.text for c in cues] for cues in (gone, new)]
    return " → ".join("; ".join(texts) for texts in told if texts)


def without_each(record: Record, turns: int = 0) -> Iterator[tuple[str, Record]]:
    """Yield (name, record without it) for every named column, utterance and earlier turn.

    Of the earlier turns of a dialogue only the last `turns` are taken away.
    """
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
    context = record.clip.context
    for i in range(max(0, len(context) - turns), len(context)):
        clip = replace(record.clip, context=(*context[:i], *context[i + 1 :]))
        yield f'earlier turn "{context[i].text[:60]}"', replace(record, clip=clip)


def _blank(track: Track, column: int) -> Track:
    values = track.values.copy()
    values[:, column] = np.nan
    return replace(track, values=values)


def _with_track(record: Record, name: str, track: Track) -> Record:
    return replace(record, tracks={**record.tracks, name: track})
