"""The faces of a clip as py-feat reports them: who is who, and whose rows are read."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from textualize.extract.face.tracks import FACE_COLUMNS, overlap
from textualize.types import Float32, Unit

if TYPE_CHECKING:
    import pandas as pd

_SAME_PLACE = 0.2  # overlap with where a person was last seen
_SAME_FACE = 0.5  # cosine of ArcFace embeddings; py-feat found at most 0.35 between people
_MARGIN = {"largest": 1.3, "most_confident": 1.1}  # before the reading moves to another face
_HOLD_S = 1.0  # how long a face that is missed still stands

_AU = re.compile(r"AU\d\d")
_EMOTIONS = ("Neutral", "Happy", "Sad", "Surprise", "Fear", "Disgust", "Anger", "Contempt")
_AFFECT = ("valence", "arousal")
_RECT = ("FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight")
# py-feat: radians, yaw > 0 to the subject's right, which is the left of the image, pitch > 0 up,
# roll > 0 to the subject's right. Ours: degrees, yaw > 0 to the image's right, roll > 0 clockwise.
_ANGLES = {
    "yaw_deg": ("Yaw", -1.0),
    "pitch_deg": ("Pitch", 1.0),
    "roll_deg": ("Roll", -1.0),
    "gaze_yaw_deg": ("gaze_yaw", -1.0),
    "gaze_pitch_deg": ("gaze_pitch", 1.0),
}
_GAZE = ("gaze_yaw_deg", "gaze_pitch_deg")
_PLACE = ("frame", "person", "score", "x_px", "y_px", "w_px", "h_px")
_BOX = slice(_PLACE.index("x_px"), len(_PLACE))
_IDENTITY = tuple(f"Identity_{i}" for i in range(1, 513))


class Faces:
    """All faces of a clip, some forty numbers each, in order of time.

    `by_face` tells persons apart by embeddings rather than by where they are.
    """

    def __init__(self, *, by_face: bool) -> None:
        """Start with no face seen."""
        self.people = People(by_face=by_face)
        self._by_face = by_face
        self._names: tuple[str, ...] = _PLACE
        self._found: list[Float32] = []
        self._cuts: list[int] = []
        self._shot = 0  # how many cuts the faces so far have passed

    def add(self, table: pd.DataFrame, first: int, factor: int, cuts: Collection[int] = ()) -> None:
        """Keep py-feat's rows of some frames.

        `first` is the index of the first frame, `factor` how much smaller its picture was,
        `cuts` the indices of frames that begin another shot.
        """
        self._cuts += sorted(cuts)
        table = table[table["FaceRectWidth"] > 0]  # NaN is py-feat's way to say no face
        if not len(table):
            return
        read = [n for n in table.columns if _AU.fullmatch(n) or n in (*_EMOTIONS, *_AFFECT)]
        self._names = (*_PLACE, *_ANGLES, *read)
        place = np.zeros((len(table), len(_PLACE)), np.float32)
        place[:, 0] = first + table["frame"].to_numpy()
        place[:, 2] = table["FaceScore"].to_numpy()
        place[:, _BOX] = _columns(table, _RECT) * factor
        signs = np.degrees([sign for _, sign in _ANGLES.values()])
        angles = _columns(table, [name for name, _ in _ANGLES.values()]) * signs
        keys = _columns(table, _IDENTITY) if self._by_face else place[:, _BOX]
        for frame in np.unique(place[:, 0]):
            shot = int(np.searchsorted(self._cuts, frame, side="right"))
            if shot > self._shot:
                self._shot = shot
                self.people.cut()
            here = place[:, 0] == frame
            place[here, 1] = self.people.tell_apart(keys[here])
        self._found.append(np.hstack([place, angles, _columns(table, read)], dtype=np.float32))

    def __len__(self) -> int:
        return sum(len(found) for found in self._found)

    def table(self, names: Sequence[str]) -> Float32:
        """Return the named columns, (faces, D); NaN for one not measured (`speaking`)."""
        blank = np.full((len(self), 1), np.nan, np.float32)
        values = np.hstack([np.concatenate(self._found), blank])
        return values[:, [self._names.index(n) if n in self._names else -1 for n in names]]

    @property
    def frames(self) -> NDArray[np.intp]:
        """The index of each face's frame."""
        return self.table(["frame"])[:, 0].astype(np.intp)

    @property
    def persons(self) -> NDArray[np.intp]:
        """Each face's person: 1, 2, … in order of appearance."""
        return self.table(["person"])[:, 0].astype(np.intp)

    @property
    def kinds(self) -> dict[str, tuple[tuple[str, ...], tuple[str, ...], Unit]]:
        """By track: the columns it is made of, what they are called there, and their unit."""
        aus = tuple(sorted(n for n in self._names if _AU.fullmatch(n)))
        emotions = tuple(n for n in self._names if n in _EMOTIONS)
        return {
            "aus": (aus, aus, "probability"),
            "emotions": (emotions, tuple(n.lower() for n in emotions), "probability"),
            "valence_arousal": (_AFFECT, _AFFECT, "named"),
            "gaze": (_GAZE, tuple(n.removeprefix("gaze_") for n in _GAZE), "named"),
            "face": (FACE_COLUMNS, FACE_COLUMNS, "named"),
        }

    def of_one_person(self, policy: str) -> NDArray[np.intp]:
        """Return the rows of the person who is largest, or surest, in sum over the clip."""
        total = np.bincount(self.persons, weights=self._measure(policy))
        return np.flatnonzero(self.persons == total.argmax())

    def of_each_moment(self, policy: str, times: NDArray[np.floating[Any]]) -> NDArray[np.intp]:
        """Return at most one row a frame: who was read before, unless another is much more so.

        `times` are the frames' in seconds. Who is missed for a second or less within a shot
        still stands, and nobody else is read meanwhile.
        """
        frames, persons, measure = self.frames, self.persons, self._measure(policy)
        margin = _MARGIN["most_confident" if policy == "most_confident" else "largest"]
        chosen: list[int] = []
        person, seen, before = -1, -np.inf, 0.0
        shots = np.searchsorted(self._cuts, frames, side="right")
        for here in np.split(np.arange(len(frames)), np.flatnonzero(np.diff(frames)) + 1):
            if here[0] and shots[here[0]] > shots[here[0] - 1]:
                seen = -np.inf
            time, best = times[frames[here[0]]], here[measure[here].argmax()]
            own = here[persons[here] == person]
            if len(own):
                seen, before = time, measure[own[0]]
            stands = time - seen <= _HOLD_S and measure[best] < margin * before
            if not stands:
                person, seen, before = int(persons[best]), time, measure[best]
                own = np.array([best])
            chosen += own.tolist()
        return np.array(chosen, np.intp)

    def _measure(self, policy: str) -> Float32:
        if policy == "most_confident":
            return self.table(["score"])[:, 0]
        return np.asarray(self.table(["w_px", "h_px"]).prod(axis=1))


class People:
    """Who has been seen so far, by the place or by the embedding of their face."""

    def __init__(self, *, by_face: bool) -> None:
        """Start with nobody known."""
        self._by_face = by_face
        self._known: dict[int, Float32] = {}  # the box last seen, or the sum of unit embeddings
        self._count = 0

    def mean(self, person: int) -> Float32:
        """Return a person's mean embedding, (512,), of length 1."""
        return np.asarray(_unit(self._known[person]), np.float32)

    def cut(self) -> None:
        """Note that another shot begins: places mean nothing any more, faces do."""
        if not self._by_face:
            self._known.clear()

    def tell_apart(self, faces: Float32) -> list[int]:
        """Return a person (1, 2, …) for each face of one frame; the most alike are matched first.

        `faces` is (N, 4) boxes or (N, 512) embeddings. Nobody is in a frame twice.
        """
        threshold = _SAME_FACE if self._by_face else _SAME_PLACE
        pairs = [
            (self._alike(face, known), i, person)
            for i, face in enumerate(faces)
            for person, known in self._known.items()
        ]
        given: dict[int, int] = {}
        for alike, i, person in sorted(pairs, reverse=True):
            if alike >= threshold and i not in given and person not in given.values():
                given[i] = person
        for i, face in enumerate(faces):
            if i not in given:
                self._count += 1
                given[i] = self._count
            known = self._known.get(given[i], np.zeros_like(face))
            self._known[given[i]] = known + _unit(face) if self._by_face else face.copy()
        return [given[i] for i in range(len(faces))]

    def _alike(self, face: Float32, known: Float32) -> float:
        if self._by_face:
            return float(_unit(face) @ _unit(known))
        return overlap(_box(face), _box(known))


def _columns(table: pd.DataFrame, names: Sequence[str]) -> Float32:
    return np.asarray(table[list(names)].to_numpy(np.float32))


def _unit(vector: Float32) -> NDArray[Any]:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12))


def _box(values: Float32) -> tuple[float, float, float, float]:
    x, y, w, h = values.tolist()
    return x, y, w, h
