"""From stretches of sound to doubted utterances, for any recogniser of half-minute chunks.

A recogniser is shown speech found by voice activity (and what may be whispered), cut at quiet
places. Sound without a voice is not shown to it: over silence, tones and music it would make
words up. What it may still have made up is kept with confidence 0 and a `doubt`; what may be
whispered keeps at most `WHISPER_MAX_CONFIDENCE`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from textualize.extract.sensor import Reader, Reading
from textualize.extract.sound import SAMPLE_RATE, Stretch
from textualize.extract.speech import voice_activity
from textualize.extract.speech.recogniser import nothing_heard, speech_pieces
from textualize.extract.speech.transcripts import judged
from textualize.types import Float32, Span, Status, Utterance, Word

CHUNK_S = 29.0  # Whisper's window is 30 s
PAUSE_S = 5.0  # a longer silence is not put into a chunk
VOICED_SHARE = 0.1  # of an utterance and the half second around it, below which it has no voice
WHISPER_MAX_CONFIDENCE = 0.3


class Said(NamedTuple):
    """A segment as a recogniser gives it, times from the start of the stretch, and its chunk."""

    chunk: Span
    utterance: Utterance


Hear = Callable[[Float32, list[Span]], Iterable[Said]]


class Listener(Reader):
    """Finds speech in each stretch, has it recognised, and doubts what it hears.

    Nothing is kept of a stretch but the utterances.
    """

    def __init__(self, name: str, hear: Hear) -> None:
        """Take the sensor's name and what recognises chunks of a stretch."""
        self._name, self._hear = name, hear
        self._said: list[Utterance] = []
        self._seconds = 0.0
        self._voiced = False

    def sound(self, stretch: Stretch) -> None:
        """Recognise the speech of one stretch."""
        samples = stretch.samples
        self._seconds += len(samples) / SAMPLE_RATE
        spoken, whispered = find_speech(samples)
        chunks = speech_chunks(samples, [*spoken, *whispered])
        if not chunks:
            return
        self._voiced = True
        for chunk, utterance in self._hear(samples, chunks):
            if utterance.text:
                heard = doubted(utterance, chunk, samples, whispered)
                self._said.append(_moved(heard, stretch.time, self._name))

    def finish(self) -> Reading:
        """Return what was said; the status names the languages and counts the doubted."""
        if not self._said:
            return Reading(nothing_heard(self._name, self._seconds, self._voiced))
        languages = Counter(u.language for u in self._said if u.language)
        notes = [f"language {', '.join(code for code, _ in languages.most_common())}"]
        doubts = sum(bool(u.doubt) for u in self._said)
        if doubts:
            notes.append(f"{doubts} of {len(self._said)} utterances doubted")
        return Reading(
            Status("observed", self._name, "; ".join(notes)),
            utterances=tuple(sorted(self._said, key=lambda u: u.span)),
        )


def find_speech(samples: Float32) -> tuple[list[Span], list[Span]]:
    """Return where there is a voice, and where else there may be a whisper.

    Without a voice activity detector all that is not silent counts as spoken.
    """
    if not voice_activity.installed():
        return speech_pieces(samples, CHUNK_S), []
    spoken = voice_activity.voice_activity(samples)
    return spoken, voice_activity.whispers(samples, spoken)


def speech_chunks(samples: Float32, spans: Sequence[Span]) -> list[Span]:
    """Return chunks of at most `CHUNK_S` that cover the spans, in order, without overlap.

    Spans less than `PAUSE_S` apart share a chunk while they fit. A span longer than a chunk is
    cut where it is quietest. Starts are whole hundredths of a second, Whisper's frame.
    """
    pieces: list[Span] = []
    for span in sorted(spans):
        start = max(span.start, pieces[-1].end) if pieces else span.start
        if span.end - start > CHUNK_S:
            inner = speech_pieces(cut(samples, Span(start, span.end)), CHUNK_S)
            pieces += [Span(start + s.start, start + s.end) for s in inner]
        elif span.end > start:
            pieces.append(Span(start, span.end))
    chunks: list[Span] = []
    for piece in pieces:
        near = bool(chunks) and piece.start - chunks[-1].end < PAUSE_S
        if near and piece.end - chunks[-1].start <= CHUNK_S:
            chunks[-1] = Span(chunks[-1].start, piece.end)
        else:
            chunks.append(piece)
    return [Span(math.floor(c.start * 100) / 100, c.end) for c in chunks]


def doubted(said: Utterance, chunk: Span, samples: Float32, whispered: Sequence[Span]) -> Utterance:
    """Return an utterance within its chunk, with confidence and why it may not have been said.

    Besides what its own numbers say (`transcripts.judged`), words are doubted that lie beyond
    the chunk's sound, or where the detector finds no voice: over music (a tonal spectrum), over
    a possible whisper, or over something else.
    """
    inside = _clamped(said, chunk)
    if not inside.span:
        beyond = said.span.end > chunk.end
        doubt = "beyond the sound" if beyond else "takes no time"
        return replace(inside, confidence=0.0, doubt=doubt)
    heard = judged(inside)
    if heard.doubt or not voice_activity.installed() or _has_voice(samples, heard.span):
        return heard
    if sum((heard.span & w).duration for w in whispered) >= heard.span.duration / 2:
        low = min(heard.confidence or 0.0, WHISPER_MAX_CONFIDENCE)
        return replace(heard, confidence=low, doubt="whispered, or not speech")
    tonal = voice_activity.sound_of(cut(samples, heard.span)).tonal
    return replace(heard, confidence=0.0, doubt="over music" if tonal else "no voice heard")


def batch_for(device: str) -> int:
    """Return how many chunks to recognise at once: eight, but one by one on a processor.

    There batches only cost cache: eight took 1.4 times the time of one by one (faster-whisper,
    tiny, int8, beam 5), with the same words.
    """
    return 1 if device == "cpu" else 8


def said_by(
    chunk: Span,
    segment: Mapping[str, Any],
    words: Iterable[tuple[float, float, str, float]],
    language: str | None,
    offset: float,
) -> Said:
    """Return a segment of Whisper's (its fields, its words as start, end, text, probability).

    Times are moved by `offset`, to the start of the stretch.
    """
    return Said(
        chunk,
        Utterance(
            Span(offset + float(segment["start"]), offset + float(segment["end"])),
            " ".join(segment["text"].split()),
            tuple(
                Word(Span(offset + float(start), offset + float(end)), text.strip(), float(chance))
                for start, end, text, chance in words
                if text.strip()
            ),
            language=language,
            avg_logprob=float(segment["avg_logprob"]),
            no_speech_prob=float(segment["no_speech_prob"]),
        ),
    )


def _clamped(said: Utterance, chunk: Span) -> Utterance:
    def inside(span: Span) -> Span:
        start = min(max(span.start, chunk.start), chunk.end)
        return Span(start, max(start, min(span.end, chunk.end)))

    words = tuple(replace(w, span=inside(w.span)) for w in said.words)
    return replace(said, span=inside(said.span), words=words)


def _moved(said: Utterance, time: float, source: str) -> Utterance:
    def later(span: Span) -> Span:
        return Span(time + span.start, time + span.end)

    words = tuple(replace(w, span=later(w.span)) for w in said.words)
    return replace(said, span=later(said.span), words=words, source=source)


def _has_voice(samples: Float32, span: Span) -> bool:
    rate = SAMPLE_RATE / voice_activity.FRAME
    first, last = max(0, int((span.start - 0.5) * rate)), int((span.end + 0.5) * rate) + 1
    frames = voice_activity.voice_probability(samples)[first:last]
    return bool(len(frames)) and float((frames >= voice_activity.VOICE).mean()) >= VOICED_SHARE


def cut(samples: Float32, span: Span) -> Float32:
    """Return the samples of a span given in seconds from the start of the stretch."""
    return samples[round(span.start * SAMPLE_RATE) : round(span.end * SAMPLE_RATE)]
