"""Transcripts that lie beside a video: SubRip, WebVTT, Whisper's JSON, plain text.

Times in these files count from the start of the media file, as everywhere in the package.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from textualize.errors import TextualizeError
from textualize.types import Span, Utterance, Word

_CLOCK = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_ARROW = re.compile(rf"^\s*{_CLOCK}\s*-->\s*{_CLOCK}")
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")  # WebVTT's voice span names the speaker
_TAG = re.compile(r"<[^>]*>|\{\\[^}]*\}")


def read_transcript(path: Path, span: Span) -> tuple[Utterance, ...]:
    """Return the utterances of a transcript file that lie in `span`, in time order.

    The ending says the format: `.srt`, `.vtt`, `.json` (Whisper, WhisperX), `.txt` (no times:
    the whole text belongs to the whole span). Raises TextualizeError when the file is missing,
    has another ending or cannot be read as what its ending says.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(READERS)
        raise TextualizeError(f"transcript '{path}' must end in one of {known}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise TextualizeError(f"no transcript at '{path}'") from None
    except UnicodeDecodeError:
        raise TextualizeError(f"transcript '{path}' is not UTF-8: convert it") from None
    try:
        found = reader(text, span)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TextualizeError(f"transcript '{path}' cannot be read: {error}") from None
    return restrict(found, span)


def restrict(utterances: Sequence[Utterance], span: Span) -> tuple[Utterance, ...]:
    """Return what is said inside `span`, in time order.

    An utterance with word times keeps the words whose middle is inside. One without is kept
    whole if its middle is inside, or if it covers the middle of the span (a clip cut out of a
    long caption).

    >>> late = Utterance(Span(4.0, 6.0), "later")
    >>> restrict([late, Utterance(Span(0.0, 2.0), "first")], Span(0.0, 3.0))[0].text
    'first'
    """
    kept = (_inside(u, span) for u in sorted(utterances, key=lambda u: u.span))
    return tuple(u for u in kept if u is not None)


def parse_captions(text: str, span: Span) -> list[Utterance]:
    """Return the cues of a SubRip or WebVTT text; formatting is removed, voices are kept.

    Raises ValueError if there is text but no time line in it.
    """
    found: list[Utterance] = []
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n")):
        lines = block.split("\n")
        at = next((i for i, line in enumerate(lines) if "-->" in line), None)
        if at is None:
            continue
        match = _ARROW.match(lines[at])
        if match is None:
            raise ValueError(f"bad time line '{lines[at].strip()}'")
        clock = match.groups()
        said = " ".join(lines[at + 1 :])
        voice = _VOICE.search(said)
        words = " ".join(html.unescape(_TAG.sub("", said)).split())
        if words:
            time = Span(_seconds(clock[:4]), _seconds(clock[4:]))
            found.append(Utterance(time, words, speaker=voice.group(1).strip() if voice else None))
    if not found and text.strip() and not text.startswith("WEBVTT"):
        raise ValueError("no line like '00:00:01,000 --> 00:00:02,000' in it")
    return found


def parse_whisper(text: str, span: Span) -> list[Utterance]:
    """Return the segments of Whisper's or WhisperX's JSON, with words where there are any."""
    value = json.loads(text)
    segments = value["segments"] if isinstance(value, dict) else value
    return [_segment(segment) for segment in segments]


def parse_plain(text: str, span: Span) -> list[Utterance]:
    """Return the whole text as one utterance over the span, nothing for an empty text."""
    words = " ".join(text.split())
    return [Utterance(span, words)] if words else []


READERS: Mapping[str, Callable[[str, Span], list[Utterance]]] = {
    ".srt": parse_captions,
    ".vtt": parse_captions,
    ".json": parse_whisper,
    ".txt": parse_plain,
}


def _segment(value: Mapping[str, Any]) -> Utterance:
    words = tuple(
        Word(
            Span(float(word["start"]), float(word["end"])),
            str(word["word"]).strip(),
            _number(word.get("probability", word.get("score"))),
        )
        for word in value.get("words") or ()
        if "start" in word and "end" in word  # WhisperX leaves numbers it cannot align without
    )
    complete = len(words) == len(value.get("words") or ())
    return Utterance(
        span=Span(float(value["start"]), float(value["end"])),
        text=" ".join(str(value["text"]).split()),
        words=words if complete else (),
        speaker=value.get("speaker"),
    )


def _number(value: object) -> float | None:
    return None if value is None else float(str(value))


def _seconds(parts: Sequence[str | None]) -> float:
    hours, minutes, seconds, fraction = parts
    whole = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    return whole + float(f"0.{fraction}")


def _inside(utterance: Utterance, span: Span) -> Utterance | None:
    if not utterance.words:
        same = utterance.span == span  # also where a clip without media has no length
        held = same or _middle(utterance.span, span) or _middle(span, utterance.span)
        return utterance if held else None
    words = tuple(word for word in utterance.words if _middle(word.span, span))
    if not words:
        return None
    if len(words) == len(utterance.words):
        return utterance
    time = Span(words[0].span.start, words[-1].span.end)
    return replace(utterance, span=time, words=words, text=" ".join(w.text for w in words))


def _middle(inner: Span, outer: Span) -> bool:
    return outer.start <= (inner.start + inner.end) / 2 < outer.end
