"""Follows the faces of one clip and says whose are read.

One face is tracked from picture to picture, as MediaPipe does it. Once a second, after a cut, and
where the mesh finds nothing, all faces are looked for; while there are several, each is followed
by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from textualize.errors import TextualizeError
from textualize.extract.face.action_units import Float64
from textualize.extract.face.images import CROPS_HZ, Array, Kept, aligned
from textualize.extract.face.people import Cuts, People, Person, Policy, sight
from textualize.extract.face.reading import (
    MOST_PEOPLE,
    Measured,
    chosen_parts,
    chosen_rows,
    chosen_tracks,
    measure,
    shape_table,
    tracks_by_person,
)
from textualize.extract.face.speaking import Choice, Loudness, choose
from textualize.extract.face.tracks import Box, inside, middle, overlap
from textualize.extract.sensor import Reader, Reading, Reads
from textualize.extract.sound import Stretch
from textualize.extract.video import Frame, Media
from textualize.types import Float32, Status, Track, Unit

ACCEPTED = 0.5  # MediaPipe's own threshold for detecting and tracking

_POINTS = 478
_PROBE_S = 1.0  # how often all faces are looked for
_SAME = 0.3  # two meshes whose boxes overlap by more are one face's
_MOST_AT_ONCE = 8  # faces followed in one picture
_NAMED = 5  # persons in the status


class Seen(NamedTuple):
    """One face in one picture: `mesh` (478, 3) and `box` (x, y, w, h) in pixels, `score` 0-1.

    `score` is the full-range detector's when it last looked; 0.5, what the tracker asks for, where
    it misses a face that the mesh holds.
    """

    mesh: Float64
    box: Box
    score: float


class FaceModels(Protocol):
    """What finds faces in pictures."""

    def track(self, rgb: NDArray[np.uint8], score: float) -> Seen | None:
        """Return the face that is tracked from picture to picture."""

    def detect(self, rgb: NDArray[np.uint8]) -> list[tuple[float, Box]]:
        """Return (score, box) of every face, the largest first."""

    def look(self, rgb: NDArray[np.uint8], box: Box, score: float) -> Seen | None:
        """Return the face whose middle is in a box."""

    def shapes(self, rgb: NDArray[np.uint8], box: Box) -> dict[str, float]:
        """Return the blendshapes of the face in a box by name, empty where there are none."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a face sensor was asked for: whose face, and what besides its action units."""

    policy: Policy
    landmarks: bool = False
    crops: int = 0
    blendshapes: bool = False


class FaceReader(Reader):
    """Follows the faces of one clip; keeps numbers only, unless asked for pictures."""

    def __init__(self, media: Media, models: FaceModels, wanted: Wanted, source: str) -> None:
        """Take the clip, the models, used until the next clip begins, and the sensor's name."""
        self._media, self._models, self._wanted, self._source = media, models, wanted, source
        self._people, self._cuts, self._loudness = People(), Cuts(), Loudness()
        self._times: list[float] = []
        self._probe_at = -np.inf
        self._several = False
        self._crowd = self._rescued = 0
        self._lost: list[str] = []
        self._crops = Kept(media, "crops", CROPS_HZ) if wanted.crops else None
        self._meshes = Kept(media, "landmarks") if wanted.landmarks else None
        shapes = wanted.blendshapes
        self._shapes = Kept(media, "blendshapes", longest_s=np.inf) if shapes else None
        self._shape_names: tuple[str, ...] = ()

    def frame(self, frame: Frame) -> None:
        """Find the faces of the next picture and say whose they are."""
        if self._cuts.push(frame.rgb):
            self._people.cut()
            self._probe_at = -np.inf
        faces = self._look(frame)
        sights = [sight(*face) for face in faces]
        index = len(self._times)
        self._times.append(frame.time)
        owners = self._people.add(index, frame.time, sights)
        self._keep(index, frame, list(zip(owners, faces, strict=True)))

    def sound(self, stretch: Stretch) -> None:
        """Take how loud it is."""
        self._loudness.add(stretch)

    def lost(self, kind: Reads, error: TextualizeError) -> None:
        """Go on with the sound or the pictures that came; raises the error if no picture did."""
        if kind == "frames" and not self._times:
            raise error
        ended = f", only the first {len(self._times)}" if kind == "frames" else ""
        what = "pictures" if kind == "frames" else "sound"
        self._lost.append(f"{what} could not be decoded{ended}")

    def _look(self, frame: Frame) -> list[Seen]:
        active = self._people.active(frame.time)
        first = self._models.track(frame.rgb, ACCEPTED)
        boxes: list[tuple[float, Box]] | None = None
        due = frame.time >= self._probe_at + _PROBE_S
        if first is None or due:
            boxes = self._models.detect(frame.rgb)
            self._probe_at = frame.time if due else self._probe_at
            self._crowd = max(self._crowd, len(boxes))
            self._several = len(boxes) > 1 or len(active) > 1
        faces = [] if first is None else [first._replace(score=_score(first.box, boxes, active))]
        if self._several:
            for person in active:
                if not any(overlap(f.box, person.box) > _SAME for f in faces):
                    self._add(faces, frame, _score(person.box, boxes, [person]), person.box)
        for score, box in boxes or ():
            if not faces or self._several and not any(inside(middle(box), f.box) for f in faces):
                self._rescued += self._add(faces, frame, score, box) and first is None
        return faces

    def _add(self, faces: list[Seen], frame: Frame, score: float, box: Box) -> bool:
        """Look for a face in a box; return whether there is one that was not found before."""
        if len(faces) >= _MOST_AT_ONCE:
            return False
        face = self._models.look(frame.rgb, box, score)
        if face is None or any(overlap(f.box, face.box) > _SAME for f in faces):
            return False
        faces.append(face)
        return True

    def _keep(self, index: int, frame: Frame, faces: Sequence[tuple[Person, Seen]]) -> None:
        if self._meshes and self._meshes.wants(index, frame.time):
            for person, face in faces:
                self._meshes.add(index, person.id, face.mesh.astype(np.float32).reshape(-1))
        if self._crops and self._crops.wants(index, frame.time):
            for person, face in faces:
                picture = aligned(frame.rgb, face.mesh, self._wanted.crops)
                self._crops.add(index, person.id, picture)
        if self._shapes and self._shapes.wants(index, frame.time):
            for person, face in faces:
                shapes = self._models.shapes(frame.rgb, face.box)
                if shapes:
                    self._shape_names = self._shape_names or tuple(shapes)
                    self._shapes.add(index, person.id, np.array(list(shapes.values()), np.float32))

    def finish(self) -> Reading:
        """Return tracks "aus" and "face" on the media's frame grid; NaN rows have no face.

        Besides, where asked for, "landmarks", "crops", "blendshapes", and under policy "all"
        "aus.1", "face.1", "aus.2", … by person. Absent without a picture or a face.
        """
        name, policy = self._source, self._wanted.policy
        if not self._media.has_video:
            return Reading(Status("absent", name, "no video stream"))
        persons, times = self._people.seen(), np.array(self._times)
        if not persons:
            return Reading(Status("absent", name, f"no face in {len(times)} frames"))
        power = self._loudness.power
        choice = choose(persons, times, self._media.span.start, power, policy)
        shapes = [shape_table(p, self._shapes, self._shape_names) for p in persons]
        measured = [
            measure(p, speaking, table, self._shape_names)
            for p, speaking, table in zip(persons, choice.speaking, shapes, strict=True)
        ]
        tracks = chosen_tracks(self._media, times, persons, measured, choice.person, name)
        if policy == "all":
            tracks |= tracks_by_person(self._media, times, persons, measured, name)
        tracks |= self._pictures(chosen_parts(persons, choice.person))
        found = int(np.isfinite(chosen_rows(persons, measured, choice.person)[:, 0]).sum())
        notes = [f"face in {found} of {len(times)} frames", *self._notes(persons, choice, measured)]
        return Reading(Status("observed", name, "; ".join(notes)), tracks)

    def _pictures(self, ids: NDArray[np.int64]) -> dict[str, Track]:
        """Return the tracks of what was kept of the one (part) chosen in each picture."""
        side = self._wanted.crops
        points = tuple(f"{axis}{i}_px" for i in range(_POINTS) for axis in "xyz")
        crop = np.zeros((side, side, 3), np.uint8)
        wanted: tuple[tuple[str, Kept | None, Array, tuple[str, ...], Unit], ...] = (
            ("crops", self._crops, crop, (), "pixels"),
            ("landmarks", self._meshes, _nan(len(points)), points, "named"),
            ("blendshapes", self._shapes, _nan(len(self._shape_names)), self._shape_names,
             "probability"),
        )  # fmt: skip
        return {
            track: kept.track(ids, blank, names, unit, self._source)
            for track, kept, blank, names, unit in wanted
            if kept and not kept.lost and (names or track == "crops")
        }

    def _notes(
        self, persons: Sequence[Person], choice: Choice, measured: Sequence[Measured]
    ) -> list[str]:
        notes = [f"{self._rescued} by full-range detection"] if self._rescued else []
        if len(persons) > 1:
            read = [persons[j].id for j in np.unique(choice.person) if j >= 0]
            who = ", ".join(map(str, read[:_NAMED])) + ", …" * (len(read) > _NAMED)
            several = "persons" if len(read) > 1 else "person"
            notes += [f"{len(persons)} people seen", f"{choice.why}: {several} {who}"]
        if self._crowd > len(persons):
            notes += [f"up to {self._crowd} faces detected"]
        if self._people.brief:
            notes += [f"{self._people.brief} seen in one or two frames left out"]
        if self._wanted.policy == "all" and len(persons) > MOST_PEOPLE:
            notes += [f"tracks of their own for the {MOST_PEOPLE} seen longest"]
        if any(measured[j].neutral == "average" for j in np.unique(choice.person) if j >= 0):
            notes += ["compared with an average face: too short for its own neutral"]
        if self._shapes and not self._shapes.lost and not self._shape_names:
            notes += ["no blendshapes: the network of the task file found no face"]
        kept = (self._crops, self._meshes, self._shapes)
        notes += [one.lost for one in kept if one and one.lost]
        notes += self._lost
        damaged = self._media.damaged_packets
        return notes + ([f"{damaged} damaged packets"] if damaged else [])


def _score(box: Box, boxes: list[tuple[float, Box]] | None, known: Sequence[Person]) -> float:
    """Return the detector's score of a face: now, if it looked, else as of the person there."""
    if boxes is not None:
        return max((s for s, b in boxes if inside(middle(box), b)), default=ACCEPTED)
    return next((p.score for p in known if overlap(p.box, box) > _SAME), ACCEPTED)


def _nan(length: int) -> Float32:
    return np.full(length, np.nan, np.float32)
