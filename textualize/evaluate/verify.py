"""Recompute a report from its predictions: every score, interval and difference.

Beside that a changed byte of any of its files is found, by their digests, and report.md has to be
what report.json says. Scores under a lost modality stand in no predictions and are only digested.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from textualize.errors import TextualizeError
from textualize.evaluate.answers import Given
from textualize.evaluate.findings import Report
from textualize.evaluate.fusing import combination_of
from textualize.evaluate.matrix_findings import KIND
from textualize.evaluate.matrix_page import rebuilt_matrix
from textualize.evaluate.report import CLIPS, DIGESTS, FILES, build_report
from textualize.evaluate.strata import Condition
from textualize.files import file_digest, read_json
from textualize.labels import LABEL_SETS, LabelSet
from textualize.types import Clip, Prediction, Record


@dataclass(frozen=True, slots=True)
class Verified:
    """How many numbers were recomputed, and the first that differs ("" when all agree).

    `changed` are files that are not as they were written, or not there.
    """

    folder: str
    numbers: int
    different: int
    first: str
    changed: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """True when every number agrees and every file is as it was written."""
        return self.different == 0 and not self.changed

    def line(self) -> str:
        """Return the result as one line."""
        said = f"{self.folder}: {self.numbers} numbers recomputed from the predictions, all equal"
        if self.different:
            said = (
                f"{self.folder}: {self.different} of {self.numbers} numbers differ from the "
                f"predictions (first: {self.first})"
            )
        if self.changed:
            said += f"; changed since it was written: {', '.join(self.changed)}"
        return said

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**asdict(self), "equal": self.equal}


def verify_report(folder: Path) -> Verified:
    """Return whether report.json agrees with predictions.jsonl.

    Raises:
        TextualizeError: no report there, or its predictions are missing or damaged.
    """
    value = read_json(folder / "report.json", "report")
    if value.get("kind") == KIND:
        return _verified(folder, *rebuilt_matrix(folder))
    try:
        stored = Report.from_json(value)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise TextualizeError(f"{folder / 'report.json'} is damaged: {error}") from None
    changed = changed_files(folder)
    if stored.to_markdown() != (folder / "report.md").read_text("utf-8"):
        changed = sorted({*changed, "report.md"})
    records, predictions = _read(folder / "predictions.jsonl")
    rebuilt = _rebuilt(stored, records, predictions, folder)
    parts = (
        "rows", "differences", "clips", "groups", "noise", "constant", "class_counts", "strata",
        "agreement", "combined",
    )  # fmt: skip
    then, now = stored.to_json(), rebuilt.to_json()
    found = _verified(folder, {p: then[p] for p in parts}, {p: now[p] for p in parts})
    return replace(found, changed=tuple(changed))


def changed_files(folder: Path) -> list[str]:
    """Return the names of a report's files that are not as they were written.

    Raises:
        TextualizeError: it has no digests, as reports from before they were written.
    """
    digests = read_json(folder / DIGESTS, "digests of a report")
    found = [n for n in FILES if n not in digests]  # the list itself may have been shortened
    for name, digest in sorted(digests.items()):
        if not (folder / name).is_file() or file_digest(folder / name) != digest:
            found.append(name)
    return found


def _rebuilt(
    stored: Report, records: list[Record], predictions: dict[str, Given], folder: Path
) -> Report:
    """The report as its predictions make it."""
    own = {row.name for row in stored.rows}
    labels = LabelSet("report", tuple(stored.labels), {})
    known = next((s for s in LABEL_SETS.values() if s.labels == labels.labels), labels)
    rebuilt = build_report(
        records,
        {name: given for name, given in predictions.items() if name in own},
        known,
        runs={row.name: row.trained for row in stored.rows if row.trained},
        pairs=[(d.a, d.b) for d in stored.differences] or None,
        claims=stored.claims,
        statistic=stored.statistic,
        draws=stored.draws,
        seed=stored.seed,
        created=stored.created,
        conditions=_conditions(folder / CLIPS),
        headline=stored.headline,
        ablation=stored.ablation,
    )
    if stored.headline is None:  # one pair compared makes a headline, which here it did not
        rebuilt = replace(rebuilt, agreement=None)
    combined = stored.combined
    if combined is None or combined.name not in predictions:
        return rebuilt
    found = combination_of(combined.name, predictions, records, labels, rebuilt, combined.weights)
    return replace(rebuilt, combined=found)


def _conditions(path: Path) -> list[Condition]:
    try:
        lines = path.read_text("utf-8").splitlines()
        return [Condition(**json.loads(line)) for line in lines]
    except (OSError, TypeError, ValueError) as error:
        raise TextualizeError(f"{path} is missing or damaged: {error}") from None


def _verified(folder: Path, then: dict[str, Any], now: dict[str, Any]) -> Verified:
    old, new = dict(_numbers(then)), dict(_numbers(now))
    wrong = [k for k in sorted(old.keys() | new.keys()) if not _same(old.get(k), new.get(k))]
    return Verified(str(folder), len(old), len(wrong), wrong[0] if wrong else "")


def _read(path: Path) -> tuple[list[Record], dict[str, Given]]:
    if not path.is_file():
        raise TextualizeError(f"no predictions at {path}")
    records: dict[str, Record] = {}
    predictions: dict[str, dict[int | None, list[Prediction]]] = {}
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
        own = predictions.setdefault(str(line["name"]), {})
        own.setdefault(line.get("seed"), []).append(answer)
    return list(records.values()), {name: _given(own) for name, own in predictions.items()}


def _given(seeds: dict[int | None, list[Prediction]]) -> Given:
    """One method's predictions as a report takes them: by seed, where they have one."""
    named = {seed: own for seed, own in seeds.items() if seed is not None}
    return named or seeds[None]


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
