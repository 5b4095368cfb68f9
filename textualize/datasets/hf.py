"""A folder in the manner of Hugging Face `datasets`: read without that package, nothing is run.

    root/dataset_dict.json, train/data-00000-of-00001.arrow …      written by save_to_disk
    root/data/train.parquet, validation.jsonl, test-00000-of-00002.csv …      files named by split

Columns are those of a manifest; others are not read, unless a column mapping names them. Class ids
become the names that the features declare: in the Parquet or Arrow file, in dataset_info.json, or
in the card (README.md). Parquet and Arrow need pyarrow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from textualize.datasets import Listing
from textualize.datasets.columns import ColumnMapping, load_mapping
from textualize.datasets.manifest import SPLITS, clips_of
from textualize.datasets.tables import TABLES, Row, Table, arrow_table, class_names, read_table
from textualize.errors import TextualizeError, missing_package
from textualize.files import read_json
from textualize.labels import LabelSet

_SPLIT_FILE = re.compile(rf"({'|'.join(SPLITS)})(?:[-_.].*)?", re.IGNORECASE)
_MEDIA = {"bytes", "path"}  # how `datasets` writes audio and video cells


def load(root: Path, labels: LabelSet | None = None, *, columns: Path | None = None) -> Listing:
    """Return the clips of a folder's train, validation and test tables.

    The table a row lies in says its split. Where there is no column `transcript` but one named
    `text`, that is the transcript, as in text corpora.

    Args:
        root: the folder; paths in its tables are relative to it.
        labels: the label set every label must belong to; by default the labels found.
        columns: a YAML file that says which of their columns is which (see `columns.py`).

    Raises:
        TextualizeError: no table of a split there, one that cannot be read, or no usable row.
    """
    if not root.is_dir():
        raise TextualizeError(f"no folder at {root}: give the folder of the dataset")
    mapping = load_mapping(columns) if columns is not None else ColumnMapping()
    card = _card_names(root)
    tables = [
        _of_split(split, replace(table, names={**card, **table.names}), mapping)
        for split, path in _files(root)
        for table in (_arrow(path) if path.suffix == ".arrow" else read_table(path),)
    ]
    present = {column for table in tables for column in table.columns}
    if "text" in present and not {"transcript"} & {*present, *mapping.given}:
        spoken: dict[str, Any] = {**mapping.model_dump(), "transcript": "text"}
        mapping = ColumnMapping.model_validate(spoken)
        tables[0] = replace(
            tables[0], notes=(*tables[0].notes, "transcripts are read from column 'text'")
        )
    return clips_of(tables, root, labels, mapping)


def _files(root: Path) -> list[tuple[str, Path]]:
    """Return (split, table) in the order of splits; the split of a lone saved dataset is ""."""
    if (root / "state.json").is_file():
        return [("", path) for path in _saved(root)]
    if (root / "dataset_dict.json").is_file():
        splits = read_json(root / "dataset_dict.json", "dataset").get("splits")
        if not isinstance(splits, list):
            raise TextualizeError(f"{root / 'dataset_dict.json'} should list its splits")
        return [(str(split), path) for split in splits for path in _saved(root / str(split))]
    found: list[tuple[str, Path]] = []
    for path in sorted([*root.glob("*"), *root.glob("data/*")]):
        match = _SPLIT_FILE.fullmatch(path.stem)
        if match and path.suffix.lower() in TABLES and path.is_file():
            found.append((match[1].lower(), path))
    endings = sorted({path.suffix.lower() for _, path in found})
    if not found:
        raise TextualizeError(
            f"{root} holds no table named after a split (train.parquet, validation.jsonl, "
            "test.csv, …) and was not written by save_to_disk"
        )
    if len(endings) > 1:
        raise TextualizeError(f"{root} holds its splits as {' and '.join(endings)}: keep one kind")
    order = list(dict.fromkeys(SPLITS.values()))
    return sorted(found, key=lambda f: (order.index(SPLITS[f[0]]), f[1]))


def _saved(folder: Path) -> list[Path]:
    files = read_json(folder / "state.json", "saved dataset").get("_data_files")
    if not files or not all(isinstance(f, dict) and "filename" in f for f in files):
        raise TextualizeError(f"{folder / 'state.json'} should list its data files")
    return [folder / str(file["filename"]) for file in files]


def _arrow(path: Path) -> Table:
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise missing_package(f"reading {path.name}", "pyarrow", "finetune") from None
    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
            values = [value for batch in stream for value in batch.to_pylist()]
            return arrow_table(path, stream.schema, values)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise TextualizeError(f"{path} is not an Arrow stream: {reason}") from None


def _of_split(split: str, table: Table, mapping: ColumnMapping) -> Table:
    """Return the table with its media cells as paths and its rows in the split of its file."""
    rows = [_with_paths(row) for row in table.rows]
    if not split or "split" in mapping.given:
        return replace(table, rows=tuple(rows))
    named = SPLITS.get(split.lower(), split)
    others = sum(
        SPLITS.get(str(r.values["split"]).lower(), r.values["split"]) != named
        for r in rows
        if r.values.get("split")
    )
    said = f"{table.path.name}: {others} rows name another split than their file, which counts"
    notes = (*table.notes, said) if others else table.notes
    rows = [replace(r, values={**r.values, "split": split}) for r in rows]
    columns = (*table.columns, *(() if "split" in table.columns else ("split",)))
    return replace(table, columns=columns, rows=tuple(rows), notes=notes)


def _with_paths(row: Row) -> Row:
    media = {k: v for k, v in row.values.items() if isinstance(v, dict) and set(v) == _MEDIA}
    if not media:
        return row
    inside = sorted(name for name, cell in media.items() if not cell["path"] and cell["bytes"])
    problem = f"column '{inside[0]}' holds media without a path: save the files" if inside else ""
    paths = {name: cell["path"] for name, cell in media.items()}
    return replace(row, values={**row.values, **paths}, problem=row.problem or problem)


def _card_names(root: Path) -> dict[str, Sequence[str]]:
    """Return the class names declared in dataset_info.json or in the card's header, by column."""
    names: dict[str, Sequence[str]] = {}
    for path in sorted([*root.glob("dataset_info.json"), *root.glob("*/dataset_info.json")]):
        names |= class_names(read_json(path, "dataset").get("features"))
    card = root / "README.md"
    if card.is_file():
        try:
            header = re.match(r"---\r?\n(.*?)\n---", card.read_text("utf-8"), re.DOTALL)
            info = yaml.safe_load(header[1]) if header else None
        except (ValueError, yaml.YAMLError, RecursionError) as error:
            said = " ".join(str(error).split())
            raise TextualizeError(f"the header of {card} is not YAML: {said}") from None
        names |= _declared(info)
    return names


def _declared(card: Any) -> dict[str, list[str]]:
    """Return the class names in a card's `dataset_info`, by column.

    >>> label = {"name": "y", "dtype": {"class_label": {"names": {"0": "no", "1": "yes"}}}}
    >>> _declared({"dataset_info": {"features": [label]}})
    {'y': ['no', 'yes']}
    """
    info = card.get("dataset_info") if isinstance(card, Mapping) else None
    found: dict[str, list[str]] = {}
    for config in info if isinstance(info, list) else [info]:
        for feature in (config.get("features") or ()) if isinstance(config, Mapping) else ():
            try:
                names = feature["dtype"]["class_label"]["names"]
            except (KeyError, TypeError):
                continue
            if isinstance(names, Mapping):
                names = [names[i] for i in sorted(names, key=int)]
            found[str(feature["name"])] = [str(name) for name in names]
    return found
