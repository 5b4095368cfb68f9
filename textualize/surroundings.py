"""What was said around a clip: earlier in the same video file, and after it in its dialogue.

Both come from the other clips of a corpus, as words; their labels are never read. Earlier turns a
corpus brings itself are in `Clip.context`. What is said later exists only once a dialogue is over:
nothing reads it unless a recipe's `future_turns` asks for it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from textualize.extract.speech.transcripts import restrict
from textualize.types import Record, Span, Surroundings, Utterance

_CLOSE = 1e-6  # seconds; what is nearer than this is the same moment


def attach(records: Sequence[Record]) -> list[Record]:
    """Return the records with what the others say around them; in the same order."""
    spoken, following = _spoken(records), _following(records)
    return [
        replace(r, around=Surroundings(spoken.get(str(r.clip.video), ()), following.get(i, ())))
        for i, r in enumerate(records)
    ]


def earlier(record: Record, turns: int = 0, seconds: float = 0.0) -> tuple[Utterance, ...]:
    """Return what was said before a record's span, oldest first.

    With `seconds`: the words of its video file in that time before the span, by the middle of each
    word; an utterance without word times by its own middle, and only if it is over when the span
    begins. Otherwise the last `turns` turns of the clip's dialogue.
    """
    if not seconds:
        return record.clip.context[-turns:] if turns else ()
    start = record.clip.span.start if record.clip.span else 0.0
    since = start - seconds
    return tuple(
        u
        for u in restrict(record.around.spoken, Span(since, start))
        if u.words or (_middle(u) >= since and u.span.end <= start + _CLOSE)
    )


def with_said(
    record: Record, before: Sequence[Utterance], after: Sequence[Utterance] = ()
) -> Record:
    """Return the record with nothing said around it but `before` and `after`."""
    clip = replace(record.clip, context=tuple(before))
    return replace(record, clip=clip, around=Surroundings(tuple(before), tuple(after)))


def _middle(utterance: Utterance) -> float:
    return (utterance.span.start + utterance.span.end) / 2


# --- the same video file ------------------------------------------------------------------------


def _spoken(records: Sequence[Record]) -> dict[str, tuple[Utterance, ...]]:
    """Return what each video file says in all of its clips; where they overlap, the first's words.

    Words the recogniser doubts are left out. A turn without a speaker is its clip's subject's.
    """
    by_video: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.clip.video is not None:
            by_video[str(record.clip.video)].append(record)
    return {video: _in_turn(own) for video, own in by_video.items()}


def _in_turn(records: Sequence[Record]) -> tuple[Utterance, ...]:
    said: list[Utterance] = []
    until = -math.inf
    for record in sorted(records, key=lambda r: r.clip.span or Span(0.0, math.inf)):
        fresh = restrict(record.utterances, Span(until, math.inf))
        said += [
            replace(u, speaker=u.speaker or record.clip.subject)
            for u in fresh
            if u.text and not u.doubt
        ]
        span = record.clip.span
        until = max([until, *([span.end] if span else []), *(u.span.end for u in fresh)])
    return tuple(said)


# --- the same dialogue --------------------------------------------------------------------------


def _following(records: Sequence[Record]) -> dict[int, tuple[Utterance, ...]]:
    """Return the turns after each record in its dialogue, by the record's place.

    A later clip tells in its own context what it follows: that, and not the corpus' order, links
    the two. Turns between them that are no clips of the corpus are known from there too.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for i, record in enumerate(records):
        groups[record.clip.fold_group].append(i)
    linked: dict[int, tuple[int, tuple[Utterance, ...]]] = {}
    for own in groups.values():
        if any(records[i].clip.context for i in own):
            _link(records, own, linked)
    found: dict[int, tuple[Utterance, ...]] = {}
    for i in linked:
        said: tuple[Utterance, ...] = ()
        at, seen = i, {i}
        while at in linked and linked[at][0] not in seen:
            at, turns = linked[at]
            seen.add(at)
            said += turns
        found[i] = said
    return found


def _link(
    records: Sequence[Record],
    own: Sequence[int],
    linked: dict[int, tuple[int, tuple[Utterance, ...]]],
) -> None:
    """Add, for each clip of a group, the next one and the turns from here to there with it."""
    by_text: dict[str, list[int]] = defaultdict(list)
    for i in own:
        by_text[_turn(records[i]).text].append(i)
    for i in own:
        context = records[i].clip.context
        for back in range(1, len(context) + 1):
            known = [
                j
                for j in by_text[context[-back].text]
                if j != i and j not in linked and _leads_to(records[j].clip.context, context, back)
            ]
            if known:
                linked[known[0]] = (i, (*context[len(context) - back + 1 :], _turn(records[i])))
                break


def _turn(record: Record) -> Utterance:
    text = record.clip.transcript if record.clip.transcript is not None else record.transcript
    return Utterance(record.clip.span or Span(0.0, 0.0), text, speaker=record.clip.subject)


def _leads_to(one: Sequence[Utterance], later: Sequence[Utterance], back: int) -> bool:
    """Return whether a clip with context `one` can stand `back` turns before one with `later`.

    What is before it must be its own context: all of it, or as much as a limit on turns leaves.
    """
    before = [u.text for u in later[: len(later) - back]]
    own = [u.text for u in one]
    if len(before) == len(own):
        return before == own
    return len(before) < len(own) <= len(later) and own[len(own) - len(before) :] == before
