"""Suites on disk: YAML that a schema has read, every mistake in it one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from textualize import assets
from textualize.errors import TextualizeError
from textualize.files import read_yaml

Kind = TypeVar("Kind", bound=BaseModel)


def suite_values(name: str) -> dict[str, Any]:
    """Return the keys of a shipped suite, or of a `.yaml` file.

    Raises:
        TextualizeError: unknown suite, or not YAML.
    """
    return read_yaml(assets.find("eval", name, ".yaml"))


def load_as(kind: type[Kind], name: str) -> Kind:
    """Return a shipped suite by name, or the one in a `.yaml` file, read by the schema `kind`.

    Raises:
        TextualizeError: unknown suite, unknown key, or a value that does not fit.
    """
    values = suite_values(name)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(x) for x in first["loc"])
        known = ", ".join(sorted(kind.model_fields))
        raise TextualizeError(
            f"{Path(name).stem}.yaml: '{key}': {first['msg'].lower()}; keys are: {known}"
        ) from None
