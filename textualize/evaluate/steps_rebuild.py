"""The report of runs that answer at every step, made again from what its folder keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from textualize.errors import TextualizeError
from textualize.evaluate.compare import Interval
from textualize.evaluate.digests import changed_files
from textualize.evaluate.series import Asked, StepScores, step_scores
from textualize.evaluate.steps_report import (
    ANNOTATION,
    RunSteps,
    StepsReport,
    report_files,
    scores_text,
)
from textualize.files import read_json, read_jsonl
from textualize.predictions import read_predictions
from textualize.types import Clip, Record, Track


def rebuilt_steps(folder: Path) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Return report.json as it stands, as its folder makes it, and the files that were changed.

    Raises:
        TextualizeError: a file is missing or damaged.
    """
    stored = read_json(folder / "report.json", "report")
    try:
        report = _from_json(stored)
        annotated = dict(read_jsonl(folder / ANNOTATION, "annotation", _annotated))
        runs = tuple(_again(run, folder, annotated) for run in report.runs)
    except (OSError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise TextualizeError(f"the report in {folder} is damaged: {error}") from None
    changed = changed_files(folder, report_files(report))
    told = {"report.md": report.to_markdown()}
    told |= {f"{r.folder}/steps.json": scores_text(r.scores) for r in report.runs}
    changed += [
        name
        for name, text in told.items()
        if name not in changed and text != (folder / name).read_text("utf-8")
    ]
    groups = len({r.clip.fold_group for r in annotated.values()})
    clips = len({clip for clip, _ in annotated})
    made = {**report.to_json(), "clips": clips, "groups": groups, "runs": [asdict(r) for r in runs]}
    return stored, json.loads(json.dumps(made)), sorted(changed)


def _again(run: RunSteps, folder: Path, annotated: Mapping[tuple[str, str], Record]) -> RunSteps:
    predictions = read_predictions(folder / run.folder / "predictions.jsonl")
    records = [annotated[p.clip_id, run.asked.track] for p in predictions]
    scores = step_scores(run.asked, predictions, records)
    return RunSteps(run.name, run.folder, run.asked, tuple(scores))


def _annotated(line: Mapping[str, Any]) -> tuple[tuple[str, str], Record]:
    rows = [[np.nan if x is None else x for x in row] for row in line["values"]]
    values = np.asarray(rows, np.float32).reshape(len(rows), -1)
    name = line["track"]
    names = tuple(line["names"])
    track = Track(values, line["rate_hz"], line["start"], names, "named", "annotation")
    clip = Clip(line["clip_id"], None, group=line["group"], label=line["true"])
    return (clip.id, name), Record(clip, {name: track})


def _from_json(value: Mapping[str, Any]) -> StepsReport:
    runs = tuple(
        RunSteps(
            r["name"],
            r["folder"],
            Asked(**{**r["asked"], "labels": tuple(r["asked"]["labels"])}),
            tuple(
                StepScores(
                    s["what"],
                    s["count"],
                    s["beyond"],
                    {n: Interval(**x) for n, x in s["scores"].items()},
                )
                for s in r["scores"]
            ),
        )
        for r in value["runs"]
    )
    about = {k: v for k, v in value.items() if k not in ("kind", "runs")}
    return StepsReport(**about, runs=runs)
