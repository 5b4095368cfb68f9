"""Features of other software as arrays: .npy, .npz, .safetensors, .h5, .csv, .parquet.

Three sensors, one for each kind of feature, read `sidecars["features-visual"]`, "features-audio"
and "features-text". A sidecar names a file and, behind "#", what in it is the clip's:

    a01.npy                  (T, D), or (D,) for one row a clip
    all.npy#[12]             row 12 of (N, T, D) or (N, D), from 0
    all.npz#vision[12]       an array by name, and its row; also .safetensors and .h5
    all.npz#a01              an array a clip
    a01.csv                  one row a step
    all.csv#a01              the rows whose first column says "a01"; without a header "#12", from 0
    all.parquet#a01          likewise; a cell may hold a whole vector
    all.csv#12[0:-1]         all columns but the last, where that is a label

"[0:-1]" behind it all keeps these columns ("all.csv#12[0:-1]" leaves out a label in the last).
Pickles are refused: opening one runs the code it names.
"""

from __future__ import annotations

import re
from functools import partial

import numpy as np

from textualize.errors import TextualizeError
from textualize.extract.imports.array_files import read_array
from textualize.extract.imports.grid import cut
from textualize.extract.sensor import Imported, Options, Reader, Reading, Reads
from textualize.extract.video import Media
from textualize.types import Modality, Status, Track


class _Features:
    """Features as they are, one track of unit "embedding"."""

    name = ""
    version = "1"
    modality: Modality
    weights = ""
    reads: tuple[Reads, ...] = ()

    def __init__(self, rate_hz: float = 0.0, track: str = "", columns: str = "") -> None:
        """Take what the file does not say.

        Args:
            rate_hz: Rows per second; 0 spreads the rows evenly over the clip.
            track: Name of the track; "" for the modality's.
            columns: Which columns to keep, as "first:beyond" from 0 ("0:-1" leaves out a label in
                the last); "" for all.
        """
        if rate_hz < 0:
            raise TextualizeError(f"{self.name}:rate_hz should be above 0; given {rate_hz:g}")
        if columns and not re.fullmatch(r"-?\d*:-?\d*", columns):
            raise TextualizeError(f"{self.name}:columns should be like 0:100; given '{columns}'")
        self.options: Options = {"rate_hz": rate_hz, "track": track, "columns": columns}
        self._rate_hz, self._track, self._columns = rate_hz, track or self.modality, columns

    def begin(self, media: Media) -> Reader:
        """Return a reader that gives the clip's features; absent where it names no file.

        The reader raises TextualizeError for a file, an array or a row that is missing, an array
        that is not (T, D) numbers, and for pickles.
        """
        return Imported(partial(self._read, media))

    def _read(self, media: Media) -> Reading:
        given = media.clip.sidecars.get(self.name)
        if not given:
            return Reading(Status("absent", self.name, f"the clip names no {self.name} file"))
        values = read_array(given)
        if self._columns:
            first, _, beyond = self._columns.partition(":")
            values = values[:, slice(*(int(c) if c else None for c in (first, beyond)))]
        if not values.size:
            raise TextualizeError(f"{given} has no values left: {values.shape}")
        seen = np.isfinite(values).any(axis=1)
        if not seen.any():
            return Reading(Status("absent", self.name, f"no number in {len(values)} rows"))
        duration = media.span.duration
        rate = self._rate_hz or (len(values) / duration if duration else 1.0)
        start = media.span.start if not self._rate_hz else 0.0
        track = Track(values.astype(np.float32), rate, start, (), "embedding", self.name)
        inside = cut(track, media.clip.span) if self._rate_hz else track
        if inside is None:
            raise TextualizeError(
                f"{given} ends after {len(values) / rate:.2f} s, before clip "
                f"'{media.clip.id}' begins"
            )
        reason = f"{len(inside.values)} rows of {values.shape[1]}"
        return Reading(Status("observed", self.name, reason), {self._track: inside})


class VisualFeatures(_Features):
    """Track "visual" from a file."""

    name = "features-visual"
    modality: Modality = "visual"


class AudioFeatures(_Features):
    """Track "audio" from a file."""

    name = "features-audio"
    modality: Modality = "audio"


class TextFeatures(_Features):
    """Track "text" from a file."""

    name = "features-text"
    modality: Modality = "text"
