"""A column mapping: which column of someone's table is which of ours.

    video: "videos/{Video_ID}.mp4"     # a text with columns of theirs in it
    label: Emotion                     # a column of theirs
    split: =train                      # a constant
    transcript: null                   # not read, although they have a column of this name
    labels: {0: anger, 1: joy}         # their label -> ours; or the name of a shipped coding
    splits: {dev: validation}
    label_kind: class                  # or number: labels are scores

What the mapping does not name is read from the column of the same name, if there is one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from textualize.datasets.labelling import Kind
from textualize.errors import TextualizeError, unknown
from textualize.files import read_yaml
from textualize.labels import coding

# our column -> the key of the clip's sidecar: the files that sensors import
_IMPORTED = (
    "speakers", "openface", "fex", "opensmile", "hume", "elan",
    "features-visual", "features-audio", "features-text",
)  # fmt: skip
SIDECARS: Mapping[str, str] = {
    "transcript_file": "transcript",
    **{name: name for name in _IMPORTED},
}
COLUMNS = (
    "id", "video", "start", "end", "label", "subject", "group", "split", "transcript", "context",
    *SIDECARS,
)  # fmt: skip
_PART = re.compile(r"\{([^{}]*)\}")


def as_text(value: Any) -> str | None:
    """Return a cell as text, or None for an empty one.

    >>> as_text(3), as_text(0.5), as_text(" a "), as_text("")
    ('3', '0.5', 'a', None)

    Raises TextualizeError for what is no text: true, a list, an object.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None  # pandas writes empty cells of a number column so
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TextualizeError(f"should be text or a number; given {str(value)[:60]!r}")
    try:
        return str(value).strip() or None
    except ValueError:
        raise TextualizeError("a number of thousands of digits") from None


def _key(value: Any) -> Any:
    """Let YAML's numbers be keys; a bare yes or no stays what it is, and is refused."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


_Text = Annotated[str, BeforeValidator(_key)]


class ColumnMapping(BaseModel):
    """A mapping as its file holds it; every key besides the three fields is a column of ours."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, str | None]

    labels: str | dict[_Text, _Text | None] = {}
    """their label to ours (null: unlabelled), or the name of a coding in `labels.CODINGS`"""
    splits: dict[_Text, str] = {}
    label_kind: Kind | None = None

    @property
    def given(self) -> Mapping[str, str | None]:
        """Our column to what it is read from."""
        return self.__pydantic_extra__

    @property
    def codes(self) -> Mapping[str, str | None]:
        """Their label to ours; raises TextualizeError for a coding that is not known."""
        return dict(coding(self.labels).codes) if isinstance(self.labels, str) else self.labels


def load_mapping(path: Path) -> ColumnMapping:
    """Return the mapping a YAML file holds.

    Raises:
        TextualizeError: one line naming the file, the key, what was given and what is accepted.
    """
    holds = "names and columns (label: Emotion)"
    values = read_yaml(path, "the column mapping", holds)
    if not all(isinstance(k, str) for k in values):
        raise TextualizeError(f"{path} should hold {holds}")
    for name in values:
        if name not in (*COLUMNS, *ColumnMapping.model_fields):
            known = [*COLUMNS, *ColumnMapping.model_fields]
            raise unknown(f"key of a column mapping ({path.name})", name, known)
    try:
        mapping = ColumnMapping.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        said = f"{first['msg'][:1].lower()}{first['msg'][1:]}"
        raise TextualizeError(
            f"{path.name}: {where}: {said}; given {first.get('input')!r}"
        ) from None
    if isinstance(mapping.labels, str):
        coding(mapping.labels)  # an unknown one is told here
    return mapping


class Reading:
    """How one table's rows are read: our column to its source in their row."""

    def __init__(self, mapping: ColumnMapping | None, columns: Sequence[str], where: str) -> None:
        """Bind a mapping to a table's columns.

        Raises:
            TextualizeError: the mapping names a column the table does not have, or neither video
                nor transcript is there; without a mapping, a column that is not ours.
        """
        given = mapping.given if mapping else {}
        same = {c: c for c in COLUMNS if c in columns and c not in given}
        self.sources = {**same, **{ours: text for ours, text in given.items() if text}}
        used = {c for text in self.sources.values() for c in _columns_in(text)}
        for column in sorted(used):
            if column not in columns:
                raise unknown(f"column ({where})", column, columns)
        self.unread = [c for c in columns if c and c not in used]
        if mapping is None and self.unread:
            hint = "a column mapping (--columns FILE) says which column is which"
            raise unknown(f"manifest column ({where})", self.unread[0], COLUMNS, hint)
        if "video" not in self.sources and "transcript" not in self.sources:
            raise TextualizeError(
                f"{where} needs a column 'video' or 'transcript'; given {', '.join(columns)}"
            )

    def cell(self, ours: str, values: Mapping[str, Any]) -> Any:
        """Return what a row holds for one of our columns; None where that is empty."""
        text = self.sources.get(ours)
        if text is None:
            return None
        if text.startswith("="):
            return text[1:]
        if not _PART.search(text):
            return values.get(text)
        parts = {column: as_text(values.get(column)) for column in _columns_in(text)}
        if None in parts.values():
            return None
        return _PART.sub(lambda match: str(parts[match[1]]), text)

    def text(self, ours: str, values: Mapping[str, Any]) -> str | None:
        """Return a cell as text; raises TextualizeError naming the column where it is none."""
        try:
            return as_text(self.cell(ours, values))
        except TextualizeError as error:
            raise TextualizeError(f"{ours} {error}") from None


def _columns_in(text: str) -> list[str]:
    if text.startswith("="):
        return []
    return _PART.findall(text) or [text]
