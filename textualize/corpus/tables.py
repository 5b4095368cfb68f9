"""Tables of clips: the Parquet files of a `datasets` folder, and one CSV."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from textualize.corpus.examples import Example, Plan
from textualize.corpus.writing import Options
from textualize.errors import missing_package

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what spreadsheets run (OWASP, CSV injection)
_ROWS = 1000  # of a row group


class Parquet:
    """One Parquet file a split; the label is a class id, its name stands in the card."""

    def __init__(self, folder: Path, what: Plan, options: Options) -> None:
        try:
            import pyarrow  # type: ignore[import-untyped] # noqa: F401
        except ModuleNotFoundError:
            raise missing_package("the hf export", "pyarrow", "finetune") from None
        self.notes: list[str] = []
        self._folder, self._what = folder / "data", what
        self._folder.mkdir()
        self._schema = _schema(what, options)
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._files: dict[str, Any] = {}

    def write(self, example: Example) -> None:
        """Keep a row until its group is full."""
        rows = self._rows.setdefault(example.split, [])
        row = {name: getattr(example, name, None) for name in self._schema.names}
        if not self._what.numeric:
            row["label"] = self._what.labels.index(str(example.label))
        rows.append(row | {"prediction_scores": example.scores})
        if len(rows) == _ROWS:
            self._flush(example.split)

    def _flush(self, split: str) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        if split not in self._files:
            path = self._folder / f"{split}.parquet"
            self._files[split] = parquet.ParquetWriter(path, self._schema)
        rows = self._rows[split]
        names = set(self._schema.names)
        kept = [{k: _text(v) for k, v in row.items() if k in names} for row in rows]
        self._files[split].write_table(pa.Table.from_pylist(kept, self._schema))
        rows.clear()

    def close(self) -> None:
        """Write what is kept, and the files' ends."""
        for split, rows in self._rows.items():
            if rows:
                self._flush(split)
        for file in self._files.values():
            file.close()


def _text(value: Any) -> Any:
    """Return text as UTF-8 can hold it: a clip's id may come from a file name of any bytes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value


def _schema(what: Plan, options: Options) -> Any:
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    cue = [(name, text) for name in ("modality", "state", "text", "source")]
    cue += [("start", number), ("end", number)]
    columns = [(name, text) for name in ("id", "text")]
    columns += [("label", number if what.numeric else pa.int64())]
    columns += [(name, text) for name in ("subject", "group", "split")]
    columns += [("start", number), ("end", number), ("transcript", text)]
    columns += [("cues", pa.list_(pa.struct(cue)))]
    if options.predictions:
        columns += [("prediction", text), ("prediction_scores", pa.list_(number))]
    return pa.schema(columns)


def features(what: Plan, options: Options) -> list[dict[str, Any]]:
    """Return the features of the hf export as a dataset card declares them."""
    names = {str(i): name for i, name in enumerate(what.labels)}
    found: list[dict[str, Any]] = []
    for column in _schema(what, options):
        if column.name == "label" and not what.numeric:
            dtype: dict[str, Any] = {"dtype": {"class_label": {"names": names}}}
        else:
            dtype = _declared(column.type)
        found.append({"name": column.name} | dtype)
    return found


def _declared(kind: Any) -> dict[str, Any]:
    import pyarrow.types as is_  # type: ignore[import-untyped]

    if not is_.is_list(kind):
        return {"dtype": "string" if is_.is_string(kind) else "float64"}
    inner = kind.value_type
    if is_.is_struct(inner):
        return {"list": [{"name": f.name} | _declared(f.type) for f in inner]}
    return {"list": "float64"}


class Table:
    """One CSV file, one row a clip; face and voice are cues joined by semicolons."""

    def __init__(self, folder: Path, what: Plan, options: Options) -> None:
        self.notes: list[str] = []
        self._escape, self._formulas = options.escape_formulas, 0
        predicted = ["prediction", "prediction_scores"] if options.predictions else []
        names = ["id", "split", "subject", "group", "start", "end", "label", *predicted]
        names += ["transcript", "face", "voice", "text"]
        path = folder / "clips.csv"
        self._file = path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
        self._csv = csv.DictWriter(self._file, names, lineterminator="\n", extrasaction="ignore")
        self._csv.writeheader()

    def write(self, example: Example) -> None:
        """Write a row."""
        row = {name: getattr(example, name, None) for name in self._csv.fieldnames}
        row["face"], row["voice"] = (
            "; ".join(c["text"] for c in example.cues if c["modality"] == modality)
            for modality in ("face", "prosody")
        )
        if example.scores is not None:
            row["prediction_scores"] = json.dumps(example.scores)
        self._csv.writerow({name: self._safe(value) for name, value in row.items()})

    def _safe(self, value: object) -> object:
        if not isinstance(value, str) or not value.startswith(FORMULA):
            return value
        self._formulas += 1
        return f"'{value}" if self._escape else value

    def close(self) -> None:
        """Finish the file; `notes` then say how many cells a spreadsheet would run."""
        self._file.close()
        if self._formulas:
            done = "were given a ' in front" if self._escape else "run there: --escape-formulas"
            self.notes.append(
                f"{self._formulas} cells begin like a spreadsheet's formula and {done}"
            )
