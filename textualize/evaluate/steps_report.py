"""Runs that answer at every step, beside one another: one page, tables, and all of it recomputed.

reports/<name>/report.html, report.md, report.json
reports/<name>/annotation.jsonl        every annotated clip's rows, with its group and label
reports/<name>/1-<run>/predictions.jsonl, steps.json
reports/<name>/digests.json            the sha256 of all of these
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from textualize.evaluate import charts
from textualize.evaluate.compare import DRAWS, FEW_GROUPS
from textualize.evaluate.digests import write_digests
from textualize.evaluate.html import TEMPLATES, environment
from textualize.evaluate.named_runs import run_names
from textualize.evaluate.sealed import package_commit
from textualize.evaluate.series import Asked, StepScores, ask_run, step_scores
from textualize.evaluate.spoken import interval_text, markdown, score_text
from textualize.files import (
    write_json_atomic,
    write_jsonl_atomic,
    write_text_atomic,
)
from textualize.predictions import write_predictions
from textualize.store import Corpus
from textualize.types import Record

KIND = "steps"  # tells this report.json from that of a comparison of methods
ANNOTATION = "annotation.jsonl"


@dataclass(frozen=True, slots=True)
class RunSteps:
    """One run's scores; `folder` is where its answers lie beside the report."""

    name: str
    folder: str
    asked: Asked
    scores: tuple[StepScores, ...]


@dataclass(frozen=True, slots=True)
class StepsReport:
    """What runs that answer per step are worth on annotated clips."""

    title: str
    corpus: str
    clips: int
    groups: int
    created: str
    commit: str
    runs: tuple[RunSteps, ...]

    def finding(self) -> str:
        """Return what was scored, in a sentence or two."""
        few = " Few groups: the intervals are too narrow." if self.groups < FEW_GROUPS else ""
        runs = "1 run that answers" if len(self.runs) == 1 else f"{len(self.runs)} runs that answer"
        return (
            f"{runs} at every step, on {self.clips} annotated clips of "
            f"{self.groups} groups. All rows of all clips are scored together; 95 % intervals "
            f"resample whole groups, {DRAWS} draws.{few}"
        )

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Return title, head and rows of each thing that is answered; a line a run."""
        found = []
        for what in dict.fromkeys(s.what for run in self.runs for s in run.scores):
            own = [(r, s) for r in self.runs for s in r.scores if s.what == what]
            names = list(own[0][1].scores)
            head = ["run", "rows" if not what.startswith("clips") else "clips", "beyond",
                    *map(score_text, names)]  # fmt: skip
            rows = [
                [r.name, str(s.count), str(s.beyond), *(interval_text(s.scores[n]) for n in names)]
                for r, s in own
            ]
            found.append((what, head, rows))
        return found

    def provenance(self) -> list[str]:
        """Return one line each on what rows are, and where this comes from."""
        return [
            "rows: annotated rows within a run's steps; beyond: annotated rows outside of them, "
            "which are not scored",
            *(f"{r.name}: annotation '{r.asked.track}'" for r in self.runs),
            f"corpus: {self.corpus}; commit {self.commit or 'unknown'}; made {self.created}",
        ]

    def to_markdown(self) -> str:
        """Return the report as Markdown."""
        parts = [f"# {self.title}", self.finding()]
        for what, head, rows in self.tables():
            parts += [f"## {what}", markdown(head, rows)]
        return "\n\n".join([*parts, "\n".join(f"- {x}" for x in self.provenance())]) + "\n"

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"kind": KIND, **asdict(self)}


def evaluate_steps(
    runs: Sequence[Path],
    corpus: Corpus,
    split: str | None,
    folder: Path,
    *,
    open_test: bool = False,
) -> StepsReport:
    """Score runs on annotated clips they have not seen and write the report to `folder`.

    Clips of the corpus' own split named test need `open_test`, and that is written down.

    Raises:
        TextualizeError: a run does not answer per step, no clip is annotated, or the test split
            is sealed.
    """
    read = corpus.records()
    found: list[RunSteps] = []
    records: dict[tuple[str, str], Record] = {}
    for number, (run, name) in enumerate(run_names(runs), 1):
        asked, own, predictions = ask_run(run, read, split, open_test=open_test)
        where = f"{number}-{run.name}"
        scores = step_scores(asked, predictions, own)
        write_predictions(folder / where / "predictions.jsonl", predictions)
        write_text_atomic(folder / where / "steps.json", scores_text(scores))
        found.append(RunSteps(name, where, asked, tuple(scores)))
        records |= {(r.clip.id, asked.track): r for r in own}
    clips = {r.clip.id: r.clip for r in records.values()}
    report = StepsReport(
        f"Answers at every step: {', '.join(r.name for r in found)}",
        corpus.folder.resolve().name,
        len(clips),
        len({c.fold_group for c in clips.values()}),
        datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        package_commit(),
        tuple(found),
    )
    lines = [_annotation_line(r, track) for (_, track), r in sorted(records.items())]
    _write(report, folder, lines)
    return report


def scores_text(scores: Sequence[StepScores]) -> str:
    """Return the text of a run's steps.json."""
    return json.dumps([asdict(s) for s in scores], indent=1, ensure_ascii=False) + "\n"


def _write(report: StepsReport, folder: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    page = (
        environment(TEMPLATES)
        .get_template("steps.html")
        .render(
            report=report,
            figures=[_chart(report, what) for what, _, _ in report.tables()],
        )
    )
    write_jsonl_atomic(folder / ANNOTATION, lines)
    write_text_atomic(folder / "report.md", report.to_markdown())
    write_text_atomic(folder / "report.html", page)
    write_json_atomic(folder / "report.json", report.to_json())
    write_digests(folder, report_files(report))


def report_files(report: StepsReport) -> list[str]:
    """Return the names of all files of the report but for the digests."""
    own = [f"{r.folder}/{n}" for r in report.runs for n in ("predictions.jsonl", "steps.json")]
    return [ANNOTATION, "report.html", "report.json", "report.md", *own]


def _chart(report: StepsReport, what: str) -> Markup:
    """Return the first score of all runs as a forest plot."""
    own = [(r.name, s.scores) for r in report.runs for s in r.scores if s.what == what]
    name = next(iter(own[0][1]))
    marks = [
        charts.Mark(run, x[name].value, x[name].low, x[name].high, "features",
                    interval_text(x[name]))
        for run, x in own
    ]  # fmt: skip
    return charts.intervals(marks, f"{score_text(name)} of {what} with 95 % interval over groups")


def _annotation_line(record: Record, name: str) -> dict[str, Any]:
    track = record.tracks[name]
    return {
        "clip_id": record.clip.id,
        "group": record.clip.fold_group,
        "true": record.clip.label,
        "track": name,
        "rate_hz": track.rate_hz,
        "start": track.start,
        "names": list(track.names),
        "values": [[x if np.isfinite(x) else None for x in row] for row in track.values.tolist()],
    }
