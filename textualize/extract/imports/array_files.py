"""Arrays of numbers in files: .npy, .npz, .safetensors, .h5, .csv, .tsv, .parquet; no pickles."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textualize.errors import TextualizeError
from textualize.extract.imports.table import (
    Layout,
    delimiter_of,
    located,
    number,
    read_table,
    text_of,
)

Array = NDArray[Any]

_PICKLES = {".pkl", ".pickle", ".p", ".pt", ".pth", ".bin", ".ckpt", ".joblib"}
_ENDINGS = (".npy", ".npz", ".safetensors", ".h5", ".hdf5", ".csv", ".tsv", ".parquet")
_FILES_KEPT = 4
_COLUMNS = re.compile(r"(.*)\[(-?\d*):(-?\d*)\]")
_ADDRESS = re.compile(r"(.*)\[(\d+)\]")
_CONVERT = (
    "pickles run the code they name: load it where you trust it and save it with "
    "numpy.savez or safetensors"
)


def read_array(given: str) -> Array:
    """Return the features a sidecar names, (T, D) of floats.

    Raises TextualizeError in one line that says what is missing or of what shape it is.
    """
    path, key = located(given)
    part = slice(None)
    if key is not None and (address := _COLUMNS.fullmatch(key)):
        key = address[1] or None
        part = slice(*(int(n) if n else None for n in address.groups()[1:]))
    values = _reader(path)(path, key)
    if values.dtype.kind not in "fiub":
        raise TextualizeError(f"{given} holds {values.dtype}, expected numbers")
    if values.ndim == 1:
        values = values[None]
    if values.ndim != 2:
        raise TextualizeError(
            f"{given} has shape {values.shape}, expected (T, D): name a row of it, "
            f"{path.name}#{key or ''}[0]"
        )
    values = values[:, part].astype(np.float64)
    if np.isinf(values).any():
        raise TextualizeError(
            f"{given}: row {int(np.isinf(values).any(axis=1).argmax())} is infinite"
        )
    return values


def array_names(path: Path) -> tuple[str, ...]:
    """Return what in a file may be a clip's: names of arrays, or cells of the first column."""
    ending = path.suffix.lower()
    _reader(path)
    if ending == ".npy":
        return ()
    if ending in (".csv", ".tsv"):
        column = _key_column(path)
        return tuple(read_table(path, _layout(column)).texts[column]) if column else ()
    if ending == ".parquet":
        return tuple(_parquet(path, *_stamp(path))[0])
    return tuple(_arrays(path, *_stamp(path)))


def _reader(path: Path) -> Callable[[Path, str | None], Array]:
    ending = path.suffix.lower()
    if ending in _PICKLES:
        raise TextualizeError(f"{path} looks like a pickle: {_CONVERT}")
    if ending not in _ENDINGS:
        raise TextualizeError(f"{path} must end in one of {', '.join(_ENDINGS)}")
    if ending in (".csv", ".tsv"):
        return _from_csv
    return _from_parquet if ending == ".parquet" else _from_arrays


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise TextualizeError(f"cannot read {path}: {reason}") from error
    return stat.st_mtime_ns, stat.st_size


def _from_arrays(path: Path, key: str | None) -> Array:
    arrays = _arrays(path, *_stamp(path))
    name, row = key or "", ""
    if name not in arrays and (address := _ADDRESS.fullmatch(name)):
        name, row = address.groups()
    if name not in arrays and not name and len(arrays) == 1:
        name = next(iter(arrays))
    if name not in arrays:
        some = ", ".join(list(arrays)[:5])
        raise TextualizeError(
            f"{path} has no array '{name}'; it has {len(arrays)}: {some}: name one behind #"
        )
    array = arrays[name]
    if not row:
        return array
    if array.ndim < 2 or int(row) >= len(array):
        raise TextualizeError(f"{path} has no row {row}: its shape is {array.shape}, from 0")
    return np.asarray(array[int(row)])


@lru_cache(maxsize=_FILES_KEPT)
def _arrays(path: Path, mtime_ns: int, size: int) -> Mapping[str, Array]:
    """Return the arrays of a file by name ("" in an .npy)."""
    ending = path.suffix.lower()
    try:
        if ending == ".npy":
            return {"": np.load(path, allow_pickle=False)}
        if ending == ".npz":
            with np.load(path, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        if ending == ".safetensors":
            from safetensors.numpy import load_file

            return dict(load_file(path))
        return _from_h5(path)
    except Exception as error:
        if isinstance(error, TextualizeError):
            raise
        said = " ".join(str(error).split())
        if "pickle" in said.lower():
            raise TextualizeError(f"{path} holds Python objects: {_CONVERT}") from None
        raise TextualizeError(f"{path} cannot be read as {ending}: {said[:120]}") from None


def _from_h5(path: Path) -> dict[str, Array]:
    try:
        import h5py  # type: ignore[import-untyped]
    except ImportError:
        raise TextualizeError(f"{path} needs h5py: pip install h5py") from None
    found: dict[str, Array] = {}

    def keep(name: str, value: object) -> None:
        if isinstance(value, h5py.Dataset):
            found[name] = np.asarray(value)

    with h5py.File(path, "r") as stored:
        stored.visititems(keep)
    return found


# --- tables --------------------------------------------------------------------------------------


def _layout(column: str) -> Layout:
    return Layout("a table of features, one row a step", re.compile(".*"), (column,))


def _key_column(path: Path) -> str | None:
    """Return the first column's name where its cells are no numbers; None without a header."""
    lines = text_of(path, "a table of features").splitlines()
    first = next((line for line in lines if line.strip()), "")
    cells = _cells(first)
    if not cells:
        raise TextualizeError(f"{path} is empty; give a table of features")
    if all(_is_number(c) for c in cells):
        return None
    return cells[0]


def _cells(line: str) -> list[str]:
    return [c.strip().strip('"') for c in line.split(delimiter_of(line))]


def _is_number(cell: str) -> bool:
    try:
        number(cell, "")
    except ValueError:
        return False
    return True


def _from_csv(path: Path, key: str | None) -> Array:
    column = _key_column(path)
    if column is None:
        values = _headless(path, *_stamp(path))
        if key is None:
            return values
        if not key.isdigit() or int(key) >= len(values):
            raise TextualizeError(
                f"{path} has no header and {len(values)} rows: name one by number, from 0; "
                f"given '{key}'"
            )
        return np.asarray(values[int(key)])
    table = read_table(path, _layout(column))
    if key is None:
        named = len(set(table.texts[column])) > 1 and not _all_numbers(table.texts[column])
        if named:
            one = table.texts[column][0]
            raise TextualizeError(f"{path} holds several clips; name one: {path.name}#{one}")
        rows = np.arange(len(table))
    else:
        rows = table.rows_of(column, key)
    table.checked(rows)
    kept = [table.numbers[n][rows] for n in table.header if n in table.numbers]
    if key is None and _all_numbers(table.texts[column]):
        kept.insert(0, np.array([float(c) for c in table.texts[column]]))
    return np.stack(kept, axis=1)


def _all_numbers(cells: Any) -> bool:
    return all(_is_number(c) for c in cells)


@lru_cache(maxsize=_FILES_KEPT)
def _headless(path: Path, mtime_ns: int, size: int) -> Array:
    rows: list[list[float]] = []
    for line_number, line in enumerate(text_of(path, "a table of features").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = [number(c, str(i)) for i, c in enumerate(_cells(line))]
        except ValueError as error:
            raise TextualizeError(f"{path}:{line_number}: {error}") from None
        if rows and len(row) != len(rows[0]):
            raise TextualizeError(
                f"{path}:{line_number}: {len(row)} cells where the first row has {len(rows[0])}"
            )
        rows.append(row)
    return np.array(rows)


def _from_parquet(path: Path, key: str | None) -> Array:
    keys, values = _parquet(path, *_stamp(path))
    if key is None:
        if len(set(keys)) > 1:
            raise TextualizeError(f"{path} holds several clips; name one: {path.name}#{keys[0]}")
        return np.concatenate(values)
    rows = [i for i, k in enumerate(keys) if k == key]
    if not rows:
        raise TextualizeError(f"{path} has no row '{key}' in its first column ({len(keys)} rows)")
    return np.concatenate([values[i] for i in rows])


@lru_cache(maxsize=_FILES_KEPT)
def _parquet(path: Path, mtime_ns: int, size: int) -> tuple[list[str], list[Array]]:
    """Return each row's key (its first text column) and its numbers, (T, D)."""
    try:
        import pyarrow.parquet as parquet  # type: ignore[import-untyped]
    except ImportError:
        raise TextualizeError(f"{path} needs pyarrow: pip install pyarrow") from None
    try:
        rows = parquet.read_table(path).to_pylist()
    except Exception as error:
        raise TextualizeError(f"{path} cannot be read as .parquet: {str(error)[:120]}") from None
    if not rows:
        raise TextualizeError(f"{path} has no rows")
    keys, values = [], []
    for i, row in enumerate(rows):
        texts = [v for v in row.values() if isinstance(v, str)]
        keys.append(texts[0] if texts else "")
        numbers = [v for v in row.values() if not isinstance(v, str)]
        try:
            held = np.hstack([np.atleast_2d(np.asarray(v, np.float64)) for v in numbers])
        except (TypeError, ValueError):
            raise TextualizeError(f"{path}: row {i} is not numbers of one length") from None
        values.append(held)
    return keys, values
