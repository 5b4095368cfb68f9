"""How a record becomes pictures: from a track of pixels, or from its file.

    a track of pixels     rows of the extracted crops (`extract --sensors mediapipe:crops=112`)
    "file"                the clip's video or image: seek, decode to the last picture wanted, cut

A clip without a picture is left out with a reason, see `open_reels`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from textualize.baselines.reels import POINTS, FileReel, Reel, TrackReel, rows_at
from textualize.errors import TextualizeError
from textualize.extract.video import open_media
from textualize.types import Record, Track

FILE = "file"


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


def open_reel(record: Record, reading: Reading) -> Reel | str:
    """Return a record's pictures, or why it has none."""
    if reading.pictures == FILE:
        return _file_reel(record, reading)
    track = record.tracks.get(reading.pictures)
    if track is None:
        face = record.status.get("face")
        looked_for = face is not None and face.state == "absent"
        return "no face" if looked_for else f"no track '{reading.pictures}'"
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
    reel = FileReel(media, at, boxes, _mesh(record), reading.size, min(len(at), reading.most))
    try:
        reel.read(0, 1)  # a torn file opens: better told now than in the middle of training
    except TextualizeError as error:
        return str(error)
    return reel


def _mesh(record: Record) -> Track | None:
    """Return the landmarks of a record, where they are the 478 points."""
    track = record.tracks.get("landmarks")
    return None if track is None or track.values.shape[1] != 3 * POINTS else track


def torn_notes(reels: Sequence[Reel]) -> list[str]:
    """Return a note on how many pictures were stood in for so far; none where all were decoded."""
    torn = [len(reel.torn) for reel in reels if isinstance(reel, FileReel) and reel.torn]
    if not torn:
        return []
    return [
        f"{sum(torn)} pictures of {len(torn)} of {len(reels)} clips could not be decoded: the "
        "nearest of the clip stood in"
    ]


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
