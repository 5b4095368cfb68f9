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
from textualize.evaluate.html import TEMPLATES, environment
from textualize.evaluate.matrix_findings import (
    CLEAR,
    Matrix,
    build_matrix,
    gain_text,
    header_from_json,
)
from textualize.evaluate.settings import CellAnswers, Setting
from textualize.files import (
    file_digest,
    read_json,
    read_lines,
    write_json_atomic,
    write_text_atomic,
)
from textualize.predictions import prediction_json
from textualize.types import Clip, Prediction, Record

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
    lines = [
        json.dumps(_line(part, setting, prediction, tokens, records), ensure_ascii=False) + "\n"
        for part, cells in answered.items()
        for setting, answers in cells.items()
        for prediction, tokens in zip(answers.predictions, answers.tokens, strict=True)
    ]
    page = (
        environment(TEMPLATES)
        .get_template("matrix.html")
        .render(
            matrix=matrix,
            shown=shown,
            chart=_chart(matrix),
            style=Markup((TEMPLATES / "report.css").read_text("utf-8")),  # our own file, not data
        )
    )
    files = {
        "predictions.jsonl": "".join(lines),
        "report.md": matrix.to_markdown(),
        "report.html": page,
    }
    for name, text in files.items():
        write_text_atomic(folder / name, text)
    digests = {name: file_digest(folder / name) for name in files}
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


def _line(
    part: str, setting: Setting, answer: Prediction, tokens: int, records: Mapping[str, Record]
) -> dict[str, Any]:
    clip = records[answer.clip_id].clip
    truth = {"group": clip.fold_group, "true": clip.label}
    return {
        "part": part,
        "setting": asdict(setting),
        "tokens": tokens,
        **truth,
        **prediction_json(answer),
    }


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
    parts, records = _read(folder / "predictions.jsonl")
    header = header_from_json(stored["header"])
    made = build_matrix(header, parts["validation"], parts["test"], records).to_json()
    return stored, {**json.loads(json.dumps(made)), "files": stored["files"]}


def _read(
    path: Path,
) -> tuple[dict[str, dict[Setting, CellAnswers]], list[Record]]:
    """Return the answers of each part's cells, and the clips with their labels."""
    found: dict[str, dict[Setting, list[tuple[Prediction, int]]]] = {"validation": {}, "test": {}}
    records: dict[str, Record] = {}
    for number, text in enumerate(read_lines(path), 1):
        try:
            line = json.loads(text)
            clip = Clip(line["clip_id"], None, group=line["group"], label=line["true"])
            keys = ("clip_id", "method", "label", "scores", "text")
            answer = Prediction(**{key: line[key] for key in keys})
            cells = found[line["part"]]
            cells.setdefault(Setting(**line["setting"]), []).append((answer, line["tokens"]))
        except (ValueError, KeyError, TypeError) as error:
            raise TextualizeError(f"{path}:{number} is damaged: {error}") from None
        records[clip.id] = Record(clip)
    parts = {
        part: {
            s: CellAnswers(tuple(p for p, _ in own), tuple(t for _, t in own))
            for s, own in cells.items()
        }
        for part, cells in found.items()
    }
    return parts, list(records.values())
