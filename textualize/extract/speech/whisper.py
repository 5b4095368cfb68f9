"""Whisper (Radford et al. 2022) in three implementations that give the same utterances.

All three are shown the same chunks of speech, and doubted in the same way (`listening.py`).
Decoding stays at temperature 0, so that a clip always gives the same words.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from textualize.errors import TextualizeError, first_line, missing_package, unknown
from textualize.extract.sensor import Reader, Reads
from textualize.extract.speech import voice_activity
from textualize.extract.speech.listening import CHUNK_S, Listener, Said, batch_for, cut, said_by
from textualize.files import files_digest
from textualize.types import Float32, Modality, Span

if TYPE_CHECKING:
    from textualize.extract.video import Media

Options = Mapping[str, str | float | int | bool | None]


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
        batch: int = 0,
        device: str = "auto",
        compute_type: str = "int8",
    ) -> None:
        """Load `model`: a CTranslate2 folder, a Whisper size, or a hub id.

        Weights that are not on the machine are downloaded unless HF_HUB_OFFLINE is set.
        `language` (a code) is heard in each stretch when not given. `batch` chunks are
        recognised at once, on one thread; 0 means `batch_for` the device. Raises
        TextualizeError when the package or the weights cannot be had, or an option is not one
        the model knows.
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
        self._language, self._beam = language or None, beam
        self._batch = batch or batch_for(loaded.model.device)

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
            yield said_by(chunk, vars(segment), words, about.language, 0.0)


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
            import whisper  # type: ignore[import-not-found]
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
                cut(samples, chunk),
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
                yield said_by(chunk, segment, words, language, chunk.start)


class TransformersWhisper:
    """Whisper through transformers (`WhisperForConditionalGeneration`), batched.

    The mean log-probability is that of the text, given without times (see `whisper_torch.py`).
    """

    name = "transformers-whisper"
    version = "1"
    modality: Modality = "speech"
    reads: tuple[Reads, ...] = ("sound",)
    takes_model = True

    def __init__(
        self,
        model: str = "openai/whisper-base",
        *,
        language: str = "",
        beam: int = 5,
        batch: int = 0,
        device: str = "auto",
    ) -> None:
        """Load `model`: a folder or a hub id with safetensors.

        Weights that are not on the machine are downloaded unless HF_HUB_OFFLINE is set. `batch` 0
        means `batch_for` the device. Raises TextualizeError when the package or the weights
        cannot be had.
        """
        missing = missing_package(f"the {self.name} sensor", "transformers", "finetune")
        try:
            from huggingface_hub import snapshot_download
        except ImportError:
            raise missing from None

        def download(offline: bool) -> str:
            wanted = ["*.json", "*.txt", "model*.safetensors"]
            return snapshot_download(model, allow_patterns=wanted, local_files_only=offline)

        folder = _local(self.name, model, download)
        files = sorted(folder.glob("model*.safetensors"))
        if not files:
            raise TextualizeError(f"'{folder}' has no model.safetensors: save the model with it")
        try:  # after the weights are found: it takes seconds
            from textualize.extract.speech.whisper_torch import Transcriber
        except ImportError:
            raise missing from None
        self.options: Options = _shared(model, language, beam)
        self.weights = digest(files)
        try:
            self._transcriber = Transcriber(folder, beam, batch, device)
        except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
            raise _not_loaded(self.name, folder, error) from error
        _check(language, self._transcriber.languages)
        self._language = language or None

    def begin(self, media: Media) -> Reader:
        """Return a reader that gives one utterance per segment of speech."""
        return Listener(self.name, self._hear)

    def _hear(self, samples: Float32, chunks: list[Span]) -> Iterator[Said]:
        return self._transcriber.hear(samples, chunks, self._language)


def whisper_folder(model: str) -> Path:
    """Return the folder that holds a model's CTranslate2 files, downloading them if allowed.

    Raises TextualizeError when there is no such folder, size or hub id within reach.
    """
    from faster_whisper.utils import available_models, download_model

    if "/" not in model and not Path(model).exists() and model not in available_models():
        raise unknown("whisper model", model, available_models(), "or give a folder or a hub id")
    folder = _local(
        "whisper", model, lambda offline: download_model(model, local_files_only=offline)
    )
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
    return TextualizeError(f"{sensor} weights '{where}' do not load: {first_line(error)}")


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
    return files_digest(paths)[:16]


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
