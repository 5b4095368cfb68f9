"""The end of every evaluation: what is combined, what leaks, what was opened; and it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from textualize.datasets.given import Fold
from textualize.evaluate.answers import Given
from textualize.evaluate.evidence import Evidence
from textualize.evaluate.findings import Report
from textualize.evaluate.fusing import Parts, with_combination
from textualize.evaluate.leaks import find_leaks
from textualize.evaluate.lines import Training
from textualize.evaluate.material import Material
from textualize.evaluate.report_files import write_report
from textualize.evaluate.sealed import WARNING, opened_line, reopened
from textualize.evaluate.weaken import Lost
from textualize.explain import Explanation
from textualize.labels import LabelSet
from textualize.types import Prompt, Record


@dataclass(frozen=True, slots=True)
class Ground:
    """What methods were compared on.

    `tested` are the records that are scored, `known` all records by clip id, `runs` the run
    folders of every method, `ledgers` where openings of these are written down, `extraction` a
    line on the time it took. `sealed` says that
    the records are validation's and test was not opened; `warnings` are what folds let through.
    """

    tested: Sequence[Record]
    known: Mapping[str, Record]
    labels: LabelSet
    material: Material
    folds: Sequence[Fold]
    runs: Mapping[str, Sequence[Path]]
    ledgers: Sequence[Path]
    sealed: bool
    warnings: Sequence[str] = ()
    extraction: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """What methods answered and how they came to it, and what pages show of clips beside."""

    predictions: Mapping[str, Given]
    trainings: Sequence[Training]
    prompts: Mapping[str, Prompt]
    lost: Sequence[Lost] = ()
    explanations: Mapping[str, Sequence[Explanation]] = field(default_factory=dict)
    faces: bool = False


def conclude(
    report: Report, ground: Ground, told: Told, parts_of: Callable[[str], Parts], out: Path
) -> Report:
    """Return the report with combination, leaks and openings, written to `out`.

    `parts_of` gives a method's answers on validation and test, see `with_combination`.
    """
    combined, together = with_combination(
        report, parts_of, told.predictions, ground.known, ground.labels
    )
    warnings = [*ground.warnings, *reopened(ground.ledgers), *[WARNING] * ground.sealed]
    found = replace(
        combined,
        warnings=(*combined.warnings, *warnings),
        leaks=find_leaks(ground.material, ground.folds, ground.tested, ground.labels, ground.runs),
        opened=opened_line(ground.ledgers),
        extraction=ground.extraction,
    )
    write_report(
        found,
        out,
        ground.tested,
        told.prompts,
        {**told.predictions, **together},
        told.explanations,
        Evidence(told.trainings, told.lost, ground.material, ground.folds),
        faces=told.faces,
    )
    return found
