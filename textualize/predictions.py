"""Predictions on disk: one JSON line a clip, the input of every comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from textualize.files import Json, read_jsonl, write_jsonl_atomic
from textualize.types import Prediction, Track


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """Write predictions as JSONL, atomically; a series is a list of rows with their rate."""
    write_jsonl_atomic(path, map(prediction_json, predictions))


def prediction_json(prediction: Prediction) -> Json:
    """Return a prediction as JSON values."""
    value: Json = {
        "clip_id": prediction.clip_id,
        "method": prediction.method,
        "label": prediction.label,
        "scores": dict(prediction.scores),
        "text": prediction.text,
    }
    if prediction.series is not None:
        track = prediction.series
        value["series"] = {
            "rate_hz": track.rate_hz,
            "start": track.start,
            "names": list(track.names),
            "unit": track.unit,
            "source": track.source,
            "values": track.values.tolist(),
        }
    return value


def _prediction(value: Mapping[str, Any]) -> Prediction:
    series = value.get("series")
    if series is None:
        return Prediction(**value)
    values = np.asarray(series["values"], np.float32).reshape(-1, len(series["names"]))
    track = Track(**{**series, "names": tuple(series["names"]), "values": values})
    return Prediction(**{**value, "series": track})


def read_predictions(path: Path) -> list[Prediction]:
    """Return the predictions `write_predictions` wrote.

    Raises:
        TextualizeError: the file is missing or a line is damaged.
    """
    return read_jsonl(path, "predictions", _prediction)
