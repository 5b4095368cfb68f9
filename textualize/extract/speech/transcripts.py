"""Transcripts that lie beside a video: SubRip, WebVTT, Whisper's JSON, plain text.

Times in these files count from the start of the media file, as everywhere in the package.
"""

from __future__ import annotations

import codecs
import html
import itertools
import json
import math
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from textualize.errors import TextualizeError
from textualize.types import Span, Utterance, Word

NO_SPEECH = 0.6  # Radford et al. 2022, section 4.5: with a log-probability below LOW_LOGPROB,
LOW_LOGPROB = -1.0  # the words were made up over something that is not speech
REPETITIVE = 2.4  # gzip ratio of text that loops (same section)

_CLOCK = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_ARROW = re.compile(rf"^\s*{_CLOCK}\s*-->\s*{_CLOCK}")
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")  # WebVTT's voice span names the speaker
_TAG = re.compile(r"<[^>]*>|\{\\[^}]*\}")


class Transcript(NamedTuple):
    """What a file says in a span, and what a reader should know about how it was read."""

    utterances: tuple[Utterance, ...]
    note: str = ""


def read_transcript(path: Path, span: Span) -> Transcript:
    """Return the utterances of a transcript file that lie in `span`, in time order.

    The ending says the format: `.srt`, `.vtt`, `.json` (Whisper, faster-whisper, WhisperX), `.txt`
    (no times: the whole text belongs to the whole span). UTF-8 and UTF-16 are told apart; what is
    neither is read as Windows-1252, and the note says so. Raises TextualizeError when the file is
    missing, has another ending or cannot be read as what its ending says.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(READERS)
        raise TextualizeError(f"transcript '{path}' must end in one of {known}")
    try:
        text, note = _decoded(path.read_bytes())
    except FileNotFoundError:
        raise TextualizeError(f"no transcript at '{path}'") from None
    except (OSError, UnicodeDecodeError) as error:
        raise TextualizeError(f"transcript '{path}' cannot be read: {error}") from None
    try:
        found = reader(text, span)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TextualizeError(f"transcript '{path}' cannot be read: {error}") from None
    backwards = sum(u.span.end < u.span.start for u in found)
    found = [replace(u, span=Span(u.span.start, max(u.span.start, u.span.end))) for u in found]
    notes = [note, f"{backwards} lines end before they begin" if backwards else ""]
    return Transcript(restrict(found, span), "; ".join(n for n in notes if n))


def _decoded(data: bytes) -> tuple[str, str]:
    """Return a file's text, and a note where its encoding had to be guessed."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16"), ""
    even, odd = data[:1000:2].count(0), data[1:1000:2].count(0)
    if max(even, odd) > len(data[:1000]) / 8:  # half the bytes of Latin text in UTF-16 are zero
        return data.decode("utf-16-le" if odd > even else "utf-16-be"), "read as UTF-16"
    try:
        return data.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        try:
            return data.decode("cp1252"), "not UTF-8: read as Windows-1252"
        except UnicodeDecodeError:  # five bytes mean nothing there
            return data.decode("latin-1"), "not UTF-8: read as Latin-1"


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

    Cues may overlap; a cue in which two voices speak gives two utterances. A line that only
    repeats the line above it, as rolling captions do, is dropped. Raises ValueError if there is
    text but no time line in it.
    """
    found: list[Utterance] = []
    last, until = "", -math.inf
    for time, lines in _cues(text):
        fresh = list(lines)
        if fresh and _plain(fresh[0]) == last and time.start - until <= 0.1:
            fresh = fresh[1:]
        said = [line for line in map(_plain, lines) if line]
        last, until = (said[-1], time.end) if said else ("", -math.inf)
        parts = _VOICE.split(" ".join(fresh))
        for speaker, part in zip([None, *parts[1::2]], parts[::2], strict=True):
            if words := _plain(part):
                found.append(Utterance(time, words, speaker=speaker and _plain(speaker)))
    if not found and text.strip() and not text.startswith("WEBVTT") and "-->" not in text:
        raise ValueError("no line like '00:00:01,000 --> 00:00:02,000' in it")
    return found


def _cues(text: str) -> Iterator[tuple[Span, list[str]]]:
    """Yield each cue's time and lines; a cue ends at an empty line or at the next time line."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    starts = [i for i, line in enumerate(lines) if "-->" in line]
    for at, beyond in itertools.pairwise([*starts, len(lines)]):
        match = _ARROW.match(lines[at])
        if match is None:
            raise ValueError(f"bad time line '{lines[at].strip()}'")
        body = lines[at + 1 : beyond]
        blank = next((i for i, line in enumerate(body) if not line.strip()), None)
        if blank is None and beyond < len(lines) and body and body[-1].strip().isdigit():
            blank = len(body) - 1  # the next cue's number: no empty line between the two
        clock = match.groups()
        yield Span(_seconds(clock[:4]), _seconds(clock[4:])), body[:blank]


def _plain(text: str) -> str:
    return " ".join(html.unescape(_TAG.sub("", text)).split())


def parse_whisper(text: str, span: Span) -> list[Utterance]:
    """Return the segments of Whisper's, faster-whisper's or WhisperX's JSON, words where given.

    Where a segment has its log-probability, confidence and doubt are as for a recogniser.
    """
    value = json.loads(text)
    whole = value if isinstance(value, dict) else {"segments": value}
    about = whole.get("info") or whole
    language = whole.get("language") or about.get("language")
    found = [_segment(segment, language) for segment in whole["segments"]]
    return [utterance for utterance in found if utterance.text]


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


def judged(utterance: Utterance) -> Utterance:
    """Return a recogniser's utterance with its confidence, and the doubt its numbers raise.

    Confidence is exp(mean log-probability of the tokens), 0 where the words were probably made
    up (Radford et al. 2022, section 4.5): over something that is not speech, or in a loop.

    >>> loop = Utterance(Span(0, 1), "and so on " * 20, avg_logprob=-0.1, no_speech_prob=0.0)
    >>> judged(loop).doubt, judged(loop).confidence
    ('repeats itself', 0.0)
    """
    if utterance.avg_logprob is None:
        return utterance
    if (utterance.no_speech_prob or 0.0) > NO_SPEECH and utterance.avg_logprob < LOW_LOGPROB:
        return replace(utterance, confidence=0.0, doubt="probably not speech")
    raw = utterance.text.encode()
    if len(raw) / len(zlib.compress(raw)) > REPETITIVE:
        return replace(utterance, confidence=0.0, doubt="repeats itself")
    return replace(utterance, confidence=min(1.0, math.exp(utterance.avg_logprob)))


def _segment(value: Mapping[str, Any], language: str | None) -> Utterance:
    words = tuple(
        Word(
            Span(float(word["start"]), float(word["end"])),
            str(word["word"]).strip(),
            _number(word.get("probability", word.get("score"))),
        )
        for word in value.get("words") or ()
        if word.get("start") is not None and word.get("end") is not None
    )
    complete = len(words) == len(value.get("words") or ())  # WhisperX cannot align numbers
    return judged(
        Utterance(
            span=Span(float(value["start"]), float(value["end"])),
            text=" ".join(str(value["text"]).split()),
            words=words if complete else (),
            speaker=value.get("speaker"),
            language=value.get("language") or language,
            avg_logprob=_number(value.get("avg_logprob")),
            no_speech_prob=_number(value.get("no_speech_prob")),
        )
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
