"""What a pretrained model hears in a voice: arousal, dominance, valence, or named emotions.

    textualize extract CLIPS -o CORPUS --sensors embedded,affect-model=/models/msp-dim

Any audio classification or regression checkpoint of `transformers` will do, and the wav2vec2
layout "classifier.dense, classifier.out_proj" over the mean of the last layer, which is not part
of `transformers` (Wagner et al. 2023, IEEE TPAMI 45(9), publish theirs so). Weights are read from
safetensors only, and code that comes with a model is never run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from textualize.errors import TextualizeError
from textualize.extract.sensor import Options, Reader, Reading, Reads
from textualize.extract.sound import SAMPLE_RATE, Stretch
from textualize.extract.speech.voice_activity import installed, voice_activity
from textualize.extract.voice.affect_network import answer, load_affect
from textualize.types import Float32, Modality, Status, Track, Unit

if TYPE_CHECKING:
    from textualize.extract.video import Media

DIMENSIONS = ("arousal", "dominance", "valence")
SHORTEST_S = 0.1  # the networks' first layers need some
_UNNAMED = re.compile(r"LABEL_\d+")
_BEYOND = 0.5  # outside 0-1 by more than this: another scale


class AffectModel:
    """A checkpoint's answer about each `hop` seconds of the voice.

    A head of dimensions gives the track "affect": columns arousal, dominance, valence (those the
    model has), nominally 0-1, as the model gives them and not clipped. A head of classes gives
    "voice_emotions": probabilities of the model's own labels (each by itself where the
    checkpoint says multi_label_classification). Row i is about the `hop` seconds from its time
    on, heard in the `window` seconds around them; at the ends of the clip the window is moved
    inwards, and a clip shorter than a window is heard whole. NaN in digital silence.
    """

    name = "affect-model"
    version = "1"
    modality: Modality = "affect"
    takes_model = True
    reads: tuple[Reads, ...] = ("sound",)

    def __init__(
        self,
        model: str,
        labels: str = "",
        window: float = 4.0,
        hop: float = 2.0,
        batch: int = 8,
        device: str = "cpu",
        revision: str = "",
    ) -> None:
        """Load a model.

        Args:
            model: a folder or a hub id.
            labels: names of the outputs in order, joined by "/", where the checkpoint has none.
            window: seconds heard at once.
            hop: seconds from row to row, at most `window`.
            batch: windows at once; changes the speed only.
            device: as torch names it.
            revision: commit, tag or branch of a hub id.

        Raises:
            TextualizeError: no such model here, weights that are missing, pickled or untrained,
                outputs without names.
        """
        if not 0.5 <= hop <= window <= 60:
            raise TextualizeError(
                f"affect-model wants 0.5 <= hop <= window <= 60 s; given hop={hop:g} and "
                f"window={window:g}"
            )
        if batch < 1:
            raise TextualizeError(f"affect-model:batch should be at least 1; given {batch}")
        given = tuple(name.strip() for name in labels.split("/") if name.strip())
        found = load_affect(model, given, device, revision)
        longest = _longest_s(found.processor)
        if window > longest:
            raise TextualizeError(
                f"model '{model}' hears {longest:g} s at once; given window={window:g}"
            )
        self._model = found
        self.weights = found.weights
        self.outputs, self.dimensional = _outputs(found.net.config, model)
        self._apart = found.net.config.problem_type == "multi_label_classification"
        self._batch = batch
        self.window, self.hop = round(window * SAMPLE_RATE), round(hop * SAMPLE_RATE)
        self.options: Options = {
            **found.identity,
            "labels": "/".join(self.outputs),
            "window": window,
            "hop": hop,
            "voice_activity": "silero" if installed() else "not installed",
        }

    def begin(self, media: Media) -> Reader:
        """Return a reader that gives one track; absent without sound, in silence, below 0.1 s."""
        return _AffectReader(self, media.span.start)

    def heard(self, windows: Sequence[Float32]) -> Float32:
        """Return what the model says of each window (N,) of equal length, shape (B, C)."""
        rows = [
            self._forward(windows[at : at + self._batch])
            for at in range(0, len(windows), self._batch)
        ]
        return np.concatenate(rows)

    def _forward(self, windows: Sequence[Float32]) -> Float32:
        inputs = self._model.processor(
            list(windows), sampling_rate=SAMPLE_RATE, return_tensors="pt"
        ).to(self._model.device)
        logits = answer(self._model.net, inputs)
        if not self.dimensional:
            logits = logits.sigmoid() if self._apart else logits.softmax(-1)
        values: Float32 = logits.cpu().numpy()
        if self.dimensional:
            values = values[:, [self.outputs.index(d) for d in self.columns]]
        return values

    @property
    def columns(self) -> tuple[str, ...]:
        """The track's columns: dimensions always in the same order, classes in the model's."""
        if self.dimensional:
            return tuple(d for d in DIMENSIONS if d in self.outputs)
        return self.outputs


class _AffectReader(Reader):
    """Holds no more sound than one stretch and one window."""

    def __init__(self, sensor: AffectModel, start: float) -> None:
        self._sensor, self._start = sensor, start
        self._held = np.zeros(0, np.float32)
        self._first = 0  # index in the clip of the first sample held
        self._rows: list[Float32] = []
        self._spoken_s = 0.0 if installed() else float("nan")

    def sound(self, stretch: Stretch) -> None:
        self._held = np.concatenate([self._held, stretch.samples])
        if np.isfinite(self._spoken_s):
            self._spoken_s += sum(span.duration for span in voice_activity(stretch.samples))
        self._listen(ended=False)

    def finish(self) -> Reading:
        name, count = AffectModel.name, self._first + len(self._held)
        if count < SHORTEST_S * SAMPLE_RATE:
            reason = f"{count / SAMPLE_RATE:.2f} s of sound is too short" if count else "no sound"
            return Reading(Status("absent", name, reason))
        self._listen(ended=True)
        values = np.stack(self._rows)
        if not np.isfinite(values).any():
            return Reading(Status("absent", name, "silence"))
        rate = SAMPLE_RATE / self._sensor.hop
        dimensional = self._sensor.dimensional
        unit: Unit = "named" if dimensional else "probability"
        track = Track(values, rate, self._start, self._sensor.columns, unit, name)
        tracks = {"affect" if dimensional else "voice_emotions": track}
        return Reading(Status("observed", name, self._doubts(values, count)), tracks)

    def _listen(self, *, ended: bool) -> None:
        """Add the rows whose windows are complete, and let go of sound no window will want."""
        sensor, end = self._sensor, self._first + len(self._held)
        windows: list[tuple[int, int]] = []
        row = len(self._rows)
        while ended and row * sensor.hop < end or self._window(row)[1] <= end:
            start, stop = self._window(row)
            inwards = max(0, stop - end)
            windows.append((max(0, start - inwards), min(stop, end)))
            row += 1
        answers = self._answers(list(dict.fromkeys(windows)))
        self._rows += [answers[w] for w in windows]
        keep = max(self._first, min(self._window(row)[0], end - sensor.window))
        self._held = self._held[keep - self._first :].copy()
        self._first = keep

    def _window(self, row: int) -> tuple[int, int]:
        window, hop = self._sensor.window, self._sensor.hop
        start = max(0, row * hop - (window - hop) // 2)
        return start, start + window

    def _answers(self, windows: list[tuple[int, int]]) -> dict[tuple[int, int], Float32]:
        sounds = {w: self._held[w[0] - self._first : w[1] - self._first] for w in windows}
        loud = [w for w in windows if np.ptp(sounds[w]) > 0]
        answers = {w: np.full(len(self._sensor.columns), np.nan, np.float32) for w in windows}
        if loud:
            heard = self._sensor.heard([sounds[w] for w in loud])
            answers |= dict(zip(loud, heard, strict=True))
        return answers

    def _doubts(self, values: Float32, count: int) -> str:
        doubts = []
        if np.isnan(self._spoken_s):
            doubts.append("not checked for speech: faster-whisper is not installed")
        elif not self._spoken_s:
            doubts.append(f"no speech found in {count / SAMPLE_RATE:.1f} s of sound")
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        if self._sensor.dimensional and (low < -_BEYOND or high > 1 + _BEYOND):
            doubts.append(f"values from {low:.2f} to {high:.2f}: the model's scale is not 0-1")
        return "; ".join(doubts)


def _outputs(config: Any, model: str) -> tuple[tuple[str, ...], bool]:
    """Return the names of a model's outputs in order, and whether they are dimensions."""
    names = tuple(str(config.id2label[i]).strip() for i in range(config.num_labels))
    hint = "give their names in order, as in labels=arousal/dominance/valence"
    if any(_UNNAMED.fullmatch(name) for name in names):
        raise TextualizeError(f"model '{model}' does not name its {len(names)} outputs: {hint}")
    if len(set(names)) < len(names):
        raise TextualizeError(f"outputs of '{model}' share a name ({'/'.join(names)}): {hint}")
    lower = tuple(name.lower() for name in names)
    if set(lower) <= set(DIMENSIONS):
        return lower, True
    if config.problem_type == "regression":
        raise TextualizeError(
            f"model '{model}' estimates {'/'.join(names)}; known are {', '.join(DIMENSIONS)}: "
            + hint
        )
    return names, False


def _longest_s(processor: Any) -> float:
    """Return how much sound a feature extractor does not cut off (Whisper's, AST's do)."""
    if hasattr(processor, "chunk_length"):
        return float(processor.chunk_length)
    frames = getattr(processor, "max_length", None)  # of 10 ms
    return float(frames) / 100 if frames else float("inf")
