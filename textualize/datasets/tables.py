"""Rows of anyone's table: CSV, TSV, JSONL or Parquet, each row with the place it was read from.

What is wrong with a whole file (not there, not UTF-8, no header) is one error; what is wrong with
a row is told by that row, so that the others can be used.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textualize.errors import TextualizeError, missing_package

TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
_DELIMITERS = {",": "','", ";": "';'", "\t": "a tab"}
_ROWS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `place` is "file:line", or "file:row" for Parquet; `problem` says why not to use it.

    Cells are stripped text from CSV, where an empty one is None, and JSON values from the others.
    """

    place: str
    values: Mapping[str, Any]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table's columns, rows, and what a reader should know about how it was read.

    `names` maps a column of class ids to its class names, where the file itself declares them.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)


def read_table(path: Path) -> Table:
    """Return a table; the ending of its name says the format.

    Raises:
        TextualizeError: the file is missing, has another ending, is not UTF-8, has no header or
            no row.
    """
    reader = {".jsonl": _read_jsonl, ".parquet": _read_parquet}.get(path.suffix.lower(), _read_csv)
    if path.suffix.lower() not in TABLES:
        raise TextualizeError(f"{path} should end in one of {', '.join(TABLES)}")
    if not path.is_file():
        raise TextualizeError(f"no table at {path}: give a {', '.join(TABLES)} file")
    table = reader(path)
    if not table.rows:
        raise TextualizeError(f"{path} has no rows")
    return table


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise TextualizeError(f"cannot read {path}: {reason}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TextualizeError(
            f"{path}:{line} is not UTF-8: byte 0x{data[error.start]:02x} at position "
            f"{error.start}; save the file as UTF-8"
        ) from None


# --- CSV ----------------------------------------------------------------------------------------


def _read_csv(path: Path) -> Table:
    text = _text(path)
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    delimiter = _delimiter(text, usual, path)
    records = _records(text, delimiter, path)
    header = next(((cells, problem) for _, cells, problem in records), None)
    if header is None:
        raise TextualizeError(f"{path} is empty: its first row should name the columns")
    if header[1]:
        raise TextualizeError(f"{path}:1: {header[1]}")
    columns = _columns([_one_line(c) for c in header[0]], path)
    rows = tuple(_csv_row(path, *record, columns) for record in records)
    notes = []
    if delimiter != usual:
        notes.append(f"{path.name}: cells are divided by {_DELIMITERS[delimiter]}")
    return Table(path, tuple(c for c in columns if c), rows, tuple(notes))


def _delimiter(text: str, usual: str, path: Path) -> str:
    """Return what divides the header into most cells; the usual one if there is no telling."""

    def cells(delimiter: str) -> int:
        return next((len(c) for _, c, _ in _records(text, delimiter, path)), 0)

    return max([usual, *_DELIMITERS], key=cells)


def _records(text: str, delimiter: str, path: Path) -> Iterator[tuple[int, list[str], str]]:
    """Yield (first line, cells, problem) of every record that is not blank."""
    lines = io.StringIO(text, newline="")  # the csv module wants line ends as they are
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        first = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield first, [], f"not CSV ({error}); is a quote left open?"
            continue
        cut = lines.tell() == len(text) and _open_quote(text, first, delimiter)
        problem = "a quote opened here is never closed" if cut else ""
        if problem or any(cell.strip() for cell in cells):
            yield first, cells, problem


def _open_quote(text: str, first: int, delimiter: str) -> bool:
    """Tell whether the last record, which begins at line `first`, ends inside a quoted cell."""
    last = list(io.StringIO(text, newline=""))[first - 1 :]
    try:
        for _ in csv.reader(last, delimiter=delimiter, strict=True):
            pass
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False


def _columns(names: Sequence[str], path: Path) -> list[str]:
    """Return the header's names; a nameless column is "" and not read."""
    twice = [name for name, n in Counter(names).items() if name and n > 1]
    if twice:
        raise TextualizeError(f"{path}:1: column '{twice[0]}' is there twice")
    if not any(names):
        raise TextualizeError(f"{path}:1 names no column: the first row should be a header")
    return list(names)


def _csv_row(
    path: Path, line: int, cells: Sequence[str], problem: str, columns: Sequence[str]
) -> Row:
    place = f"{path.name}:{line}"
    surplus = any(c.strip() for c in cells[len(columns) :])
    if not problem and (surplus or len(cells) < len(columns)):
        problem = f"{len(cells)} cells, the header has {len(columns)}; is a quote missing?"
    pairs = zip(columns, cells, strict=False)
    return Row(place, {name: cell.strip() or None for name, cell in pairs if name}, problem)


# --- JSONL and Parquet --------------------------------------------------------------------------


def _read_jsonl(path: Path) -> Table:
    rows = []
    columns: dict[str, None] = {}
    # a JSON text may hold U+2028 and its kind, which are no line ends here
    for number, line in enumerate(re.split(r"\r?\n", _text(path)), 1):
        if line.strip():
            row = _json_row(f"{path.name}:{number}", line)
            columns |= dict.fromkeys(row.values)
            rows.append(row)
    return Table(path, tuple(columns), tuple(rows))


def _json_row(place: str, line: str) -> Row:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        return Row(place, {}, f"not JSON: {error.msg.lower()} at column {error.colno}")
    except (ValueError, RecursionError):
        return Row(place, {}, "not JSON that can be read: a number too long, or nested too deep")
    if not isinstance(value, dict):
        return Row(place, {}, "should hold a JSON object")
    return Row(place, _values(value))


def _values(value: Mapping[str, Any]) -> dict[str, Any]:
    return {_one_line(k): v.strip() if isinstance(v, str) else v for k, v in value.items()}


def _one_line(name: str) -> str:
    """Return a column's name as a mapping can spell it: headers may hold line breaks."""
    return " ".join(name.split())


def _read_parquet(path: Path) -> Table:
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise missing_package(f"reading {path.name}", "pyarrow", "finetune") from None
    try:
        with parquet.ParquetFile(path) as file:
            batches = file.iter_batches(_ROWS_AT_ONCE)
            values = [value for batch in batches for value in batch.to_pylist()]
            schema = file.schema_arrow
    except (pa.ArrowException, OSError, ValueError) as error:
        raise TextualizeError(
            f"{path} is not Parquet: {' '.join(str(error).split())[:200]}"
        ) from None
    return arrow_table(path, schema, values)


def arrow_table(path: Path, schema: Any, values: Sequence[Mapping[str, Any]]) -> Table:
    """Return rows read by pyarrow as a table, with the class names its schema declares."""
    rows = tuple(Row(f"{path.name}:{i}", _values(v)) for i, v in enumerate(values, 1))
    metadata = schema.metadata or {}
    names = {}
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        names = class_names(features)
    except (KeyError, ValueError, TypeError):
        pass  # a Parquet file that `datasets` did not write
    return Table(path, tuple(_one_line(n) for n in schema.names), rows, names=names)


def class_names(features: Any) -> dict[str, list[str]]:
    """Return the names of every ClassLabel among `datasets` features, by column.

    >>> class_names({"label": {"names": ["no", "yes"], "_type": "ClassLabel"}, "id": {}})
    {'label': ['no', 'yes']}
    """
    return {
        str(column): [str(n) for n in about["names"]]
        for column, about in (features.items() if isinstance(features, dict) else ())
        if isinstance(about, dict) and about.get("_type") == "ClassLabel" and "names" in about
    }
