"""py-feat's CSV of faces (Fex), version 1 and 2; the media are not decoded.

A clip names its table as `sidecars["fex"]`, or "table.csv#a01.mp4" where one table holds several
inputs. Versions are told apart by their names: 2 writes Happy, valence and blendshapes, 1 writes
happiness. Meshes, landmarks and identity embeddings are left out, and the status says so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from textualize.errors import TextualizeError
from textualize.extract.face.py_feat_faces import People
from textualize.extract.face.tracks import FACE_COLUMNS
from textualize.extract.imports.grid import cut, gathered, regular
from textualize.extract.imports.table import Float64, Layout, Rows, Table, located, read_table
from textualize.extract.sensor import Imported, Options, Reader, Reading, Reads
from textualize.extract.video import Media
from textualize.types import Float32, Modality, Status, Track, Unit

_AU = re.compile(r"AU\d\d")
_BLENDSHAPE = re.compile(r"(?:brow|cheek|eye|jaw|mouth|nose)[A-Z]\w+")
_EMOTIONS = {
    "neutral": "neutral", "happy": "happy", "happiness": "happy", "sad": "sad", "sadness": "sad",
    "surprise": "surprise", "fear": "fear", "disgust": "disgust", "anger": "anger",
    "contempt": "contempt",
}  # fmt: skip
_BOX = ("FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight")
# signs as in the py-feat sensor; radians to degrees
_HEAD = {"yaw_deg": ("Yaw", -1.0), "pitch_deg": ("Pitch", 1.0), "roll_deg": ("Roll", -1.0)}
_GAZE = {"yaw_deg": ("gaze_yaw", -1.0), "pitch_deg": ("gaze_pitch", 1.0)}
_AFFECT = ("valence", "arousal")
_NAMED = (*_BOX, *_AFFECT, "FaceScore", "frame", "Pitch", "Roll", "Yaw", "gaze_pitch", "gaze_yaw")
LAYOUT = Layout(
    "a py-feat table (AU01, …)",
    re.compile(
        rf"{_AU.pattern}|{_BLENDSHAPE.pattern}|{'|'.join(_NAMED)}|(?i:{'|'.join(_EMOTIONS)})"
    ),
    ("input", "Identity"),
)
_MUCH_LARGER = 1.3  # before the reading moves to another face, as in the py-feat sensor
_HINT = "py-feat's are 0 to 1; for OpenFace's 0 to 5 import the table as openface"


class FexTable:
    """Action units 0-1, emotions, valence, gaze and head of one face, as py-feat wrote them.

    Of several faces the person whose faces are largest in sum is read, told apart by the column
    `Identity`; without identities the largest face of each moment, kept until another is much
    larger. Rows without a face become NaN.
    """

    name = "fex"
    version = "1"
    modality: Modality = "face"
    weights = ""
    reads: tuple[Reads, ...] = ()

    def __init__(self, fps: float = 0.0, identity: str = "", pitch_up: bool = True) -> None:
        """Take what the table does not say.

        Args:
            fps: Frames per second of the video that `frame` counts; 0 asks the clip's video.
                (The column `approx_time` has whole seconds only.)
            identity: The person to read, as the column `Identity` names it; "" for the largest.
            pitch_up: False for tables of py-feat before 2.1.1, which gave pitch the other sign.
        """
        if fps < 0:
            raise TextualizeError(f"fex:fps should be above 0; given {fps:g}")
        self.options: Options = {"fps": fps, "identity": identity, "pitch_up": pitch_up}
        self._fps, self._identity = fps, identity
        self._pitch = 1.0 if pitch_up else -1.0

    def begin(self, media: Media) -> Reader:
        """Return a reader that gives the tracks of the clip's table; absent where it names none.

        "aus" and "emotions" are probabilities; "valence_arousal", "gaze", "face" and "blendshapes"
        are there when the table has them. The reader raises TextualizeError for a table that is
        missing or damaged, values out of range, or an unknown frame rate.
        """
        return Imported(partial(self._read, media))

    def _read(self, media: Media) -> Reading:
        given = media.clip.sidecars.get(self.name)
        if not given:
            return Reading(Status("absent", self.name, "the clip names no fex table"))
        path, key = located(given)
        table = read_table(path, LAYOUT)
        if not any(_AU.fullmatch(name) for name in table.numbers):
            raise TextualizeError(f"{path}:1: no action unit (AU01, …); give py-feat's CSV")
        if key is not None and "input" not in table.texts:
            raise TextualizeError(f"{path} has no column 'input' to find '{key}' in")
        rows = np.arange(len(table)) if key is None else table.rows_of("input", key)
        if key is None and len(set(table.texts.get("input", ())) - {""}) > 1:
            raise TextualizeError(f"{path} holds several inputs; name one: {path.name}#INPUT")
        return self._reading(media, table, table.checked(rows))

    def _reading(self, media: Media, table: Table, rows: Rows) -> Reading:
        _check(table, rows)
        times, frames = self._times(media, table, rows)
        chosen, notes = self._one_face(table, rows, frames)
        if not len(chosen):
            return Reading(Status("absent", self.name, f"no face in {len(times)} frames"))
        at = np.searchsorted(np.unique(frames), frames[chosen])
        picked = np.full(len(times), -1)
        picked[at] = rows[chosen]
        rate, order = regular(times, 1 / (media.span.duration or 1.0), str(table.path))
        order = np.where(order < 0, -1, picked[order])
        tracks = self._tracks(table, order, rate, float(times[0]))
        kept = {n: t for n, t in ((n, cut(t, media.clip.span)) for n, t in tracks.items()) if t}
        if not kept:
            raise TextualizeError(
                f"{table.path} has no frame in the span of clip '{media.clip.id}'; check fex:fps"
            )
        seen = int(np.isfinite(next(iter(kept.values())).values).any(axis=1).sum())
        total = len(next(iter(kept.values())).values)
        left = sum(
            name.startswith(("mesh_", "x_", "y_", "z_", "Identity_")) for name in table.header
        )
        notes += [f"{left} columns of mesh, landmarks or embedding not read"] if left else []
        state = f"face in {seen} of {total} frames"
        if not seen:
            return Reading(Status("absent", self.name, f"no face in {total} frames"))
        return Reading(Status("observed", self.name, "; ".join([state, *notes])), kept)

    def _times(self, media: Media, table: Table, rows: Rows) -> tuple[Float64, Float64]:
        """Return the times of the distinct frames, and each row's frame."""
        frames = table.numbers.get("frame")
        if frames is None:
            raise TextualizeError(f"{table.path}:1: no column 'frame'; give py-feat's CSV")
        numbers = frames[rows]
        if not np.isfinite(numbers).all():
            line = table.lines[int(rows[int(np.argmin(np.isfinite(numbers)))])]
            raise TextualizeError(f"{table.path}:{line}: no frame number")
        distinct = np.unique(numbers)
        fps = self._fps or _native(media) or (0.0 if len(distinct) > 1 else 1.0)
        if not fps:
            raise TextualizeError(
                f"{table.path} counts frames, and clip '{media.clip.id}' has no video to tell "
                "their rate: give fex:fps=25"
            )
        return distinct / fps, numbers

    def _one_face(
        self, table: Table, rows: Rows, frames: Float64
    ) -> tuple[NDArray[np.intp], list[str]]:
        """Return which of the rows are read, at most one a frame, and notes on the others."""
        box = _box(table, rows)
        there = np.flatnonzero(_has_face(table, rows))
        area = box[:, 2] * box[:, 3]
        said = table.texts.get("Identity")
        who = np.array([said[r] if said else "" for r in rows])
        if self._identity:
            kept = there[who[there] == self._identity]
            if not len(kept):
                known = ", ".join(sorted(set(who.tolist()) - {""})) or "none"
                raise TextualizeError(
                    f"{table.path} has no Identity '{self._identity}'; it has: {known}"
                )
        elif len(set(who[there].tolist()) - {""}) > 1:
            people = sorted(set(who[there].tolist()) - {""})
            total = [float(np.nansum(area[there[who[there] == p]])) for p in people]
            kept = there[who[there] == people[int(np.argmax(total))]]
        else:
            kept = _each_moment(there, frames, box, area)
        _, first = np.unique(frames[kept], return_index=True)  # an identity may be there twice
        others = len(there) - len(first)
        notes = [f"{others} rows of other faces left out"] if others else []
        return kept[first], notes

    def _tracks(self, table: Table, order: Rows, rate: float, start: float) -> dict[str, Track]:
        v2 = "valence" in table.numbers
        aus = sorted(n for n in table.numbers if _AU.fullmatch(n))
        emotions = [n for n in table.numbers if n.lower() in _EMOTIONS]
        shapes = [n for n in table.numbers if _BLENDSHAPE.fullmatch(n)]
        made: list[tuple[str, Sequence[str], Float64, Unit]] = [
            ("aus", aus, _stack(table, aus), "probability"),
            ("emotions", [_EMOTIONS[n.lower()] for n in emotions], _stack(table, emotions),
             "probability"),
            ("face", FACE_COLUMNS, self._face(table, v2=v2), "named"),
            ("blendshapes", shapes, _stack(table, shapes), "probability"),
        ]  # fmt: skip
        if v2:
            gaze = _stack(table, [n for n, _ in _GAZE.values()])
            gaze *= np.degrees([-1.0, self._pitch])
            made += [("valence_arousal", _AFFECT, _stack(table, _AFFECT), "named")]
            made += [("gaze", tuple(_GAZE), gaze, "named")]
        return {
            track: Track(gathered(values, order), rate, start, tuple(names), unit, self.name)
            for track, names, values, unit in made
            if len(names)
        }

    def _face(self, table: Table, *, v2: bool) -> Float64:
        """Return the face's columns, (rows, D); heads of version 1 come in no known unit: NaN."""
        held = dict(
            zip(("score", "x_px", "y_px", "w_px", "h_px"), ("FaceScore", *_BOX), strict=True)
        )
        values = np.full((len(table), len(FACE_COLUMNS)), np.nan)
        for i, column in enumerate(FACE_COLUMNS):
            if column in held:
                values[:, i] = table.numbers.get(held[column], np.nan)
            elif column in _HEAD and v2:
                name, sign = _HEAD[column]
                sign *= self._pitch if name == "Pitch" else 1.0
                values[:, i] = np.degrees(
                    sign * table.numbers.get(name, np.full(len(table), np.nan))
                )
        return values


def _stack(table: Table, names: Sequence[str]) -> Float64:
    blank = np.full(len(table), np.nan)
    columns = [table.numbers.get(n, blank) for n in names]
    return np.stack(columns, axis=1) if columns else np.zeros((len(table), 0))


def _box(table: Table, rows: Rows) -> Float32:
    return _stack(table, _BOX)[rows].astype(np.float32)


def _has_face(table: Table, rows: Rows) -> NDArray[np.bool_]:
    """Return which rows hold a face: a box where there are boxes, else any action unit."""
    if "FaceRectWidth" in table.numbers:
        return np.asarray(table.numbers["FaceRectWidth"][rows] > 0)
    aus = _stack(table, [n for n in table.numbers if _AU.fullmatch(n)])[rows]
    return np.asarray(np.isfinite(aus).any(axis=1))


def _check(table: Table, rows: Rows) -> None:
    shares = [n for n in table.numbers if _AU.fullmatch(n) or n.lower() in _EMOTIONS]
    table.within(shares, rows, 0.0, 1.0, _HINT)
    affect = [n for n in _AFFECT if n in table.numbers]
    table.within(affect, rows, -1.0, 1.0, "py-feat's valence and arousal are -1 to 1")


def _each_moment(
    there: NDArray[np.intp], frames: Float64, box: Float32, area: Float32
) -> NDArray[np.intp]:
    """Return one row a frame: who was read before, unless another is much larger."""
    people = People(by_face=False)
    chosen: list[int] = []
    before = -1
    for frame in np.unique(frames[there]):
        here = there[frames[there] == frame]
        persons = np.array(people.tell_apart(box[here]))
        largest = int(np.nan_to_num(area[here]).argmax())
        own = np.flatnonzero(persons == before)
        stays = len(own) and area[here[own[0]]] * _MUCH_LARGER > area[here[largest]]
        pick = int(own[0]) if stays else largest
        before = int(persons[pick])
        chosen.append(int(here[pick]))
    return np.array(chosen, np.intp)


def _native(media: Media) -> float:
    """Return the frame rate the clip's video states, 0.0 where there is none."""
    if media.path is None or not media.has_video or media.is_image:
        return 0.0
    import av

    with av.open(str(media.path)) as container:
        stream = next(iter(container.streams.video), None)
        return float(stream.average_rate or 0) if stream is not None else 0.0
