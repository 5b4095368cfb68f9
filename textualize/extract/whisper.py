"""Whisper (Radford et al. 2022) in three implementations that give the same utterances.

All three are shown the same chunks: speech found by voice activity (and what may be whispered),
cut at quiet places, at most half a minute each. Sound without a voice is not shown to them: over
silence, tones and music Whisper makes words up. What they may still have made up is kept with
confidence 0 and a `doubt`; what may be whispered keeps at most `WHISPER_MAX_CONFIDENCE`.
Decoding stays at temperature 0, so that a clip always gives the same words.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from textualize.errors import TextualizeError, missing_package, unknown
from textualize.extract import voice_activity
from textualize.extract.sensor import Reader, Reading, Reads
from textualize.extract.sound import SAMPLE_RATE, Stretch
from textualize.extract.speech import nothing_heard, speech_pieces
from textualize.extract.transcripts import judged
from textualize.types import Float32, Modality, Span, Status, Utterance, Word

if TYPE_CHECKING:
    from textualize.extract.video import Media

CHUNK_S = 29.0  # Whisper's window is 30 s
PAUSE_S = 5.0  # a longer silence is not put into a chunk
VOICED_SHARE = 0.1  # of an utterance and the half second around it, below which it has no voice
WHISPER_MAX_CONFIDENCE = 0.3

Options = Mapping[str, str | float | int | bool | None]


class Said(NamedTuple):
    """A segment as a recogniser gives it, times from the start of the stretch, and its chunk."""

    chunk: Span
    utterance: Utterance


Hear = Callable[[Float32, list[Span]], Iterable[Said]]


class FasterWhisper:
    """Whisper through faster-whisper (CTranslate2), batched, with word times."""

    name = "whisper"
    version = "2"
    modality: Modality = "speech"
    reads: tuple[Reads, ...] = ("sound",)
    takes_model = True

    def __init__(
        self,
        model: str = "base",
        *,
        language: str = "",
        beam: int = 5,
        batch: int = 8,
        device: str = "auto",
        compute_type: str = "int8",
    ) -> None:
        """Load `model`: a CTranslate2 folder, a Whisper size, or a hub id.

        Weights that are not on the machine are downloaded unless HF_HUB_OFFLINE is set.
        `language` (a code) is heard in each stretch when not given. `batch` chunks are
        recognised at once, on one thread. Raises TextualizeError when the package or the
        weights cannot be had, or an option is not one the model knows.
        """
        try:
            import faster_whisper
        except ImportError:
            raise missing_package("the whisper sensor", "faster-whisper", "extract") from None
        folder = whisper_folder(model)
        self.options: Options = {**_shared(model, language, beam), "compute_type": compute_type}
        self.weights = digest([folder / "model.bin"])
        try:
            loaded = faster_whisper.WhisperModel(
                str(folder), device=device, compute_type=compute_type, cpu_threads=1
            )
        except (RuntimeError, ValueError) as error:
            raise _not_loaded("whisper", folder, error) from error
        _check(language, loaded.supported_languages)
        self._pipeline = faster_whisper.BatchedInferencePipeline(loaded)
        self._language, self._beam, self._batch = language or None, beam, batch

    def begin(self, media: Media) -> Reader:
        """Return a reader that gives one utterance per segment of speech."""
        return Listener(self.name, self._hear)

    def _hear(self, samples: Float32, chunks: list[Span]) -> Iterator[Said]:
        segments, about = self._pipeline.transcribe(
            samples,
            language=self._language,
            beam_size=self._beam,
            temperature=0.0,
            without_timestamps=False,
            word_timestamps=True,
            clip_timestamps=[{"start": c.start, "end": c.end} for c in chunks],
            batch_size=self._batch,
        )
        for segment in segments:
            chunk = min(chunks, key=lambda c: abs(c.start * 100 - segment.seek))
            words = [(w.start, w.end, w.word, w.probability) for w in segment.words or ()]
            yield _said(chunk, vars(segment), words, about.language, 0.0)


class OpenAIWhisper:
    """Whisper through OpenAI's own package, `openai-whisper`, chunk by chunk.

    It is given samples, so it needs no ffmpeg program. A `.pt` file is a pickle; the package
    loads it with `weights_only=True`, as PyTorch does from 2.6, so that it runs no code.
    """

    name = "openai-whisper"
    version = "1"
    modality: Modality = "speech"
    reads: tuple[Reads, ...] = ("sound",)
    takes_model = True

    def __init__(
        self, model: str = "base", *, language: str = "", beam: int = 5, device: str = "auto"
    ) -> None:
        """Load `model`: a Whisper size or a `.pt` file.

        A size that is not on the machine is downloaded unless HF_HUB_OFFLINE is set. Raises
        TextualizeError when the package or the weights cannot be had.
        """
        try:
            import whisper
        except ImportError:
            raise TextualizeError(
                "the openai-whisper sensor needs openai-whisper: pip install openai-whisper"
            ) from None
        path = _openai_weights(model, whisper)
        self.options: Options = _shared(model, language, beam)
        try:
            self._model = whisper.load_model(
                str(path or model), device=None if device == "auto" else device
            )
        except Exception as error:  # the unpickler's, urllib's and PyTorch's have no common class
            raise _not_loaded(self.name, path or model, error) from error
        self.weights = digest([path or _openai_cache(whisper, model)])
        known = whisper.tokenizer.LANGUAGES if self._model.is_multilingual else ["en"]
        _check(language, known)
        self._language, self._beam = language or None, beam

    def begin(self, media: Media) -> Reader:
        """Return a reader that gives one utterance per segment of speech."""
        return Listener(self.name, self._hear)

    def _hear(self, samples: Float32, chunks: list[Span]) -> Iterator[Said]:
        language = self._language
        for chunk in chunks:
            result = self._model.transcribe(
                _cut(samples, chunk),
                language=language,
                beam_size=self._beam if self._beam > 1 else None,
                temperature=0.0,
                condition_on_previous_text=False,  # a made-up sentence must not breed the next
                no_speech_threshold=None,  # would drop segments unseen; they are flagged instead
                logprob_threshold=None,
                compression_ratio_threshold=None,
                word_timestamps=True,
                fp16=self._model.device.type != "cpu",
            )
            language = language or result["language"]  # heard once a stretch
            for segment in result["segments"]:
                words = [
                    (w["start"], w["end"], w["word"], w["probability"])
                    for w in segment.get("words", ())
                ]
                yield _said(chunk, segment, words, language, chunk.start)


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
            inner = speech_pieces(_cut(samples, Span(start, span.end)), CHUNK_S)
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
    return [Span(np.floor(c.start * 100) / 100, c.end) for c in chunks]


def doubted(
    said: Utterance, chunk: Span, samples: Float32, whispered: Sequence[Span]
) -> Utterance:
    """Return an utterance within its chunk, with confidence and why it may not have been said.

    Besides what its own numbers say (`transcripts.judged`), words are doubted that lie beyond
    the chunk's sound, or where the detector finds no voice: over music (a tonal spectrum), over
    a possible whisper, or over something else.
    """
    inside = _clamped(said, chunk)
    if not inside.span:
        return replace(inside, confidence=0.0, doubt="beyond the sound")
    heard = judged(inside)
    if heard.doubt or not voice_activity.installed() or _has_voice(samples, heard.span):
        return heard
    if sum((heard.span & w).duration for w in whispered) >= heard.span.duration / 2:
        low = min(heard.confidence or 0.0, WHISPER_MAX_CONFIDENCE)
        return replace(heard, confidence=low, doubt="whispered, or not speech")
    tonal = voice_activity.sound_of(_cut(samples, heard.span)).tonal
    return replace(heard, confidence=0.0, doubt="over music" if tonal else "no voice heard")


def whisper_folder(model: str) -> Path:
    """Return the folder that holds a model's CTranslate2 files, downloading them if allowed.

    Raises TextualizeError when there is no such folder, size or hub id within reach.
    """
    from faster_whisper.utils import available_models, download_model

    if "/" not in model and not Path(model).exists() and model not in available_models():
        raise unknown("whisper model", model, available_models(), "or give a folder or a hub id")
    folder = _local("whisper", model, lambda offline: download_model(model, local_files_only=offline))
    if not (folder / "model.bin").is_file():
        raise TextualizeError(
            f"'{folder}' has no model.bin: convert the checkpoint with "
            "ct2-transformers-converter --copy_files tokenizer.json preprocessor_config.json"
        )
    return folder


def _local(sensor: str, model: str, download: Callable[[bool], str]) -> Path:
    """Return the folder of a model, downloaded unless HF_HUB_OFFLINE is set."""
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if path.exists() or model.startswith(("/", ".", "~")) or model.count("/") > 1:
        raise TextualizeError(f"there is no folder '{model}'; give {sensor}=FOLDER or a hub id")
    try:
        return Path(download(_offline()))
    except (OSError, ValueError, RuntimeError) as error:  # all errors of the hub are one of these
        raise _not_here(sensor, model, error) from error


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}


def _not_here(sensor: str, model: str, error: object = "") -> TextualizeError:
    way = "unset HF_HUB_OFFLINE to allow the download"
    if not _offline():
        way = f"the download failed ({(str(error).splitlines() or [''])[0]})"
    return TextualizeError(
        f"{sensor} weights '{model}' are not on this machine: give {sensor}=PATH; {way}"
    )


def _not_loaded(sensor: str, where: object, error: BaseException) -> TextualizeError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return TextualizeError(f"{sensor} weights '{where}' do not load: {reason}")


def _openai_cache(whisper: Any, model: str) -> Path:
    """Return where the package keeps a size's weights (its `load_model` says so)."""
    root = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(root) / "whisper" / Path(whisper._MODELS[model]).name


def _openai_weights(model: str, whisper: Any) -> Path | None:
    """Return the `.pt` file given, None for a size that is here or may be downloaded."""
    path = Path(model).expanduser()
    if path.is_file():
        return path
    if "/" in model or model.endswith(".pt"):
        raise TextualizeError(f"there is no file '{model}'; give openai-whisper=FILE.pt or a size")
    if model not in whisper.available_models():
        sizes = whisper.available_models()
        raise unknown("openai-whisper model", model, sizes, "or give a .pt file")
    if _offline() and not _openai_cache(whisper, model).is_file():
        raise _not_here("openai-whisper", model)
    return None


def digest(paths: Iterable[Path]) -> str:
    """Return 16 hex digits of the SHA-256 over files' contents, in order."""
    whole = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()[:16]


def _check(language: str, known: Iterable[str]) -> None:
    if language and language not in known:
        raise unknown("language of this whisper model", language, known, "leave it out to detect")


def _shared(model: str, language: str, beam: int) -> dict[str, str | float | int | bool | None]:
    """Return what decides the words in all three; batch and device do not."""
    path = Path(model)
    return {
        "model": path.name if path.exists() else model,
        "language": language,
        "beam": beam,
        "chunk_s": CHUNK_S,
        "voice_activity": "silero" if voice_activity.installed() else "not installed",
        "vad_threshold": voice_activity.VOICE,
    }


def _said(
    chunk: Span,
    segment: Mapping[str, Any],
    words: Iterable[tuple[float, float, str, float]],
    language: str | None,
    offset: float,
) -> Said:
    """Return a segment, its times moved by `offset` to the start of the stretch."""
    return Said(
        chunk,
        Utterance(
            Span(offset + segment["start"], offset + segment["end"]),
            " ".join(segment["text"].split()),
            tuple(
                Word(Span(offset + start, offset + end), text.strip(), float(probability))
                for start, end, text, probability in words
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


def _cut(samples: Float32, span: Span) -> Float32:
    return samples[round(span.start * SAMPLE_RATE) : round(span.end * SAMPLE_RATE)]
