"""Recompute a report from its predictions: every score, interval and difference."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from textualize.errors import TextualizeError
from textualize.evaluate.findings import Report
from textualize.evaluate.report import build_report
from textualize.files import read_json
from textualize.labels import LabelSet
from textualize.types import Clip, Prediction, Record


@dataclass(frozen=True, slots=True)
class Verified:
    """How many numbers were recomputed, and the first that differs ("" when all agree)."""

    folder: str
    numbers: int
    different: int
    first: str

    @property
    def equal(self) -> bool:
        """True when every number agrees."""
        return self.different == 0

    def line(self) -> str:
        """Return the result as one line."""
        if self.equal:
            return (
                f"{self.folder}: {self.numbers} numbers recomputed from the predictions, all equal"
            )
        return (
            f"{self.folder}: {self.different} of {self.numbers} numbers differ from the "
            f"predictions (first: {self.first})"
        )

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**asdict(self), "equal": self.equal}


def verify_report(folder: Path) -> Verified:
    """Return whether report.json agrees with predictions.jsonl.

    Raises:
        TextualizeError: no report there, or its predictions are missing or damaged.
    """
    stored = Report.from_json(read_json(folder / "report.json", "report"))
    records, predictions = _read(folder / "predictions.jsonl")
    rebuilt = build_report(
        records,
        predictions,
        LabelSet("report", tuple(stored.labels), {}),
        runs={row.name: row.trained for row in stored.rows if row.trained},
        pairs=[(d.a, d.b) for d in stored.differences] or None,
        statistic=stored.statistic,
        draws=stored.draws,
        seed=stored.seed,
        created=stored.created,
    )
    parts = ("rows", "differences", "clips", "groups", "noise", "constant", "class_counts")
    then, now = stored.to_json(), rebuilt.to_json()
    old = dict(_numbers({p: then[p] for p in parts}))
    new = dict(_numbers({p: now[p] for p in parts}))
    wrong = [k for k in sorted(old.keys() | new.keys()) if not _same(old.get(k), new.get(k))]
    return Verified(str(folder), len(old), len(wrong), wrong[0] if wrong else "")


def _read(path: Path) -> tuple[list[Record], dict[str, list[Prediction]]]:
    if not path.is_file():
        raise TextualizeError(f"no predictions at {path}")
    records: dict[str, Record] = {}
    predictions: dict[str, list[Prediction]] = {}
    for number, text in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
            clip = Clip(line["clip_id"], None, group=line["group"], label=line["true"])
            answer = Prediction(
                line["clip_id"], line["method"], line["label"], line["scores"], line["text"]
            )
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise TextualizeError(f"{path}:{number} is damaged: {error}") from None
        records[clip.id] = Record(clip)
        predictions.setdefault(str(line["name"]), []).append(answer)
    return list(records.values()), predictions


def _numbers(value: Any, at: str = "") -> list[tuple[str, float]]:
    """Return (path, number) for every number inside a JSON value."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return []
    if isinstance(value, int | float):
        return [(at, float(value))]
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return [found for key, inner in items for found in _numbers(inner, f"{at}/{key}")]


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
