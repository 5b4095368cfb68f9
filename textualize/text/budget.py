"""Prompts that are too long are cut by one rule, and what they lose is counted.

The rule: whole demonstrations first, the least alike before the others; then turns still to come,
the farthest first; then earlier turns, the oldest first; then words, off the end of the longest
utterance until it is no longer than the next, marked "[cut]"; last of all cues of face and voice,
the weakest first, one of each always staying. No more goes than has to. What still does not fit (a
template's own text) loses tokens where the model reads least; that, too, is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from textualize.prompt import render_with, said_around
from textualize.surroundings import with_said
from textualize.text.answers import Shot
from textualize.text.prompts import PromptReader
from textualize.types import Cue, Record

CUT = "[cut]"
_SAID = ("observed", "uncertain")  # states of a speech cue that holds words

Length = Callable[[str, Sequence[Shot]], int]
Lost = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Draft:
    """What a prompt is made of."""

    record: Record
    cues: tuple[Cue, ...]
    shots: tuple[Shot, ...] = ()


@dataclass(frozen=True, slots=True)
class Fitted:
    """A prompt within its budget; `lost` counts what went, by kind, in the order of cutting."""

    text: str
    shots: tuple[Shot, ...]
    lost: Lost


@dataclass(frozen=True, slots=True)
class _Stage:
    """One step of the rule: how much a draft has of a kind, and the draft with less of it."""

    kind: str
    size: Callable[[Draft], int]
    keep: Callable[[Draft, int], Draft]
    count: Callable[[Draft], int]


def fitted(
    reader: PromptReader, record: Record, shots: Sequence[Shot], limit: int, length: Length
) -> Fitted:
    """Return the record's prompt, cut by the rule until `length` of it is at most `limit` tokens.

    Where everything that may go has gone and it is still longer, it is returned longer.
    """

    def text(draft: Draft) -> str:
        rendered = render_with(
            reader.template, draft.record, labels=reader.options, cues=draft.cues
        )
        return rendered.text

    def fits(draft: Draft) -> bool:
        return length(text(draft), draft.shots) <= limit

    whole = render_with(reader.template, record, labels=reader.options)
    around = said_around(reader.template, record)
    draft = Draft(with_said(record, *around), whole.cues, tuple(shots))
    lost: dict[str, int] = {}
    for stage in _STAGES:
        if fits(draft):
            break
        before = stage.count(draft)
        draft = _least_cut(draft, stage, fits)
        if before > stage.count(draft):
            lost[stage.kind] = before - stage.count(draft)
    return Fitted(text(draft), draft.shots, lost)


def _least_cut(draft: Draft, stage: _Stage, fits: Callable[[Draft], bool]) -> Draft:
    """Return the draft that keeps the most and fits, or the one that keeps nothing of the kind."""
    low, high = 0, stage.size(draft)
    if high == 0 or not fits(stage.keep(draft, 0)):
        return stage.keep(draft, 0)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(stage.keep(draft, middle)) else (low, middle)
    return stage.keep(draft, low)


def told(lost: Lost) -> str:
    """Return losses in words.

    >>> told({"turns": 1, "words": 12})
    '1 turn, 12 words'
    """
    return ", ".join(f"{n} {kind[:-1] if n == 1 else kind}" for kind, n in lost.items())


def total(losses: Iterable[Lost]) -> Lost:
    """Return the losses of several prompts added up."""
    added: Counter[str] = Counter()
    for lost in losses:
        added.update(lost)
    return added


# --- what is cut ----------------------------------------------------------------------------------


def _last_turns(draft: Draft, n: int) -> Draft:
    before, after = draft.record.clip.context, draft.record.around.following
    return replace(draft, record=with_said(draft.record, before[len(before) - n :], after))


def _next_turns(draft: Draft, n: int) -> Draft:
    before, after = draft.record.clip.context, draft.record.around.following
    return replace(draft, record=with_said(draft.record, before, after[:n]))


def _last_shots(draft: Draft, n: int) -> Draft:
    return replace(draft, shots=draft.shots[len(draft.shots) - n :])


def _has_words(cue: Cue) -> bool:
    return cue.modality == "speech" and cue.state in _SAID


def _longest(draft: Draft) -> int:
    return max((len(cue.text) for cue in draft.cues if _has_words(cue)), default=0)


def _words(draft: Draft) -> int:
    spoken = (word for cue in draft.cues if _has_words(cue) for word in cue.text.split())
    return sum(word != CUT for word in spoken)


def _shorter_words(draft: Draft, n: int) -> Draft:
    """Return the draft with no utterance longer than `n` characters, the mark not counted."""
    return replace(draft, cues=tuple(_shorter(cue, n) for cue in draft.cues))


def _shorter(cue: Cue, n: int) -> Cue:
    if not _has_words(cue) or len(cue.text) <= n:
        return cue
    kept = cue.text[:n]
    if n and not cue.text[n].isspace() and " " in kept:
        kept = kept.rsplit(" ", 1)[0]
    return replace(cue, text=f"{kept.removesuffix(CUT).rstrip()} {CUT}".lstrip())


def _ranked(draft: Draft) -> list[int]:
    """Return the places of the cues that may go, strongest first; a sense's first cue stays."""
    seen: Counter[str] = Counter()
    ranks = []
    for i, cue in enumerate(draft.cues):
        if cue.modality != "speech":
            if seen[cue.modality]:
                ranks.append((seen[cue.modality], i))
            seen[cue.modality] += 1
    return [i for _, i in sorted(ranks)]


def _fewer_cues(draft: Draft, n: int) -> Draft:
    gone = set(_ranked(draft)[n:])
    return replace(draft, cues=tuple(c for i, c in enumerate(draft.cues) if i not in gone))


def _shots(draft: Draft) -> int:
    return len(draft.shots)


def _turns(draft: Draft) -> int:
    return len(draft.record.clip.context)


def _future_turns(draft: Draft) -> int:
    return len(draft.record.around.following)


def _cues(draft: Draft) -> int:
    return len(_ranked(draft))


_STAGES = (
    _Stage("demonstrations", _shots, _last_shots, _shots),
    _Stage("future turns", _future_turns, _next_turns, _future_turns),
    _Stage("turns", _turns, _last_turns, _turns),
    _Stage("words", _longest, _shorter_words, _words),
    _Stage("cues", _cues, _fewer_cues, _cues),
)
