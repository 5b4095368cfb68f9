"""ELAN's tab-delimited text: tiers of annotations to utterances, or to ratings over time.

Both ways ELAN writes it are read: one annotation a row (tier, participant, begin, end, duration,
value; with or without a header) and one column a tier (with a header). Times are milliseconds,
seconds or hh:mm:ss.ms; where several formats are there the first is taken. A tier whose values
are all numbers is a rating; the others are what is said, by the participant or the tier's name.
A clip names its file as `sidecars["elan"]`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from textualize.errors import TextualizeError
from textualize.extract.imports.grid import Float64, covering
from textualize.extract.imports.table import text_of
from textualize.extract.sensor import Imported, Options, Reader, Reading, Reads
from textualize.extract.speech.transcripts import restrict
from textualize.extract.video import Media
from textualize.types import Modality, Span, Status, Track, Utterance

KEY = "elan"
_WHAT = "ELAN's tab-delimited text"
_CLOCK = re.compile(r"(\d+):(\d\d):(\d\d)[.,](\d+)|(\d+)[.,](\d+)|(\d+)")
_HEADED = re.compile(r"(?i)(begin|start|onset|end|offset|duration)\b")
_BEGIN = re.compile(r"(?i)(begin|start|onset)\b")
_END = re.compile(r"(?i)(end|offset)\b")
_VALUE = re.compile(r"(?i)(annotation|value|text)\b")
_ALONE = {"tier", "participant", "annotator", "file", "file path", "file name", "language"}


class Annotation(NamedTuple):
    """One annotation: its tier, who it is about ("" where not said), when and what."""

    tier: str
    participant: str
    span: Span
    value: str


class ElanTranscript:
    """What is said, from the tiers whose values are not all numbers."""

    name = "elan"
    version = "1"
    modality: Modality = "speech"
    weights = ""
    reads: tuple[Reads, ...] = ()

    def __init__(self, tiers: str = "") -> None:
        """Take the tiers to read, separated by "|"; "" for every tier of words."""
        self.options: Options = {"tiers": tiers}
        self._tiers = tiers

    def begin(self, media: Media) -> Reader:
        """Return a reader that gives one utterance an annotation; absent where no file is named.

        The reader raises TextualizeError for a file that is missing or damaged or lacks a tier.
        """
        return Imported(partial(self._read, media))

    def _read(self, media: Media) -> Reading:
        given = media.clip.sidecars.get(KEY)
        if not given:
            return Reading(Status("absent", self.name, "the clip names no ELAN file"))
        every = read_annotations(Path(given))
        rated = _ratings(every)
        kept, note = _of_tiers(every, self._tiers, set(rated), Path(given))
        said = [
            Utterance(a.span, " ".join(a.value.split()), speaker=a.participant or a.tier,
                      source=self.name)
            for a in kept
            if a.value.strip()
        ]  # fmt: skip
        inside = restrict(said, media.span) if media.span else tuple(sorted(said, key=_when))
        if not inside:
            return Reading(Status("absent", self.name, "no words in this span"))
        return Reading(Status("observed", self.name, note), utterances=inside)


class ElanRatings:
    """Track "ratings": one column a numeric tier, held from an annotation's begin to its end.

    The scale is the annotators' own; columns are named "valence_rating".
    """

    name = "elan-ratings"
    version = "1"
    modality: Modality = "affect"
    weights = ""
    reads: tuple[Reads, ...] = ()

    def __init__(self, tiers: str = "", rate_hz: float = 10.0) -> None:
        """Take the tiers to read, separated by "|" ("" for every numeric tier), and rows a second.

        A tier that is named must be numeric throughout.
        """
        if not rate_hz > 0:
            raise TextualizeError(f"elan-ratings:rate_hz should be above 0; given {rate_hz:g}")
        self.options: Options = {"tiers": tiers, "rate_hz": rate_hz}
        self._tiers, self._rate_hz = tiers, rate_hz

    def begin(self, media: Media) -> Reader:
        """Return a reader that gives the ratings; absent where no file or numeric tier is.

        The reader raises TextualizeError for a file that is missing or damaged, or a tier that
        is missing or not numeric.
        """
        return Imported(partial(self._read, media))

    def _read(self, media: Media) -> Reading:
        given = media.clip.sidecars.get(KEY)
        if not given:
            return Reading(Status("absent", self.name, "the clip names no ELAN file"))
        every = read_annotations(Path(given))
        rated = _ratings(every)
        names = _chosen(self._tiers, {a.tier for a in every}, Path(given)) or sorted(rated)
        wrong = [n for n in names if n not in rated]
        if wrong:
            raise TextualizeError(f"{given}: tier '{wrong[0]}' has values that are not numbers")
        span = media.span or Span(0.0, max(a.span.end for a in every))
        columns = [self._column([a for a in every if a.tier == n], span) for n in names]
        if not columns or not np.isfinite(np.stack(columns)).any():
            return Reading(Status("absent", self.name, "no numeric tier in this span"))
        values = np.stack(columns, axis=1).astype(np.float32)
        titles = tuple(f"{n}_rating" for n in names)
        track = Track(values, self._rate_hz, span.start, titles, "named", self.name)
        return Reading(Status("observed", self.name), {"ratings": track})

    def _column(self, annotations: Sequence[Annotation], span: Span) -> Float64:
        rows = covering([a.span for a in annotations], span, self._rate_hz)
        values = np.array([float(a.value.replace(",", ".")) for a in annotations] + [np.nan])
        return np.asarray(values[rows])


def read_annotations(path: Path) -> list[Annotation]:
    """Return all annotations of a file; raises TextualizeError with the line it cannot read."""
    text = text_of(path, _WHAT)
    lines = [
        (number, [c.strip().strip('"') for c in line.split("\t")])
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.startswith(('"#', "#"))  # header lines on media files
    ]
    if not lines:
        raise TextualizeError(f"{path} is empty; give {_WHAT}")
    if len(lines[0][1]) < 3:
        raise TextualizeError(
            f"{path}:{lines[0][0]}: {len(lines[0][1])} columns between tabs; give {_WHAT}"
        )
    first = lines[0][1]
    headed = any(_HEADED.match(c) for c in first) and not any(_is_time(c) for c in first)
    if headed:
        return [a for n, cells in lines[1:] for a in _headed(path, n, cells, first)]
    begin, end, value = _guessed(path, [cells for _, cells in lines])
    return [_plain(path, n, cells, begin, end, value) for n, cells in lines]


def _headed(path: Path, number: int, cells: list[str], header: list[str]) -> list[Annotation]:
    """Return what a row under a header holds: one annotation, or one of each tier's column."""
    if len(cells) > len(header):
        raise TextualizeError(
            f"{path}:{number}: {len(cells)} cells where the header has {len(header)}"
        )
    row = dict(zip(header, cells + [""] * (len(header) - len(cells)), strict=True))
    begin = next((c for c in header if _BEGIN.match(c)), None)
    end = next((c for c in header if _END.match(c)), None)
    if begin is None or end is None:
        raise TextualizeError(f"{path}:1: no begin or no end time in the header; export with both")
    span = _span(path, number, row[begin], row[end], (begin, end))
    lower = {name.lower(): cell for name, cell in row.items()}
    value = next((c for c in header if _VALUE.match(c)), None)
    if "tier" in lower and value is not None:
        return [Annotation(lower["tier"], lower.get("participant", ""), span, row[value])]
    tiers = [c for c in header if not _HEADED.match(c) and c.lower() not in _ALONE and c]
    return [Annotation(c, lower.get("participant", ""), span, row[c]) for c in tiers if row[c]]


def _plain(
    path: Path, number: int, cells: list[str], begin: int, end: int, value: int
) -> Annotation:
    """Return the annotation of a row without a header."""
    if len(cells) <= max(begin, end):
        raise TextualizeError(f"{path}:{number}: {len(cells)} cells, a time is missing")
    who = cells[1] if begin > 1 else ""
    said = cells[value] if value < len(cells) else ""
    return Annotation(cells[0], who, _span(path, number, cells[begin], cells[end]), said)


def _guessed(path: Path, rows: list[list[str]]) -> tuple[int, int, int]:
    """Return the columns of begin, end and value in a file without a header.

    ELAN writes all formats of the begin, then of the end, then of the duration.
    """
    cells = rows[0]
    first = next((i for i, c in enumerate(cells) if i and _is_time(c)), None)
    if first is None:
        raise TextualizeError(f"{path}:1: no time in '{' | '.join(cells)[:60]}'; give {_WHAT}")
    count = 0
    while first + count < len(cells) - 1 and _is_time(cells[first + count]):
        count += 1
    for formats in (count // 3, count // 2):
        begin, end = first, first + formats
        if not formats or end >= len(cells):
            continue
        if formats * 3 == count and not _adds_up(cells, first, formats):
            continue
        return begin, end, first + count
    raise TextualizeError(f"{path}:1: begin without end in '{' | '.join(cells)[:60]}'")


def _adds_up(cells: Sequence[str], first: int, formats: int) -> bool:
    begin, end, duration = (_seconds(cells[first + i * formats]) for i in range(3))
    return abs(begin + duration - end) < 0.002


def _span(
    path: Path, number: int, begin: str, end: str, header: tuple[str, str] = ("", "")
) -> Span:
    for cell in (begin, end):
        if not _is_time(cell):
            raise TextualizeError(
                f"{path}:{number}: '{cell[:40]}' is not a time; expected milliseconds, "
                "seconds (1.250) or 00:00:01.250"
            )
    span = Span(_seconds(begin), _seconds(end))
    if span.end < span.start:
        raise TextualizeError(f"{path}:{number}: ends at {end} before it begins at {begin}")
    return span


def _is_time(cell: str) -> bool:
    return _CLOCK.fullmatch(cell) is not None


def _seconds(cell: str) -> float:
    match = _CLOCK.fullmatch(cell)
    if match is None:
        raise ValueError(f"'{cell}' is not a time")
    hours, minutes, seconds, part, whole, rest, milliseconds = match.groups()
    if hours is not None:
        return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(f"0.{part}")
    return float(f"{whole}.{rest}") if whole is not None else int(milliseconds) / 1000


def _ratings(annotations: Sequence[Annotation]) -> set[str]:
    """Return the tiers whose values are all numbers."""
    numeric: dict[str, bool] = {}
    for a in annotations:
        if a.value:
            is_number = re.fullmatch(r"[-+]?\d+(?:[.,]\d+)?", a.value) is not None
            numeric[a.tier] = numeric.get(a.tier, True) and is_number
    return {tier for tier, every in numeric.items() if every}


def _chosen(tiers: str, known: set[str], path: Path) -> list[str]:
    names = [t.strip() for t in tiers.split("|") if t.strip()]
    for name in names:
        if name not in known:
            raise TextualizeError(f"{path} has no tier '{name}'; it has {', '.join(sorted(known))}")
    return names


def _of_tiers(
    every: Sequence[Annotation], tiers: str, rated: set[str], path: Path
) -> tuple[list[Annotation], str]:
    names = set(_chosen(tiers, {a.tier for a in every}, path))
    wanted = names or {a.tier for a in every} - rated
    left = sorted({a.tier for a in every} - wanted)
    return [a for a in every if a.tier in wanted], f"not read: {', '.join(left)}" if left else ""


def _when(utterance: Utterance) -> Span:
    return utterance.span
