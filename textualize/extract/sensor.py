"""What a sensor is: it is shown one clip's media, once, and says what it saw.

A sensor is built once per worker (models are loaded there) and must raise TextualizeError, in one
line, when its package or weights are missing. For each clip `begin` gives a reader; the media is
then decoded once and every reader is shown the same frames and sound, in pieces that stay small
however long the file is. The table below is the only list of sensors; a sensor's module is
imported when it is asked for.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from textualize.errors import TextualizeError, unknown
from textualize.types import Modality, Status, Track, Utterance

if TYPE_CHECKING:
    from textualize.extract.sound import Stretch
    from textualize.extract.video import Frame, Media

Options = Mapping[str, str | float | int | bool | None]
Reads = Literal["frames", "sound", "words"]

# What a damaged or odd clip may make a sensor raise; anything else is a defect and stops the run.
CLIP_ERRORS = (
    TextualizeError,
    ArithmeticError,
    LookupError,
    ValueError,
    OSError,
    RuntimeError,  # torch's and CTranslate2's, out of GPU memory too
    MemoryError,
)


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What one sensor saw in one clip. `status` says whether there was anything to see."""

    status: Status
    tracks: Mapping[str, Track] = field(default_factory=dict)
    utterances: tuple[Utterance, ...] = ()


class Reader:
    """One clip being read. What a sensor does not take it need not define.

    Frames and sound each come in time order; sound comes in stretches of at most five minutes
    that follow each other without a gap. `words` comes once, after the clip's speech is known.
    """

    def frame(self, frame: Frame) -> None:
        """Take the next picture."""

    def sound(self, stretch: Stretch) -> None:
        """Take the next stretch of sound."""

    def words(self, utterances: tuple[Utterance, ...]) -> None:
        """Take what is said in the clip."""

    def lost(self, kind: Reads, error: TextualizeError) -> None:
        """Take note that a stream could not be decoded (to its end).

        Ends the reading unless a sensor that reads several kinds can do without this one.
        """
        raise error

    def finish(self) -> Reading:
        """Return what was in the clip."""
        raise TextualizeError(f"{type(self).__name__} does not say what it read")


class Imported(Reader):
    """A reader of files that lie beside the media: it is shown nothing."""

    def __init__(self, reading: Callable[[], Reading]) -> None:
        """Take what reads the files, called when the reader is asked."""
        self._reading = reading

    def finish(self) -> Reading:
        """Return what the files hold."""
        return self._reading()


class Sensor(Protocol):
    """One way to read one modality.

    `name` and `version` identify the code, `options` what it was told (JSON values),
    `weights` is a digest of the model files ("" when there are none): together with the
    media's content they key the result on disk. `reads` names what its readers are shown;
    empty for a sensor that imports files beside the media.
    """

    name: str
    version: str
    modality: Modality
    options: Options
    weights: str
    reads: tuple[Reads, ...]

    def begin(self, media: Media) -> Reader:
        """Return a reader for one clip; raises TextualizeError if the clip cannot be read."""


SENSORS: Mapping[str, tuple[Modality, str]] = {
    "mediapipe": ("face", "textualize.extract.face.mediapipe:MediaPipeFace"),
    "py-feat": ("face", "textualize.extract.face.py_feat:PyFeatFace"),
    "openface": ("face", "textualize.extract.face.openface:OpenFaceTable"),
    "fex": ("face", "textualize.extract.imports.fex:FexTable"),
    "sidecar": ("speech", "textualize.extract.speech.recogniser:Sidecar"),
    "rttm": ("speech", "textualize.extract.imports.rttm:SpeakerTurns"),
    "elan": ("speech", "textualize.extract.imports.elan:ElanTranscript"),
    "hume-transcript": ("speech", "textualize.extract.imports.hume:HumeTranscript"),
    "pocketsphinx": ("speech", "textualize.extract.speech.recogniser:PocketSphinx"),
    "whisper": ("speech", "textualize.extract.speech.whisper:FasterWhisper"),
    "openai-whisper": ("speech", "textualize.extract.speech.whisper:OpenAIWhisper"),
    "transformers-whisper": ("speech", "textualize.extract.speech.whisper:TransformersWhisper"),
    "prosody": ("prosody", "textualize.extract.voice.prosody:Prosody"),
    "affect-model": ("affect", "textualize.extract.voice.affect:AffectModel"),
    "hume": ("affect", "textualize.extract.imports.hume:HumeScores"),
    "elan-ratings": ("affect", "textualize.extract.imports.elan:ElanRatings"),
    "vision-model": ("visual", "textualize.extract.embeddings.models:VisionModel"),
    "audio-model": ("audio", "textualize.extract.embeddings.models:AudioModel"),
    "text-model": ("text", "textualize.extract.embeddings.models:TextModel"),
    "mel": ("audio", "textualize.extract.voice.spectrum:LogMel"),
    "opensmile": ("audio", "textualize.extract.imports.opensmile:OpenSmileTable"),
    "features-visual": ("visual", "textualize.extract.imports.arrays:VisualFeatures"),
    "features-audio": ("audio", "textualize.extract.imports.arrays:AudioFeatures"),
    "features-text": ("text", "textualize.extract.imports.arrays:TextFeatures"),
}

# In each modality the first sensor that finds something is kept: what the corpus brings
# (OpenFace tables, transcripts) goes before what we measure.
PRESETS: Mapping[str, tuple[str, ...]] = {
    "embedded": ("openface", "fex", "mediapipe", "sidecar", "pocketsphinx", "prosody"),
    "full": ("openface", "fex", "py-feat", "sidecar", "whisper", "prosody"),
}
_READ = {modality for modality, _ in SENSORS.values()}
_OPTION = re.compile(r":(?=[a-z_]+=)")  # not the colon of a path or of a hub id


@dataclass(frozen=True, slots=True)
class Spec:
    """A sensor as a user names it: "whisper", "whisper=/models/base:language=en"."""

    name: str
    argument: str = ""
    options: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def modality(self) -> Modality:
        """The modality the sensor reads."""
        return SENSORS[self.name][0]


def sensor_specs(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return the specs a user's list means: a preset, sensors, or `modality=sensor` pairs.

    A pair replaces what the preset before it has for that modality.

    >>> sensor_specs("embedded,speech=whisper=/models/base")
    ('openface', 'fex', 'mediapipe', 'prosody', 'whisper=/models/base')

    Raises TextualizeError for an unknown sensor or preset, or nothing given.
    """
    parts = given.split(",") if isinstance(given, str) else list(given)
    chosen: list[str] = []
    replaced: set[str] = set()
    for part in (p.strip() for p in parts):
        head, _, rest = part.partition("=")
        if part in PRESETS:
            chosen += PRESETS[part]
        elif "=" in part and head in _READ:
            chosen = _replaced(chosen, head, rest, first=head not in replaced)
            replaced.add(head)
        elif part:
            parse_spec(part)
            chosen.append(part)
    if not chosen:
        raise TextualizeError(f"no sensors given; give a preset ({', '.join(PRESETS)}) or sensors")
    return tuple(dict.fromkeys(chosen))


def _replaced(chosen: list[str], modality: str, spec: str, *, first: bool) -> list[str]:
    """Return the list with a modality's sensors replaced by one, or left out for "none"."""
    kept = [c for c in chosen if not (first and modality_of(c) == modality)]
    if spec in ("", "none"):
        return kept
    if modality_of(spec) != modality:
        raise TextualizeError(
            f"sensor '{spec}' reads {modality_of(spec)}; given for {modality}: name one of "
            + ", ".join(n for n, (m, _) in SENSORS.items() if m == modality)
        )
    return [*kept, spec]


def parse_spec(spec: str) -> Spec:
    """Return the parts of "name", "name=argument" or "name=argument:option=value:…"."""
    first, *rest = _OPTION.split(spec)
    name, _, argument = first.partition("=")
    if name not in SENSORS:
        raise unknown("sensor", name, [*SENSORS, *PRESETS])
    return Spec(name, argument, dict(_pair(r) for r in rest))


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value


def modality_of(spec: str) -> Modality:
    """Return the modality a sensor spec ("mediapipe", "whisper=/models/base") reads."""
    return parse_spec(spec).modality


def make_sensor(spec: str) -> Sensor:
    """Build a sensor from its spec; the argument is its first parameter (a model id or folder).

    Raises TextualizeError for an unknown name, an option the sensor does not take or a value of
    the wrong type, a missing package or missing weights.
    """
    parsed = parse_spec(spec)
    module, _, attribute = SENSORS[parsed.name][1].partition(":")
    kind = getattr(importlib.import_module(module), attribute)
    parameters = inspect.signature(kind).parameters
    given: dict[str, Any] = {}
    if parsed.argument:
        if not getattr(kind, "takes_model", False):
            raise TextualizeError(f"sensor '{parsed.name}' takes no argument; given '{spec}'")
        given[next(iter(parameters))] = parsed.argument
    for option, text in parsed.options.items():
        if option not in parameters:
            raise unknown(f"option of sensor '{parsed.name}'", option, parameters)
        given[option] = _value(text, parameters[option].default, f"{parsed.name}:{option}")
    missing = [n for n, p in parameters.items() if p.default is p.empty and n not in given]
    if missing:
        raise TextualizeError(
            f"sensor '{parsed.name}' needs a {missing[0]}: give {parsed.name}=FOLDER or an id"
        )
    return cast(Sensor, kind(**given))


def _value(text: str, default: Any, what: str) -> Any:
    """Return an option's text in the type of its default."""
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise TextualizeError(f"{what} should be true or false; given '{text}'")
        return text.lower() == "true"
    if isinstance(default, int | float):
        try:
            return type(default)(text)
        except ValueError:
            raise TextualizeError(f"{what} should be a number; given '{text}'") from None
    return text


def read(sensor: Sensor, media: Media, words: tuple[Utterance, ...] = ()) -> Reading:
    """Return what one sensor sees in a clip; raises what it raises."""
    result = read_all([sensor], media, words)[0]
    if isinstance(result, Exception):
        raise result
    return result


def read_all(
    sensors: Sequence[Sensor], media: Media, words: tuple[Utterance, ...] = ()
) -> list[Reading | Exception]:
    """Decode a clip once, show it to every sensor, and return what each saw.

    A sensor that fails on this clip gives its error in place of a reading; the others go on. A
    stream that cannot be decoded fails the sensors that wanted it.
    """
    shown = [_Shown(sensor, media) for sensor in sensors]
    _show("frames", shown, media, lambda one, piece: one.frame(piece))
    _show("sound", shown, media, lambda one, piece: one.sound(piece))
    for one in shown:
        if "words" in one.sensor.reads:
            one.attempt(lambda reader: reader.words(words))
    return [one.result() for one in shown]


class _Shown:
    """A sensor's reader on one clip, or the error that ended it."""

    def __init__(self, sensor: Sensor, media: Media) -> None:
        self.sensor = sensor
        self.error: Exception | None = None
        try:
            self._reader = sensor.begin(media)
        except CLIP_ERRORS as error:
            self.error = error

    def attempt(self, step: Any) -> None:
        if self.error is None:
            try:
                step(self._reader)
            except CLIP_ERRORS as error:
                self.error = error

    def result(self) -> Reading | Exception:
        if self.error is None:
            try:
                return self._reader.finish()
            except CLIP_ERRORS as error:
                self.error = error
        return self.error


def _show(kind: Reads, shown: Sequence[_Shown], media: Media, step: Any) -> None:
    wanted = [one for one in shown if kind in one.sensor.reads and one.error is None]
    if not wanted:
        return
    try:
        for piece in media.frames() if kind == "frames" else media.sound():
            for one in wanted:
                one.attempt(lambda reader, piece=piece: step(reader, piece))
            if all(one.error for one in wanted):
                return
    except TextualizeError as error:  # the stream itself
        for one in wanted:
            one.attempt(lambda reader, error=error: reader.lost(kind, error))
