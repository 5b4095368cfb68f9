"""A line of a report's predictions.jsonl: an answer beside the truth, enough to score it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from textualize.files import Json
from textualize.predictions import prediction_json
from textualize.types import Clip, Prediction

_ANSWER = ("clip_id", "method", "label", "scores", "text")


def answer_line(clip: Clip, answer: Prediction) -> Json:
    """Return an answer for a clip as JSON values; a series is not kept."""
    truth = {"group": clip.fold_group, "true": clip.label}
    return {**prediction_json(replace(answer, series=None)), **truth}


def answered_clip(line: Mapping[str, Any]) -> tuple[Clip, Prediction]:
    """Return the clip, with no more than its group and label, and the answer of a line."""
    clip = Clip(line["clip_id"], None, group=line["group"], label=line["true"])
    return clip, Prediction(**{key: line[key] for key in _ANSWER})
