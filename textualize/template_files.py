"""A template's text and the parts it names: read from where they may be, and from nowhere else."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import TemplateNotFound, TemplateSyntaxError, meta

from textualize.errors import TextualizeError
from textualize.sandbox import Sandbox

MAIN = "template.jinja"  # the template's own name among its parts
_PART = re.compile(r"(parts/)?[\w-]+\.jinja")


def read_template(path: Path, inside: Path) -> str:
    """Return a file's text; raises TextualizeError where it is not there or leaves its folder."""
    resolved = path.resolve()
    if not path.is_file() or not resolved.is_relative_to(inside.resolve()):
        raise TextualizeError(f"no template at {path}, or it is a link that leaves its folder")
    try:
        return resolved.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise TextualizeError(f"{path} is not UTF-8 text: {error}") from None


def read_part(name: str, source: str, folders: Sequence[Path]) -> str:
    """Return a part's text, from the first of the folders that has it.

    Raises:
        TextualizeError: none has it, or it is no name of a part.
    """
    if not _PART.fullmatch(name) or name == MAIN:
        raise TextualizeError(
            f"{source} includes '{name}'; a part is a .jinja file beside the template or in parts/"
        )
    for folder in folders:
        if (folder / name).is_file():
            return read_template(folder / name, folder)
    raise TextualizeError(
        f"{source} includes '{name}', which is neither beside it nor shipped; add the file"
    )


def included(text: str, source: str) -> list[str]:
    """Return the names a template includes, imports or extends; all must be literal."""
    try:
        tree = Sandbox({}).parse(text, source, source)
    except Exception as error:  # the parser of a foreign text may run out of anything
        raise syntax_error(source, error) from None
    names = list(meta.find_referenced_templates(tree))
    if None in names:
        raise TextualizeError(f"{source} computes the name of an include; write it out")
    return [name for name in names if name is not None]


def text_digest(text: str, parts: Mapping[str, str]) -> str:
    """Return the sha256 of a template's text and its parts."""
    return hashlib.sha256(json.dumps([text, sorted(parts.items())]).encode()).hexdigest()


def syntax_error(source: str, error: Exception) -> TextualizeError:
    """Return the error for a template that does not parse, with its file and line."""
    if isinstance(error, TemplateSyntaxError):
        return TextualizeError(f"{error.filename or source}:{error.lineno}: {error.message}")
    return TextualizeError(f"{source}: {reason_of(error)}")


def reason_of(error: Exception) -> str:
    """Return why a template failed, in one line."""
    if isinstance(error, TemplateNotFound):
        return f"no part named '{error.name}'"
    if isinstance(error, (RecursionError, MemoryError)):
        return "the template is nested too deeply"
    return " ".join(str(error).split()) or type(error).__name__
