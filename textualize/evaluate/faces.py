"""Small pictures of a clip, for pages that are asked to show the people in it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass

from textualize.errors import TextualizeError, missing_package
from textualize.types import Clip, Record

MOST = 8
_SIZE = (150, 96)  # pixels a picture fits in
_QUALITY = 70


@dataclass(frozen=True, slots=True)
class Picture:
    """One frame: `time` in seconds from the start of the file, `uri` a data URI of a JPEG."""

    time: float
    uri: str


@dataclass(frozen=True, slots=True)
class Strip:
    """At most MOST pictures of a clip in time order; without any, `lack` says why."""

    pictures: tuple[Picture, ...]
    lack: str = ""


def strips_of(records: Iterable[Record]) -> dict[str, Strip]:
    """Return the strip of every record's clip by its id."""
    return {r.clip.id: strip_of(r.clip) for r in records}


def strip_of(clip: Clip) -> Strip:
    """Return frames at even distances over the clip.

    Raises:
        TextualizeError: PyAV or Pillow is not installed.
    """
    try:
        from PIL import Image

        from textualize.extract.video import open_media
    except ImportError as error:
        what = {"PIL": "pillow"}.get(error.name or "", "av")
        raise missing_package("a page with pictures of the clips", what, "extract") from None
    if clip.video is None:
        return Strip((), "the clip has no file")
    found = []
    try:
        whole = open_media(clip)
        media = open_media(clip, MOST / max(whole.span.duration, 0.1))
        for frame in media.frames():
            picture = Image.fromarray(frame.rgb)
            picture.thumbnail(_SIZE)
            stream = io.BytesIO()
            picture.save(stream, "JPEG", quality=_QUALITY)
            text = base64.b64encode(stream.getvalue()).decode("ascii")
            found.append(Picture(frame.time, f"data:image/jpeg;base64,{text}"))
    except TextualizeError:  # its text names a place on this machine
        return Strip((), "its file could not be read")
    return Strip(tuple(found[:MOST]), "" if found else "its file has no pictures")
