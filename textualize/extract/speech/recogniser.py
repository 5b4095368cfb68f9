"""What is said in a clip: the transcript a corpus brings, or PocketSphinx.

PocketSphinx carries its models in the package and always runs, but reads conversational speech
badly; its confidence is capped so that nothing downstream takes its words at face value. Give a
transcript, or Whisper weights (`whisper.py`), where there are any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textualize.errors import missing_package
from textualize.extract.imports import rttm
from textualize.extract.sensor import Imported, Reader, Reading, Reads
from textualize.extract.sound import SAMPLE_RATE, Stretch
from textualize.extract.speech import voice_activity
from textualize.extract.speech.transcripts import Transcript, read_transcript
from textualize.types import Float32, Modality, Span, Status, Utterance, Word

if TYPE_CHECKING:
    from textualize.extract.video import Media

POCKETSPHINX_MAX_CONFIDENCE = 0.5  # its posteriors reach 1 for words it gets wrong
POCKETSPHINX_RATE_HZ = 100.0  # frames per second of the bundled acoustic model
MAX_PIECE_S = 20.0  # PocketSphinx's lattice grows with the utterance
PAD_S = 0.2  # silence the recogniser wants around speech
TARGET_DBFS = -23.0  # level of speech the gain is set to before recognition


class Sidecar:
    """The transcript a corpus already brings: `clip.transcript`, else a file beside the video.

    `clip.sidecars["transcript"]` names an SRT, VTT, Whisper JSON or text file,
    `clip.sidecars["speakers"]` an RTTM file that says who speaks when. Confidence stays None
    unless the file gives one: nobody measured it. The status says how a file in an odd encoding
    was read.
    """

    name = "sidecar"
    version = "2"
    modality: Modality = "speech"
    reads: tuple[Reads, ...] = ()
    weights = ""

    def __init__(self) -> None:
        """Build the sensor; it has nothing to load."""
        self.options: Mapping[str, str | float | int | bool | None] = {}

    def begin(self, media: Media) -> Reader:
        """Return a reader that gives the words inside the clip's span; absent without any."""
        return Imported(partial(self._read, media))

    def _read(self, media: Media) -> Reading:
        clip = media.clip
        if clip.transcript is not None:
            text = " ".join(clip.transcript.split())
            given = Transcript((Utterance(media.span, text),) if text else ())
        elif "transcript" in clip.sidecars:
            given = read_transcript(Path(clip.sidecars["transcript"]), media.span)
        else:
            return Reading(Status("absent", self.name, "no transcript given"))
        if not given.utterances:
            return Reading(Status("absent", self.name, "the transcript has no words in this span"))
        utterances = tuple(replace(u, source=self.name) for u in given.utterances)
        note = given.note
        if rttm.KEY in clip.sidecars:
            turns = rttm.read_turns(clip.sidecars[rttm.KEY], clip.id)
            utterances, unknown = rttm.with_speakers(utterances, turns)
            alone = f"{unknown} of {len(utterances)} utterances overlap no turn" if unknown else ""
            note = "; ".join(n for n in (note, alone) if n)
        return Reading(Status("observed", self.name, note), utterances=utterances)


class PocketSphinx:
    """The recogniser that ships inside the `pocketsphinx` package (US English, offline).

    Its confidences are word posteriors times `POCKETSPHINX_MAX_CONFIDENCE`, so they never pass
    0.5. It hears words in any noise, so a clip must first have speech in it for Silero's
    detector (part of faster-whisper; `options["voice_activity"]` says if it is there, and is
    part of the result's key). The acoustic front end is reset for every piece of speech, so
    that a result does not depend on the clip read before.
    """

    name = "pocketsphinx"
    version = "2"
    modality: Modality = "speech"
    reads: tuple[Reads, ...] = ("sound",)

    def __init__(self) -> None:
        """Load the bundled models (about a second); raises TextualizeError without the package."""
        try:
            import pocketsphinx
        except ImportError:
            raise missing_package("the pocketsphinx sensor", "pocketsphinx", "extract") from None
        self.options: Mapping[str, str | float | int | bool | None] = {
            "max_piece_s": MAX_PIECE_S,
            "target_dbfs": TARGET_DBFS,
            "voice_activity": "silero" if voice_activity.installed() else "not installed",
            "vad_threshold": voice_activity.VOICE,
        }
        self.weights = f"pocketsphinx {package_version('pocketsphinx')}"
        self._decoder = pocketsphinx.Decoder(cmn="batch", loglevel="FATAL")

    def begin(self, media: Media) -> Reader:
        """Return a reader that gives one low-confidence utterance per piece of speech."""
        return _Recognised(self._decoder)


class _Recognised(Reader):
    """One clip's words, found stretch by stretch."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self._utterances: list[Utterance] = []
        self._seconds = 0.0
        self._voiced = not voice_activity.installed()

    def sound(self, stretch: Stretch) -> None:
        samples = stretch.samples
        self._seconds += len(samples) / SAMPLE_RATE
        if voice_activity.installed():
            if not voice_activity.has_voice(samples):
                return
            self._voiced = True
        for piece in speech_pieces(samples):
            words = self._words(stretch, piece)
            if words:
                self._utterances.append(_utterance(words, PocketSphinx.name))

    def finish(self) -> Reading:
        if self._utterances:
            observed = Status("observed", PocketSphinx.name)
            return Reading(observed, utterances=tuple(self._utterances))
        return Reading(nothing_heard(PocketSphinx.name, self._seconds, self._voiced))

    def _words(self, stretch: Stretch, piece: Span) -> tuple[Word, ...]:
        samples = stretch.samples[round(piece.start * SAMPLE_RATE) : round(piece.end * SAMPLE_RATE)]
        decoder = self._decoder
        decoder.reinit_feat()  # noise and mean estimates of the clip before would leak in
        decoder.start_utt()
        decoder.process_raw(as_pcm16(samples), full_utt=True)
        decoder.end_utt()
        if decoder.hyp() is None:
            return ()
        rate = POCKETSPHINX_RATE_HZ
        begin = stretch.time + piece.start - PAD_S
        last = stretch.time + len(stretch.samples) / SAMPLE_RATE
        words = []
        for segment in decoder.seg():
            text = segment.word.partition("(")[0]  # "the(2)" is a second pronunciation
            if not text or text[0] in "<[":  # silence and noise
                continue
            start = max(stretch.time, begin + segment.start_frame / rate)
            end = min(begin + (segment.end_frame + 1) / rate, last)
            confidence = min(1.0, segment.prob) * POCKETSPHINX_MAX_CONFIDENCE
            words.append(Word(Span(start, end), text, confidence))
        return tuple(words)


def nothing_heard(source: str, seconds: float, voiced: bool) -> Status:
    """Return why a recogniser has no words: no sound, nobody speaks, or none recognised."""
    if not seconds:
        return Status("absent", source, "no audio stream")
    what = "no words recognised" if voiced else "no speech"
    return Status("absent", source, f"{what} in {seconds:.1f} s of audio")


def frame_levels(audio: Float32, hop_s: float = 0.01) -> Float32:
    """Return the level of each hop in dB re full scale, floor -100, shape (T,)."""
    hop = round(hop_s * SAMPLE_RATE)
    frames = audio[: len(audio) // hop * hop].reshape(-1, hop)
    power = np.einsum("tn,tn->t", frames, frames, dtype=np.float64) / hop
    return np.asarray(10 * np.log10(np.maximum(power, 1e-10)), np.float32)


def speech_pieces(audio: Float32, max_s: float = MAX_PIECE_S) -> list[Span]:
    """Return the stretches that are worth recognising, seconds from the start of `audio`.

    A hop counts as sound when it is within 40 dB of the loudest and above -65 dB re full scale.
    Silence at the ends is dropped; what is longer than `max_s` is cut at its longest pause.
    """
    levels = frame_levels(audio)
    if not len(levels):
        return []
    loud = np.flatnonzero(levels > max(float(levels.max()) - 40.0, -65.0))
    if not len(loud):
        return []
    first, last = int(loud[0]), int(loud[-1])
    return [Span(a / 100, b / 100) for a, b in _cut(levels, first, last + 1, max_s)]


def as_pcm16(samples: Float32) -> bytes:
    """Return 16-bit PCM with `PAD_S` of silence on both sides, its speech at TARGET_DBFS.

    The gain follows the loud hops (90th percentile), not the mean, so that pauses do not raise
    it; it never clips.
    """
    level = float(np.percentile(frame_levels(samples), 90)) if len(samples) >= 160 else -100.0
    peak = float(np.abs(samples).max(initial=0.0))
    gain = min(10 ** ((TARGET_DBFS - level) / 20), 0.98 / max(peak, 1e-6))
    pad = np.zeros(round(PAD_S * SAMPLE_RATE), np.float32)
    scaled = np.concatenate([pad, samples * gain, pad])
    return bytes((scaled * 32767).astype("<i2").tobytes())


def _cut(levels: Float32, start: int, end: int, max_s: float) -> list[tuple[int, int]]:
    most = round(max_s * 100)
    if end - start <= most:
        return [(start, end)]
    # Quietest half second that leaves neither side shorter than a fifth of a piece.
    margin, width = most // 5, 50
    inside = levels[start + margin : min(end - margin, start + most)]
    smooth = np.convolve(inside, np.ones(width) / width, mode="same")
    at = start + margin + int(np.argmin(smooth))
    return [(start, at), *_cut(levels, at, end, max_s)]


def _utterance(words: tuple[Word, ...], source: str) -> Utterance:
    confidences = [w.confidence for w in words if w.confidence is not None]
    return Utterance(
        span=Span(words[0].span.start, words[-1].span.end),
        text=" ".join(word.text for word in words),
        words=words,
        confidence=float(np.mean(confidences)) if confidences else None,
        source=source,
    )
