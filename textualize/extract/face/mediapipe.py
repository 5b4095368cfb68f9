"""Face sensor on MediaPipe's models: no download, 3 to 5 ms of CPU a picture and face.

`face_reader` follows the faces through a clip, `people` keeps them apart, `speaking` says which of
them is read, `action_units` what it does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textualize.errors import TextualizeError, first_line, missing_package, unknown
from textualize.extract.face import action_units, blendshapes
from textualize.extract.face.action_units import Float64
from textualize.extract.face.images import patch
from textualize.extract.face.people import POLICIES
from textualize.extract.face.reader import ACCEPTED, FaceReader, Seen, Wanted
from textualize.extract.face.tracks import Box, inside, middle
from textualize.extract.sensor import Options, Reads
from textualize.extract.video import Media
from textualize.files import files_digest
from textualize.types import Modality

_MODELS = (
    "face_detection/face_detection_short_range.tflite",
    "face_detection/face_detection_full_range_sparse.tflite",
    "face_landmark/face_landmark_with_attention.tflite",
)
_CROPS = (2.0, 1.4)  # the mesh wants a face to fill half its picture; closer, if a neighbour is in
_BLANK: NDArray[np.uint8] = np.zeros((64, 64, 3), np.uint8)


class MediaPipeFace:
    """Landmark-derived action units of who speaks (MediaPipe FaceMesh with irises).

    One clip at a time: the tracker is reset when a clip begins.
    """

    name = "mediapipe"
    modality: Modality = "face"
    takes_model = False

    def __init__(
        self,
        policy: str = "speaker",
        landmarks: bool = False,
        crops: int = 0,
        task: str = "",
    ) -> None:
        """Load the models.

        Args:
            policy: Whose face is read where there are several: "speaker", "largest",
                "most_confident", or "all" (the speaker's, and tracks for every person besides).
            landmarks: Whether to give all 478 points in pixels.
            crops: Side in pixels of upright pictures of the face, 0 for none.
            task: A `face_landmarker.task` of MediaPipe, for 52 blendshapes.

        Raises TextualizeError for a missing package, a wrong option or an unusable task file.
        """
        if policy not in POLICIES:
            raise unknown("policy of sensor 'mediapipe'", policy, POLICIES)
        if not 0 <= crops <= 512:
            raise TextualizeError(f"mediapipe:crops should be 0 to 512 pixels; given {crops}")
        self._wanted = Wanted(policy, landmarks, crops, bool(task))
        self.reads: tuple[Reads, ...] = (
            ("frames", "sound") if policy in ("speaker", "all") else ("frames",)
        )
        self.options: Options = {
            "policy": policy, "landmarks": landmarks, "crops": crops, "blendshapes": bool(task),
        }  # fmt: skip
        with _quiet():
            self._models = Models(Path(task) if task else None)
        self.version = f"{self._models.version}+au{action_units.VERSION}+people2"
        self.weights = self._models.digest

    def begin(self, media: Media) -> FaceReader:
        """Return a reader of the clip's faces."""
        self._models.reset()
        return FaceReader(media, self._models, self._wanted, self.name)


class Models:
    """MediaPipe's graphs: a mesh that is tracked, one for single pictures, a detector."""

    def __init__(self, task: Path | None) -> None:
        """Load the graphs, and the blendshapes' where a task file is given."""
        try:
            import cv2
            import mediapipe
            from mediapipe.python.solutions.face_detection import FaceDetection
            from mediapipe.python.solutions.face_mesh import FaceMesh
        except ImportError as error:
            raise missing_package(
                "the mediapipe sensor", "mediapipe==0.10.21", "extract"
            ) from error
        cv2.setNumThreads(1)
        self.version = str(mediapipe.__version__)
        modules = Path(mediapipe.__file__).parent / "modules"
        self._landmarker = _landmarker(task) if task else None
        files = [modules / name for name in _MODELS]
        self.digest = files_digest([*files, task] if task else files)
        self._warned = False
        self._tracker = FaceMesh(refine_landmarks=True)
        self._still = FaceMesh(refine_landmarks=True, static_image_mode=True)
        self._detector = FaceDetection(model_selection=1, min_detection_confidence=ACCEPTED)
        for model in (self._tracker, self._still, self._detector):
            model.process(_BLANK)  # graphs are built, and talk, at the first picture

    def reset(self) -> None:
        """Forget the clip before."""
        with _quiet():  # a tracker that is not reset starts where the clip before ended
            self._tracker.reset()
            self._tracker.process(_BLANK)

    def track(self, rgb: NDArray[np.uint8], score: float) -> Seen | None:
        """Return the face that is tracked from picture to picture."""
        return self._mesh(self._tracker, rgb, score)

    def detect(self, rgb: NDArray[np.uint8]) -> list[tuple[float, Box]]:
        """Return (score, box) of every face down to 40 pixels, the largest first."""
        height, width = rgb.shape[:2]
        boxes = []
        for one in self._detector.process(rgb).detections or ():
            box = one.location_data.relative_bounding_box
            size = (box.xmin * width, box.ymin * height, box.width * width, box.height * height)
            boxes.append((float(one.score[0]), size))
        return sorted(boxes, key=lambda b: -b[1][2] * b[1][3])

    def look(self, rgb: NDArray[np.uint8], box: Box, score: float) -> Seen | None:
        """Return the face whose middle is in a box, from an enlarged crop around it."""
        x, y, w, h = box
        for factor in _CROPS:
            square, left, top = _around(rgb, box, factor)
            face = self._mesh(self._still, square, score)
            if face is None:
                return None
            mesh = face.mesh + (left, top, 0.0)
            found = Seen(mesh, _box(mesh), score)
            if inside(middle(found.box), box):
                return found
        return None

    def shapes(self, rgb: NDArray[np.uint8], box: Box) -> dict[str, float]:
        """Return the face's blendshapes by name, empty where the network finds no face."""
        import mediapipe

        if self._landmarker is None:
            return {}
        square, _, _ = _around(rgb, box, _CROPS[0])
        with nullcontext() if self._warned else _quiet():
            found = self._landmarker.detect(
                mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=square)
            )
        faces = found.face_blendshapes
        return {c.category_name: float(c.score) for c in faces[0]} if faces else {}

    def _mesh(self, model: Any, rgb: NDArray[np.uint8], score: float) -> Seen | None:
        with nullcontext() if self._warned else _quiet():  # once a process, at the first face
            found = model.process(rgb).multi_face_landmarks
        if not found:
            return None
        self._warned = True
        height, width = rgb.shape[:2]
        flat = [c for p in found[0].landmark for c in (p.x, p.y, p.z)]
        mesh: Float64 = np.array(flat).reshape(-1, 3) * np.array([width, height, width], float)
        return Seen(mesh, _box(mesh), score)


def _around(rgb: NDArray[np.uint8], box: Box, factor: float) -> tuple[NDArray[np.uint8], int, int]:
    """Return the square around a box, `factor` times as large, and where it lies."""
    side = factor * max(box[2:])
    across, down = middle(box)
    left, top = round(across - side / 2), round(down - side / 2)
    return patch(rgb, left, top, round(side)), left, top


def _box(mesh: Float64) -> Box:
    low, high = mesh[:, :2].min(axis=0), mesh[:, :2].max(axis=0)
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


def _landmarker(task: Path) -> Any:
    """Return MediaPipe's landmarker with blendshapes; raises TextualizeError if unusable."""
    from mediapipe.tasks.python import BaseOptions
    from mediapipe.tasks.python.vision import FaceLandmarker, FaceLandmarkerOptions

    blendshapes.check_task(task)
    options = FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(task)), output_face_blendshapes=True
    )
    try:
        return FaceLandmarker.create_from_options(options)
    except (RuntimeError, ValueError) as error:
        raise TextualizeError(
            f"mediapipe:task={task} does not load ({first_line(error)}); give MediaPipe's "
            "face_landmarker.task"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Send the process's stderr to nowhere: MediaPipe's C++ logs start-up lines past Python."""
    os.environ.setdefault("GLOG_minloglevel", "3")
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
