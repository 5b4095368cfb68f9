"""Face sensor on py-feat's networks: action units, emotions, valence, gaze and head (Detectorv2).

py-feat lives in an environment of its own; about 0.9 s of CPU a frame, made for a GPU. Its older
Detectorv1 is not offered: those weights are pickles and files that name the code they run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from textualize.errors import TextualizeError, missing_package, unknown
from textualize.extract.face_tracks import (
    FACE_COLUMNS,
    nearest_rows,
    on_grid,
    overlap,
    weights_digest,
)
from textualize.extract.sensor import Options, Reader, Reading, Reads
from textualize.extract.video import Frame, Media
from textualize.types import Float32, Modality, Status, Track, Unit

if TYPE_CHECKING:
    import pandas as pd

POLICIES = ("largest", "most_confident", "all")
NOTICE = (
    "py-feat v2 weights are for non-commercial research and were trained with labels of MELD, "
    "AffectNet, RAF-DB, FER+ and ExpW: scores on these corpora are inflated"
)

_OLDEST = (2, 1, 1)  # before, py-feat gave pitch of head and gaze with the other sign
_REPOSITORIES = {
    "py-feat/retinaface_r34": ("model.safetensors", "retinaface_r34.safetensors"),
    "py-feat/arcface_r50": ("arcface_r50.safetensors",),
}
_ARCFACE_PATH = "FEAT_ARCFACE_R50_PATH"  # where py-feat itself looks first
_MOST_PIXELS = 1920 * 1088  # larger pictures are shrunk: networks hold 600 bytes a pixel
_PIXELS_AT_ONCE = 8 * 1280 * 720
_MOST_PEOPLE = 10  # given tracks of their own
_SAME_PLACE = 0.2  # overlap with where a person was last seen
_SAME_FACE = 0.5  # cosine of ArcFace embeddings; py-feat found at most 0.35 between people
_LARGER = 1.3  # how much larger (or surer) a face must be before the reading moves to it

_AU = re.compile(r"AU\d\d")
_EMOTIONS = ("Neutral", "Happy", "Sad", "Surprise", "Fear", "Disgust", "Anger", "Contempt")
_AFFECT = ("valence", "arousal")
_RECT = ("FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight")
# py-feat: radians, yaw > 0 to the subject's right, which is the left of the image, pitch > 0 up,
# roll > 0 to the subject's right. Ours: degrees, yaw > 0 to the image's right, roll > 0 clockwise.
_HEAD = {"yaw_deg": ("Yaw", -1.0), "pitch_deg": ("Pitch", 1.0), "roll_deg": ("Roll", -1.0)}
_GAZE = {"yaw_deg": ("gaze_yaw", -1.0), "pitch_deg": ("gaze_pitch", 1.0)}
_IDENTITY = tuple(f"Identity_{i}" for i in range(1, 513))


class PyFeatFace:
    """Twenty action units, seven emotions, valence, arousal, gaze and head of one face or all.

    Persons are told apart by where their boxes are, or with `identity` by ArcFace embeddings.
    Without identity the largest (or surest) face of each moment is read, kept while no other is
    1.3 times that; with it the one person who is largest (surest) over the clip is read.
    """

    name = "py-feat"
    modality: Modality = "face"
    takes_model = True
    reads: tuple[Reads, ...] = ("frames",)
    notice = NOTICE

    def __init__(
        self,
        weights: str = "",
        device: str = "cpu",
        batch: int = 8,
        identity: bool = False,
        policy: str = "largest",
    ) -> None:
        """Load the detector from files on this machine; nothing is downloaded.

        Args:
            weights: Folder that holds the weights as a hub cache does or as
                "retinaface_r34/model.safetensors"; "" for py-feat's own and the hub's cache.
            device: "cpu", "cuda" or "mps".
            batch: Frames at once; fewer where pictures are large. No influence on the numbers.
            identity: Whether to tell persons apart by their faces, with ArcFace.
            policy: "largest", "most_confident" or "all" (tracks for every person besides).

        Raises TextualizeError for a missing package, weights, device, or a wrong option.
        """
        if policy not in POLICIES:
            raise unknown("policy of sensor 'py-feat'", policy, POLICIES)
        if batch < 1:
            raise TextualizeError(f"py-feat:batch should be 1 or more; given {batch}")
        feat = _package()
        _check_device(device)
        files = _weight_files(weights, identity, Path(feat.__file__).parent / "resources")
        self._detector = _loaded(feat, files, device, identity)
        self._batch = batch
        self.version = f"{feat.__version__}+2"
        self.options: Options = {"device": device, "identity": identity, "policy": policy}
        self.weights = weights_digest(files[name] for name in sorted(files))

    def begin(self, media: Media) -> PyFeatReader:
        """Return a reader of the clip's faces."""
        return PyFeatReader(
            media, self._detector, self._batch, str(self.options["policy"]),
            by_face=bool(self.options["identity"]),
        )  # fmt: skip


class PyFeatReader(Reader):
    """Reads faces in batches as frames come; keeps some forty numbers a face."""

    def __init__(
        self, media: Media, detector: Any, batch: int, policy: str, *, by_face: bool
    ) -> None:
        """Take the clip and the loaded detector."""
        self._media, self._detector, self._batch = media, detector, batch
        self._policy, self._by_face = policy, by_face
        self._waiting: list[NDArray[np.uint8]] = []
        self._times: list[float] = []
        self._shrunk = 0
        self._names: tuple[str, ...] = ()
        self._found: list[Float32] = []
        self._people = _People(_SAME_FACE if by_face else _SAME_PLACE)

    def frame(self, frame: Frame) -> None:
        """Take the next picture; every so many the networks run."""
        rgb, factor = _shrunk(frame.rgb)
        if self._waiting and rgb.shape != self._waiting[0].shape:
            self._detect()
        self._times.append(frame.time)
        self._factor = factor
        self._shrunk = max(self._shrunk, factor)
        self._waiting.append(rgb)
        pixels = rgb.shape[0] * rgb.shape[1]
        if len(self._waiting) >= min(self._batch, max(1, _PIXELS_AT_ONCE // pixels)):
            self._detect()

    def finish(self) -> Reading:
        """Return tracks "aus", "emotions", "valence_arousal", "gaze", "face" and "identity".

        "aus" and "emotions" are probabilities; valence and arousal -1 to 1; "identity", with
        that option, one row: the mean embedding of the person seen in most of the rows. Under
        policy "all", "aus.1", "face.1", … besides, one set a person. Absent when there is no
        picture or no face in any frame.
        """
        if not self._media.has_video:
            return Reading(Status("absent", PyFeatFace.name, "no video stream"))
        self._detect()
        count = len(self._times)
        if not self._found:
            return Reading(Status("absent", PyFeatFace.name, f"no face in {count} frames"))
        faces = _Faces(self._names, np.concatenate(self._found))
        measure = faces.column("score") if self._policy == "most_confident" else faces.areas
        chosen = (faces.of_one_person if self._by_face else faces.of_each_moment)(measure)
        tracks = self._tracks(faces, chosen)
        people = faces.people()
        if self._by_face:
            seen = faces.column("person")[chosen].astype(int)
            tracks["identity"] = self._identity(int(np.bincount(seen).argmax()))
        if self._policy == "all":
            for person in people[:_MOST_PEOPLE]:
                own = self._tracks(faces, np.flatnonzero(faces.column("person") == person))
                tracks |= {f"{name}.{person + 1}": track for name, track in own.items()}
        return Reading(
            Status("observed", PyFeatFace.name, self._reason(faces, len(chosen))), tracks
        )

    def _detect(self) -> None:
        """Run the networks on the waiting pictures and keep what they say of each face."""
        if not self._waiting:
            return
        import torch

        first = len(self._times) - len(self._waiting)
        pictures = torch.from_numpy(np.stack(self._waiting).transpose(0, 3, 1, 2))
        self._waiting = []
        table = self._detector.detect(
            pictures, data_type="tensor", batch_size=len(pictures), progress_bar=False
        )
        table = table[table["FaceRectWidth"] > 0]  # NaN is py-feat's way to say no face
        if not len(table):
            return
        self._names, numbers = _numbers(table, self._factor)
        numbers[:, 0] += first
        keys = table[list(_IDENTITY)].to_numpy(np.float32) if self._by_face else numbers[:, 3:7]
        for i in np.unique(numbers[:, 0]):
            here = numbers[:, 0] == i
            numbers[here, 1] = self._people.told_apart(keys[here], by_face=self._by_face)
        self._found.append(numbers)
