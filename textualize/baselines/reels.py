"""One clip's pictures as tensors, none of them read before they are asked for.

A picture without a face is no picture of its clip: of L pictures that a clip has, picture i is the
i-th with a face.

Landmarks are MediaPipe's 478 points where the record has them, in pixels of the picture: x to the
right, y down, (0, 0) the upper left corner of the upper left pixel.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from textualize.errors import TextualizeError
from textualize.extract.face.images import crop_points, patch
from textualize.extract.face.tracks import nearest_rows
from textualize.extract.video import Media
from textualize.types import Float32, Span, Track

log = logging.getLogger(__name__)
POINTS = 478
MARGIN = 1.3  # sides of the square cut out, in longer sides of the face's box
Uint8 = NDArray[np.uint8]


class Reel(Protocol):
    """One clip's pictures."""

    @property
    def length(self) -> int:
        """How many there are, at least one."""

    def seconds(self) -> NDArray[np.float64]:
        """Return of each picture when it is seen, on the time of the clip's file."""

    def read(self, first: int, count: int) -> tuple[Tensor, Float32]:
        """Return pictures (n, 3, S, S), 0 to 1, and their landmarks (n, 478, 2), from `first` on.

        n is `count`, or what there is of it.
        """


@dataclass(frozen=True, slots=True, eq=False)
class TrackReel:
    """The pictures of a track of pixels (T, S, S, 3): those that are not blank."""

    pixels: Uint8
    at: NDArray[np.intp]
    """of each picture, its row"""
    times: NDArray[np.float64]
    """of each row, in seconds"""
    mesh: Track | None
    """the landmarks in pixels of the video that the crops were made of"""
    size: int
    length: int

    def seconds(self) -> NDArray[np.float64]:
        """See `Reel`."""
        return np.asarray(self.times[self.at[: self.length]], np.float64)

    def read(self, first: int, count: int) -> tuple[Tensor, Float32]:
        """See `Reel`."""
        rows = self.at[first : first + count]
        landmarks = np.full((len(rows), POINTS, 2), np.nan, np.float32)
        for i, points in enumerate(_points(self.mesh, self.times[rows])):
            landmarks[i] = crop_points(points, self.size)
        return resized(self.pixels[rows], self.size), landmarks


@dataclass(frozen=True, slots=True, eq=False)
class FileReel:
    """The pictures of a video or an image: those of the grid of `media` that have a face."""

    media: Media
    at: NDArray[np.intp]
    """of each picture, its point on the grid"""
    boxes: Float32 | None
    """(T, 4) x, y, w, h of the face at every point of the grid; None cuts out the middle"""
    mesh: Track | None
    """the landmarks in pixels of the video"""
    size: int
    length: int
    torn: set[int] = field(default_factory=set)
    """the points of the grid whose picture was asked for and could not be decoded"""

    def seconds(self) -> NDArray[np.float64]:
        """See `Reel`."""
        found = self.media.span.start + self.at[: self.length] / self.media.rate_hz
        return np.asarray(found, np.float64)

    def read(self, first: int, count: int) -> tuple[Tensor, Float32]:
        """See `Reel`; a picture that cannot be decoded is stood in for by the nearest, and told.

        Where none of the piece can be, it is the clip's first: a torn stretch ends no training.
        Raises TextualizeError where that is gone too.
        """
        rows = self.at[first : first + count]
        piece = self._piece(int(rows[0]), int(rows[-1]) + 1)
        begin = int(self.at[0])
        frames = list(piece.frames()) or list(self._piece(begin, begin + 1).frames())
        if not frames:
            raise TextualizeError(
                f"clip '{self.media.clip.id}': no picture could be decoded at "
                f"{piece.span.start:.2f} s of {self.media.path}"
            )
        times = np.array([f.time for f in frames])
        nearest = nearest_rows(times, piece)[rows - rows[0]]
        lost = int((nearest < 0).sum())
        self.torn.update(rows[nearest < 0].tolist())
        if lost:
            log.warning(
                "clip '%s': %d of %d pictures at %.2f s cannot be decoded, the nearest stand in",
                self.media.clip.id, lost, len(rows), piece.span.start,
            )  # fmt: skip
        pictures, landmarks = [], np.full((len(rows), POINTS, 2), np.nan, np.float32)
        wanted = self.media.span.start + rows / self.media.rate_hz
        points = _points(self.mesh, wanted)
        for i, (row, found) in enumerate(zip(rows, nearest, strict=True)):
            found = found if found >= 0 else int(np.abs(times - wanted[i]).argmin())
            left, top, side = self._square(frames[found].rgb.shape, int(row))
            pictures.append(resized(patch(frames[found].rgb, left, top, side)[None], self.size))
            if len(points):
                landmarks[i] = (points[i, :, :2] - (left, top)) * (self.size / side)
        return torch.cat(pictures), landmarks

    def _piece(self, first: int, beyond: int) -> Media:
        """Return the media of a stretch of the grid."""
        if self.media.is_image:
            return self.media
        start, rate = self.media.span.start, self.media.rate_hz
        end = min(start + beyond / rate, self.media.span.end)
        return replace(self.media, span=Span(start + first / rate, end))

    def _square(self, shape: tuple[int, ...], row: int) -> tuple[int, int, int]:
        """Return left, top and side of what is cut out."""
        height, width = shape[:2]
        if self.boxes is None:
            side = min(height, width)
            return (width - side) // 2, (height - side) // 2, side
        x, y, w, h = (float(v) for v in self.boxes[row])
        side = max(1, round(MARGIN * max(w, h)))
        return round(x + w / 2 - side / 2), round(y + h / 2 - side / 2), side


def resized(pixels: Uint8, size: int) -> Tensor:
    """Return (n, S, S, 3) pictures of 0-255 as (n, 3, size, size), 0 to 1."""
    found = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 255
    if found.shape[-2:] == (size, size):
        return found
    return F.interpolate(found, (size, size), mode="bilinear", antialias=True).clamp(0, 1)


def _points(mesh: Track | None, times: NDArray[np.float64]) -> Float32:
    """Return the landmarks at these times, (n, 478, 3); (0, 478, 3) where there are none."""
    if mesh is None:
        return np.zeros((0, POINTS, 3), np.float32)
    return rows_at(mesh, times).reshape(-1, POINTS, 3)


def rows_at(track: Track, times: NDArray[np.float64]) -> Float32:
    """Return a track's row nearest to each time, (T, D); NaN further than a row away."""
    at = np.rint((times - track.start) * track.rate_hz).astype(int)
    known = (at >= -1) & (at <= len(track.values)) & (len(track.values) > 0)
    found = np.full((len(times), track.values.shape[1]), np.nan, np.float32)
    found[known] = track.values[at[known].clip(0, len(track.values) - 1)]
    return found
