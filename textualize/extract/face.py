"""Face sensors: MediaPipe landmarks read as action units, and py-feat's detectors.

`MediaPipeFace` is the default: no download, about 7 ms of CPU a frame. `PyFeatFace` gives 20
action units and emotions from networks whose weights are for non-commercial use.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from textualize.errors import TextualizeError, missing_package
from textualize.extract import action_units
from textualize.extract.sensor import Reading
from textualize.extract.video import Frame, Media
from textualize.types import Modality, Status, Track, Unit

# `score` is the full-range detector's, taken once a second and wherever the mesh needed its help;
# 0.5, what the tracker asks for, where the detector misses a face that the mesh holds.
FACE_COLUMNS = ("score", "x_px", "y_px", "w_px", "h_px", "yaw_deg", "pitch_deg", "roll_deg")

_POINTS = 478
_MODELS = (
    "face_detection/face_detection_short_range.tflite",
    "face_detection/face_detection_full_range_sparse.tflite",
    "face_landmark/face_landmark_with_attention.tflite",
)
_PROBE_S = 1.0  # how often all faces are looked for, to stay with the largest
_CROP = 2.0  # the mesh wants a face to fill about half of its picture
_LARGER = 1.3  # a face must be this much larger in area before the reading moves to it
_ACCEPTED = 0.5  # MediaPipe's own threshold for detecting and tracking

_AU = re.compile(r"AU\d\d")
_EMOTIONS = ("Neutral", "Happy", "Sad", "Surprise", "Fear", "Disgust", "Anger")  # as py-feat's v2
_RECT = ("FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight")
_WEIGHTS = "*.safetensors"
_BATCH = 8
_BLANK: NDArray[np.uint8] = np.zeros((64, 64, 3), np.uint8)

Box = tuple[float, float, float, float]


class Seen(NamedTuple):
    """One face in one frame: `mesh` (478, 3) and `box` (x, y, w, h) in pixels, `score` 0-1."""

    mesh: NDArray[np.float64]
    box: Box
    score: float


class MediaPipeFace:
    """Landmark-derived action units of the largest face (MediaPipe FaceMesh with irises).

    The mesh is tracked from frame to frame. Where it finds nothing, full-range detection and an
    enlarged crop are tried; how often is said in the status.
    """

    name = "mediapipe"
    modality: Modality = "face"
    takes_model = False

    def __init__(self, landmarks: bool = False) -> None:
        """Load the models; `landmarks=True` adds a track of all 478 points in pixels."""
        try:
            with _quiet():
                import cv2
                import mediapipe
                from mediapipe.python.solutions.face_detection import FaceDetection
                from mediapipe.python.solutions.face_mesh import FaceMesh
        except ImportError as error:
            raise missing_package(
                "the mediapipe sensor", "mediapipe==0.10.21", "extract"
            ) from error
        cv2.setNumThreads(1)
        self.version = f"{mediapipe.__version__}+au{action_units.VERSION}"
        modules = Path(mediapipe.__file__).parent / "modules"
        self.options: Mapping[str, str | float | int | bool | None] = {"landmarks": landmarks}
        self.weights = _digest(modules / name for name in _MODELS)
        self._warned = False
        with _quiet():
            self._tracker = FaceMesh(refine_landmarks=True)
            self._still = FaceMesh(refine_landmarks=True, static_image_mode=True)
            self._detector = FaceDetection(model_selection=1, min_detection_confidence=_ACCEPTED)
            for model in (self._tracker, self._still, self._detector):
                model.process(_BLANK)  # graphs are built, and talk, at the first picture

    def read(self, media: Media) -> Reading:
        """Return tracks "aus" and "face" on the media's frame grid; NaN rows have no face.

        Absent when there is no picture or no face in any frame.
        """
        if not media.has_video:
            return Reading(Status("absent", self.name, "no video stream"))
        with _quiet():  # a tracker that is not reset starts where the clip before ended
            self._tracker.reset()
            self._tracker.process(_BLANK)
        seen, notes = self._look(media)
        found = sum(face is not None for _, face in seen)
        if not found:
            return Reading(Status("absent", self.name, f"no face in {len(seen)} frames"))
        times = np.array([time for time, _ in seen])
        rows = nearest_rows(times, media)
        table = np.full((len(seen), _POINTS, 3), np.nan)
        face = np.full((len(seen), len(FACE_COLUMNS)), np.nan)
        for i, (_, one) in enumerate(seen):
            if one is not None:
                table[i] = one.mesh
                face[i, :5] = one.score, *one.box
        known = ~np.isnan(face[:, 0])
        face[known, 5:] = action_units.head_angles(action_units.frontal(table[known])[1])
        aus, neutral = action_units.action_units(table)
        reason = f"face in {found} of {len(seen)} frames" + "".join(f"; {n}" for n in notes)
        reason += "; compared with an average face: too short for its own neutral" * (
            neutral == "average"
        )
        tracks = {
            "aus": on_grid(media, aus, rows, action_units.NAMES, "deviation", self.name),
            "face": on_grid(media, face, rows, FACE_COLUMNS, "named", self.name),
        }
        if self.options["landmarks"]:
            names = tuple(f"{axis}{i}_px" for i in range(_POINTS) for axis in "xyz")
            flat = table.reshape(len(table), -1)
            tracks["landmarks"] = on_grid(media, flat, rows, names, "named", self.name)
        return Reading(Status("observed", self.name, reason), tracks)

    def _look(self, media: Media) -> tuple[list[tuple[float, Seen | None]], list[str]]:
        seen: list[tuple[float, Seen | None]] = []
        rescued = crowd = 0
        probe_at, score, elsewhere = -np.inf, _ACCEPTED, False
        for frame in media.frames():
            face = self._mesh(self._tracker, frame.rgb, score)
            if face is None or frame.time >= probe_at + _PROBE_S or elsewhere:
                boxes = self._detect(frame.rgb)
                crowd = max(crowd, len(boxes))
                if frame.time >= probe_at + _PROBE_S:
                    probe_at = frame.time
                score, elsewhere = _compare(face, boxes)
                if boxes and (face is None or elsewhere):
                    face = self._crop(frame, boxes[0]) or face
                    rescued += face is not None
                elif face is not None:
                    face = face._replace(score=score)
            seen.append((frame.time, face))
        notes = [f"{rescued} by full-range detection"] if rescued else []
        notes += [f"up to {crowd} faces, the largest was read"] if crowd > 1 else []
        notes += [f"{media.damaged_packets} damaged packets"] if media.damaged_packets else []
        return seen, notes

    def _mesh(self, model: Any, rgb: NDArray[np.uint8], score: float) -> Seen | None:
        with nullcontext() if self._warned else _quiet():  # once a process, at the first face
            found = model.process(rgb).multi_face_landmarks
        if not found:
            return None
        self._warned = True
        height, width = rgb.shape[:2]
        points = [(p.x * width, p.y * height, p.z * width) for p in found[0].landmark]
        mesh = np.array(points)
        return Seen(mesh, _box(mesh), score)

    def _detect(self, rgb: NDArray[np.uint8]) -> list[tuple[float, Box]]:
        """Return (score, box) of every face, the largest first."""
        height, width = rgb.shape[:2]
        boxes = []
        for one in self._detector.process(rgb).detections or ():
            box = one.location_data.relative_bounding_box
            size = (box.xmin * width, box.ymin * height, box.width * width, box.height * height)
            boxes.append((float(one.score[0]), size))
        return sorted(boxes, key=lambda b: -b[1][2] * b[1][3])

    def _crop(self, frame: Frame, found: tuple[float, Box]) -> Seen | None:
        score, (x, y, w, h) = found
        side = _CROP * max(w, h)
        left, top = round(x + w / 2 - side / 2), round(y + h / 2 - side / 2)
        patch = _patch(frame.rgb, left, top, round(side))
        face = self._mesh(self._still, patch, score)
        if face is None:
            return None
        mesh = face.mesh + (left, top, 0.0)
        return Seen(mesh, _box(mesh), score)


class PyFeatFace:
    """Twenty action units, seven emotions and the head of py-feat's networks (Detectorv2).

    Slow on a CPU (about 0.9 s a frame). The weights are fetched by py-feat the first time.
    """

    name = "py-feat"
    modality: Modality = "face"
    takes_model = True
    notice = (
        "py-feat v2 weights are for non-commercial research and were trained with labels of MELD, "
        "AffectNet, RAF-DB, FER+ and ExpW: scores on these corpora are inflated"
    )

    def __init__(self, device: str = "cpu") -> None:
        """Load the detector on a torch device ("cpu", "cuda")."""
        try:
            import feat
            from feat import Detectorv2
        except ImportError as error:
            raise missing_package("the py-feat sensor", "py-feat", "py-feat") from error
        try:
            self._detector = Detectorv2(device=device, identity_model=None)
        except (OSError, RuntimeError, ValueError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise TextualizeError(
                f"py-feat's weights are not on this machine or do not load on '{device}': {first}; "
                "run once with a network and without HF_HUB_OFFLINE"
            ) from error
        self.version = str(getattr(feat, "__version__", "unknown"))
        self.options: Mapping[str, str | float | int | bool | None] = {"device": device}
        self.weights = _digest(sorted((Path(feat.__file__).parent / "resources").rglob(_WEIGHTS)))

    def read(self, media: Media) -> Reading:
        """Return tracks "aus", "emotions" (probabilities) and "face" of the largest face.

        Absent when there is no picture or no face in any frame.
        """
        if not media.has_video:
            return Reading(Status("absent", self.name, "no video stream"))
        times: list[float] = []
        found: list[dict[str, float]] = []
        for batch in batched(media.frames(), _BATCH):
            times += [frame.time for frame in batch]
            found += self._detect(batch)
        seen = sum(bool(one) for one in found)
        if not seen:
            return Reading(Status("absent", self.name, f"no face in {len(found)} frames"))
        example = next(one for one in found if one)
        rows = nearest_rows(np.array(times), media)
        aus = tuple(sorted(n for n in example if _AU.fullmatch(n)))
        emotions = tuple(n for n in _EMOTIONS if n in example)
        kinds: tuple[tuple[str, tuple[str, ...], tuple[str, ...], Unit], ...] = (
            ("aus", aus, aus, "probability"),
            ("emotions", emotions, tuple(n.lower() for n in emotions), "probability"),
            ("face", FACE_COLUMNS, FACE_COLUMNS, "named"),
        )
        tracks = {}
        for track, keys, names, unit in kinds:
            table = np.array([[one.get(k, np.nan) for k in keys] for one in found], np.float32)
            if keys:
                tracks[track] = on_grid(media, table, rows, names, unit, self.name)
        reason = f"face in {seen} of {len(found)} frames; {self.notice}"
        return Reading(Status("observed", self.name, reason), tracks)

    def _detect(self, batch: tuple[Frame, ...]) -> list[dict[str, float]]:
        """Return the largest face's numbers for each frame, empty where there is none."""
        import torch

        pictures = torch.from_numpy(np.stack([f.rgb for f in batch]).transpose(0, 3, 1, 2))
        table = self._detector.detect(
            pictures, data_type="tensor", batch_size=len(batch), progress_bar=False
        )
        faces: list[dict[str, float]] = [{} for _ in batch]
        largest = [0.0] * len(batch)
        for row in table.to_dict("records"):
            size = float(row["FaceRectWidth"]) * float(row["FaceRectHeight"])
            i = int(row["frame"])
            if size > largest[i]:  # NaN, py-feat's way to say no face, is never larger
                largest[i], faces[i] = size, _from_py_feat(row)
        return faces


def _from_py_feat(row: Mapping[str, Any]) -> dict[str, float]:
    """Return a py-feat row's action units, emotions and our face columns.

    py-feat's angles are radians that run the other way: on 319 frames of its own output they
    correlate with ours at -0.90 (yaw), -0.96 (pitch) and -0.97 (roll).
    """
    face = {n: float(row[n]) for n in row if _AU.fullmatch(n) or n in _EMOTIONS}
    face["score"] = float(row["FaceScore"])
    for ours, theirs in zip(("x_px", "y_px", "w_px", "h_px"), _RECT, strict=True):
        face[ours] = float(row[theirs])
    for angle in ("Yaw", "Pitch", "Roll"):
        face[f"{angle.lower()}_deg"] = -float(np.degrees(row[angle]))
    return face


def on_grid(
    media: Media,
    values: NDArray[np.floating[Any]],
    rows: NDArray[np.intp],
    names: tuple[str, ...],
    unit: Unit,
    source: str,
) -> Track:
    """Return a track on the media's grid from values per frame; NaN where no frame is near."""
    held = values[rows].astype(np.float32)
    held[rows < 0] = np.nan
    return Track(held, media.rate_hz, media.span.start, names, unit, source)


def nearest_rows(times: NDArray[np.floating[Any]], media: Media) -> NDArray[np.intp]:
    """Return, for each point of the media's grid, the index of its frame, -1 for none.

    A frame serves a point when it is the nearest and at most one grid step away.
    """
    grid = media.span.start + np.arange(media.rows) / media.rate_hz
    order = np.searchsorted(times, grid).clip(1, max(1, len(times) - 1))
    left = np.abs(times[order - 1] - grid)
    right = np.abs(times[np.minimum(order, len(times) - 1)] - grid)
    best = np.where(left <= right, order - 1, np.minimum(order, len(times) - 1))
    return np.where(np.minimum(left, right) <= 1 / media.rate_hz + 1e-6, best, -1)


def _compare(face: Seen | None, boxes: list[tuple[float, Box]]) -> tuple[float, bool]:
    """Return the tracked face's detector score and whether a clearly larger face is elsewhere."""
    if face is None:
        return _ACCEPTED, False
    x, y, w, h = face.box
    middle = (x + w / 2, y + h / 2)
    score = max((s for s, b in boxes if _inside(middle, b)), default=_ACCEPTED)
    if not boxes or _inside(middle, boxes[0][1]):
        return score, False
    own = max((b[2] * b[3] for _, b in boxes if _inside(middle, b)), default=w * h)
    return score, boxes[0][1][2] * boxes[0][1][3] > _LARGER * own


def _inside(point: tuple[float, float], box: Box) -> bool:
    x, y, w, h = box
    return x <= point[0] <= x + w and y <= point[1] <= y + h


def _box(mesh: NDArray[np.float64]) -> Box:
    low, high = mesh[:, :2].min(axis=0), mesh[:, :2].max(axis=0)
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


def _patch(rgb: NDArray[np.uint8], left: int, top: int, side: int) -> NDArray[np.uint8]:
    """Return the (side, side, 3) square at (left, top), black where it leaves the picture."""
    height, width = rgb.shape[:2]
    patch = np.zeros((side, side, 3), np.uint8)
    x0, y0, x1, y1 = max(0, left), max(0, top), min(width, left + side), min(height, top + side)
    if x1 > x0 and y1 > y0:
        patch[y0 - top : y1 - top, x0 - left : x1 - left] = rgb[y0:y1, x0:x1]
    return patch


def batched(frames: Iterator[Frame], size: int) -> Iterator[tuple[Frame, ...]]:
    """Yield frames in groups of at most `size`, all of one picture size in a group."""
    group: list[Frame] = []
    for frame in frames:
        if group and (len(group) == size or frame.rgb.shape != group[0].rgb.shape):
            yield tuple(group)
            group = []
        group.append(frame)
    if group:
        yield tuple(group)


def _digest(files: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


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
