"""What is said in a clip: a given transcript, PocketSphinx, or Whisper.

PocketSphinx carries its models in the package and always runs, but reads conversational speech
badly; its confidence is capped so that nothing downstream takes its words at face value. Give a
transcript or Whisper weights where there are any.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version as package_version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textualize.errors import TextualizeError, missing_package, unknown
from textualize.extract.sensor import Reading
from textualize.extract.transcripts import read_transcript
from textualize.types import Float32, Modality, Span, Status, Utterance, Word

if TYPE_CHECKING:
    from textualize.extract.video import Media

SAMPLE_RATE = 16_000
POCKETSPHINX_MAX_CONFIDENCE = 0.5  # its posteriors reach 1 for words it gets wrong
POCKETSPHINX_RATE_HZ = 100.0  # frames per second of the bundled acoustic model
MAX_PIECE_S = 20.0  # PocketSphinx's lattice grows with the utterance
PAD_S = 0.2  # silence the recogniser wants around speech
TARGET_DBFS = -23.0  # level of speech the gain is set to before recognition
WHISPER_BEAM = 5
VAD_THRESHOLD = 0.5  # probability of speech (Silero) from which a stretch counts as speech
NO_SPEECH = 0.6  # Radford et al. 2022, section 4.5: with a log-probability below LOW_LOGPROB,
LOW_LOGPROB = -1.0  # the words were made up over something that is not speech
REPETITIVE = 2.4  # gzip ratio of text that loops (same section)


class Sidecar:
    """The transcript a corpus already brings: `clip.transcript`, else a file beside the video.

    `clip.sidecars["transcript"]` names an SRT, VTT, Whisper JSON or text file. Confidence stays
    None unless the file gives one: nobody measured it.
    """

    name = "sidecar"
    version = "1"
    modality: Modality = "speech"
    weights = ""

    def __init__(self) -> None:
        """Build the sensor; it has nothing to load."""
        self.options: Mapping[str, str | float | int | bool | None] = {}

    def read(self, media: Media) -> Reading:
        """Return the given words inside the clip's span; absent when none are given."""
        clip = media.clip
        given: tuple[Utterance, ...]
        if clip.transcript is not None:
            text = " ".join(clip.transcript.split())
            given = (Utterance(media.span, text),) if text else ()
        elif "transcript" in clip.sidecars:
            given = read_transcript(Path(clip.sidecars["transcript"]), media.span)
        else:
            return Reading(Status("absent", self.name, "no transcript given"))
        if not given:
            return Reading(Status("absent", self.name, "the transcript has no words in this span"))
        utterances = tuple(replace(u, source=self.name) for u in given)
        return Reading(Status("observed", self.name), utterances=utterances)


class PocketSphinx:
    """The recogniser that ships inside the `pocketsphinx` package (US English, offline).

    Its confidences are word posteriors times `POCKETSPHINX_MAX_CONFIDENCE`, so they never pass
    0.5. It hears words in any noise, so a clip must first have speech in it for Silero's
    detector (part of faster-whisper; `options["voice_activity"]` says if it is there, and is
    part of the result's key). The acoustic front end is reset for every piece of speech, so
    that a result does not depend on the clip read before.
    """

    name = "pocketsphinx"
    version = "1"
    modality: Modality = "speech"

    def __init__(self) -> None:
        """Load the bundled models (about a second); raises TextualizeError without the package."""
        try:
            import pocketsphinx
        except ImportError:
            raise missing_package("the pocketsphinx sensor", "pocketsphinx", "extract") from None
        self.options: Mapping[str, str | float | int | bool | None] = {
            "max_piece_s": MAX_PIECE_S,
            "target_dbfs": TARGET_DBFS,
            "voice_activity": "silero" if find_spec("faster_whisper") else "not installed",
            "vad_threshold": VAD_THRESHOLD,
        }
        self.weights = f"pocketsphinx {package_version('pocketsphinx')}"
        self._decoder = pocketsphinx.Decoder(cmn="batch", loglevel="FATAL")

    def read(self, media: Media) -> Reading:
        """Return one low-confidence utterance per stretch of speech."""
        if not media.has_audio or not len(media.audio):
            return Reading(Status("absent", self.name, "no audio stream"))
        if self.options["voice_activity"] == "silero" and not has_speech(media.audio):
            reason = f"no speech in {len(media.audio) / SAMPLE_RATE:.1f} s of audio"
            return Reading(Status("absent", self.name, reason))
        utterances = []
        for piece in speech_pieces(media.audio):
            words = self._words(media.audio, piece, media.span.start)
            if words:
                utterances.append(_utterance(words, self.name))
        if not utterances:
            return Reading(_no_words(self.name, media.audio))
        return Reading(Status("observed", self.name), utterances=tuple(utterances))

    def _words(self, audio: Float32, piece: Span, offset: float) -> tuple[Word, ...]:
        samples = audio[round(piece.start * SAMPLE_RATE) : round(piece.end * SAMPLE_RATE)]
        decoder = self._decoder
        decoder.reinit_feat()  # noise and mean estimates of the clip before would leak in
        decoder.start_utt()
        decoder.process_raw(as_pcm16(samples), full_utt=True)
        decoder.end_utt()
        if decoder.hyp() is None:
            return ()
        rate = POCKETSPHINX_RATE_HZ
        begin = offset + piece.start - PAD_S
        words = []
        for segment in decoder.seg():
            text = segment.word.partition("(")[0]  # "the(2)" is a second pronunciation
            if not text or text[0] in "<[":  # silence and noise
                continue
            start = max(offset, begin + segment.start_frame / rate)
            end = min(begin + (segment.end_frame + 1) / rate, offset + len(audio) / SAMPLE_RATE)
            confidence = min(1.0, segment.prob) * POCKETSPHINX_MAX_CONFIDENCE
            words.append(Word(Span(start, end), text, confidence))
        return tuple(words)


class FasterWhisper:
    """Whisper (Radford et al. 2022) through faster-whisper, with word times.

    Decoding stays at temperature 0, so that a clip always gives the same words. A segment that
    was probably made up (no speech and unlikely words, looping text, a time past the end of the
    sound) is kept with confidence 0; others have exp(mean log-probability of their tokens).
    """

    name = "whisper"
    version = "1"
    modality: Modality = "speech"
    takes_model = True

    def __init__(self, model: str = "base") -> None:
        """Load `model`: a CTranslate2 folder, a Whisper size, or a hub id.

        Weights that are not on the machine are downloaded unless HF_HUB_OFFLINE is set. Raises
        TextualizeError when the package or the weights cannot be had.
        """
        try:
            import faster_whisper
        except ImportError:
            raise missing_package("the whisper sensor", "faster-whisper", "extract") from None
        folder = whisper_folder(model)
        self.options: Mapping[str, str | float | int | bool | None] = {
            "model": model,
            "beam_size": WHISPER_BEAM,
            "vad_threshold": VAD_THRESHOLD,
            "compute_type": "int8",
        }
        self.weights = _digest(folder / "model.bin")
        try:
            self._model = faster_whisper.WhisperModel(
                str(folder), device="auto", compute_type="int8", cpu_threads=1
            )
        except (RuntimeError, ValueError) as error:
            raise TextualizeError(f"whisper weights in '{folder}' do not load: {error}") from error

    def read(self, media: Media) -> Reading:
        """Return one utterance per Whisper segment; the status names the language it heard."""
        if not media.has_audio or not len(media.audio):
            return Reading(Status("absent", self.name, "no audio stream"))
        segments, about = self._model.transcribe(
            media.audio,
            beam_size=WHISPER_BEAM,
            temperature=0.0,
            condition_on_previous_text=False,  # a made-up sentence must not breed the next
            no_speech_threshold=None,  # would drop segments unseen; they are flagged instead
            word_timestamps=True,
            vad_filter=True,
            vad_parameters={"threshold": VAD_THRESHOLD},
        )
        utterances = tuple(
            whisper_utterance(segment, media.span) for segment in segments if segment.text.strip()
        )
        if not utterances:
            return Reading(_no_words(self.name, media.audio))
        heard = f"language {about.language}, probability {about.language_probability:.2f}"
        return Reading(Status("observed", self.name, heard), utterances=utterances)


def whisper_folder(model: str) -> Path:
    """Return the folder that holds a model's CTranslate2 files, downloading them if allowed.

    Raises TextualizeError when there is no such folder, size or hub id within reach.
    """
    if Path(model).is_dir():
        if not (Path(model) / "model.bin").is_file():
            raise TextualizeError(
                f"'{model}' has no model.bin: convert the checkpoint with "
                "ct2-transformers-converter --copy_files tokenizer.json preprocessor_config.json"
            )
        return Path(model)
    from faster_whisper.utils import available_models, download_model

    if "/" not in model and model not in available_models():
        raise unknown("whisper model", model, available_models(), "or give a folder or a hub id")
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}
    try:
        return Path(download_model(model, local_files_only=offline))
    except (OSError, ValueError, RuntimeError) as error:  # all errors of the hub are one of these
        way = "unset HF_HUB_OFFLINE to allow the download"
        if not offline:
            way = f"the download failed ({(str(error).splitlines() or [''])[0]})"
        raise TextualizeError(
            f"whisper weights '{model}' are not on this machine: "
            f"give a folder (sensor whisper=/path); {way}"
        ) from error


def whisper_utterance(segment: Any, span: Span) -> Utterance:
    """Return one faster-whisper Segment with times of the file, inside `span`.

    The segment is untyped because its package is optional. See `FasterWhisper` for confidence.
    """

    def time(start: float, end: float) -> Span:
        first = min(span.start + start, span.end)  # Whisper can name times past the sound's end
        return Span(first, max(first, min(span.start + end, span.end)))

    where = time(segment.start, segment.end)
    invented = segment.no_speech_prob > NO_SPEECH and segment.avg_logprob < LOW_LOGPROB
    invented = invented or segment.compression_ratio > REPETITIVE or not where
    return Utterance(
        span=where,
        text=segment.text.strip(),
        words=tuple(
            Word(time(word.start, word.end), word.word.strip(), float(word.probability))
            for word in segment.words or ()
        ),
        confidence=0.0 if invented else min(1.0, math.exp(segment.avg_logprob)),
        source=FasterWhisper.name,
    )


def has_speech(audio: Float32) -> bool:
    """Return whether Silero's detector, which faster-whisper brings, finds any speech."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    return bool(get_speech_timestamps(audio, VadOptions(threshold=VAD_THRESHOLD)))


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
    return [Span(a / 100, b / 100) for a, b in _cut(levels, loud[0], loud[-1] + 1, max_s)]


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


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def _no_words(source: str, audio: Float32) -> Status:
    seconds = len(audio) / SAMPLE_RATE
    return Status("absent", source, f"no words recognised in {seconds:.1f} s of audio")
