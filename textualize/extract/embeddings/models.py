"""What a pretrained network makes of the pictures, the sound or the words, per window of time.

    --sensors embedded,visual=vision-model=/models/vit:window=0.5
    --sensors embedded,audio=audio-model=facebook/wav2vec2-base,text=text-model=minilm

Each gives one track of unit "embedding" ("visual", "audio", "text"): row i is the mean over
[start + i * window, start + (i + 1) * window) seconds, NaN where nothing was there.

- Pictures: a network for pictures reads every sampled frame, or the first of each 1 / `fps`
  seconds; its pooled output, or the mean over its tokens where it has none or the file lacks the
  pooler's weights, is averaged over the window. A network for clips (VideoMAE, TimeSformer) reads
  its number of frames per window, spread evenly, the nearest to each moment, repeated where there
  are fewer; its tokens are averaged.
- Sound: read in blocks of 24 s with 3 s of context before and after (as much as there is at the
  clip's ends); each position of the last layer belongs to the window its middle lies in. Networks
  of spectrogram patches (AST) have no positions in time: each window is read alone, in equal
  pieces if it is longer than the network takes.
- Words: the transcript is read as one text, in overlapping pieces if it is longer than the network
  takes; each token belongs to the window the middle of its word lies in. Where words have no
  times, one row is the mean over the whole clip.

Only pooled rows are kept, so that memory does not grow with what was read. Neither `batch` nor how
the sound comes in pieces changes a row by more than rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from textualize.errors import TextualizeError, first_line
from textualize.extract.embeddings.pretrained import Kind, load_pretrained
from textualize.extract.embeddings.vectors import (
    block_length,
    equal_rows,
    frames_at_once,
    hear,
    pixels,
    see,
    tokens,
    understand,
)
from textualize.extract.embeddings.windows import Windows
from textualize.extract.sensor import CLIP_ERRORS, Options, Reader, Reading, Reads
from textualize.extract.sound import SAMPLE_RATE
from textualize.types import Float32, Modality, Utterance

if TYPE_CHECKING:
    from textualize.extract.sound import Stretch
    from textualize.extract.video import Frame, Media

Float64 = NDArray[np.float64]


class _PretrainedSensor:
    """What the three sensors share: they are given a model and a window."""

    kind: Kind
    name: str
    version = "1"
    modality: Modality
    takes_model = True

    def __init__(
        self,
        model: str,
        window: float = 1.0,
        device: str = "cpu",
        batch: int = 8,
        revision: str = "",
    ) -> None:
        """Load the model.

        Args:
            model: a folder or a hub id.
            window: seconds per row.
            device: where it runs ("cpu", "cuda", "cuda:1").
            batch: inputs read at once; more are faster on a GPU and take more memory.
            revision: branch, tag or commit of a hub id.

        Raises:
            TextualizeError: an option out of range; no such model, or one that cannot be used.
        """
        if not 0.01 <= window < math.inf:
            raise TextualizeError(
                f"{self.name}:window should be at least 0.01 seconds; given {window:g}"
            )
        if batch < 1:
            raise TextualizeError(f"{self.name}:batch should be at least 1; given {batch}")
        self.window, self.batch = window, batch
        self.model = load_pretrained(model, self.kind, device, revision)
        self.weights = self.model.weights
        self.options: Options = {**self.model.identity, "window": window}
        try:
            self._try()
        except (*CLIP_ERRORS, TypeError, AttributeError, AssertionError) as error:
            raise TextualizeError(
                f"model '{model}' and its processor do not go together: {first_line(error)}"
            ) from None

    def _try(self) -> None:
        """Read something small: what fails here would fail on every clip."""
        raise TextualizeError(f"{self.name} is not tried")

    def windows(self, media: Media, window: float | None = None) -> Windows:
        """Return the empty rows of a clip."""
        return Windows(media, window or self.window, self.model.name)


class VisionModel(_PretrainedSensor):
    """Embeddings of the whole picture ("visual")."""

    kind: Kind = "vision"
    name = "vision-model"
    modality: Modality = "visual"
    reads: tuple[Reads, ...] = ("frames",)

    def __init__(
        self,
        model: str,
        window: float = 1.0,
        device: str = "cpu",
        batch: int = 8,
        revision: str = "",
        fps: float = 0.0,
    ) -> None:
        """Load the model; `fps` pictures a second of those sampled are read, 0 for all.

        The other arguments and the errors are those of every pretrained sensor.
        """
        super().__init__(model, window, device, batch, revision)
        if not 0 <= fps < math.inf:
            raise TextualizeError(f"{self.name}:fps should be 0 or more; given {fps:g}")
        if fps and frames_at_once(self.model):
            raise TextualizeError(
                f"model '{model}' reads {frames_at_once(self.model)} frames per window: "
                "leave fps out, or change window"
            )
        self.fps = fps
        self.options: Options = {**self.options, "fps": fps}

    def begin(self, media: Media) -> Reader:
        """Return the reader of a clip's frames."""
        count = frames_at_once(self.model)
        return _PictureClips(self, media, count) if count else _Pictures(self, media)

    def _try(self) -> None:
        picture = pixels(self.model, np.zeros((90, 160, 3), np.uint8))
        count = frames_at_once(self.model)
        see(self.model, np.stack([np.stack([picture] * count) if count else picture]))


class AudioModel(_PretrainedSensor):
    """Embeddings of the sound ("audio"). One block of 30 s at a time unless `batch` is given."""

    kind: Kind = "audio"
    name = "audio-model"
    modality: Modality = "audio"
    reads: tuple[Reads, ...] = ("sound",)

    def __init__(
        self,
        model: str,
        window: float = 1.0,
        device: str = "cpu",
        batch: int = 1,
        revision: str = "",
    ) -> None:
        """Load the model; arguments and errors are those of every pretrained sensor."""
        super().__init__(model, window, device, batch, revision)

    def begin(self, media: Media) -> Reader:
        """Return the reader of a clip's sound."""
        return _Sound(self, media)

    def _try(self) -> None:
        hear(self.model, [np.sin(np.arange(SAMPLE_RATE), dtype=np.float32)])


class TextModel(_PretrainedSensor):
    """Embeddings of what is said ("text")."""

    kind: Kind = "text"
    name = "text-model"
    modality: Modality = "text"
    reads: tuple[Reads, ...] = ("words",)

    def begin(self, media: Media) -> Reader:
        """Return the reader of a clip's words."""
        return _Words(self, media)

    def _try(self) -> None:
        rows, _, _ = tokens(self.model, "one two")
        understand(self.model, rows)


# --- pictures -----------------------------------------------------------------------------------


class _Pictures(Reader):
    """One clip's frames, read `batch` at a time."""

    def __init__(self, sensor: VisionModel, media: Media) -> None:
        self._model, self._batch = sensor.model, sensor.batch
        self._windows = sensor.windows(media)
        self._nothing = "no frame" if media.has_video else "no video stream"
        self._waiting: list[tuple[float, Float32]] = []
        self._fps, self._slot = sensor.fps, -1

    def frame(self, frame: Frame) -> None:
        if self._fps:
            slot = math.floor((frame.time - self._windows.span.start) * self._fps + 1e-6)
            if slot <= self._slot:
                return
            self._slot = slot
        self._put(frame.time, pixels(self._model, frame.rgb))

    def finish(self) -> Reading:
        self._run()
        return self._windows.reading("visual", VisionModel.name, self._nothing)

    def _put(self, time: float, picture: Float32) -> None:
        if self._waiting and self._waiting[-1][1].shape != picture.shape:
            self._run()
        self._waiting.append((time, picture))
        if len(self._waiting) == self._batch:
            self._run()

    def _run(self) -> None:
        if self._waiting:
            times, pictures = zip(*self._waiting, strict=True)
            self._windows.add(np.array(times), see(self._model, np.stack(pictures)))
            self._waiting.clear()


class _PictureClips(_Pictures):
    """One clip's frames for a network that reads several at once, spread over each window.

    A frame is the nearest to all moments up to the middle between it and the next one, so it is
    prepared, or let go, when the next one comes.
    """

    def __init__(self, sensor: VisionModel, media: Media, count: int) -> None:
        super().__init__(sensor, media)
        self._count = count
        self._row = -1
        self._last: Frame | None = None
        self._chosen: list[Float32] = []

    def frame(self, frame: Frame) -> None:
        row = int(self._windows.rows(np.array([frame.time]))[0])
        if row != self._row:
            self._close()
            self._row = row
        elif self._last is not None:
            self._choose((self._last.time + frame.time) / 2)
        self._last = frame

    def finish(self) -> Reading:
        self._close()
        return super().finish()

    def _choose(self, until: float) -> None:
        """Give the last frame to every moment before `until` that has none."""
        start, end = self._bounds()
        step = (end - start) / self._count
        unserved = range(len(self._chosen), self._count)
        moments = sum(start + (k + 0.5) * step < until for k in unserved)
        if moments and self._last is not None:
            self._chosen += [pixels(self._model, self._last.rgb)] * moments

    def _close(self) -> None:
        if self._last is not None:
            self._choose(math.inf)
            self._put(self._bounds()[0], np.stack(self._chosen))
        self._last, self._chosen = None, []

    def _bounds(self) -> tuple[float, float]:
        span, window = self._windows.span, self._windows.window
        start = span.start + self._row * window
        return start, max(start, min(start + window, span.end))


# --- sound --------------------------------------------------------------------------------------


class _Sound(Reader):
    """One clip's sound, cut into blocks at fixed times of the clip."""

    def __init__(self, sensor: AudioModel, media: Media) -> None:
        self._model, self._batch = sensor.model, sensor.batch
        self._windows = sensor.windows(media)
        self._nothing = "silence" if media.has_audio else "no audio stream"
        self._core_s, context_s = block_length(self._model, sensor.window)
        self._context = round(context_s * SAMPLE_RATE)
        self._held = np.zeros(0, np.float32)
        self._at = 0  # index in the clip of the first sample held
        self._block = 0
        self._waiting: list[tuple[int, int, int, Float32]] = []

    def sound(self, stretch: Stretch) -> None:
        self._held = np.concatenate([self._held, stretch.samples])
        while self._at + len(self._held) >= self._edge(self._block + 1) + self._context:
            self._cut()

    def finish(self) -> Reading:
        while self._at + len(self._held) > self._edge(self._block):
            self._cut()
        self._run()
        return self._windows.reading("audio", AudioModel.name, self._nothing)

    def _edge(self, index: int) -> int:
        return round(index * self._core_s * SAMPLE_RATE)

    def _cut(self) -> None:
        """Take the next block off what is held; one of nothing but zeros is not heard."""
        begin, end = self._edge(self._block), self._edge(self._block + 1)
        end = min(end, self._at + len(self._held))
        first = max(0, begin - self._context)
        samples = self._held[first - self._at : end + self._context - self._at]
        if samples[begin - first : end - first].any():
            if self._waiting and len(self._waiting[-1][3]) != len(samples):
                self._run()
            self._waiting.append((first, begin, end, samples))
            if len(self._waiting) == self._batch:
                self._run()
        self._block += 1
        kept = max(0, self._edge(self._block) - self._context)
        self._held, self._at = self._held[max(0, kept - self._at) :], max(kept, self._at)

    def _run(self) -> None:
        if not self._waiting:
            return
        self._nothing = "too little sound"  # less than one position
        hidden, covered = hear(self._model, [samples for *_, samples in self._waiting])
        for (first, begin, end, samples), vectors in zip(self._waiting, hidden, strict=True):
            if self._context:
                step = covered / len(vectors)
                middles = first + (np.arange(len(vectors)) + 0.5) * step
            else:
                step, middles = end - begin, np.array([(begin + end) / 2])
            inside = (begin <= middles) & (middles < end) & self._sounding(middles, first, samples)
            if inside.any():
                times = self._windows.span.start + middles[inside] / SAMPLE_RATE
                self._windows.add(times, vectors[inside], worth=step)
        self._waiting.clear()

    def _sounding(self, middles: Float64, first: int, samples: Float32) -> NDArray[np.bool_]:
        """Return which positions lie in windows where the block is not digital silence."""
        start = self._windows.span.start
        sounding = start + (first + np.flatnonzero(samples)) / SAMPLE_RATE
        heard = np.unique(self._windows.rows(sounding))
        rows = self._windows.rows(start + middles / SAMPLE_RATE)
        return np.isin(rows, heard)


# --- words --------------------------------------------------------------------------------------


class _Words(Reader):
    """One clip's transcript."""

    def __init__(self, sensor: TextModel, media: Media) -> None:
        self._model, self._batch = sensor.model, sensor.batch
        self._sensor, self._media = sensor, media
        self._windows = sensor.windows(media)

    def words(self, utterances: tuple[Utterance, ...]) -> None:
        spoken = [u for u in utterances if u.text.strip()]
        words = [w for u in spoken for w in u.words if w.text.strip()]
        if all(u.words for u in spoken):
            pieces = [w.text.strip() for w in words]
            times = np.array([(w.span.start + w.span.end) / 2 for w in words])
        else:
            pieces = [u.text.strip() for u in spoken]
            times = np.full(len(spoken), self._media.span.start)
            whole = self._media.span.duration or 1.0  # a text without a file has no length
            self._windows = self._sensor.windows(self._media, whole)
        if pieces:
            self._read(pieces, times)

    def finish(self) -> Reading:
        return self._windows.reading("text", TextModel.name, "no words")

    def _read(self, pieces: Sequence[str], times: Float64) -> None:
        starts = np.cumsum([0, *(len(p) + 1 for p in pieces[:-1])])
        rows, counting, ends = tokens(self._model, " ".join(pieces))
        for batch in equal_rows(rows, self._batch):
            # rows of one length need no filling up, and so no mask
            hidden = understand(self._model, [rows[i] for i in batch])
            for i, vectors in zip(batch, hidden, strict=True):
                word = np.searchsorted(starts, ends[i][counting[i]] - 1, side="right") - 1
                if len(word):
                    self._windows.add(times[word], vectors[counting[i]])
