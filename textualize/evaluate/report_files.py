"""A report on disk: the page, the tables, all numbers, and what each can be recomputed from.

report.html         a page to read
report.md           the tables
report.json         all numbers
predictions.jsonl   every answer beside its true label
clips.jsonl         what clips are sorted by
digests.json        the sha256 of these files
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from textualize.evaluate import html
from textualize.evaluate.answer_lines import answer_line
from textualize.evaluate.answers import Given, by_seed
from textualize.evaluate.digests import write_digests
from textualize.evaluate.evidence import NOTHING, Evidence, write_evidence
from textualize.evaluate.findings import Report
from textualize.evaluate.strata import condition_of
from textualize.evaluate.tables import report_markdown
from textualize.explain import Explanation
from textualize.files import write_json_atomic, write_jsonl_atomic, write_text_atomic
from textualize.prompt import load_template, render_with
from textualize.types import Prompt, Record

CLIPS = "clips.jsonl"
FILES = ("report.html", "report.md", "report.json", "predictions.jsonl", CLIPS)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A finished evaluation: the report and the folder it was written to."""

    report: Report
    folder: Path
    trained: int
    reused: int


def prompts_of(records: Sequence[Record], template: str) -> dict[str, Prompt]:
    """Return every record's prompt by clip id."""
    loaded = load_template(template)
    return {r.clip.id: render_with(loaded, r) for r in records}


def write_report(
    report: Report,
    folder: str | Path,
    records: Sequence[Record],
    prompts: Mapping[str, Prompt] | None,
    predictions: Mapping[str, Given],
    explanations: Mapping[str, Sequence[Explanation]] | None = None,
    evidence: Evidence = NOTHING,
    *,
    faces: bool = False,
) -> Path:
    """Write the files of a report and their digests; return the HTML's path.

    `explanations`, by clip, stand on the clips' pages; `evidence` is what `textualize verify`
    finds leaks, costs and scores under a lost modality again from. With `faces` the clips' pages
    have small pictures of them.
    """
    out = Path(folder)
    clips = {r.clip.id: r.clip for r in records}
    lines = (
        {**answer_line(clips[p.clip_id], p), "name": name, "seed": seed}
        for name, given in sorted(predictions.items())
        for seed, own in by_seed(given).items()
        for p in sorted(own, key=lambda p: p.clip_id)
    )
    write_jsonl_atomic(out / "predictions.jsonl", lines)
    scored = sorted((condition_of(r) for r in records), key=lambda c: c.clip_id)
    write_jsonl_atomic(out / CLIPS, map(asdict, scored))
    write_json_atomic(out / "report.json", report.to_json())
    write_text_atomic(out / "report.md", report_markdown(report))
    page = html.render_report(
        report, records, prompts or {}, predictions, explanations=explanations, faces=faces
    )
    write_text_atomic(out / "report.html", page)
    names = (*FILES, *write_evidence(out, evidence))
    write_digests(out, names)
    return out / "report.html"
