"""Face sensor on py-feat's networks: action units, emotions, valence, gaze and head (Detectorv2).

py-feat lives in an environment of its own and is made for a GPU: on a CPU it takes 130 times what
MediaPipe takes (0.55 s a frame of 640x480 with one face). Its older Detectorv1 is not offered:
those weights are pickles, and files that name the code they run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textualize.errors import TextualizeError, first_line, missing_package, unknown
from textualize.extract.face.people import Cuts
from textualize.extract.face.py_feat_faces import Faces
from textualize.extract.face.tracks import nearest_rows, on_grid
from textualize.extract.sensor import Options, Reader, Reading, Reads
from textualize.extract.video import Frame, Media
from textualize.files import files_digest
from textualize.types import Modality, Status, Track

POLICIES = ("largest", "most_confident", "all")
NOTICE = (
    "py-feat v2 weights are for non-commercial research and were trained with labels of MELD, "
    "AffectNet, RAF-DB, FER+ and ExpW: scores on these corpora are inflated"
)

_OLDEST = (2, 1, 1)  # before, py-feat gave the pitch of head and gaze with the other sign
_ARCFACE = "py-feat/arcface_r50"
_REPOSITORIES: Mapping[str, tuple[str, ...]] = {
    "py-feat/retinaface_r34": ("model.safetensors", "retinaface_r34.safetensors"),
    _ARCFACE: ("arcface_r50.safetensors",),
}
# Paths that py-feat would prefer to the files whose digest is recorded.
_OVERRIDES = ("FEAT_MULTITASK_WEIGHTS", "FEAT_ARCFACE_R50_PATH")
_MOST_PIXELS = 1920 * 1088  # larger pictures are shrunk
_PIXELS_AT_ONCE = 8 * 1280 * 720
_MOST_PEOPLE = 10  # given tracks of their own


class PyFeatFace:
    """Twenty action units, seven emotions, valence, arousal, gaze and head of one face or all.

    Persons are told apart by where they are within a shot, or with `identity` by ArcFace
    embeddings. Without identity the largest (or surest) face of each moment is read, kept until
    another is much larger (surer); with it the one person largest (surest) over the clip.
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
        self.weights = files_digest(files[name] for name in sorted(files))

    def begin(self, media: Media) -> PyFeatReader:
        """Return a reader of the clip's faces."""
        return PyFeatReader(
            media, self._detector, self._batch, str(self.options["policy"]),
            by_face=bool(self.options["identity"]),
        )  # fmt: skip


class PyFeatReader(Reader):
    """Reads faces in batches as frames come."""

    def __init__(
        self, media: Media, detector: Any, batch: int, policy: str, *, by_face: bool
    ) -> None:
        """Take the clip and the loaded detector."""
        self._media, self._detector, self._batch = media, detector, batch
        self._policy, self._by_face = policy, by_face
        self._waiting: list[NDArray[np.uint8]] = []
        self._times: list[float] = []
        self._factor = self._shrunk = 1
        self._faces = Faces(by_face=by_face)
        self._shots, self._cuts = Cuts(), list[int]()

    def frame(self, frame: Frame) -> None:
        """Take the next picture; every so many the networks run."""
        rgb, factor = _shrunk(frame.rgb)
        if self._waiting and (rgb.shape != self._waiting[0].shape or factor != self._factor):
            self._detect()
        if self._shots.push(rgb):
            self._cuts.append(len(self._times))
        self._factor, self._shrunk = factor, max(self._shrunk, factor)
        self._times.append(frame.time)
        self._waiting.append(rgb)
        pixels = rgb.shape[0] * rgb.shape[1]
        if len(self._waiting) >= min(self._batch, max(1, _PIXELS_AT_ONCE // pixels)):
            self._detect()

    def finish(self) -> Reading:
        """Return tracks "aus", "emotions", "valence_arousal", "gaze", "face" and "identity".

        "aus" and "emotions" are probabilities, valence and arousal -1 to 1, gaze degrees to the
        right and up in the image. "identity", where asked for, is one row: the mean embedding of
        the person in most rows. Under policy "all" there are "aus.1", "face.1", … besides, by
        person. Absent when there is no picture or no face in any frame.
        """
        if not self._media.has_video:
            return Reading(Status("absent", PyFeatFace.name, "no video stream"))
        self._detect()
        faces = self._faces
        if not len(faces):
            reason = f"no face in {len(self._times)} frames"
            return Reading(Status("absent", PyFeatFace.name, reason))
        persons = faces.persons
        if self._by_face:
            chosen = faces.of_one_person(self._policy)
        else:
            chosen = faces.of_each_moment(self._policy, np.array(self._times))
        tracks = self._tracks(chosen)
        if self._by_face:
            tracks["identity"] = self._identity(int(persons[chosen[0]]))
        counts = np.bincount(persons)[1:]
        if self._policy == "all":
            for one in np.argsort(-counts, kind="stable")[:_MOST_PEOPLE] + 1:
                own = self._tracks(np.flatnonzero(persons == one))
                tracks |= {f"{name}.{one}": track for name, track in own.items()}
        reason = self._reason(len(counts), len(chosen))
        return Reading(Status("observed", PyFeatFace.name, reason), tracks)

    def _detect(self) -> None:
        """Run the networks on the waiting pictures and keep what they say of each face."""
        if not self._waiting:
            return
        import torch

        pictures = torch.from_numpy(np.stack(self._waiting).transpose(0, 3, 1, 2))
        first = len(self._times) - len(self._waiting)
        self._waiting = []
        table = self._detector.detect(
            pictures, data_type="tensor", batch_size=len(pictures), progress_bar=False
        )
        self._faces.add(table, first, self._factor, self._cuts)
        self._cuts = []

    def _tracks(self, chosen: NDArray[np.intp]) -> dict[str, Track]:
        """Return the tracks of the chosen faces, at most one a frame."""
        rows = nearest_rows(np.array(self._times), self._media)
        frames = self._faces.frames[chosen]
        tracks = {}
        for track, (keys, names, unit) in self._faces.kinds.items():
            values = np.full((len(self._times), len(keys)), np.nan, np.float32)
            values[frames] = self._faces.table(keys)[chosen]
            tracks[track] = on_grid(self._media, values, rows, names, unit, PyFeatFace.name)
        return tracks

    def _identity(self, person: int) -> Track:
        span, mean = self._media.span, self._faces.people.mean(person)
        return Track(mean[None], 1 / span.duration, span.start, (), "embedding", PyFeatFace.name)

    def _reason(self, people: int, read: int) -> str:
        """Say in how many frames whom was read, of how many, and what was left out."""
        seen = len(np.unique(self._faces.frames))
        notes = [f"face in {seen} of {len(self._times)} frames"]
        if people > 1:
            which = "surest" if self._policy == "most_confident" else "largest"
            when = "over the clip" if self._by_face else "at each moment"
            told = "face" if self._by_face else "place, anew after a cut"
            notes.append(f"{people} persons (told apart by {told}), the {which} {when} was read")
            notes.append(f"it is in {read} frames")
        if self._policy == "all" and people > _MOST_PEOPLE:
            notes.append(f"tracks of the {_MOST_PEOPLE} seen most")
        if self._shrunk > 1:
            notes.append(f"pictures read at 1/{self._shrunk} of their size")
        if self._media.damaged_packets:
            notes.append(f"{self._media.damaged_packets} damaged packets")
        return "; ".join([*notes, NOTICE])


def _shrunk(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
    """Return the picture, averaged over squares of `factor` pixels where it is too large."""
    height, width = rgb.shape[:2]
    factor = int(np.ceil(np.sqrt(height * width / _MOST_PIXELS)))
    if factor <= 1:
        return rgb, 1
    high, wide = height // factor, width // factor
    squares = rgb[: high * factor, : wide * factor].reshape(high, factor, wide, factor, 3)
    return squares.mean(axis=(1, 3), dtype=np.float32).round().astype(np.uint8), factor


def _package() -> Any:
    """Return the module `feat`, if it is there and new enough."""
    try:
        import feat
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "feat":
            raise missing_package("the py-feat sensor", "py-feat", "py-feat") from error
        raise TextualizeError(
            f"py-feat is installed but does not load: {first_line(error)}; install "
            "'textualize[py-feat]' into an environment of its own"
        ) from error
    version = str(feat.__version__)
    if tuple(int(n) for n in re.findall(r"\d+", version)[:3]) < _OLDEST:
        needed = ".".join(map(str, _OLDEST))
        raise TextualizeError(
            f"py-feat {version} is too old for the sensor; needs {needed} or later: "
            "pip install --upgrade py-feat"
        )
    return feat


def _check_device(device: str) -> None:
    import torch

    there = {
        "cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()
    }  # fmt: skip
    if not there.get(device):
        have = ", ".join(name for name, is_there in there.items() if is_there)
        raise TextualizeError(f"py-feat:device={device} is not on this machine; there is {have}")


def _weight_files(weights: str, identity: bool, resources: Path) -> dict[str, Path]:
    """Return the file of each repository that py-feat would load.

    Raises TextualizeError naming all that are missing.
    """
    from feat.multitask.inference import HF_REPO, HF_WEIGHTS_FILE
    from huggingface_hub.constants import HF_HUB_CACHE

    if weights and not Path(weights).is_dir():
        raise TextualizeError(f"py-feat:weights should be a folder; there is none at {weights}")
    folders = [Path(weights)] if weights else [resources, Path(HF_HUB_CACHE)]
    wanted = {**_REPOSITORIES, HF_REPO: (HF_WEIGHTS_FILE,)}
    if not identity:
        del wanted[_ARCFACE]
    found = {name: _held(folders, name, files) for name, files in wanted.items()}
    missing = [f"{name}/{wanted[name][0]}" for name, path in found.items() if path is None]
    if missing:
        fetched = {"py-feat" + "-identity" * (n == _ARCFACE) for n, p in found.items() if p is None}
        raise TextualizeError(
            f"no {' or '.join(missing)} in {' or '.join(map(str, folders))}: "
            f"textualize fetch {' '.join(sorted(fetched))} gets them, "
            "or give a folder that has them as py-feat=FOLDER"
        )
    return {name: path for name, path in found.items() if path is not None}


def _held(folders: Sequence[Path], repository: str, names: tuple[str, ...]) -> Path | None:
    """Return the newest copy of a repository's file below the first folder that has one."""
    short = repository.rpartition("/")[2]
    for folder in folders:
        for name in names:
            copies = [p for p in folder.glob(f"*{short}/**/{name}") if p.is_file()]
            if copies:
                return max(copies, key=lambda p: p.stat().st_mtime)
    return None


def _loaded(feat: Any, files: Mapping[str, Path], device: str, identity: bool) -> Any:
    """Return py-feat's detector, built from the given files."""
    import torch
    from safetensors import SafetensorError

    gradients = torch.is_grad_enabled()  # py-feat turns them off for the whole process
    try:
        with _instead_of_the_hub(files):
            return feat.Detectorv2(device=device, identity_model="arcface" if identity else None)
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
        raise TextualizeError(
            f"py-feat's weights do not load on '{device}': {first_line(error)}; give the files "
            f"that py-feat {feat.__version__} names"
        ) from error
    finally:
        torch.set_grad_enabled(gradients)


@contextmanager
def _instead_of_the_hub(files: Mapping[str, Path]) -> Iterator[None]:
    """Answer py-feat's requests for weights from files.

    It asks the hub for weights it has, too, and retries for 50 s where there is no network.
    """
    import huggingface_hub

    asked = huggingface_hub.hf_hub_download
    variables = {name: os.environ.pop(name, None) for name in _OVERRIDES}
    huggingface_hub.hf_hub_download = lambda repo_id, **_: str(files[repo_id])  # type: ignore[assignment]
    try:
        yield
    finally:
        huggingface_hub.hf_hub_download = asked
        os.environ.update({n: v for n, v in variables.items() if v is not None})
