"""Pictures of clips as tensors: what a network of pixels trains on and predicts from.

A `Reel` is one clip's pictures, none of them read yet; a `PictureSource` is many of them with
their answers. The training loop knows of a source `len()`, `take(rows)` and `to(device)`, as of a
`Batch` of features, and what `take` returns, a `Pictures`, is what the network's `forward` and
`loss` are given. Only the pictures that are asked for are read:

    a track of pixels     rows of the extracted crops (`extract --sensors mediapipe:crops=112`)
    "file"                the clip's video or image: seek, decode to the last picture wanted, cut

A picture without a face is no picture of its clip: of L pictures that a clip has, picture i is the
i-th with a face. A clip without any is left out with a reason, see `open_reels`.

Landmarks are MediaPipe's 478 points where the record has them, in pixels of the picture: x to the
right, y down, (0, 0) the upper left corner of the upper left pixel.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from textualize.baselines.augment import Augment, Motion, moved, moved_points
from textualize.errors import TextualizeError
from textualize.extract.face.images import crop_points, patch
from textualize.extract.face.tracks import nearest_rows
from textualize.extract.video import Media, open_media
from textualize.types import Float32, Record, Span, Track

log = logging.getLogger(__name__)
FILE = "file"
POINTS = 478
MARGIN = 1.3  # sides of the square cut out, in longer sides of the face's box
Uint8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Reading:
    """How a clip becomes pictures; stored with the model.

    pictures: a track of pixels, or "file". cut, of a file: the square around the face (track
    "face"), or the largest in the middle. size: side in pixels. rate_hz, of a file: pictures a
    second, fewer where it has fewer. most: pictures read of a clip at most, the first ones.
    """

    pictures: str = "crops"
    cut: Literal["face", "middle"] = "face"
    size: int = 112
    rate_hz: float = 10.0
    most: int = 999


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """B pieces of clips, T pictures each: what a network of pixels reads.

    pixels: (B, 3, T, H, W), 0 to 1, RGB; 0 beyond a clip's end.  seen: (B, T) bool, False beyond
    it; what is seen comes first.  landmarks: (B, T, 478, 2) in pixels, NaN where unknown.
    rows: (B,) place of the clip in its source.  starts: (B,) first picture of the piece within its
    clip.  targets and weights: as of a `Batch`.
    """

    pixels: Tensor
    seen: Tensor
    landmarks: Tensor
    rows: Tensor
    starts: Tensor
    targets: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: Tensor) -> Pictures:
        """Return the pieces of the given rows, in their order."""
        return Pictures(*(getattr(self, k)[rows] for k in self.__slots__))

    def to(self, device: torch.device) -> Pictures:
        """Return the same pieces on another device."""
        return Pictures(*(getattr(self, k).to(device) for k in self.__slots__))


# --- one clip -----------------------------------------------------------------------------------


class Reel(Protocol):
    """One clip's pictures."""

    @property
    def length(self) -> int:
        """How many there are, at least one."""

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

    def read(self, first: int, count: int) -> tuple[Tensor, Float32]:
        """See `Reel`; a picture that cannot be decoded is stood in for by the nearest, and told.

        Raises TextualizeError where none of the pictures can be decoded.
        """
        rows = self.at[first : first + count]
        piece = self._piece(int(rows[0]), int(rows[-1]) + 1)
        frames = list(piece.frames())
        if not frames:
            raise TextualizeError(
                f"clip '{self.media.clip.id}': no picture could be decoded at "
                f"{piece.span.start:.2f} s of {self.media.path}"
            )
        times = np.array([f.time for f in frames])
        nearest = nearest_rows(times, piece)[rows - rows[0]]
        lost = int((nearest < 0).sum())
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


def open_reel(record: Record, reading: Reading) -> Reel | str:
    """Return a record's pictures, or why it has none."""
    if reading.pictures == FILE:
        return _file_reel(record, reading)
    track = record.tracks.get(reading.pictures)
    if track is None:
        return f"no track '{reading.pictures}'"
    if track.unit != "pixels" or track.values.ndim != 4:
        raise TextualizeError(
            f"record '{record.clip.id}': track '{reading.pictures}' is no track of pictures: give "
            f"recipe key 'pictures' one, or {FILE}"
        )
    at = np.flatnonzero(track.values.any((1, 2, 3)))
    if not len(at):
        return "no face"
    pixels, length = np.asarray(track.values, np.uint8), min(len(at), reading.most)
    return TrackReel(pixels, at, track.times, _mesh(record), reading.size, length)


def _file_reel(record: Record, reading: Reading) -> Reel | str:
    try:
        media = open_media(record.clip, reading.rate_hz)
    except TextualizeError as error:
        return str(error)
    if not media.has_video:
        return "no video stream"
    times = media.span.start + np.arange(media.rows) / media.rate_hz
    boxes = None
    at = np.arange(media.rows)
    if reading.cut == "face":
        if "face" not in record.tracks:
            return "no track 'face'"
        face = record.tracks["face"]
        columns = [face.names.index(c) for c in ("x_px", "y_px", "w_px", "h_px")]
        boxes = rows_at(face, times)[:, columns]
        at = np.flatnonzero(np.isfinite(boxes).all(1))
        if not len(at):
            return "no face"
    return FileReel(media, at, boxes, _mesh(record), reading.size, min(len(at), reading.most))


def _mesh(record: Record) -> Track | None:
    """Return the landmarks of a record, where they are the 478 points."""
    track = record.tracks.get("landmarks")
    return None if track is None or track.values.shape[1] != 3 * POINTS else track


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


def open_reels(
    records: Sequence[Record], reading: Reading
) -> tuple[list[int], list[Reel], list[str]]:
    """Return which records have pictures, these, and notes on the others and on what is not read.

    Raises TextualizeError where none has.
    """
    kept, reels = [], []
    why, long = Counter[str](), 0
    for i, record in enumerate(records):
        found = open_reel(record, reading)
        if isinstance(found, str):
            why[found] += 1
            continue
        kept.append(i)
        reels.append(found)
        long += isinstance(found, TrackReel | FileReel) and len(found.at) > reading.most
    if not kept:
        raise TextualizeError(
            f"none of {len(records)} records has pictures (first: {next(iter(why), 'none given')}):"
            f" extract with --sensors mediapipe:crops={reading.size}, or set recipe key 'pictures'"
        )
    notes = [f"{n} of {len(records)} records left out: {reason}" for reason, n in why.items()]
    if long:
        notes.append(f"{long} of {len(records)} clips read to picture {reading.most} only")
    return kept, reels, notes


# --- many clips ---------------------------------------------------------------------------------


class PictureSource:
    """Clips to read pieces of: what the training loop takes batches from.

    `frames` is T; 0 takes whole clips, as long as the longest of a batch. `targets` (N,) or
    (N, V) and `weights` (N,) are those of a `Batch`. `augment` is for training, None elsewhere.
    `workers` threads read the clips of a batch side by side; what is drawn is drawn before, so
    that a batch does not depend on their number. `at_once` is how many a validation pass reads.
    """

    def __init__(
        self,
        reels: Sequence[Reel],
        targets: Tensor,
        weights: Tensor,
        *,
        frames: int = 0,
        augment: Augment | None = None,
        workers: int = 0,
        at_once: int = 1,
    ) -> None:
        """Take clips and answers; nothing is read."""
        self.reels = list(reels)
        self.targets, self.weights = targets, weights
        self.frames, self.augment = frames, augment
        self.workers, self.at_once = workers, at_once
        self.device = torch.device("cpu")
        self.lengths = torch.tensor([reel.length for reel in self.reels])

    def __len__(self) -> int:
        return len(self.reels)

    def to(self, device: torch.device) -> PictureSource:
        """Return the same clips, whose pieces will be on another device."""
        other = PictureSource(
            self.reels, self.targets.to(device), self.weights.to(device), frames=self.frames,
            augment=self.augment, workers=self.workers, at_once=self.at_once,
        )  # fmt: skip
        other.device = device
        return other

    def positions(self) -> Tensor:
        """Return of each clip how many first pictures a piece can have, (N,): max(1, L - T + 1)."""
        return (self.lengths - (self.frames or self.lengths) + 1).clamp(min=1)

    def take(self, rows: Tensor, starts: Tensor | None = None) -> Pictures:
        """Return a piece of each of these clips, `starts` (B,) its first pictures.

        Without `starts`, they are drawn from torch's generator, all alike likely; whole clips
        begin at 0.
        """
        chosen = rows.cpu()
        if starts is None:
            free = self.positions()[chosen]
            starts = (torch.rand(len(chosen)) * free).long().clamp(max=free - 1)
        motion = self.augment.draw(len(chosen)) if self.augment else None
        pairs = list(zip(chosen.tolist(), starts.tolist(), strict=True))
        pieces = self._read(pairs)
        wide = self.frames or max(len(pixels) for pixels, _ in pieces)
        batch = self._batch(pieces, wide, chosen, starts.cpu())
        return _augmented(batch.to(self.device), motion)

    def _read(self, pairs: Sequence[tuple[int, int]]) -> list[tuple[Tensor, Float32]]:
        def one(pair: tuple[int, int]) -> tuple[Tensor, Float32]:
            row, start = pair
            reel = self.reels[row]
            return reel.read(start, self.frames or reel.length)

        if not self.workers:
            return [one(pair) for pair in pairs]
        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(one, pairs))

    def _batch(
        self, pieces: Sequence[tuple[Tensor, Float32]], wide: int, rows: Tensor, starts: Tensor
    ) -> Pictures:
        height, width = pieces[0][0].shape[-2:]
        pixels = torch.zeros(len(pieces), wide, 3, height, width)
        landmarks = torch.full((len(pieces), wide, POINTS, 2), torch.nan)
        seen = torch.zeros(len(pieces), wide, dtype=torch.bool)
        for i, (found, points) in enumerate(pieces):
            pixels[i, : len(found)] = found
            landmarks[i, : len(found)] = torch.from_numpy(points)
            seen[i, : len(found)] = True
        at = rows.to(self.targets.device)
        return Pictures(
            pixels.transpose(1, 2), seen, landmarks, rows, starts,
            self.targets[at], self.weights[at],
        )  # fmt: skip


def _augmented(batch: Pictures, motion: Motion | None) -> Pictures:
    """Return the batch with its pictures turned, shifted, mirrored and tinted; black stays black.

    A piece's pictures are all moved alike, and its landmarks with them.
    """
    if motion is None:
        return batch
    motion = motion.to(batch.pixels.device)
    pixels = moved(batch.pixels, motion) * batch.seen[:, None, :, None, None]
    side = batch.pixels.shape[-1]
    return replace(batch, pixels=pixels, landmarks=moved_points(batch.landmarks, motion, side))
