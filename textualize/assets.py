"""Where the shipped prompts, recipes and suites are: in the wheel, or at the clone's top level."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from textualize.errors import TextualizeError, unknown

Kind = Literal["prompts", "finetune", "eval"]
_PACKAGE = Path(__file__).resolve().parent


def folder(kind: Kind) -> Path:
    """Return the folder of shipped files: the wheel's if it is there, else the clone's.

    Raises TextualizeError when neither exists (a damaged installation).
    """
    shipped = _PACKAGE / "_assets" / kind
    clone = _PACKAGE.parent / kind
    for candidate in (shipped, clone):
        if candidate.is_dir():
            return candidate
    raise TextualizeError(f"the shipped {kind} are missing at {shipped}; reinstall textualize")


def names(kind: Kind, suffix: str) -> tuple[str, ...]:
    """Return the bare names of the shipped files that end in `suffix` (".jinja"), sorted."""
    return tuple(sorted(path.stem for path in folder(kind).glob(f"*{suffix}")))


def find(kind: Kind, name: str | Path, suffix: str) -> Path:
    """Return the file a name means: a bare name is shipped, a path is the user's own.

    A path is whatever ends in `suffix`; it must exist. The current directory is never searched
    for a bare name. Raises TextualizeError for an unknown name or a path without a file.
    """
    given = str(name)
    if given.endswith(suffix):
        path = Path(given).expanduser()
        if not path.is_file():
            raise TextualizeError(f"no file at {given}; give an existing {suffix} file")
        return path
    known = names(kind, suffix)
    if given not in known:
        raise unknown(kind, given, known, hint=f"or give a path ending in {suffix}")
    return folder(kind) / f"{given}{suffix}"
