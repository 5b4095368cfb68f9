"""From what was seen of each person to tracks: whose numbers stand in which row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from textualize.extract.face import action_units, blendshapes
from textualize.extract.face.action_units import Float64
from textualize.extract.face.images import Kept
from textualize.extract.face.people import Person
from textualize.extract.face.tracks import FACE_COLUMNS, nearest_rows, on_grid
from textualize.extract.video import Media
from textualize.types import Float32, Track

MOST_PEOPLE = 16  # given tracks of their own


class Measured(NamedTuple):
    """One person's numbers on the person's own pictures, and the neutral they are against.

    `face` is (N, 10) as `FACE_COLUMNS`, `aus` (N, A) with the names `au_names`.
    """

    face: Float64
    aus: Float32
    au_names: tuple[str, ...]
    neutral: Literal["own", "average"]


def measure(
    person: Person, speaking: Float64, shapes: Float64 | None, names: tuple[str, ...]
) -> Measured:
    """Return a person's face columns and action units.

    `shapes` (N, 52) are the person's blendshapes, if there are any; the action units that only
    they show are then given too.
    """
    aus, neutral = person.action_units()
    au_names: tuple[str, ...] = action_units.NAMES
    if shapes is not None:
        aus = np.hstack([aus, blendshapes.derived(shapes, names)])
        au_names = (*au_names, *blendshapes.DERIVED)
    number = np.full(len(person), person.id, np.float64)
    face = np.column_stack([person.faces, number, speaking])
    return Measured(face, aus, au_names, neutral)


def shape_table(person: Person, kept: Kept | None, names: tuple[str, ...]) -> Float64 | None:
    """Return a person's blendshapes, (N, 52), NaN where none were found.

    None where nobody's were found or they were too many to keep.
    """
    if kept is None or kept.lost or not names:
        return None
    blank = np.full(len(names), np.nan)
    pairs = zip(person.frames, person.parts, strict=True)
    rows = [kept.get(int(frame), int(part), blank) for frame, part in pairs]
    return np.asarray(rows, np.float64)


def chosen_parts(persons: Sequence[Person], chosen: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return under which number each picture's chosen face was kept, (T,), 0 for nobody."""
    numbers = np.zeros(len(chosen), np.int64)
    for j, person in enumerate(persons):
        mine = chosen[person.frames] == j
        numbers[person.frames[mine]] = person.parts[mine]
    return numbers


def chosen_rows(
    persons: Sequence[Person], measured: Sequence[Measured], chosen: NDArray[np.intp]
) -> Float64:
    """Return face columns and action units of who is chosen in each picture, (T, 10 + A).

    NaN where nobody is chosen or the one chosen is not seen.
    """
    width = len(FACE_COLUMNS) + len(measured[0].au_names)
    table = np.full((len(chosen), width), np.nan)
    for j, (person, numbers) in enumerate(zip(persons, measured, strict=True)):
        mine = chosen[person.frames] == j
        table[person.frames[mine]] = np.hstack([numbers.face, numbers.aus])[mine]
    return table


def chosen_tracks(
    media: Media,
    times: Float64,
    persons: Sequence[Person],
    measured: Sequence[Measured],
    chosen: NDArray[np.intp],
    source: str,
    suffix: str = "",
) -> dict[str, Track]:
    """Return tracks "aus" and "face" of who is chosen in each picture."""
    table = chosen_rows(persons, measured, chosen)
    rows = nearest_rows(times, media)
    face, aus = np.split(table, [len(FACE_COLUMNS)], axis=1)
    names = measured[0].au_names
    return {
        f"aus{suffix}": on_grid(media, aus, rows, names, "deviation", source),
        f"face{suffix}": on_grid(media, face, rows, FACE_COLUMNS, "named", source),
    }


def tracks_by_person(
    media: Media,
    times: Float64,
    persons: Sequence[Person],
    measured: Sequence[Measured],
    source: str,
) -> dict[str, Track]:
    """Return tracks "aus.1", "face.1", … of the sixteen persons seen longest, by id."""
    tracks: dict[str, Track] = {}
    longest = sorted(range(len(persons)), key=lambda j: -len(persons[j]))[:MOST_PEOPLE]
    for j in sorted(longest):
        own, numbers = [persons[j]], [measured[j]]
        always = np.zeros(len(times), np.intp)
        suffix = f".{persons[j].id}"
        tracks |= chosen_tracks(media, times, own, numbers, always, source, suffix)
    return tracks
