"""OpenFace action units from tables that were computed elsewhere; the media are not decoded.

A clip names its table as `sidecars["openface"]`: a CSV with one row a frame, or
"table.csv#KEY", the one row of a table with one row a clip whose first column is the key.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from textualize.errors import TextualizeError
from textualize.extract.imports.grid import regular
from textualize.extract.imports.table import located
from textualize.extract.sensor import Imported, Reader, Reading, Reads
from textualize.extract.video import Media
from textualize.types import Modality, Status, Track, Unit

Float64 = NDArray[np.float64]

_CONFIDENT = 0.5  # OpenFace's tracking is more often lost than right below this
_AU = re.compile(r"AU\d\d_[rc]")
_FRAME_COLUMNS = ("timestamp", "confidence", "success", "face_id")
_TABLES_KEPT = 4  # a table of 960 clips serves them all; a per-frame table is read once


class Table(NamedTuple):
    """A parsed CSV: `keys` maps the first column's text to its row, `columns` a name to (T,)."""

    path: Path
    keys: Mapping[str, int]
    columns: Mapping[str, Float64]


class OpenFaceTable:
    """Action units as OpenFace wrote them: "aus" 0-5 (`_r`) and "au_presence" 0/1 (`_c`).

    AU45 is the blink. Frames with success 0 or confidence below 0.5 become NaN.
    """

    name = "openface"
    version = "1"
    modality: Modality = "face"
    weights = ""
    reads: tuple[Reads, ...] = ()
    takes_model = False

    def __init__(self, rate_hz: float = 29.97) -> None:
        """Take the frame rate of tables that have no timestamps."""
        if not rate_hz > 0:
            raise TextualizeError(f"the openface sensor's rate_hz must be above 0, given {rate_hz}")
        self.options: Mapping[str, str | float | int | bool | None] = {"rate_hz": rate_hz}
        self._rate_hz = rate_hz

    def begin(self, media: Media) -> Reader:
        """Return a reader that gives the tracks of the clip's table; absent where it names none.

        A per-frame table is cut to the clip's span, a one-row table covers the clip. It raises
        TextualizeError when the table, its row or its action units are missing or unreadable.
        """
        return Imported(partial(self._read, media))

    def _read(self, media: Media) -> Reading:
        given = media.clip.sidecars.get("openface")
        if not given:
            return Reading(Status("absent", self.name, "the clip names no openface table"))
        path, key = located(given)
        table = load_table(path)
        if key is not None:
            tracks = self._one_row(media, table, key)
            return Reading(Status("observed", self.name, "one row for the clip"), tracks)
        return self._per_frame(media, table)

    def _one_row(self, media: Media, table: Table, key: str) -> dict[str, Track]:
        if key not in table.keys:
            raise TextualizeError(
                f"{table.path} has no row '{key}' in its first column "
                f"({len(table.keys)} rows, e.g. {next(iter(table.keys), 'none')})"
            )
        rows = np.array([table.keys[key]])
        rate = 1.0 / media.span.duration if media.span else 1.0
        return self._tracks(table, rows, rate, media.span.start)

    def _per_frame(self, media: Media, table: Table) -> Reading:
        rows, note = _one_face(table)
        times = self._times(table)[rows]
        span = media.clip.span
        if span is not None:
            inside = (times >= span.start - 1e-6) & (times < span.end - 1e-6)
            rows, times = rows[inside], times[inside]
        if not len(rows):
            raise TextualizeError(
                f"{table.path} has no frame in the span of clip '{media.clip.id}'; "
                "check its timestamps or the sensor's rate_hz"
            )
        rate, order = regular(times, self._rate_hz, str(table.path))
        rows = np.where(order < 0, -1, rows[order])
        tracks = self._tracks(table, rows, rate, float(times[0]))
        seen = int((rows >= 0).sum() - _lost(table)[rows[rows >= 0]].sum())
        reason = f"face in {seen} of {len(rows)} frames{note}"
        if not seen:
            return Reading(Status("absent", self.name, f"no face in {len(rows)} frames{note}"))
        return Reading(Status("observed", self.name, reason), tracks)

    def _times(self, table: Table) -> Float64:
        if "timestamp" in table.columns:
            return table.columns["timestamp"]
        return np.arange(len(next(iter(table.columns.values())))) / self._rate_hz

    def _tracks(
        self, table: Table, rows: NDArray[np.intp], rate: float, start: float
    ) -> dict[str, Track]:
        kinds: tuple[tuple[str, str, Unit], ...] = (
            ("aus", "_r", "intensity"),
            ("au_presence", "_c", "presence"),
        )
        tracks = {}
        for track, suffix, unit in kinds:
            names = [n for n in table.columns if _AU.fullmatch(n) and n.endswith(suffix)]
            if names:
                values = np.stack([table.columns[n][rows] for n in names], axis=1)
                values[(rows < 0) | _lost(table)[rows]] = np.nan
                short = tuple(n.removesuffix(suffix) for n in names)
                held = values.astype(np.float32)
                tracks[track] = Track(held, rate, start, short, unit, self.name)
        return tracks


def load_table(path: Path) -> Table:
    """Return a table, parsed once per process while the file does not change.

    Raises TextualizeError for a file that is missing, not a table, or without AU columns.
    """
    try:
        stat = path.stat()
        return _parse(path, stat.st_mtime_ns, stat.st_size)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TextualizeError(
            f"cannot read the openface table {path}: {reason.lower()}; give OpenFace's CSV"
        ) from error


@lru_cache(maxsize=_TABLES_KEPT)
def _parse(path: Path, mtime_ns: int, size: int) -> Table:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        first = stream.readline()
        delimiter = ";" if first.count(";") > first.count(",") else ","
        stream.seek(0)
        lines = csv.reader(stream, delimiter=delimiter)
        header = [cell.strip() for cell in next(lines, [])]
        wanted = [i for i, n in enumerate(header) if _AU.fullmatch(n) or n in _FRAME_COLUMNS]
        if not any(_AU.fullmatch(name) for name in header):
            raise TextualizeError(
                f"{path} has no action-unit column (AU01_r, AU01_c, …); give OpenFace's CSV"
            )
        keys: dict[str, int] = {}
        rows: list[list[float]] = []
        for line in lines:
            if not any(cell.strip() for cell in line):
                continue
            keys.setdefault(line[0].strip(), len(rows))
            rows.append(_numbers(line, header, wanted, path, lines.line_num))
    if not rows:
        raise TextualizeError(f"{path} has a header but no rows; give OpenFace's CSV")
    values = np.array(rows)
    columns = {header[i]: values[:, n] for n, i in enumerate(wanted)}
    return Table(path, keys, columns)


def _numbers(
    line: list[str], header: list[str], wanted: Iterable[int], path: Path, number: int
) -> list[float]:
    if len(line) != len(header):
        raise TextualizeError(
            f"{path} line {number} has {len(line)} cells, its header {len(header)}; "
            "the table is cut or damaged"
        )
    try:
        return [float(line[i]) if line[i].strip() else np.nan for i in wanted]
    except ValueError as error:
        raise TextualizeError(f"{path} line {number}: {error}; expected numbers") from error


def _lost(table: Table) -> NDArray[np.bool_]:
    """Return which rows OpenFace itself calls lost, (T,)."""
    lost = np.zeros(len(next(iter(table.columns.values()))), bool)
    if "success" in table.columns:
        lost |= table.columns["success"] != 1
    if "confidence" in table.columns:
        lost |= ~(table.columns["confidence"] >= _CONFIDENT)
    return lost


def _one_face(table: Table) -> tuple[NDArray[np.intp], str]:
    """Return the rows of the face seen most often, and a note if there were others."""
    faces = table.columns.get("face_id")
    everything = np.arange(len(next(iter(table.columns.values()))))
    if faces is None or len(np.unique(faces)) < 2:
        return everything, ""
    (face, _), *others = Counter(faces.tolist()).most_common()
    return everything[faces == face], f"; {len(others)} other faces left out"
