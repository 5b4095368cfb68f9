"""Persons in a clip: every face gets an id, and one of them, or all, are read.

Faces are followed from picture to picture by place, up to a cut or a longer absence; at the end
of the clip, parts whose bones agree are put down to one person. A person seen from another side
may have other bones and be counted twice. Only numbers are kept, 168 bytes a face and picture.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from textualize.extract.face import action_units
from textualize.extract.face.action_units import Float64
from textualize.extract.face.tracks import Box, overlap
from textualize.types import Float32

Policy = Literal["speaker", "largest", "most_confident", "all"]
POLICIES: tuple[Policy, ...] = ("speaker", "largest", "most_confident", "all")

_NUMBERS = 9 + len(action_units.NAMES)  # score, box, angles, lips, raw action units
_LIPS, _RAW = 8, slice(9, _NUMBERS)

# Points that expressions hardly move: means over a second of the same talker are 0.003 to 0.009
# apart, of two talkers 0.016 to 0.040 (six people; single pictures stray by up to 0.02).
_BONES = (
    127, 356, 234, 454, 132, 361, 10, 168, 197, 4, 1, 64, 294, 2, 33, 133, 263, 362, 143, 372,
    58, 288, 93, 323, 98, 327, 5, 195, 151, 9,
)  # fmt: skip
_SAME_BONES = 0.012
_BONES_KEPT = 50  # pictures that the mean of a person's bones goes back, when there are more
_STAYS_S = 5.0  # how long a place is kept for a face that is not seen
_ACTIVE_S = 2.0  # how long a face is looked for where it was last
_REACH = 0.6  # of a face's size: how far it moves between two pictures at most
_SIZES = 2.0  # a face does not grow or shrink by more than this between two pictures
_BRIEF = 3  # a person seen in fewer pictures is no one worth counting, if another is
_HOLD_S = 1.0  # a face missed for no longer stands for its person when persons are compared
_LARGER = 1.3  # a face must be this much larger in area before the reading moves to it
_SURER = 1.1

# A cut changes the picture by 13 grey levels or more (15 pairs of talkers before the same blue
# wall, 66 pairs of drawn scenes), a talking head by 9 at most, a camera in motion all the time.
_CUT = 12.0
_CUT_FACTOR = 4.0


class Sight(NamedTuple):
    """One face in one picture: what is kept of its mesh.

    `box` (x, y, w, h) in pixels, `score` 0-1, `angles` yaw, pitch, roll in degrees, `lips` the
    opening of the lips (inner and outer together) in outer eye distances, `raw` (12,) action
    units before calibration, `bones` (30, 3).
    """

    box: Box
    score: float
    angles: Float64
    lips: float
    raw: Float64
    bones: Float64


def sight(mesh: Float64, box: Box, score: float) -> Sight:
    """Return what is kept of a face's mesh, (478, 3) in pixels."""
    turned, rotation = action_units.frontal(mesh[None])
    face = turned[0]
    lips = np.linalg.norm(face[13] - face[14]) + np.linalg.norm(face[0] - face[17])
    raw = action_units.raw(turned)[0]
    angles = action_units.head_angles(rotation)[0]
    return Sight(box, score, angles, float(lips), raw, face[list(_BONES)])


class Person:
    """One person of a clip: where and how the face was in each picture it was seen in."""

    def __init__(self, number: int) -> None:
        """Take the person's id."""
        self.id = number
        self._parts: list[tuple[int, int]] = []
        self._frames, self._numbers = array("l"), array("d")
        self.bones: Float64 = np.zeros((len(_BONES), 3))
        self.box: Box = (0.0, 0.0, 0.0, 0.0)
        self.last_time = -np.inf
        self.shot = 0

    def add(self, frame: int, time: float, shot: int, seen: Sight) -> None:
        """Take the face as seen in picture `frame`."""
        self._frames.append(frame)
        self._numbers.extend((seen.score, *seen.box, *seen.angles, seen.lips, *seen.raw))
        share = 1 / min(len(self._frames), _BONES_KEPT)
        self.bones = self.bones + share * (seen.bones - self.bones)
        self.box, self.last_time, self.shot = seen.box, time, shot

    def join(self, other: Person) -> None:
        """Take all pictures of a part of the clip; they come after those so far."""
        self._parts.append((other.id, len(other)))
        self._frames.extend(other._frames)
        self._numbers.extend(other._numbers)
        share = len(other) / len(self)
        self.bones = self.bones + share * (other.bones - self.bones)

    def __len__(self) -> int:
        """Return in how many pictures the person was seen."""
        return len(self._frames)

    @property
    def frames(self) -> NDArray[np.int64]:
        """Indices of the pictures the person was seen in, (N,), ascending."""
        return np.array(self._frames, np.int64)

    @property
    def parts(self) -> NDArray[np.int64]:
        """What `People.add` called the person in each of the pictures, (N,)."""
        return np.repeat(*np.array(self._parts or [(self.id, len(self))]).T)

    @property
    def last_frame(self) -> int:
        """Index of the last picture the person was seen in."""
        return self._frames[-1]

    @property
    def faces(self) -> Float64:
        """Score, box and angles, (N, 8)."""
        return self._table()[:, :_LIPS]

    @property
    def score(self) -> float:
        """The detector's latest, 0-1."""
        return float(self._numbers[-_NUMBERS])

    @property
    def lips(self) -> Float64:
        """Opening of the lips in outer eye distances, (N,)."""
        return self._table()[:, _LIPS]

    def action_units(self) -> tuple[Float32, Literal["own", "average"]]:
        """Return the action units against the person's own neutral, (N, 12), and which it was."""
        return action_units.calibrated(self._table()[:, _RAW])

    def _table(self) -> Float64:
        return np.array(self._numbers).reshape(-1, _NUMBERS)


class Cuts:
    """Tells the pictures of a clip that follow a cut."""

    def __init__(self) -> None:
        """Start before the first picture."""
        self._before: Float32 | None = None
        self._usual = 0.0

    def push(self, rgb: NDArray[np.uint8]) -> bool:
        """Return whether this picture is another shot than the one before."""
        down, across = (max(1, side // 32) for side in rgb.shape[:2])
        small = rgb[::down, ::across].astype(np.float32).mean(axis=2)
        before, self._before = self._before, small
        if before is None:
            return False
        if before.shape != small.shape:
            return True
        change = float(np.abs(small - before).mean())
        cut = change > max(_CUT, _CUT_FACTOR * self._usual)
        if not cut:
            self._usual += 0.2 * (change - self._usual)
        return cut


class People:
    """The persons of one clip, in the order they came."""

    def __init__(self) -> None:
        """Start with nobody."""
        self._everyone: list[Person] = []
        self._shot = 0

    def cut(self) -> None:
        """Note that another shot begins: places mean nothing any more."""
        self._shot += 1

    def active(self, time: float) -> list[Person]:
        """Return who was seen in this shot within the last two seconds."""
        return [
            p
            for p in self._everyone
            if p.shot == self._shot and p.last_time >= time - _ACTIVE_S and p.last_time < time
        ]

    def add(self, frame: int, time: float, seen: Sequence[Sight]) -> list[Person]:
        """Return whose the faces of one picture are; each is added to its person.

        Faces are followed by place: after a cut, or five seconds, anybody is somebody new here.
        """
        here = [
            p for p in self._everyone if p.shot == self._shot and p.last_time >= time - _STAYS_S
        ]
        owners = _by_place(here, seen)
        for i, one in enumerate(seen):
            if i not in owners:
                owners[i] = Person(len(self._everyone) + 1)
                self._everyone.append(owners[i])
            owners[i].add(frame, time, self._shot, one)
        return [owners[i] for i in range(len(seen))]

    def seen(self) -> list[Person]:
        """Return the persons seen in at least three pictures, else everyone, numbered from 1.

        Who was followed at different times and has the same bones is one person.
        """
        seen = _lasting(self._joined())
        for number, person in enumerate(seen, start=1):
            person.id = number
        return seen

    @property
    def brief(self) -> int:
        """How many persons `seen` leaves out."""
        everyone = self._joined()
        return len(everyone) - len(_lasting(everyone))

    def _joined(self) -> list[Person]:
        persons: list[Person] = []
        for part in self._everyone:
            begin = int(part.frames[0])
            owner = _by_bones(part, [p for p in persons if p.last_frame < begin])
            if owner is None:
                owner = Person(part.id)
                persons.append(owner)
            owner.join(part)
        return persons


def _lasting(persons: list[Person]) -> list[Person]:
    return [p for p in persons if len(p) >= _BRIEF] or persons


def _by_bones(one: Person, free: Sequence[Person]) -> Person | None:
    """Return who of the persons not in view has the same bones, if anyone."""
    if not free:
        return None
    apart = np.array([p.bones for p in free]) - one.bones
    distance = np.sqrt((apart**2).sum(axis=2).mean(axis=1))
    nearest = int(np.argmin(distance))
    return free[nearest] if distance[nearest] < _SAME_BONES else None


def _by_place(persons: Sequence[Person], seen: Sequence[Sight]) -> dict[int, Person]:
    """Return the person of each face that is near where one was, best matches first."""
    pairs = []
    for i, one in enumerate(seen):
        for person in persons:
            match = _match(person.box, one.box)
            if match > 0:
                pairs.append((match, i, person))
    owners: dict[int, Person] = {}
    for _, i, person in sorted(pairs, key=lambda p: -p[0]):
        if i not in owners and person not in owners.values():
            owners[i] = person
    return owners


def _match(before: Box, now: Box) -> float:
    """Return how well two boxes may be one face's, above 0, or 0 where they may not.

    >>> _match((0, 0, 10, 10), (2, 0, 10, 10)) > _match((0, 0, 10, 10), (5, 0, 10, 10)) > 0
    True
    >>> _match((0, 0, 10, 10), (40, 0, 10, 10)), _match((0, 0, 10, 10), (0, 0, 30, 30))
    (0.0, 0.0)
    """
    size, other = max(before[2:]), max(now[2:])
    if max(size, other) > _SIZES * min(size, other):
        return 0.0
    across = before[0] + before[2] / 2 - now[0] - now[2] / 2
    down = before[1] + before[3] / 2 - now[1] - now[3] / 2
    near = 1.0 - float(np.hypot(across, down)) / (_REACH * max(size, other))
    return max(0.0, near + overlap(before, now)) if near > 0 else overlap(before, now)


def preferred(persons: Sequence[Person], times: Float64, by: Policy) -> NDArray[np.intp]:
    """Return which person (index) is the largest or best detected in each picture, -1 for none.

    The choice stays with a person until another is 1.3 times larger in area ("largest") or 1.1
    times surer ("most_confident"), or the person is not seen again within a second.
    """
    margin = _SURER if by == "most_confident" else _LARGER
    order, table = _sightings(persons, times, by)
    ends = np.searchsorted(order, np.arange(len(times)), side="right")
    chosen = np.full(len(times), -1, np.intp)
    near: dict[int, tuple[float, float]] = {}  # person -> (in view before this picture, strength)
    current, begin = -1, 0
    for t, end in enumerate(ends):
        near = {j: seen for j, seen in near.items() if seen[0] > t}
        near |= {int(j): (until, value) for j, until, value in table[begin:end]}
        begin = end
        if near:
            best = max(near, key=lambda j: near[j][1])
            if current not in near or near[best][1] > margin * near[current][1]:
                current = best
            chosen[t] = current
    return chosen


def _sightings(
    persons: Sequence[Person], times: Float64, by: Policy
) -> tuple[NDArray[np.int64], Float64]:
    """Return all sightings in time order: the pictures, (N,), and rows (person, until, strength).

    A person counts as in view `until` the next sighting when that is at most a second later.
    """
    frames, rows = [], []
    for j, person in enumerate(persons):
        at, faces = person.frames, person.faces
        value = faces[:, 0] if by == "most_confident" else faces[:, 3] * faces[:, 4]
        until = at + 1
        until[:-1] = np.where(np.diff(times[at]) <= _HOLD_S, at[1:], until[:-1])
        frames.append(at)
        rows.append(np.stack([np.full(len(at), j), until, value], axis=1))
    order = np.argsort(np.concatenate(frames), kind="stable")
    return np.concatenate(frames)[order], np.concatenate(rows)[order]
