"""A report's tables, as head and rows of text, and report.md, which is made of them."""

from __future__ import annotations

from collections.abc import Sequence

from textualize.evaluate.compare import Difference
from textualize.evaluate.findings import Report
from textualize.evaluate.lines import Row, Trained
from textualize.evaluate.material import Leak
from textualize.evaluate.spoken import (
    difference_text,
    interval_text,
    markdown,
    number_text,
    score_text,
)
from textualize.evaluate.strata import Table, against_tables
from textualize.evaluate.videos import videos_table, videos_title

NO_LEAKS = "Sought in folds, prompts and run folders: none was found."
LEAK_HEAD = ("", "kind", "found")
_DIFFERENCE = ("a - b", "difference", "p", "p (Holm)", "only a right", "only b right", "McNemar p")


def report_markdown(report: Report) -> str:
    """Return the report's tables and warnings as Markdown."""
    parts = [f"# {report.title}", report.finding()]
    parts += [f"> {w}" for w in report.warnings]
    parts.append(markdown(*overview_table(report)))
    if report.differences:
        cells = [_difference_cells(d) for d in report.differences]
        parts.append(f"## Differences ({score_text(report.statistic)})")
        parts.append(markdown(_DIFFERENCE, cells))
    if report.claims:
        claimed = [[c.says, difference_text(d), v] for c, d, v in report.claim_rows()]
        parts += ["## Claims", markdown(("claim", "difference", "measured"), claimed)]
    if report.weakened:
        parts.append(f"## {score_text(report.statistic)} as a modality is lost".capitalize())
        parts.append(markdown(*weakened_table(report)))
    if report.videos:
        parts += [f"## {videos_title(report.videos)}", markdown(*videos_table(report.videos))]
    if any(r.beside for r in report.rows):
        parts += ["## Compounds, and without Other", markdown(*beside_table(report))]
    if report.labels:
        parts += ["## F1 of every class", markdown(*_classes(report))]
    for title, heading, lines in against_one_another(report):
        parts += [f"## {title}", markdown(heading, lines)]
    parts += ["## Leaks", _leaks(report.leaks)]
    parts += ["## Where this comes from", "\n".join(f"- {x}" for x in report.provenance())]
    return "\n\n".join(parts) + "\n"


def against_one_another(report: Report) -> list[Table]:
    """Return title, head and rows of what tells words from features."""
    score = score_text(report.statistic)
    tables = [(f"What each modality adds ({score})", *ablation_table(report))]
    found = against_tables(report.combined, report.agreement, report.strata)
    return [*(tables if report.ablation else ()), *found]


def overview_table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of every method's scores and costs."""
    cost = ("unparsed", "parameters", "train min", "tokens/clip", "clips/s", "validation")
    head = ["method", "family", *map(score_text, report.score_names), "seeds", *cost]
    return head, [_overview_cells(r, report.score_names) for r in report.rows]


def _overview_cells(row: Row, scores: Sequence[str]) -> list[str]:
    trained = row.trained or Trained(row.name)
    validation = "-"
    if trained.validation is not None:
        validation = f"{trained.validation:.3f} ({score_text(trained.select)})"
    return [
        row.name,
        row.family,
        *(interval_text(row.scores.get(name)) for name in scores),
        str(max(1, len(row.seeds))),
        str(row.unparsed),
        number_text(trained.parameters, ",.0f"),
        number_text(trained.minutes, ".1f"),
        number_text(trained.tokens, ".1f"),
        number_text(trained.clips_per_s, ".1f"),
        validation,
    ]


def _classes(report: Report) -> tuple[list[str], list[list[str]]]:
    head = ["class", "clips", *(r.name for r in report.rows)]
    return head, [
        [label, str(report.class_counts[i]), *(f"{r.per_class[i].f1:.3f}" for r in report.rows)]
        for i, label in enumerate(report.labels)
    ]


def _difference_cells(found: Difference) -> list[str]:
    return [
        f"{found.a} - {found.b}",
        difference_text(found),
        f"{found.p:.3f}",
        f"{found.p_holm:.3f}",
        number_text(found.only_a, "d"),
        number_text(found.only_b, "d"),
        number_text(found.mcnemar_p, ".3f"),
    ]


def beside_table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the scores compounds ask for; a line a method."""
    names = list(dict.fromkeys(name for r in report.rows for name in r.beside))
    cells = [[r.name, *(interval_text(r.beside.get(n)) for n in names)] for r in report.rows]
    return ["method", *names], cells


def _leaks(leaks: Sequence[Leak]) -> str:
    if not leaks:
        return NO_LEAKS
    return markdown(LEAK_HEAD, [[x.severity, x.kind, x.line()] for x in leaks])


def ablation_table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the ablation: a line a method, a column a set of modalities."""
    sets = list(dict.fromkeys(a.letters for a in report.ablation))
    lines: dict[str, dict[str, str]] = {}
    for a in report.ablation:
        score = report.row(a.name).scores.get(report.statistic)
        lines.setdefault(a.method, {})[a.letters] = interval_text(score)
    return ["method", *sets], [[m, *(own.get(s, "-") for s in sets)] for m, own in lines.items()]


def weakened_table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the scores as a modality is lost; a line a method and loss."""
    shares = sorted({w.share for w in report.weakened})
    lines: dict[tuple[str, str, str], dict[float, str]] = {}
    for w in report.weakened:
        key = (w.method, w.modality, w.how)
        lines.setdefault(key, {})[w.share] = interval_text(w.score)
    head = ["method", "modality", "clips that lose it by", *(f"{s:.0%} of clips" for s in shares)]
    return head, [[*key, *(own.get(s, "-") for s in shares)] for key, own in lines.items()]
