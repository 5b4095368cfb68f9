"""What a prediction rests on: take each piece of evidence away and predict again.

The same pieces are taken from the record itself, so that a method that reads words and one that
reads features are explained alike: an action unit, a prosodic measure, an utterance, a turn before
or after it; of a method that reads pictures, a part of the face. Of a method that reads features
only the tracks it reads are taken away. The effect is the fall of the
predicted label's probability and log-probability (occlusion; negative = the piece spoke against
it). For a method that reads words, the cue the piece was worded as stands beside it, and pieces its
prompt never held are left out.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from os.path import commonprefix
from typing import Any

import numpy as np

from textualize.describe import not_measured
from textualize.errors import TextualizeError
from textualize.methods import Method
from textualize.prompt import Template, render_with, said_around
from textualize.speakers import is_summarised
from textualize.surroundings import with_said
from textualize.types import Cue, Prediction, Prompt, Record, Status, Track, Utterance

TOGETHER = 8  # prompts a batch: in more of them, less of the beginning is common to all
MANY = 200  # columns of a track: more of them (landmarks) are taken away together
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

    Variants are predicted together; prompts that go alike for long are put into one batch, so that
    a causal model reads their common beginning once.

    Raises:
        TextualizeError: the method's answer for the record could not be read, or is no class.
    """
    template, options = _reads(method)
    pieces = list(_pieces(method, template, record))
    cues, text, unread = [""] * len(pieces), "", 0
    if template is not None:
        prompt = render_with(template, record, labels=options)
        others = [render_with(template, r, labels=options) for _, r in pieces]
        told = [i for i, other in enumerate(others) if other.text != prompt.text]
        told.sort(key=lambda i: -len(commonprefix([prompt.text, others[i].text])))
        unread = len(pieces) - len(told)
        pieces = [pieces[i] for i in told]
        cues, text = [worded(prompt, others[i]) for i in told], prompt.text
    every = [record, *(r for _, r in pieces)]
    size = len(every) if template is None else TOGETHER
    whole, *parts = [
        p for i in range(0, len(every), size) for p in method.predict(every[i:][:size])
    ]
    if whole.label is None:
        raise TextualizeError(f"{whole.method} gave no readable answer for '{record.clip.id}'")
    if not isinstance(whole.label, str):
        raise TextualizeError(
            f"{whole.method} answers with a number; what is explained is a class' probability"
        )
    effects = [
        _effect(whole.label, whole, part, what, cue)
        for part, (what, _), cue in zip(parts, pieces, cues, strict=True)
    ]
    effects.sort(key=lambda e: -abs(e.log_change))
    probability = whole.scores[whole.label]
    return Explanation(
        record.clip.id, whole.method, whole.label, probability, tuple(effects), text, unread
    )


def _pieces(
    method: Method, template: Template | None, record: Record
) -> Iterator[tuple[str, Record]]:
    """Yield what is taken away of what a method reads, and the record without it."""
    if hasattr(method, "reading"):  # of pictures
        from textualize.baselines.face_parts import without_each_part

        return without_each_part(record, method.reading)
    if hasattr(method, "features"):  # of tracks
        return without_each_column(record, method.features.needed)
    around = said_around(template, record) if template else ((), ())
    return without_each(record, *around)


def _reads(method: Method) -> tuple[Template | None, tuple[str, ...]]:
    """Return the template a method reads whole clips by, and the options its prompt lists."""
    reader = getattr(method, "reader", method)
    template = getattr(reader, "template", None)
    return (
        (template, getattr(reader, "options", ())) if isinstance(template, Template) else (None, ())
    )


def _effect(label: str, whole: Prediction, part: Prediction, what: str, cue: str) -> Effect:
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


def without_each(
    record: Record, before: Sequence[Utterance] = (), after: Sequence[Utterance] = ()
) -> Iterator[tuple[str, Record]]:
    """Yield (name, record without it) for every named column, utterance and turn around it.

    `before` and `after` are the turns a prompt is given; no other turn takes a missing one's place.
    """
    named = [name for name, track in record.tracks.items() if is_summarised(track)]
    yield from without_each_column(record, named)
    for i, utterance in enumerate(record.utterances):
        kept = (*record.utterances[:i], *record.utterances[i + 1 :])
        status = dict(record.status)
        if not kept and "speech" in status:
            status["speech"] = Status("absent", status["speech"].source, "taken away")
        yield f'words "{utterance.text[:60]}"', replace(record, utterances=kept, status=status)
    for i, cue in enumerate(record.cues or ()):
        yield f"{cue.modality} cue", replace(record, cues=_without(record.cues or (), i))
    for i, turn in enumerate(before):
        others = (*before[:i], *before[i + 1 :])
        yield f'earlier turn "{turn.text[:60]}"', with_said(record, others, after)
    for i, turn in enumerate(after):
        others = (*after[:i], *after[i + 1 :])
        yield f'later turn "{turn.text[:60]}"', with_said(record, before, others)


def _without(cues: tuple[Cue, ...], i: int) -> tuple[Cue, ...]:
    """Return cues without one; a modality's last one leaves behind that it was not measured."""
    kept = (*cues[:i], *cues[i + 1 :])
    if any(c.modality == cues[i].modality for c in kept):
        return kept
    return (*kept, not_measured(cues[i].modality))


def without_each_column(record: Record, tracks: Collection[str]) -> Iterator[tuple[str, Record]]:
    """Yield (name, record without it) for every column of these tracks that has a value.

    A track whose columns are unnamed, or more than `MANY`, is taken away whole.
    """
    for name, track in record.tracks.items():
        if name not in tracks:
            continue
        wide = track.values.shape[1]
        apart = is_summarised(track) and wide <= MANY
        pieces = [(f"{name} {column}", slice(i, i + 1)) for i, column in enumerate(track.names)]
        for what, columns in pieces if apart else [(f"{name} ({wide} columns)", slice(None))]:
            if np.isfinite(track.values[:, columns]).any():
                yield what, _with_track(record, name, _blank(track, columns))


def _blank(track: Track, columns: slice) -> Track:
    values = track.values.copy()
    values[:, columns] = np.nan
    return replace(track, values=values)


def _with_track(record: Record, name: str, track: Track) -> Record:
    return replace(record, tracks={**record.tracks, name: track})
