"""A matrix of prompts on disk: the page, the tables, every answer; and all of it recomputed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from markupsafe import Markup

from textualize.errors import TextualizeError
from textualize.evaluate import charts
from textualize.evaluate.answer_lines import answer_line, answered_clip
from textualize.evaluate.html import TEMPLATES, environment
from textualize.evaluate.matrix_build import build_matrix
from textualize.evaluate.matrix_findings import (
    CLEAR,
    Matrix,
    gain_text,
    header_from_json,
)
from textualize.evaluate.settings import CellAnswers, Setting
from textualize.files import (
    file_digest,
    read_json,
    read_jsonl,
    write_json_atomic,
    write_jsonl_atomic,
    write_text_atomic,
)
from textualize.types import Prediction, Record

ANSWERS = "predictions.jsonl"
Answered = Mapping[str, Mapping[Setting, CellAnswers]]


def write_matrix(
    matrix: Matrix,
    folder: Path,
    answered: Answered,
    records: Mapping[str, Record],
    shown: Mapping[str, str],
) -> Path:
    """Write report.html, report.md, report.json and predictions.jsonl; return the HTML's path.

    Args:
        matrix: the report.
        folder: where to.
        answered: the answers of each part's cells.
        records: the records by clip id.
        shown: a prompt of each template, by its name.
    """
    lines = (
        {
            **answer_line(records[prediction.clip_id].clip, prediction),
            "part": part,
            "setting": asdict(setting),
            "tokens": tokens,
        }
        for part, cells in answered.items()
        for setting, answers in cells.items()
        for prediction, tokens in zip(answers.predictions, answers.tokens, strict=True)
    )
    page = (
        environment(TEMPLATES)
        .get_template("matrix.html")
        .render(
            matrix=matrix,
            shown=shown,
            chart=_chart(matrix),
        )
    )
    write_jsonl_atomic(folder / ANSWERS, lines)
    write_text_atomic(folder / "report.md", matrix.to_markdown())
    write_text_atomic(folder / "report.html", page)
    digests = {name: file_digest(folder / name) for name in (ANSWERS, "report.md", "report.html")}
    write_json_atomic(folder / "report.json", {**matrix.to_json(), "files": digests})
    return folder / "report.html"


def _chart(matrix: Matrix) -> Markup:
    """Return the gains with their intervals as a forest plot."""
    marks = [
        charts.Mark(
            f"{g.level} − {g.against}", g.value, g.interval.low, g.interval.high,
            "text" if g.verdict == CLEAR else "open", gain_text(g),
        )
        for g in matrix.gains
    ]  # fmt: skip
    caption = (
        "Gain of each level with 95 % interval over groups of clips; coloured where 0 is outside "
        "and the gain is more than wording does"
    )
    return charts.intervals(marks, caption, zero=True)


def rebuilt_matrix(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return report.json as it stands and as its predictions make it.

    Raises:
        TextualizeError: a file is missing, damaged, or not the one that was written.
    """
    stored = read_json(folder / "report.json", "report")
    for name, digest in stored["files"].items():
        if not (folder / name).is_file():
            raise TextualizeError(f"no {name} in {folder}")
        if file_digest(folder / name) != digest:
            raise TextualizeError(f"{folder / name} is not the file this report was written with")
    parts, records = _read(folder / ANSWERS)
    header = header_from_json(stored["header"])
    made = build_matrix(header, parts["validation"], parts["test"], records).to_json()
    return stored, {**json.loads(json.dumps(made)), "files": stored["files"]}


def _read(path: Path) -> tuple[dict[str, dict[Setting, CellAnswers]], list[Record]]:
    """Return the answers of each part's cells, and the clips with their labels."""
    found: dict[str, dict[Setting, list[tuple[Prediction, int]]]] = {"validation": {}, "test": {}}
    records: dict[str, Record] = {}

    def take(line: Mapping[str, Any]) -> None:
        clip, answer = answered_clip(line)
        cells = found[line["part"]]
        cells.setdefault(Setting(**line["setting"]), []).append((answer, line["tokens"]))
        records[clip.id] = Record(clip)

    read_jsonl(path, "predictions", take)
    parts = {
        part: {
            s: CellAnswers(tuple(p for p, _ in own), tuple(t for _, t in own))
            for s, own in cells.items()
        }
        for part, cells in found.items()
    }
    return parts, list(records.values())
