"""The digests of a report's files, by which a changed byte is found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from textualize.files import file_digest, read_json, write_json_atomic

DIGESTS = "digests.json"


def write_digests(folder: Path, names: Iterable[str]) -> None:
    """Write the sha256 of a folder's files, by name."""
    write_json_atomic(folder / DIGESTS, {name: file_digest(folder / name) for name in names})


def changed_files(folder: Path, names: Sequence[str]) -> list[str]:
    """Return the names of files that are not as they were written, or not there.

    `names` are those a report always has: the list of digests itself may have been shortened.

    Raises:
        TextualizeError: the folder has no digests.
    """
    digests = read_json(folder / DIGESTS, "digests of a report")
    found = [name for name in names if name not in digests]
    for name, digest in sorted(digests.items()):
        if not (folder / name).is_file() or file_digest(folder / name) != digest:
            found.append(name)
    return found
