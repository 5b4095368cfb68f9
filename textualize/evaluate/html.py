"""The report as one HTML file: nothing is fetched, everything is escaped.

The page's text comes from recordings of strangers, so autoescape is on, the only script and style
are the page's own, and a content policy forbids any request.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from textualize.evaluate import charts, spoken, tables
from textualize.evaluate.answers import Given, first_seed
from textualize.evaluate.clip_page import page_of
from textualize.evaluate.compare import FEW_GROUPS, Difference
from textualize.evaluate.faces import strips_of
from textualize.evaluate.findings import Report
from textualize.evaluate.rows import SIDES
from textualize.evaluate.tallies import LOWER_IS_BETTER
from textualize.evaluate.videos import videos_table, videos_title
from textualize.explain import Explanation
from textualize.types import Prediction, Prompt, Record

MAX_CLIPS = 300  # clip pages; more are a seeded sample, which the page states
TEMPLATES = Path(__file__).parent / "templates"


def render_report(
    report: Report,
    records: Sequence[Record],
    prompts: Mapping[str, Prompt],
    predictions: Mapping[str, Given],
    limit: int = MAX_CLIPS,
    explanations: Mapping[str, Sequence[Explanation]] | None = None,
    *,
    faces: bool = False,
) -> str:
    """Return the report as one self-contained HTML page.

    At most `limit` clips, a sample drawn with the report's seed, get a page of their own, and
    those that `explanations` (by clip) are given for. Of several seeds a clip shows the first's
    answer. With `faces` a clip's page has small pictures of it.
    """
    explained = explanations or {}
    answers = _answers(report, records, predictions)
    by_id = {r.clip.id: r for r in records}
    shown = [by_id[i] for i in _shown(list(answers), limit, report.seed, explained)]
    pages = [
        page_of(r, report, answers[r.clip.id], prompts.get(r.clip.id), explained.get(r.clip.id, ()))
        for r in shown
    ]
    return (
        environment(TEMPLATES)
        .get_template("report.html")
        .render(
            report=report,
            pages=pages,
            strips=strips_of(shown) if faces else {},
            faces=faces,
            answered=len(answers),
            script=Markup((TEMPLATES / "report.js").read_text("utf-8")),  # our own, not data
            score_chart=_score_chart(report),
            difference_chart=_difference_chart(report),
            combined_chart=_combined_chart(report),
            against=tables.against_one_another(report),
            shown={page.record.clip.id: page.href for page in pages},
            weakened=tables.weakened_table(report),
            beside=tables.beside_table(report),
            videos=(videos_title(report.videos), *videos_table(report.videos))
            if report.videos
            else None,
            few_groups=FEW_GROUPS,
            seeded=any(len(r.seeds) > 1 for r in report.rows),
            reliability=charts.reliability,
        )
    )


def _answers(
    report: Report, records: Sequence[Record], predictions: Mapping[str, Given]
) -> dict[str, dict[str, Prediction]]:
    """What every method says, by name, of each labelled clip that all have answered; by clip."""
    by_name = {r.name: {p.clip_id: p for p in first_seed(predictions[r.name])} for r in report.rows}
    labelled = sorted(r.clip.id for r in records if r.clip.label is not None)
    return {
        clip: {name: own[clip] for name, own in by_name.items()}
        for clip in labelled
        if all(clip in own for own in by_name.values())
    }


def _shown(
    answered: Sequence[str], limit: int, seed: int, explained: Mapping[str, object]
) -> list[str]:
    """The clips that get a page."""
    if len(answered) <= limit:
        return list(answered)
    drawn = random.Random(seed).sample(range(len(answered)), limit)
    drawn += [i for i, clip in enumerate(answered) if clip in explained]
    return [answered[i] for i in sorted(set(drawn))]


def environment(*folders: Path) -> Environment:
    """Return where a page's templates are rendered: everything they are given is escaped.

    `style` is there in each, the style of reports.
    """
    made = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["style"] = Markup((TEMPLATES / "report.css").read_text("utf-8"))  # ours as well
    made.filters["interval"] = spoken.interval_text
    made.filters["difference"] = spoken.difference_text
    made.filters["number"] = spoken.number_text
    made.filters["spoken"] = spoken.score_text
    return made


def _score_chart(report: Report) -> Markup:
    marks = []
    for row in report.rows:
        score = row.scores.get(report.statistic)
        if score is None:
            continue
        numbers = spoken.interval_text(score)
        marks.append(charts.Mark(row.name, score.value, score.low, score.high, row.family, numbers))
    caption = f"{spoken.score_text(report.statistic)} with 95 % interval over groups"
    return charts.intervals(marks, caption)


def _difference_mark(d: Difference, kind: str) -> charts.Mark:
    name = f"{d.a} − {d.b}"
    return charts.Mark(name, d.value, d.low, d.high, kind, spoken.difference_text(d))


def _combined_chart(report: Report) -> Markup:
    if report.combined is None:
        return Markup("")
    gains = report.combined.gains
    marks = [_difference_mark(g, "text" if g.clear else "open") for g in gains]
    marks = [replace(m, label=f"gain over {g.b}") for m, g in zip(marks, gains, strict=True)]
    caption = f"Gain in {spoken.score_text(report.statistic)} of {report.combined.name}"
    return charts.intervals(marks, f"{caption} with 95 % interval", zero=True)


def _difference_chart(report: Report) -> Markup:
    marks = [
        _difference_mark(d, SIDES[report.row(d.favours).reads] if d.clear else "open")
        for d in report.differences
    ]
    side = "left" if report.statistic in LOWER_IS_BETTER else "right"
    caption = (
        f"Difference in {spoken.score_text(report.statistic)} with 95 % interval; {side} of 0 "
        "the first is better. Coloured where 0 is outside and Holm's p < 0.05"
    )
    return charts.intervals(marks, caption, zero=True)
