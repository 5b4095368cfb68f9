"""Weights on this machine: which cache they are in, and what was recorded of them.

The lock file holds, of every row that was fetched, its revision and the sha256, size and time of
its files: what was not known beforehand must be the same from then on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from textualize.errors import TextualizeError
from textualize.files import write_json_atomic
from textualize.weights.table import Weights

LOCK_SCHEMA = 1

Files = Mapping[str, Path]


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()


def cache_folder() -> Path:
    """Return our own cache: TEXTUALIZE_CACHE, else `textualize` in the user's cache folder."""
    own = os.environ.get("TEXTUALIZE_CACHE")
    return Path(own).expanduser() if own else _user_cache() / "textualize"


def lock_path() -> Path:
    """Return the file of recorded revisions and hashes."""
    return cache_folder() / "weights.lock.json"


def homes_of(row: Weights) -> list[Path]:
    """Return the caches a row's readers look in; what is fetched goes to the first."""
    if row.home == "own":
        return [cache_folder() / "weights"]
    if row.home == "whisper":
        return [_user_cache() / "whisper"]
    hub = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    home = os.environ.get("HF_HOME") or str(_user_cache() / "huggingface")
    homes = [Path(hub or f"{home}/hub").expanduser()]
    spec = find_spec("feat") if row.source.startswith("py-feat/") else None
    if spec and spec.origin:  # what py-feat has downloaded by itself
        homes.append(Path(spec.origin).parent / "resources")
    return homes


def size_text(size: float) -> str:
    """Return bytes as a person reads them.

    >>> size_text(147_882_941)
    '148 MB'
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


@dataclass(frozen=True, slots=True)
class Found:
    """What of a row is on this machine.

    `files` are those that are there; `checked` says that none has changed in size or time since
    its sha256 was last checked.
    """

    row: Weights
    state: Literal["here", "partly here", "not here"]
    folder: Path | None
    revision: str
    files: Files
    checked: bool

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        row = self.row
        return {
            "name": row.name,
            "state": self.state,
            "checked": self.checked,
            "folder": str(self.folder) if self.folder else None,
            "revision": self.revision or None,
            "source": row.source,
            "pinned_revision": row.revision or None,
            "pinned": row.pinned,
            "size": row.size,
            "licence": row.licence,
            "notice": row.notice,
            "noncommercial": row.noncommercial,
            "gated": row.gated,
            "use": row.use,
        }


def look(row: Weights, lock: Mapping[str, Any] | None = None) -> Found:
    """Return what of a row is here, without reading the files.

    The pinned revision counts before the recorded one, that before what the cache calls main.
    """
    entry = (read_lock() if lock is None else lock).get(row.name, {})
    best = Found(row, "not here", None, "", {}, False)
    for folder, revision in _candidates(row, entry):
        files = matching(row, folder)
        if not files:
            continue
        if lacking(row, files):
            best = Found(row, "partly here", folder, revision, files, False)
            continue
        same = revision == entry.get("revision", "") and _unchanged(files, entry)
        return Found(row, "here", folder, revision, files, same)
    return best


def _candidates(row: Weights, entry: Mapping[str, Any]) -> list[tuple[Path, str]]:
    if not row.on_hub:
        return [(home, "") for home in homes_of(row)]
    found: list[tuple[Path, str]] = []
    for home in homes_of(row):
        repository = home / f"models--{row.source.replace('/', '--')}"
        main = repository / "refs" / "main"
        named = main.read_text("utf-8").strip() if main.is_file() else ""
        revisions = dict.fromkeys(r for r in (row.revision, entry.get("revision"), named) if r)
        found += [(repository / "snapshots" / r, r) for r in revisions]
    return found


def matching(row: Weights, folder: Path) -> dict[str, Path]:
    """Return a row's files in a folder by name."""
    paths = (p for name in row.patterns for p in sorted(folder.glob(name)))
    return {p.name: p for p in paths if p.is_file()}  # not a link to a blob that is gone


def lacking(row: Weights, files: Files) -> list[str]:
    """Return what must be there and is not."""
    return [name for name in row.files if not any(Path(f).match(name) for f in files)]


def read_lock() -> dict[str, Any]:
    """Return what was recorded of each row; raises TextualizeError for a damaged file."""
    path = lock_path()
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["schema"] > LOCK_SCHEMA:
            raise TextualizeError(f"{path} is of a newer textualize: update, or move it away")
        return dict(content["weights"])
    except (ValueError, KeyError, TypeError):
        raise TextualizeError(f"{path} is damaged: move it away and fetch again") from None


def record(row: Weights, revision: str, files: Files, digests: Mapping[str, str]) -> None:
    """Write what a row's files are to the lock file; several processes may do so at once."""
    entry = {
        "source": row.source,
        "revision": revision,
        "checked": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": {n: {"sha256": digests[n], **_stamp(p)} for n, p in sorted(files.items())},
    }
    lock_path().parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{lock_path()}.lock"):
        content = {"schema": LOCK_SCHEMA, "weights": read_lock() | {row.name: entry}}
        write_json_atomic(lock_path(), content)


def _stamp(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"size": status.st_size, "modified_ns": status.st_mtime_ns}


def _unchanged(files: Files, entry: Mapping[str, Any]) -> bool:
    known = entry.get("files", {})
    return all(
        name in known and {k: known[name][k] for k in ("size", "modified_ns")} == _stamp(path)
        for name, path in files.items()
    )


def expected(row: Weights, revision: str, lock: Mapping[str, Any]) -> dict[str, str]:
    """Return the sha256 that a row's files must have, as far as known: pinned, else recorded."""
    entry = lock.get(row.name, {})
    same = entry.get("revision", "") == revision
    known = {n: str(f["sha256"]) for n, f in entry.get("files", {}).items()} if same else {}
    return known | {name: digest for name, digest in row.files.items() if digest}
