"""The combination of an evaluation's best words and best tracks, and what it adds to the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from textualize.errors import TextualizeError
from textualize.evaluate.answers import Given, answers_of, as_given, by_seed
from textualize.evaluate.cells import Answered, answered
from textualize.evaluate.combine import Combined, Part, combined_of, fused, of_seeds
from textualize.evaluate.findings import Report
from textualize.evaluate.tallies import LOWER_IS_BETTER
from textualize.finetune.run_folder import RunFolder
from textualize.labels import LabelSet
from textualize.methods import load
from textualize.types import Prediction, Record

Parts = Mapping[int | None, Sequence[Part]]  # a method's answers by seed, a part a fold

_ON_ITSELF = "no validation clips apart from those they are scored on to fit weights on"


def cell_parts(
    done: Sequence[Answered], name: str, records: Mapping[str, Record], labels: LabelSet
) -> Parts:
    """Return a suite's method's answers on validation and test; those on validation are kept."""
    found: dict[int | None, list[Part]] = {}
    for each in done:
        if each.cell.name == name:
            asked = replace(each.cell, part="validation")
            held = answered(asked, records, labels, "")  # trained already, its card is written
            found.setdefault(each.cell.seed, []).append(Part(held.predictions, each.predictions))
    return found


def run_parts(runs: Sequence[Path], given: Given, records: Mapping[str, Record]) -> Parts:
    """Return a run's answers, or those of its seeds, on its validation clips and the tested."""
    return {
        seed: [Part(load(run).predict([records[i] for i in held]), own)]
        for (seed, own), run in zip(by_seed(given).items(), runs, strict=True)
        if (held := [i for i in RunFolder(run).parts["validation"] if i in records])
    }


def with_combination(
    report: Report,
    parts_of: Callable[[str], Parts],
    predictions: Mapping[str, Given],
    records: Mapping[str, Record],
    labels: LabelSet,
) -> tuple[Report, Mapping[str, Given]]:
    """Return the report with the combination of the headline's pair, and its answers by name.

    `parts_of` gives a method's answers on validation and test. Where these are not to be had, or
    not apart from one another, there is no combination, and a warning says so.
    """
    if report.headline is None:
        return report, {}
    try:
        sides = {name: parts_of(name) for name in report.headline}
        return _with_combination(report, sides, predictions, records, labels)
    except TextualizeError as error:
        told = f"words and features are not combined: {error}"
        return replace(report, warnings=(*report.warnings, told)), {}


def _with_combination(
    report: Report,
    sides: Mapping[str, Parts],
    predictions: Mapping[str, Given],
    records: Mapping[str, Record],
    labels: LabelSet,
) -> tuple[Report, Mapping[str, Given]]:
    parts = [p for side in sides.values() for own in side.values() for p in own]
    held = {p.clip_id for part in parts for p in part.validation}
    if not held or any(_ids(part.tested) & _ids(part.validation) for part in parts):
        raise TextualizeError(_ON_ITSELF)
    a, b = report.headline or ("", "")
    own: dict[int | None, list[Prediction]] = {}
    weights = []
    for seed, (words, tracks) in of_seeds(sides[a], sides[b]).items():
        for one, other in zip(words, tracks, strict=True):
            told, fitted = fused(one, other, records, labels)
            own.setdefault(seed, []).extend(told)
            weights.append(fitted)
    name = f"{a} + {b}"
    given = as_given(own)
    found = combination_of(
        name, {**predictions, name: given}, list(records.values()), labels, report, weights
    )
    return replace(report, combined=found), {name: given}


def _ids(predictions: Sequence[Prediction]) -> set[str]:
    return {p.clip_id for p in predictions}


def combination_of(
    name: str,
    predictions: Mapping[str, Given],
    records: Sequence[Record],
    labels: LabelSet,
    report: Report,
    weights: Sequence[Sequence[float]] = (),
) -> Combined:
    """Return a combination's score and gains, recomputed from predictions."""
    pair = report.headline or ("", "")
    own, a, b = (answers_of(n, predictions[n], records, labels) for n in (name, *pair))
    return combined_of(
        name,
        own.only(a.ids),
        a.only(own.ids),
        b.only(own.ids),
        better=better_on_validation(report),
        statistic=report.statistic,
        draws=report.draws,
        seed=report.seed,
        weights=weights,
    )


def better_on_validation(report: Report) -> str:
    """Return which of the headline's pair has the better validation score."""
    a, b = (report.row(n) for n in report.headline or ("", ""))
    one, other = (
        r.trained.validation if r.trained and r.trained.validation is not None else 0.0
        for r in (a, b)
    )
    lower = a.trained is not None and a.trained.select in LOWER_IS_BETTER
    return a.name if (one >= other) != (lower and one != other) else b.name
