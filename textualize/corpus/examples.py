"""A corpus' clips in words, one at a time: what every export is made of.

The prompt is the one training renders: same template, same subject statistics (over the whole
corpus, whatever is exported of it), and for formats that hold an answer the same list of options.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from textualize.datasets.folds import chosen_fold
from textualize.datasets.given import PARTS
from textualize.datasets.published import PUBLISHED
from textualize.describe import clean_transcript
from textualize.errors import TextualizeError
from textualize.labels import labels_of
from textualize.prompt import Template, render_with
from textualize.store import Corpus
from textualize.types import Clip, Prediction, Record, Span, Track
from textualize.variables import LETTERS

WHOLE = "train"  # the split of a corpus that has none, as `datasets` calls undivided data
_SPLIT = re.compile(r"\w+(\.\w+)*")  # what `datasets` takes as the name of a split


@dataclass(frozen=True, slots=True)
class Example:
    """One clip of one split, in words.

    `start` and `end` are seconds from the start of the file, None for an open end or the whole
    file. `cues` are Cue fields, `utterances` (start, end, speaker, text) with words cleaned by
    `clean_transcript`. `split` is "" where a format that takes every clip gets one without.
    `tracks` are there for formats of numbers only.
    """

    id: str
    split: str
    label: str | float | None
    subject: str | None
    group: str
    start: float | None
    end: float | None
    transcript: str
    text: str
    cues: tuple[dict[str, Any], ...]
    utterances: tuple[tuple[float, float, str | None, str], ...]
    prediction: str | None = None
    scores: tuple[float | None, ...] | None = None
    tracks: Mapping[str, Track] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the index says before any track is read.

    `parts` maps a clip to the splits it is in (None: its own `split`); `labels` are the names in
    their order, empty for numeric labels or none. `left_out` counts clips by reason.
    """

    labels: tuple[str, ...]
    numeric: bool
    parts: Mapping[str, tuple[str, ...]] | None
    undivided: bool
    every_clip: bool
    left_out: Mapping[str, int]
    clips: int
    notes: tuple[str, ...] = ()
    fold: str = ""

    def splits(self, clip: Clip) -> tuple[str, ...]:
        """Return the splits a clip is written to; empty when it is left out."""
        if self.parts is not None:
            found = self.parts.get(clip.id, ())
        else:
            found = (clip.split,) if clip.split else ()
        if self.every_clip:
            return found or ("",)
        if clip.label is None:
            return ()
        return (WHOLE,) if self.undivided else found


@dataclass(slots=True)
class _Seen:
    """What one pass over the index counts."""

    words: set[str] = field(default_factory=set)
    numbers: int = 0
    unlabelled: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    unsplit: int = 0
    clips: int = 0
    folded: list[Clip] = field(default_factory=list)


def plan(
    corpus: Corpus,
    *,
    every_clip: bool = False,
    folds: str | None = None,
    fold: int = 1,
    test: str = "test",
    seed: int = 0,
) -> Plan:
    """Return what will be exported; no track is read.

    Args:
        corpus: an opened corpus.
        every_clip: clips without a label or split are kept too.
        folds: see `made_folds`; None takes the corpus' own splits, or everything as one.
        fold: which of the folds, from 1.
        test: with published folds, the split reported on.
        seed: another assignment of the groups.

    Raises:
        TextualizeError: nothing to export, names and numbers mixed as labels, a label outside the
            corpus' set, a split that cannot name a file, or clips that cannot be folded.
    """
    seen = _seen(corpus, keep=folds is not None)
    if not every_clip and not seen.words and not seen.numbers:
        raise TextualizeError(
            f"{corpus.folder} has no labelled clip: give labels, or export csv, srt or rttm, which "
            "need none"
        )
    made, parts = None, None
    if folds is not None:
        beside = corpus.folder / PUBLISHED
        made = chosen_fold(seen.folded, folds, fold, test, seed, published=beside)
        parts = _parts(made)
    undivided = made is None and not seen.splits
    notes = [f"fold {made.name} leaks: {leak}" for leak in made.leaks] if made else []
    if undivided and not every_clip:
        notes.append(f"the corpus has no splits: all is '{WHOLE}'; --folds divides it by group")
    return Plan(
        labels=_labels(corpus, seen),
        numeric=bool(seen.numbers),
        parts=parts,
        undivided=undivided,
        every_clip=every_clip,
        left_out={} if every_clip else _left_out(seen, parts),
        clips=seen.clips,
        notes=tuple(notes),
        fold=f"{made.name} (digest {made.digest[:16]})" if made else "",
    )


def _seen(corpus: Corpus, keep: bool) -> _Seen:
    seen = _Seen()
    for entry in corpus.iter_entries():
        clip = entry.clip
        seen.clips += 1
        if clip.label is None:
            seen.unlabelled += 1
            continue
        if isinstance(clip.label, str):
            seen.words.add(clip.label)
        else:
            seen.numbers += 1
        if clip.split and not _SPLIT.fullmatch(clip.split):
            raise TextualizeError(
                f"clip '{clip.id}' has split '{clip.split}': letters, digits and _ only, as in "
                "train, validation, test"
            )
        if clip.split:
            seen.splits[clip.split] += 1
        else:
            seen.unsplit += 1
        if keep:  # folds read ids, groups and labels
            seen.folded.append(replace(clip, context=(), transcript=None, sidecars={}))
    if not seen.clips:
        raise TextualizeError(f"{corpus.folder} has no clip: nothing to export")
    return seen


def _left_out(seen: _Seen, parts: Mapping[str, object] | None) -> dict[str, int]:
    counts = {"without a label": seen.unlabelled}
    if parts is not None:
        counts["in no part of the fold"] = sum(c.id not in parts for c in seen.folded)
    elif seen.splits:
        counts["without a split"] = seen.unsplit
    return {reason: n for reason, n in counts.items() if n}


def _labels(corpus: Corpus, seen: _Seen) -> tuple[str, ...]:
    if seen.words and seen.numbers:
        raise TextualizeError(
            f"{corpus.folder} has labels that are words and labels that are numbers: one kind only"
        )
    known = corpus.labels or labels_of(seen.words)
    for label in sorted(seen.words):
        known.index(label)
    return known.labels if seen.words else ()


def _parts(made: Any) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for part in PARTS:
        for clip_id in getattr(made, part):
            found[clip_id] = (*found.get(clip_id, ()), part)
    return found


def examples(
    record: Record,
    template: Template,
    what: Plan,
    *,
    ask: bool = False,
    prediction: Prediction | None = None,
) -> Iterator[Example]:
    """Yield a record in words, once for every split it is in.

    Args:
        record: with its subject's statistics.
        template: what the prompt is rendered with; its modalities choose the cues.
        what: the export's plan.
        ask: list the labels in the prompt, as causal models read it.
        prediction: a method's answer for the clip.
    """
    clip = record.clip
    for split in what.splits(clip):
        prompt = render_with(template, record, labels=what.labels if ask else ())
        heard = spoken(record) if LETTERS["T"] in _modalities(template) else ()
        yield Example(
            id=clip.id,
            split=split,
            label=clip.label,
            subject=clip.subject,
            group=clip.fold_group,
            start=_finite(clip.span.start) if clip.span else None,
            end=_finite(clip.span.end) if clip.span else None,
            transcript=" ".join(text for *_, text in heard),
            text=prompt.text,
            cues=tuple(_cue(c) for c in prompt.cues),
            utterances=heard,
            prediction=None
            if not prediction or prediction.label is None
            else str(prediction.label),
            scores=_scores(prediction, what.labels) if prediction else None,
        )


def spoken(record: Record) -> tuple[tuple[float, float, str | None, str], ...]:
    """Return (start, end, speaker, words) of what was said; the words are plain text.

    What the corpus wrote down stands in where no sensor has read it.
    """
    clip = record.clip
    heard = tuple(
        (u.span.start, u.span.end, u.speaker, clean_transcript(u.text, max(1, len(u.text))))
        for u in record.utterances
    )
    if heard or not clip.transcript or "speech" in record.status:
        return heard
    span = clip.span or Span(0.0, 0.0)
    text = clean_transcript(clip.transcript, len(clip.transcript))
    return ((span.start, span.end, None, text),)


def _modalities(template: Template) -> list[str]:
    return [LETTERS[letter] for letter in template.modalities]


def _cue(cue: Any) -> dict[str, Any]:
    value = asdict(cue)
    span = value.pop("span")
    start, end = (span["start"], span["end"]) if span else (None, None)
    return value | {"start": _finite(start), "end": _finite(end)}


def _finite(seconds: float | None) -> float | None:
    return seconds if seconds is not None and math.isfinite(seconds) else None


def _scores(prediction: Prediction, labels: tuple[str, ...]) -> tuple[float | None, ...] | None:
    if not prediction.scores:
        return None
    return tuple(prediction.scores.get(label) for label in labels)
