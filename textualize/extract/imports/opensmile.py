"""openSMILE's CSV of acoustic features: functionals of a clip, or low-level descriptors over time.

A clip names its table as `sidecars["opensmile"]`, or "table.csv#a01" where one table holds many:
the rows whose `name`, `file`, `clip` or `id` is the clip's. Times come as SMILExtract writes them
(`frameTime`, seconds) or as the Python package does (`start`, `end`, "0 days 00:00:02.5").

The tracks are features for models (modality "audio"). They are not worded: the words about a voice
are calibrated on our own pitch and energy, which openSMILE's smoothed descriptors are not.
"""

from __future__ import annotations

import re
from functools import partial

import numpy as np

from textualize.errors import TextualizeError
from textualize.extract.imports.grid import cut, gathered, regular
from textualize.extract.imports.table import Float64, Layout, Rows, Table, located, read_table
from textualize.extract.sensor import Imported, Options, Reader, Reading, Reads
from textualize.extract.video import Media
from textualize.types import Modality, Status, Track

NOTICE = "openSMILE is free for research and teaching; products need audEERING's licence"
KEYS = ("name", "file", "clip", "id", "filename")
TIMES = ("frameTime", "start", "end", "frameIndex")
LAYOUT = Layout(
    "openSMILE's CSV (name;frameTime;…)", re.compile("frameTime"), (*KEYS, "start", "end"), True
)

# Of eGeMAPS and GeMAPS (Eyben et al. 2016, section 3): the first that matches says the unit of
# a descriptor; loudness, flux and MFCC have none of their own.
_UNITS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"F0semitone"), "st"),
    (re.compile(r"F\d(?:frequency|bandwidth)|^F0final__Hz|^F0_"), "hz"),
    (re.compile(r"F\damplitude|logRelF0|HNR|shimmer\w*dB|alphaRatio|hammarberg|_dBp?$"), "db"),
    (re.compile(r"slopeU?V?\d"), "db_per_hz"),
    (re.compile(r"jitter|shimmer"), "ratio"),
    (re.compile(r"PerSec$"), "per_s"),
    (re.compile(r"SegmentLength(?:Sec)?$"), "s"),
)
_FUNCTIONAL = re.compile(
    r"_(?:amean|stddev\w*|percentile[\d.]+|pctlrange\S+|(?:mean|stddev)\w+Slope)$"
)
_GEMAPS = re.compile(r"(?i)loudness_sma3|F0semitoneFrom27\.5Hz")
_CLOCK = re.compile(r"(?:(\d+) days? ?)?(?:\+?(\d+):(\d\d):)?(\d+(?:\.\d+)?)?")


class OpenSmileTable:
    """Track "egemaps" (functionals), "egemaps_lld" (descriptors), or "opensmile" for other sets.

    Column names are openSMILE's with the unit behind them: "F1frequency_sma3nz_amean_hz".
    """

    name = "opensmile"
    version = "1"
    modality: Modality = "audio"
    weights = ""
    reads: tuple[Reads, ...] = ()
    notice = NOTICE

    def __init__(self) -> None:
        """Build the sensor; it has nothing to load."""
        self.options: Options = {}

    def begin(self, media: Media) -> Reader:
        """Return a reader that gives the clip's features; absent where it names no table.

        The reader raises TextualizeError for a table that is missing or damaged, a clip that is
        not in it, several clips where none is named, and times that are not regular.
        """
        return Imported(partial(self._read, media))

    def _read(self, media: Media) -> Reading:
        given = media.clip.sidecars.get(self.name)
        if not given:
            return Reading(Status("absent", self.name, "the clip names no openSMILE table"))
        path, key = located(given)
        table = read_table(path, LAYOUT)
        rows = table.checked(_rows(table, key))
        names = [n for n in table.numbers if n not in TIMES]
        if not names:
            raise TextualizeError(
                f"{path}:1: no feature beside name and time; give openSMILE's CSV"
            )
        values = np.stack([table.numbers[n][rows] for n in names], axis=1)
        units = tuple(f"{n}_{unit_of(n)}" for n in names)
        begins, ends = _times(table, rows)
        rate, order = _grid(media, table, rows, begins, ends)
        start = float(begins[0]) if len(rows) > 1 and begins is not None else media.span.start
        track = Track(gathered(values, order), rate, start, units, "named", self.name)
        inside = cut(track, media.clip.span)
        if inside is None:
            raise TextualizeError(f"{path} has no row in the span of clip '{media.clip.id}'")
        functionals = any(_FUNCTIONAL.search(n) for n in names)
        kind = "functionals" if functionals or len(rows) == 1 else "descriptors"
        status = f"{len(inside.values)} rows of {len(names)} {kind}; {NOTICE}"
        return Reading(Status("observed", self.name, status), {track_name(names): inside})


def track_name(names: list[str]) -> str:
    """Return the name of the track these columns make.

    >>> track_name(["F0semitoneFrom27.5Hz_sma3nz_amean"]), track_name(["Loudness_sma3"])
    ('egemaps', 'egemaps_lld')
    >>> track_name(["pcm_RMSenergy_sma"])
    'opensmile'
    """
    if not any(_GEMAPS.search(n) for n in names):
        return "opensmile"
    return "egemaps" if any(_FUNCTIONAL.search(n) for n in names) else "egemaps_lld"


def unit_of(column: str) -> str:
    """Return the unit of an openSMILE column; "arb" where it has none or it is not known.

    >>> [unit_of(c) for c in ("F1frequency_sma3nz_amean", "F1frequency_sma3nz_stddevNorm")]
    ['hz', 'ratio']
    >>> unit_of("F0semitoneFrom27.5Hz_sma3nz_meanRisingSlope"), unit_of("loudness_sma3_amean")
    ('st_per_s', 'arb')
    """
    if column.endswith("_stddevNorm"):  # the standard deviation over the mean
        return "ratio"
    unit = next((unit for pattern, unit in _UNITS if pattern.search(column)), "arb")
    return f"{unit}_per_s" if column.endswith(("RisingSlope", "FallingSlope")) else unit


def key_column(table: Table) -> str | None:
    """Return the column that names clips, or None."""
    return next((n for n in table.header if n in KEYS), None)


def _rows(table: Table, key: str | None) -> Rows:
    column = key_column(table)
    if key is not None:
        if column is None:
            known = ", ".join(KEYS)
            raise TextualizeError(f"{table.path}:1: no column names clips ({known}); given #{key}")
        return table.rows_of(column, key)
    several = set(table.texts[column]) if column else set()
    if len(several) > 1:
        raise TextualizeError(
            f"{table.path} holds {len(several)} clips; name one: {table.path.name}#{min(several)}"
        )
    return np.arange(len(table))


def _times(table: Table, rows: Rows) -> tuple[Float64 | None, Float64 | None]:
    """Return when rows begin and end, seconds, where the table says so."""
    if "frameTime" in table.numbers:
        return table.numbers["frameTime"][rows], None
    if "start" not in table.texts:
        return None, None
    found: list[Float64 | None] = []
    for column in ("start", "end"):
        cells = [table.texts[column][r] for r in rows] if column in table.texts else None
        if cells is None or not any(cells) or "NaT" in cells:
            found.append(None)
            continue
        found.append(
            np.array([seconds(c, table, int(r)) for c, r in zip(cells, rows, strict=True)])
        )
    return found[0], found[1]


def seconds(cell: str, table: Table, row: int) -> float:
    """Return a time cell in seconds: "2.5" or "0 days 00:00:02.500000"."""
    match = _CLOCK.fullmatch(cell.strip())
    if match is None or not cell.strip():
        raise TextualizeError(
            f"{table.path}:{table.lines[row]}: '{cell}' is not a time; expected seconds or "
            "'0 days 00:00:02.5'"
        )
    days, hours, minutes, rest = match.groups()
    return (
        int(days or 0) * 86400 + int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(rest or 0)
    )


def _grid(
    media: Media, table: Table, rows: Rows, begins: Float64 | None, ends: Float64 | None
) -> tuple[float, Rows]:
    """Return the rate of the rows and the row at each point; one row is the whole clip's."""
    duration = media.span.duration
    if len(rows) == 1 and not duration and begins is not None and ends is not None:
        duration = float(ends[0] - begins[0])
    alone = 1 / duration if duration > 0 else 1.0
    if len(rows) == 1:
        return alone, np.zeros(1, np.intp)
    if begins is None:
        raise TextualizeError(
            f"{table.path} has {len(rows)} rows for clip '{media.clip.id}' and no column "
            "frameTime or start; write it with one"
        )
    return regular(begins, alone, str(table.path))
