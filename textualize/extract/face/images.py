"""Pictures and landmarks of faces, kept within a fixed amount of memory."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textualize.extract.face.action_units import Float64
from textualize.extract.face.tracks import nearest_rows
from textualize.extract.video import Media
from textualize.types import Float32, Track, Unit

CROPS_HZ = 5.0
LONGEST_S = 600.0
Array = NDArray[Any]

_BYTES = 512 * 2**20  # of all persons together
_EYES = ((33, 133), (362, 263))  # corners of the eye on the left of the picture, on the right
# A crop is 2.2 outer eye distances wide, which holds brows and chin.
_WIDTH, _EYE_LINE = 2.2, 0.36
_SHRINK = 0.5


def patch(rgb: NDArray[np.uint8], left: int, top: int, side: int) -> NDArray[np.uint8]:
    """Return the (side, side, 3) square at (left, top), black where it leaves the picture."""
    height, width = rgb.shape[:2]
    square = np.zeros((side, side, 3), np.uint8)
    x0, y0, x1, y1 = max(0, left), max(0, top), min(width, left + side), min(height, top + side)
    if x1 > x0 and y1 > y0:
        square[y0 - top : y1 - top, x0 - left : x1 - left] = rgb[y0:y1, x0:x1]
    return square


def aligned(rgb: NDArray[np.uint8], mesh: Float64, side: int) -> NDArray[np.uint8]:
    """Return the face upright, (side, side, 3): eyes level, 0.36 down, half a face width apart."""
    import cv2

    scale = side / _WIDTH / max(float(np.linalg.norm(mesh[263, :2] - mesh[33, :2])), 1e-6)
    if scale < _SHRINK:  # a large face: averaged before it is sampled
        factor, scale = scale / _SHRINK, _SHRINK
        small = cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        rgb, mesh = np.asarray(small, np.uint8), mesh * factor
    right, left = (mesh[list(corners), :2].mean(axis=0) for corners in _EYES)
    across = left - right
    angle = math.atan2(across[1], across[0])
    cos, sin = math.cos(angle), math.sin(angle)
    turn = scale * np.array([[cos, sin], [-sin, cos]])
    shift = np.array([0.5, _EYE_LINE]) * side - turn @ ((right + left) / 2)
    face = cv2.warpAffine(rgb, np.hstack([turn, shift[:, None]]), (side, side))
    return np.asarray(face, np.uint8)


def crop_points(mesh: Float32, side: int) -> Float32:
    """Return where the points of a mesh are in its `aligned` picture, (478, 2) in its pixels.

    The mesh is (478, 3) in pixels of the picture before. (0, 0) is the upper left corner; NaN
    where the mesh is.
    """
    right, left = (mesh[list(corners), :2].mean(axis=0) for corners in _EYES)
    wide = max(float(np.linalg.norm(mesh[263, :2] - mesh[33, :2])), 1e-6)
    cos, sin = (left - right) / max(float(np.linalg.norm(left - right)), 1e-6)
    turn = side / _WIDTH / wide * np.array([[cos, sin], [-sin, cos]])
    shift = np.array([0.5, _EYE_LINE]) * side
    return np.asarray((mesh[:, :2] - (right + left) / 2) @ turn.T + shift, np.float32)


class Kept:
    """Arrays of faces by picture and person, until they are too many to be held."""

    def __init__(
        self, media: Media, what: str, most_hz: float = math.inf, longest_s: float = LONGEST_S
    ) -> None:
        """Take the clip, what is kept (named in the status), how often and how long at most."""
        self.lost = ""
        if media.span.duration > longest_s:
            self.lost = f"no {what}: the clip is longer than {longest_s / 60:.0f} minutes"
        self._what = what
        self.media = replace(media, rate_hz=min(most_hz, media.rate_hz))
        self._thins = most_hz < media.rate_hz
        self._early = 0.5 * self.media.rate_hz / media.rate_hz  # half a picture, in rows
        self._row = -2  # a first picture may come before its row
        self._frames: list[int] = []
        self._times: list[float] = []
        self._held: dict[tuple[int, int], Array] = {}
        self._bytes = 0

    def wants(self, frame: int, time: float) -> bool:
        """Return whether this picture's faces are kept; asked once for each picture, in order."""
        if self.lost:
            return False
        if self._thins:
            row = math.floor((time - self.media.span.start) * self.media.rate_hz + self._early)
            if row <= self._row:
                return False
            self._row = row
        self._frames.append(frame)
        self._times.append(time)
        return True

    def add(self, frame: int, person: int, values: Array) -> None:
        """Keep one face of a wanted picture."""
        if self.lost:
            return
        self._bytes += values.nbytes
        if self._bytes > _BYTES:
            self._held.clear()
            self.lost = f"no {self._what}: more than {_BYTES >> 20} MB of faces"
        else:
            self._held[frame, person] = values

    def get(self, frame: int, person: int, blank: Array) -> Array:
        """Return what was kept of a person in a picture, `blank` if nothing was."""
        return self._held.get((frame, person), blank)

    def track(
        self,
        chosen: NDArray[np.int64],
        blank: Array,
        names: tuple[str, ...],
        unit: Unit,
        source: str,
    ) -> Track:
        """Return the track of the person chosen in each picture of the clip, 0 for nobody.

        Rows without that person are `blank`.
        """
        nearest = nearest_rows(np.array(self._times), self.media)
        values = np.repeat(blank[None], len(nearest), axis=0)
        for row, at in enumerate(nearest):
            if at >= 0:
                frame = self._frames[at]
                values[row] = self.get(frame, int(chosen[frame]), blank)
        return Track(values, self.media.rate_hz, self.media.span.start, names, unit, source)
