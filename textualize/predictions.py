"""Predictions on disk: one JSON line a clip, the input of every comparison."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from textualize.errors import TextualizeError
from textualize.files import write_text_atomic
from textualize.types import Prediction


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """Write predictions as JSONL, atomically."""
    lines = (json.dumps(asdict(p), ensure_ascii=False) + "\n" for p in predictions)
    write_text_atomic(path, "".join(lines))


def read_predictions(path: Path) -> list[Prediction]:
    """Return the predictions `write_predictions` wrote.

    Raises:
        TextualizeError: the file is missing or a line is damaged.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError:
        raise TextualizeError(f"no predictions at {path}") from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(Prediction(**json.loads(line)))
        except (json.JSONDecodeError, TypeError) as error:
            raise TextualizeError(f"{path}:{number} is damaged: {error}") from None
    return found
