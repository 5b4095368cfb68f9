"""Files that a reader sees whole or not at all, and digests of what is in them."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from textualize.errors import TextualizeError

Json = dict[str, Any]
T = TypeVar("T")

HOST = re.sub(r"[^A-Za-z0-9]+", "_", platform.node())[:40]
_TEMPORARY = ".tmp"


class StorageError(TextualizeError):
    """The disk is full or may not be written: nothing can go on, nothing was damaged."""


def write_bytes_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    Raises StorageError where it cannot be written; the old content is then still there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # the owner's name in the temporary file lets `sweep` tell a dead writer's from a live one's
        prefix = f".{path.name}.{HOST}-{os.getpid()}."
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=_TEMPORARY)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).chmod(0o644)  # mkstemp's 0600 would hide a shared corpus from colleagues
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise not_written(path, error) from error


def not_written(path: Path, error: OSError) -> StorageError:
    """Return the error for a file that the system does not let us write."""
    reason = (error.strerror or str(error)).lower()
    return StorageError(
        f"cannot write {path}: {reason}; what was finished is kept, run the same command "
        "again when it can be written"
    )


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed processes of this machine left in a folder."""
    for path in folder.rglob(f".*{_TEMPORARY}"):
        host, _, pid = path.name.split(".")[-3].rpartition("-")
        if host == HOST and pid.isdigit() and not _alive(int(pid)):
            path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _ended(pid)


def _ended(pid: int) -> bool:
    """Say whether a process is over and only waits for its parent to ask; where /proc tells."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[:1] == [b"Z"]


def write_text_atomic(path: Path, text: str) -> None:
    """Write UTF-8 text atomically; what UTF-8 cannot hold is escaped, as JSON reads it back."""
    write_bytes_atomic(path, text.encode("utf-8", "backslashreplace"))  # a file name may be bytes


def write_json_atomic(path: Path, value: object) -> None:
    """Write indented JSON atomically; NaN is refused."""
    write_text_atomic(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_jsonl_atomic(path: Path, values: Iterable[object]) -> None:
    """Write JSON values atomically, one a line."""
    write_text_atomic(path, "".join(json.dumps(v, ensure_ascii=False) + "\n" for v in values))


def digest_of(value: object) -> str:
    """Return the sha256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's content; raises OSError where it cannot be read."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_digest(paths: Iterable[Path]) -> str:
    """Return one sha256 of the contents of files, in the order given."""
    whole = hashlib.sha256()
    for path in paths:
        whole.update(bytes.fromhex(file_digest(path)))
    return whole.hexdigest()


def whole_lines(path: Path) -> list[str]:
    """Return the lines of a file that lines are added to; a last one that was cut off is removed.

    Without the file there are none.
    """
    if not path.is_file():
        return []
    text = path.read_text("utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, "utf-8")
    return whole.split("\n")[:-1]


def add_line(path: Path, line: str) -> None:
    """Add a line to a file that `whole_lines` reads; raises StorageError where that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")
    except OSError as error:
        raise not_written(path, error) from error


def read_lines(path: Path) -> list[str]:
    """Return the lines of a JSONL file: a text in one may hold any other break of lines.

    Raises OSError where it cannot be read.
    """
    return [line for line in path.read_text("utf-8").split("\n") if line]


def read_jsonl(path: Path, what: str, read: Callable[[Any], T]) -> list[T]:
    """Return what `read` makes of the value on each line of a JSONL file.

    Raises:
        TextualizeError: the file, named `what`, is missing, or a line is damaged.
    """
    try:
        lines = read_lines(path)
    except OSError:
        raise TextualizeError(f"no {what} at {path}") from None
    except UnicodeDecodeError as error:
        raise TextualizeError(f"{what} {path} is damaged: {error}") from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(read(json.loads(line)))
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            lack = "it has no " * isinstance(error, KeyError)
            raise TextualizeError(f"{path}:{number} is damaged: {lack}{error}") from None
    return found


def read_yaml(path: Path, what: str = "the file", holds: str = "keys and values") -> Json:
    """Return the keys of a YAML file.

    Raises:
        TextualizeError: it cannot be read, naming `what` it is, or is not YAML, or has no keys.
    """
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise TextualizeError(f"cannot read {what} {path}: {reason}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise TextualizeError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise TextualizeError(f"{path} should hold {holds}")
    return values


def read_json(path: Path, what: str) -> Json:
    """Return a JSON object; raises TextualizeError naming `what` if it is missing or damaged."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise TextualizeError(f"{what} not found: {path}") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise TextualizeError(f"cannot read {what} {path}: {reason}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise TextualizeError(f"{what} {path} is damaged: {error}") from None
    if not isinstance(value, dict):
        raise TextualizeError(f"{what} {path} is damaged: it should hold a JSON object")
    return value
