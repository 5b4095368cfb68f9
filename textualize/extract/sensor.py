"""What a sensor is: it reads one clip's media and says what it saw.

A sensor is a class with one method. It is built once per worker (models are loaded there) and
must raise TextualizeError, in one line, when its package or weights are missing. The table below
is the only list of sensors; modules are imported when a sensor is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from textualize.errors import TextualizeError, unknown
from textualize.types import Modality, Status, Track, Utterance

if TYPE_CHECKING:
    from textualize.extract.video import Media


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What one sensor saw in one clip. `status` says whether there was anything to see."""

    status: Status
    tracks: Mapping[str, Track] = field(default_factory=dict)
    utterances: tuple[Utterance, ...] = ()


class Sensor(Protocol):
    """One way to read one modality.

    `name` and `version` identify the code, `options` what it was told (JSON values),
    `weights` is a digest of the model files ("" when there are none): together with the
    media's content they key the result on disk.
    """

    name: str
    version: str
    modality: Modality
    options: Mapping[str, str | float | int | bool | None]
    weights: str

    def read(self, media: Media) -> Reading:
        """Return what is in the clip; raises TextualizeError if the clip cannot be read."""


SENSORS: Mapping[str, tuple[Modality, str]] = {
    "mediapipe": ("face", "textualize.extract.face:MediaPipeFace"),
    "py-feat": ("face", "textualize.extract.face:PyFeatFace"),
    "openface": ("face", "textualize.extract.openface:OpenFaceTable"),
    "sidecar": ("speech", "textualize.extract.speech:Sidecar"),
    "pocketsphinx": ("speech", "textualize.extract.speech:PocketSphinx"),
    "whisper": ("speech", "textualize.extract.speech:FasterWhisper"),
    "prosody": ("prosody", "textualize.extract.prosody:Prosody"),
}


def modality_of(spec: str) -> Modality:
    """Return the modality a sensor spec ("mediapipe", "whisper=/models/base") reads."""
    name = spec.partition("=")[0]
    if name not in SENSORS:
        raise unknown("sensor", name, SENSORS)
    return SENSORS[name][0]


def make_sensor(spec: str) -> Sensor:
    """Build a sensor from "name" or "name=argument" (a model id or folder).

    Raises TextualizeError for an unknown name, an argument the sensor does not take, a missing
    package or missing weights.
    """
    name, _, argument = spec.partition("=")
    modality_of(spec)
    module, _, attribute = SENSORS[name][1].partition(":")
    kind = getattr(importlib.import_module(module), attribute)
    if not argument:
        return cast(Sensor, kind())
    if not getattr(kind, "takes_model", False):
        raise TextualizeError(f"sensor '{name}' takes no argument; given '{spec}'")
    return cast(Sensor, kind(argument))
