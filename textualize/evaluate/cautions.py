"""What a reader must know before believing a report's numbers: noise, unseen cues, warnings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from textualize.errors import TextualizeError
from textualize.evaluate.compare import FEW_GROUPS
from textualize.evaluate.findings import Report
from textualize.evaluate.lines import Row
from textualize.types import MODALITIES, Prompt, Record


def noise_of(rows: Sequence[Row], clips: int) -> float | None:
    """Return half the 95 % interval of the best accuracy, clips taken as independent, or None."""
    if any("accuracy" not in r.scores for r in rows):
        return None
    best = max(r.scores["accuracy"].value for r in rows)
    return 1.96 * float(np.sqrt(best * (1 - best) / clips))


def states_of(
    records: Sequence[Record], prompts: Mapping[str, Prompt] | None
) -> dict[str, dict[str, int]]:
    """Return how many clips have a cue in each state, by modality; without prompts, of the sensors.

    Raises:
        TextualizeError: a record has no prompt.
    """
    counted: dict[str, Counter[str]] = {m: Counter() for m in MODALITIES}
    for record in records:
        if prompts is None:
            for modality in MODALITIES:
                status = record.status.get(modality)
                counted[modality][status.state if status else "not_run"] += 1
        elif record.clip.id not in prompts:
            raise TextualizeError(f"no prompt of clip '{record.clip.id}': render every clip")
        else:
            for modality, state in {(c.modality, c.state) for c in prompts[record.clip.id].cues}:
                counted[modality][state] += 1
    return {m: dict(sorted(c.items())) for m, c in counted.items() if c}


def warnings_of(report: Report, doubt: str, records: int) -> list[str]:
    """Return what of a report, made of so many records, has to be said; `doubt` comes first."""
    said = [doubt] if doubt else []
    if report.groups < FEW_GROUPS:
        said.append(f"few groups: {report.groups}; the intervals are too narrow")
    if report.dropped:
        said.append(f"{report.dropped} clips were left out: not every method answered them")
    if report.unlabelled:
        said.append(f"{report.unlabelled} of {records} clips have no label and are not scored")
    silent = records - report.unlabelled - report.dropped - report.clips
    if silent > 0:
        said.append(f"{silent} labelled clips were answered by no method and are not scored")
    empty = [n for n, c in zip(report.labels, report.class_counts, strict=True) if not c]
    if empty:
        said.append(f"no clip of {', '.join(empty)}: these classes score 0 in macro averages")
    splits = {r.trained.split_digest for r in report.rows if r.trained and r.trained.split_digest}
    if len(splits) > 1:
        said.append(f"the methods were trained on {len(splits)} different splits")
    said += [
        f"{r.name}: {', '.join(lack)} undefined: it answers the same for all clips or some groups"
        for r in report.rows
        if (lack := [s for s in report.score_names if s not in r.scores])
    ]
    said += [
        f"{r.name}: {r.unparsed} of {r.clips * max(1, len(r.seeds))} answers could not be read "
        "and count as wrong"
        for r in report.rows
        if r.unparsed
    ]
    return said
