"""The nouns of the project: what moves from a video to a prediction.

Times are float seconds from the start of the video file. Whatever is not seconds says so in its
name (`rate_hz`, `_px`, `_ms`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

Unit = Literal[
    "probability",  # 0-1, a classifier's confidence that the action is there (py-feat)
    "intensity",  # 0-5, FACS A-E as OpenFace `_r` gives it
    "presence",  # 0 or 1, OpenFace `_c`
    "deviation",  # 0 = the clip's own neutral, 1 = a full action; landmark-derived
    "named",  # every column's unit is the suffix of its name (`f0_st`, `energy_db`)
    "embedding",  # no meaning of its own
    "pixels",  # 0-255
]
Modality = Literal[
    "face", "speech", "prosody",  # what is worded
    "affect",  # a model's arousal, dominance and valence of the voice
    "visual", "audio", "text",  # embeddings, for methods that read features
]  # fmt: skip
State = Literal["observed", "neutral", "absent", "uncertain", "not_run", "failed"]
MODALITIES: tuple[Modality, ...] = ("face", "speech", "prosody")


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open interval [start, end) in seconds; empty spans are falsy.

    >>> Span(1.0, 3.0) & Span(2.0, 5.0)
    Span(start=2.0, end=3.0)
    >>> bool(Span(1.0, 2.0) & Span(2.0, 3.0))
    False
    """

    start: float
    end: float

    @property
    def duration(self) -> float:
        """Length in seconds, never negative."""
        return max(0.0, self.end - self.start)

    def __bool__(self) -> bool:
        return self.end > self.start

    def __and__(self, other: Span) -> Span:
        start = max(self.start, other.start)
        return Span(start, max(start, min(self.end, other.end)))


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word with its time."""

    span: Span
    text: str
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Utterance:
    """A stretch of speech. `confidence` is 0-1, or None where the source gives none.

    `language` is a code ("en"). `avg_logprob` is a recogniser's mean log-probability of the tokens,
    `no_speech_prob` its probability that nobody speaks. `doubt` says why the words may never have
    been said ("probably not speech", "repeats itself", "over music", …); empty without a reason.
    """

    span: Span
    text: str
    words: tuple[Word, ...] = ()
    speaker: str | None = None
    confidence: float | None = None
    source: str = ""
    language: str | None = None
    avg_logprob: float | None = None
    no_speech_prob: float | None = None
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Clip:
    """What is to be labelled.

    `video` is any media file PyAV opens (video, audio only, image), or None for a corpus that
    has text only. `span` None means the whole file. `group` (source video, dialogue, speaker)
    is what folds must not split; `split` is the corpus' own split name if it has one.
    `transcript` and `sidecars` (sensor name -> file) are what the corpus already brings.
    """

    id: str
    video: Path | None
    span: Span | None = None
    subject: str | None = None
    group: str | None = None
    context: tuple[Utterance, ...] = ()
    label: str | float | None = None
    split: str | None = None
    transcript: str | None = None
    sidecars: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def fold_group(self) -> str:
        """The unit folds keep whole: group, else subject, else the file, else the clip."""
        return self.group or self.subject or (str(self.video) if self.video else self.id)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Track:
    """A dense signal.

    `values` is (T, D), or (T, H, W, 3) for pixels, float32 (uint8 where the unit is "pixels").
    `values[i]` is at `start + i / rate_hz` seconds; NaN means the sensor saw nothing there.
    `names` has one entry per column (empty for embeddings).
    """

    values: Float32
    rate_hz: float
    start: float
    names: tuple[str, ...]
    unit: Unit
    source: str

    @property
    def times(self) -> NDArray[np.float64]:
        """Time of each row in seconds from the start of the file, shape (T,)."""
        return self.start + np.arange(len(self.values)) / self.rate_hz

    def column(self, name: str) -> Float32:
        """Return one named column, shape (T,)."""
        return self.values[:, self.names.index(name)]


@dataclass(frozen=True, slots=True)
class Status:
    """What a sensor stage came to for one clip.

    `state` is observed, absent (nothing there to see) or failed; a stage with no Status was
    not run. `reason` is for a reader; `source` names the sensor.
    """

    state: Literal["observed", "absent", "failed"]
    source: str
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class SpeakerStatistics:
    """How one subject usually looks and sounds, without labels.

    `mean` and `std` map a track name to (K, D): K functionals of D columns, over `clips` clips
    of the subject (see `speakers.py`).
    """

    subject: str
    clips: int
    mean: Mapping[str, Float32]
    std: Mapping[str, Float32]


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """What was said around a clip, in other clips of its corpus; words only, never labels.

    `spoken` is what its video file says at any time, in time order and in seconds of that file;
    `following` are the turns after the clip in its dialogue, the next one first.
    """

    spoken: tuple[Utterance, ...] = ()
    following: tuple[Utterance, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """All that was extracted from one clip.

    `tracks` maps a name ("aus", "prosody") to a Track; `status` maps a modality to what its
    sensor came to; `speaker` is there when the corpus holds enough clips of the subject; `around`
    is filled where a whole corpus is read (see `surroundings.py`). `cues` are there where ready
    words came in place of measurements, as to a server; nothing else is then described.
    """

    clip: Clip
    tracks: Mapping[str, Track] = field(default_factory=dict)
    utterances: tuple[Utterance, ...] = ()
    status: Mapping[str, Status] = field(default_factory=dict)
    speaker: SpeakerStatistics | None = None
    around: Surroundings = Surroundings()
    cues: tuple[Cue, ...] | None = None

    @property
    def transcript(self) -> str:
        """All utterances' text in time order, or an empty string."""
        return " ".join(u.text for u in self.utterances if u.text)

    def with_label(self, label: str | float | None) -> Record:
        """Return the same record with another label on its clip."""
        return replace(self, clip=replace(self.clip, label=label))


@dataclass(frozen=True, slots=True)
class Cue:
    """One sentence and where it came from; `span` None means the whole clip."""

    modality: Modality
    state: State
    text: str
    span: Span | None
    source: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """Exactly what the model reads. `digest` identifies the template's text and parts."""

    clip_id: str
    text: str
    cues: tuple[Cue, ...]
    template: str
    digest: str


PROMPT_CUT = "prompt cut: "  # begins the text of an answer whose prompt has lost what follows


@dataclass(frozen=True, slots=True)
class Prediction:
    """One method's answer for one clip.

    `label` is a class; a number, in the annotation's units, where the clips' labels are numbers;
    None where the answer could not be read: it counts as wrong and is reported. `scores` are class
    probabilities that sum to 1 (empty when unparsed, and for numbers). `text` is the raw answer
    where there is one. `series` is there where every step was answered: a row a step over the
    clip, a column a value, or a class and its probability. With columns of values, `label` is None
    and the series is the answer.
    """

    clip_id: str
    method: str
    label: str | float | None
    scores: Mapping[str, float] = field(default_factory=dict, hash=False)
    text: str = ""
    series: Track | None = field(default=None, compare=False)
