"""Delimited tables as other software writes them: read once, wrong rows told by file and line.

A table of several clips is read once per process however many clips it serves, and a damaged row
is an error of the clip it belongs to, not of the others.
"""

from __future__ import annotations

import csv
import io
import math
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from textualize.errors import TextualizeError

Float64 = NDArray[np.float64]
Rows = NDArray[np.intp]

_TABLES_KEPT = 4  # one table may serve a whole corpus; a per-clip table is read once
_CELL = 10_000_000  # characters; the csv module's own limit is 131 072
_MANY = 5  # names quoted in a message


@dataclass(frozen=True, slots=True)
class Layout:
    """What a format's table looks like.

    `what` names the format in messages ("an openSMILE table"), `numbers` matches the columns read
    as numbers, `texts` names those read as text. `every` takes all other columns as numbers.
    """

    what: str
    numbers: re.Pattern[str]
    texts: tuple[str, ...] = ()
    every: bool = False

    def is_number(self, column: str) -> bool:
        """Return whether a column is read as numbers."""
        return column not in self.texts and bool(self.every or self.numbers.fullmatch(column))


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A parsed table of T rows: `numbers` maps a column to (T,), `texts` a column to T cells.

    `lines` are the rows' line numbers; `bad` says for a row what is wrong with it.
    """

    path: Path
    header: tuple[str, ...]
    numbers: Mapping[str, Float64]
    texts: Mapping[str, Sequence[str]]
    lines: Sequence[int]
    bad: Mapping[int, str]
    _index: dict[str, dict[str, list[int]]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lines)

    def rows_of(self, column: str, key: str) -> Rows:
        """Return the rows in whose text column `key` stands; raises TextualizeError for none.

        A cell that is a path also goes by its file name, with or without the ending.
        """
        index = self._index.setdefault(column, {})
        if not index:
            for row, cell in enumerate(self.texts[column]):
                for name in names_of(cell):
                    index.setdefault(name, []).append(row)
        if key not in index:
            some = ", ".join(self.texts[column][:_MANY])
            raise TextualizeError(
                f"{self.path} has no row '{key}' in its column '{column}' "
                f"({len(self)} rows: {some})"
            )
        return np.array(index[key], np.intp)

    def checked(self, rows: Rows) -> Rows:
        """Return the rows; raises TextualizeError with the line of the first that is damaged."""
        for row in rows.tolist() if self.bad else ():
            if row in self.bad:
                raise TextualizeError(f"{self.path}:{self.lines[row]}: {self.bad[row]}")
        return rows

    def within(self, names: Sequence[str], rows: Rows, low: float, high: float, hint: str) -> None:
        """Raise TextualizeError where a value of the named columns is not in low-high."""
        for name in names:
            values = self.numbers[name][rows]
            wrong = np.flatnonzero((values < low) | (values > high))
            if len(wrong):
                line = self.lines[int(rows[wrong[0]])]
                raise TextualizeError(
                    f"{self.path}:{line}: {name} is {values[wrong[0]]:g}, expected "
                    f"{low:g} to {high:g}; {hint}"
                )


def located(given: str) -> tuple[Path, str | None]:
    """Return the file of a sidecar and the part that is meant: "table.csv#part".

    >>> located("table.csv#a01")[1], located("table.csv")[1]
    ('a01', None)
    """
    path = Path(given)
    if path.exists() or "#" not in given:
        return path, None
    file, _, key = given.rpartition("#")
    return Path(file), key


def read_table(path: Path, layout: Layout) -> Table:
    """Return a table, parsed once per process while the file does not change.

    Comma, semicolon and tab are told apart by the header. Raises TextualizeError for a file that
    is missing, empty, not UTF-8 text, or has none of the layout's number columns.
    """
    try:
        stat = path.stat()
        return _parsed(path, layout, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise TextualizeError(f"cannot read {path}: {reason}; give {layout.what}") from error
    except csv.Error as error:
        raise TextualizeError(f"{path} is not a table: {error}; give {layout.what}") from error


def text_of(path: Path, what: str) -> str:
    """Return a UTF-8 file's text; raises TextualizeError with the line of what is not UTF-8."""
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise TextualizeError(f"cannot read {path}: {reason}; give {what}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TextualizeError(
            f"{path}:{line}: byte {data[error.start]:#04x} is not UTF-8 text; give {what}, "
            "saved as UTF-8"
        ) from None


def delimiter_of(header: str) -> str:
    r"""Return the delimiter that cuts a header into most cells.

    >>> delimiter_of("name;frameTime;F1"), delimiter_of("a\tb"), delimiter_of("clip,AU01_r")
    (';', '\t', ',')
    """
    return max(",;\t", key=header.count)


@lru_cache(maxsize=_TABLES_KEPT)
def _parsed(path: Path, layout: Layout, mtime_ns: int, size: int) -> Table:
    text = text_of(path, layout.what)
    csv.field_size_limit(_CELL)
    delimiter = delimiter_of(text.lstrip().partition("\n")[0])
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    header = next((h for h in ([c.strip() for c in row] for row in rows) if any(h)), [])
    wanted = [i for i, name in enumerate(header) if layout.is_number(name)]
    _check_header(path, header, wanted, layout)
    kept = {n: header.index(n) for n in layout.texts if n in header}
    values = array("d")
    texts: dict[str, list[str]] = {name: [] for name in kept}
    numbers: list[int] = []
    bad: dict[int, str] = {}
    for row in _filled(rows):
        try:
            values.extend(_numbers(row, header, wanted))
        except ValueError as error:
            bad[len(numbers)] = str(error)
            values.extend([np.nan] * len(wanted))
        for name, i in kept.items():
            texts[name].append(row[i].strip() if i < len(row) else "")
        numbers.append(rows.line_num)
    if not numbers:
        raise TextualizeError(f"{path} has a header but no rows; give {layout.what}")
    table = np.frombuffer(values, np.float64).reshape(len(numbers), len(wanted))
    columns = {header[i]: table[:, n] for n, i in enumerate(wanted)}
    return Table(path, tuple(header), columns, texts, numbers, bad)


def _filled(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    return (row for row in rows if any(cell.strip() for cell in row))


def _check_header(path: Path, header: list[str], wanted: list[int], layout: Layout) -> None:
    if not header:
        raise TextualizeError(f"{path} is empty; give {layout.what}")
    if not wanted:
        shown = ", ".join(header[:_MANY])[:80]
        raise TextualizeError(
            f"{path}:1: none of the columns of {layout.what} in a header of {len(header)} "
            f"({shown}); columns are separated by comma, semicolon or tab"
        )
    twice = [header[i] for i in wanted if header.count(header[i]) > 1]
    if twice:
        raise TextualizeError(f"{path}:1: column '{twice[0]}' is there twice")


def _numbers(row: list[str], header: list[str], wanted: list[int]) -> list[float]:
    """Return the wanted cells as numbers, NaN for blank ones; raises ValueError."""
    if len(row) != len(header):
        raise ValueError(f"{len(row)} cells where the header has {len(header)}: cut or damaged")
    return [number(row[i], header[i]) for i in wanted]


def number(cell: str, column: str) -> float:
    """Return a cell's finite number, NaN for a blank one; raises ValueError naming the column.

    >>> number(" 2.5", "F1"), number("", "F1")
    (2.5, nan)
    """
    try:
        value = float(cell) if cell and not cell.isspace() else math.nan
    except ValueError:
        value = math.inf
    if math.isinf(value):
        hint = "; write decimals with a point" if re.search(r"\d,\d", cell) else ""
        raise ValueError(f"column '{column}': '{cell.strip()[:40]}' is not a number{hint}")
    return value


def names_of(cell: str) -> tuple[str, ...]:
    r"""Return what a cell that names a clip may be called by: itself, its file name, its stem.

    >>> names_of("wav\\a01.wav"), names_of("a01")
    (('wav\\a01.wav', 'a01.wav', 'a01'), ('a01',))
    """
    file = re.split(r"[\\/]", cell)[-1]
    return tuple(dict.fromkeys([cell, file, re.sub(r"\.[A-Za-z]\w{1,4}$", "", file)]))
