"""From a request to an answer: words in, prompt, scores, label."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from textualize.describe import MAX_TRANSCRIPT, clean_transcript, describe, not_measured
from textualize.errors import TextualizeError
from textualize.explain import explain
from textualize.serve.engine import Engine
from textualize.serve.runs import Asked, ServedRun
from textualize.serve.schemas import Contribution, EmotionAnswer, EmotionRequest, Turn
from textualize.surroundings import with_said
from textualize.types import (
    MODALITIES,
    Clip,
    Cue,
    Prediction,
    Record,
    Span,
    Status,
    Utterance,
)

MAX_CUE = 2 * MAX_TRANSCRIPT  # a speech cue may be a whole transcript and its mark
_TURN_S = 1e-3  # turns of a request have no times; they are given some just before the clip


@dataclass(frozen=True, slots=True)
class Said:
    """A request as a record, and what a reader of the answer should know of it."""

    record: Record
    notes: tuple[str, ...] = ()


def said(request: EmotionRequest, run: ServedRun) -> Said:
    """Return the record a request tells of; its words are cleaned as a transcript's are.

    Raises:
        TextualizeError: the run's template reads what cues do not tell.
    """
    if run.needs_clips:
        raise TextualizeError(
            f"the template of '{run.name}' reads measurements themselves: upload the clip"
        )
    cleaner = _Cleaner(run.specials())
    cues = [
        Cue(c.sense, c.state, cleaner(c.text, MAX_CUE) or "[no words]", None, "request")
        for c in request.cues or ()
    ]
    if request.transcript is not None:
        cues += _spoken(
            cleaner(request.transcript, len(request.transcript)), run
        )  # `describe` cuts
    told = {c.modality for c in cues}
    cues += [not_measured(m) for m in MODALITIES if m not in told]
    record = Record(Clip(request.id, None), cues=tuple(cues))
    before = _turns(request.context, cleaner, -_TURN_S * len(request.context))
    after = _turns(request.following, cleaner, 0.0)
    return Said(with_said(record, before, after), cleaner.notes)


class _Cleaner:
    """Takes out of foreign words what a model might read as its own control tokens."""

    def __init__(self, specials: Sequence[str]) -> None:
        self._specials = [s for s in specials if not s.isalnum() and s.strip()]
        self._found = False

    def __call__(self, text: str, limit: int) -> str:
        previous = None
        while text != previous:  # what remains may join to another
            previous = text
            text = clean_transcript(text, len(text))
            for token in self._specials:
                self._found |= token in text
                text = text.replace(token, " ")
        return clean_transcript(text, limit)

    @property
    def notes(self) -> tuple[str, ...]:
        return ("control tokens of the model were taken out of the words",) * self._found


def _spoken(text: str, run: ServedRun) -> list[Cue]:
    words = (Utterance(Span(0, 1), text, source="request"),) if text else ()
    status = {"speech": Status("observed", "request")}
    record = Record(Clip("", None), utterances=words, status=status)
    return list(describe(record, ["speech"], run.method.reader.template.register))


def _turns(turns: Sequence[Turn], clean: _Cleaner, start: float) -> tuple[Utterance, ...]:
    spans = [Span(start + i * _TURN_S, start + (i + 1) * _TURN_S) for i in range(len(turns))]
    return tuple(
        Utterance(span, clean(t.text, MAX_TRANSCRIPT), speaker=clean(t.speaker, 200) or None)
        for span, t in zip(spans, turns, strict=True)
    )


class Asker:
    """One run and the engine that scores it; also a `Method`, so that `explain` can ask it.

    `predict` is called from a thread; the engine works in the loop that made this.
    """

    def __init__(self, run: ServedRun, engine: Engine) -> None:
        """Put the two together, inside a running event loop."""
        self.run, self.engine = run, engine
        self.reader, self.labels = run.method.reader, run.labels
        self._loop = asyncio.get_running_loop()

    async def answers(
        self, asked: Sequence[Asked], ids: Sequence[str], *, tokens: bool = False
    ) -> list[EmotionAnswer]:
        """Return the engine's answer to every prompt, in order."""
        scores = await self.engine.scores([a.item for a in asked], self.run.name)
        found = []
        for one, own, name in zip(asked, scores, ids, strict=True):
            answer = self.run.answer(own)
            found.append(
                EmotionAnswer(
                    id=name,
                    model=self.run.name,
                    label=answer.label,
                    probabilities=dict(answer.probabilities),
                    prompt=one.text,
                    template_digest=self.run.digest,
                    prompt_tokens=len(own.token_ids),
                    prompt_cut=one.lost,
                    notes=[],
                    token_ids=list(own.token_ids) if tokens else None,
                )
            )
        return found

    async def answer(self, given: Said, *, explained: bool, tokens: bool) -> EmotionAnswer:
        """Return the answer for one record, with what each piece contributes if that is asked."""
        asked = await asyncio.to_thread(self.run.asked, [given.record])
        (answer,) = await self.answers(asked, [given.record.clip.id], tokens=tokens)
        answer.notes = list(given.notes)
        if explained:
            found = await asyncio.to_thread(explain, self, given.record)
            answer.contributions = [
                Contribution(what=e.what, cue=e.cue, change=e.change, log_change=e.log_change)
                for e in found.effects
            ]
        return answer

    def predict(self, records: Sequence[Record]) -> list[Prediction]:
        """Return one prediction a record; to be called outside the event loop."""
        asked = self.run.asked(records)
        ids = [r.clip.id for r in records]
        waiting = asyncio.run_coroutine_threadsafe(self.answers(asked, ids), self._loop)
        return [
            Prediction(a.id, self.run.method.method, a.label, a.probabilities)
            for a in waiting.result()
        ]
