"""Reads a share-safe export back and looks for what must not be in it."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from textualize.corpus.share import name_words
from textualize.errors import TextualizeError, missing_package
from textualize.store import Corpus

Kind = Literal["id", "path", "person", "group", "media", "spoken name"]
Cell = tuple[str, str, str]  # where, column, text

_TOKEN = re.compile(r"[\w.\-/\\%]+")
_NAMED = {"id", "subject", "group", "speaker"}  # columns that say who: a whole cell must not match
_CHOSEN = {"label", "modality", "state", "split", "role", "from", "prediction"}  # closed lists


@dataclass(frozen=True, slots=True)
class Found:
    """Something of the corpus in an export: in which file, where, of which kind, and what."""

    file: str
    where: str
    kind: Kind
    what: str


def verify_share(folder: str | Path, corpus: Corpus, names: Iterable[str] = ()) -> list[Found]:
    """Return every original id, path, person's name, group or media digest found in a folder.

    Looked at are file names and all that JSON, JSON Lines, CSV, Parquet and text files hold. In a
    column that says who, a whole cell that is an original name is found, whatever it looks like.
    Elsewhere only what cannot be an ordinary word is: it has a digit among letters, a slash, or
    twelve characters. The words of people's names ("Joey" of "Joey Tribbiani") are found wherever
    they stand in capitals, as "spoken name".

    Args:
        folder: the export.
        corpus: what it was made from.
        names: further names that must not be spoken.
    """
    sought = _sought(corpus, names)
    found: list[Found] = []
    for path in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
        own = path.relative_to(folder).as_posix()
        for piece in (path.stem, path.name):
            found += [Found(own, "its name", k, w) for k, w in sought.anywhere(piece)]
        for where, column, text in _cells(path):
            found += [Found(own, where, k, w) for k, w in sought.cell(column, text)]
    return found


@dataclass(slots=True)
class _Sought:
    """Originals by what they are, and those that can be told from words by their first token."""

    exact: dict[str, Kind] = field(default_factory=dict)
    telling: dict[str, list[tuple[Kind, str]]] = field(default_factory=dict)
    words: frozenset[str] = frozenset()

    def add(self, kind: Kind, text: str) -> None:
        if not text or text in self.exact:
            return
        self.exact[text] = kind
        if _is_telling(text) and (first := _TOKEN.search(text)):
            self.telling.setdefault(first[0].strip("."), []).append((kind, text))

    def cell(self, column: str, text: str) -> Iterator[tuple[Kind, str]]:
        """Yield what a cell gives away."""
        if column in _CHOSEN:
            return
        if column in _NAMED and text in self.exact:
            yield self.exact[text], text
        else:
            yield from self.anywhere(text)

    def anywhere(self, text: str) -> Iterator[tuple[Kind, str]]:
        """Yield what stands somewhere in a text."""
        seen = set()
        for token in _TOKEN.findall(text):
            for kind, original in self.telling.get(token.strip("."), ()):
                if original in text and original not in seen:
                    seen.add(original)
                    yield kind, original
        if self.words:
            for word in set(re.findall(r"[^\W\d_]+", text)):
                if word in self.words or (word.isupper() and word.title() in self.words):
                    yield "spoken name", word


def _is_telling(text: str) -> bool:
    if len(text) < 3 or not re.search(r"[^\W\d_]|/|\\", text):
        return False
    return len(text) >= 12 or bool(re.search(r"\d|/|\\", text))


def _sought(corpus: Corpus, names: Iterable[str]) -> _Sought:
    sought = _Sought()
    labels = set(corpus.labels.labels) if corpus.labels else set()
    people: set[str] = set()
    for entry in corpus.iter_entries():
        clip = entry.clip
        everybody = [clip.subject, *(u.speaker for u in clip.context)]
        people |= {p for p in everybody if p}
        files = [str(clip.video), clip.video.name, clip.video.stem] if clip.video else []
        originals: list[tuple[Kind, str]] = [
            ("id", clip.id),
            ("group", clip.fold_group),
            ("media", entry.media),
            *(("person", p) for p in everybody if p),
            *(("path", f) for f in (*files, *clip.sidecars.values())),
            *(("media", key) for key in entry.items.values()),
        ]
        for kind, text in originals:
            if text not in labels:  # a folder of media may be called like its label
                sought.add(kind, text)
    sought.add("path", str(corpus.folder.resolve()))
    spoken = {w for name in names for w in re.findall(r"[^\W\d_]+", name)}
    sought.words = name_words(people) | spoken
    return sought


# --- everything a file says ---------------------------------------------------------------------


def _cells(path: Path) -> Iterator[Cell]:
    """Yield every text of a file with its place and the name of its column."""
    ending = path.suffix.lower()
    if ending == ".parquet":
        yield from _parquet(path)
        return
    try:
        text = path.read_text("utf-8") if ending == ".json" else ""
        if ending == ".json":
            yield from _walk(json.loads(text), "", "")
        elif ending == ".csv":
            with path.open(encoding="utf-8", newline="") as stream:
                for number, row in enumerate(csv.DictReader(stream), 2):
                    yield from ((f"row {number}", str(k), str(v)) for k, v in row.items())
        else:
            with path.open(encoding="utf-8") as stream:
                for number, line in enumerate(stream, 1):
                    where = f"line {number}"
                    value = json.loads(line) if ending == ".jsonl" else line.rstrip("\n")
                    yield from _walk(value, where, "")
    except (UnicodeDecodeError, ValueError) as error:
        raise TextualizeError(f"{path} is no file of an export: {error}") from None


def _walk(value: Any, where: str, column: str) -> Iterator[Cell]:
    if isinstance(value, str):
        yield where, column, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield where, "", str(key)
            yield from _walk(inner, where, str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner, where, column)


def _parquet(path: Path) -> Iterator[Cell]:
    try:
        from pyarrow import parquet  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise missing_package("reading an hf export", "pyarrow", "finetune") from None
    file = parquet.ParquetFile(path)
    yield from _walk(str(file.schema_arrow.metadata or ""), "its header", "")
    number = 0
    for batch in file.iter_batches(1000):
        for row in batch.to_pylist():
            number += 1
            yield from _walk(row, f"row {number}", "")
