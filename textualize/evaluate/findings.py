"""What an evaluation found: the nouns of a report, their JSON, their tables, their sentences."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, cast

from textualize.evaluate.combine import Combined, combined_from_json
from textualize.evaluate.compare import Difference, Interval
from textualize.evaluate.lines import (
    FAMILIES,
    Ablated,
    Claim,
    Family,
    Row,
    Trained,
    Weakened,
    row_from_json,
)
from textualize.evaluate.material import Leak
from textualize.evaluate.spoken import (
    difference_text,
    interval_text,
    markdown,
    number_text,
    score_text,
)
from textualize.evaluate.strata import (
    Agreement,
    Stratum,
    Table,
    against_tables,
    agreement_from_json,
    stratum_from_json,
)
from textualize.evaluate.tallies import score_names

__all__ = [
    "FAMILIES", "Ablated", "Claim", "Family", "Report", "Row", "Trained", "Weakened",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found; JSON-able. `headline` is the (words, tracks) pair best on validation.

    Without `labels` the clips are labelled with numbers; `noise` is None then, and `constant` what
    always answering their mean would score.
    """

    title: str
    created: str
    labels: tuple[str, ...]
    statistic: str
    draws: int
    seed: int
    clips: int
    groups: int
    unlabelled: int
    dropped: int
    class_counts: tuple[int, ...]
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    headline: tuple[str, str] | None
    noise: float | None
    constant: Mapping[str, float | str]
    cue_states: Mapping[str, Mapping[str, int]]
    speaker: Mapping[str, int]
    versions: Mapping[str, str]
    warnings: tuple[str, ...]
    claims: tuple[Claim, ...] = ()
    weakened: tuple[Weakened, ...] = ()
    leaks: tuple[Leak, ...] = ()
    opened: str = ""
    strata: tuple[Stratum, ...] = ()
    agreement: Agreement | None = None
    combined: Combined | None = None
    ablation: tuple[Ablated, ...] = ()

    @property
    def score_names(self) -> tuple[str, ...]:
        """The scores of classes, or of numbers."""
        return score_names(len(self.labels))

    def row(self, name: str) -> Row:
        """Return the line of one method."""
        return next(r for r in self.rows if r.name == name)

    def headline_difference(self) -> Difference | None:
        """Return the difference between the best words and the best tracks, if there is one."""
        return self.difference(*self.headline) if self.headline else None

    def difference(self, a: str, b: str) -> Difference | None:
        """Return the difference a - b, if the two were compared."""
        return next((d for d in self.differences if (d.a, d.b) == (a, b)), None)

    def table_rows(self) -> list[dict[str, Any]]:
        """Return the overview table as plain values, one dict a method."""
        return [_table_row(r, self.score_names) for r in self.rows]

    def claim_rows(self) -> list[tuple[Claim, Difference, str]]:
        """Return every claim with the difference that was measured and what that says of it."""
        found = [(c, self.difference(c.better, c.than)) for c in self.claims]
        return [(c, d, verdict(c, d)) for c, d in found if d is not None]

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values; `from_json` is the way back."""
        return cast("dict[str, Any]", json.loads(json.dumps(asdict(self), allow_nan=False)))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Report:
        """Return the report `to_json` wrote."""
        given = dict(value)
        given["rows"] = tuple(row_from_json(r) for r in given["rows"])
        given["differences"] = tuple(Difference(**d) for d in given["differences"])
        given["claims"] = tuple(Claim(**c) for c in given.get("claims", ()))
        given["weakened"] = tuple(
            Weakened(**{**w, "score": Interval(**w["score"])}) for w in given.get("weakened", ())
        )
        given["leaks"] = tuple(
            Leak(**{**x, "examples": tuple(x["examples"])}) for x in given.get("leaks", ())
        )
        given.setdefault("opened", "")
        given["ablation"] = tuple(Ablated(**x) for x in given.get("ablation", ()))
        given["strata"] = tuple(stratum_from_json(x) for x in given.get("strata", ()))
        given["agreement"] = agreement_from_json(given.get("agreement"))
        given["combined"] = combined_from_json(given.get("combined"))
        given["headline"] = tuple(given["headline"]) if given["headline"] else None
        for name in ("labels", "class_counts", "warnings"):
            given[name] = tuple(given[name])
        return cls(**{f.name: given[f.name] for f in fields(cls)})

    def to_markdown(self) -> str:
        """Return the report's tables and warnings as Markdown."""
        parts = [f"# {self.title}", self.finding()]
        parts += [f"> {w}" for w in self.warnings]
        head = _overview_head(self.score_names)
        rows = self.table_rows()
        parts.append(markdown(head, [_overview_cells(r, self.score_names) for r in rows]))
        if self.differences:
            cells = [_difference_cells(d) for d in self.differences]
            parts.append(f"## Differences ({score_text(self.statistic)})")
            parts.append(markdown(_DIFFERENCE, cells))
        if self.claims:
            claimed = [[c.says, difference_text(d), v] for c, d, v in self.claim_rows()]
            parts += ["## Claims", markdown(("claim", "difference", "measured"), claimed)]
        if self.weakened:
            parts.append(f"## {score_text(self.statistic)} as a modality is lost".capitalize())
            parts.append(markdown(*weakened_table(self)))
        if any(r.beside for r in self.rows):
            parts += ["## Compounds, and without Other", markdown(*beside_table(self))]
        if self.labels:
            parts += ["## F1 of every class", self._classes()]
        for title, heading, lines in self.against_one_another():
            parts += [f"## {title}", markdown(heading, lines)]
        parts += ["## Leaks", _leaks(self.leaks)]
        parts += ["## Where this comes from", "\n".join(f"- {x}" for x in self.provenance())]
        return "\n\n".join(parts) + "\n"

    def against_one_another(self) -> list[Table]:
        """Return title, head and rows of what tells words from features."""
        score = score_text(self.statistic)
        tables = [(f"What each modality adds ({score})", *ablation_table(self))]
        found = against_tables(self.combined, self.agreement, self.strata)
        return [*(tables if self.ablation else ()), *found]

    def _classes(self) -> str:
        head = ["class", "clips", *(r.name for r in self.rows)]
        per_class = [
            [label, str(self.class_counts[i]), *(f"{r.per_class[i].f1:.3f}" for r in self.rows)]
            for i, label in enumerate(self.labels)
        ]
        return markdown(head, per_class)

    def finding(self) -> str:
        """Return the main result as one or two sentences."""
        found = self.headline_difference()
        kind = f"{len(self.labels)} classes" if self.labels else "labelled with numbers"
        size = f"{self.clips} clips of {self.groups} groups, {kind}."
        if found is None:
            return f"{size} No headline comparison: see the warnings and the table of differences."
        text, tracks = (self.row(x).scores[self.statistic].value for x in (found.a, found.b))
        verdict = f"{found.favours} is better" if found.clear else "the data do not tell them apart"
        return (
            f"{size} Chosen on validation, the best method that reads words is {found.a} "
            f"({score_text(self.statistic)} {text:.3f}), the best that reads features {found.b} "
            f"({tracks:.3f}). Difference {difference_text(found)}: {verdict}."
        )

    def provenance(self) -> list[str]:
        """Return one line each on noise, sensors, speakers, seeds, splits, notes and versions."""
        lines = [
            *_noise(self.noise),
            _always(self.constant, self.score_names),
            f"intervals: 95 %, {self.draws} draws of whole groups, seed {self.seed}; percentiles "
            "are taken further out for few groups, where a t interval's would be",
            f"speaker statistics: unlabelled, over all clips of the speaker: "
            f"{self.speaker['with']} of {self.speaker['of']} clips",
        ]
        if any(len(r.seeds) > 1 for r in self.rows):
            lines.insert(3, _SEEDS)
        if self.opened:
            lines.insert(0, self.opened)
        for modality, states in self.cue_states.items():
            counted = ", ".join(f"{state} {n}" for state, n in states.items())
            lines.append(f"{modality} (clips in each state): {counted}")
        trained = [(r.name, r.trained) for r in self.rows if r.trained is not None]
        origins: dict[str, list[str]] = {}
        for row in self.rows:
            if row.trained is not None:
                split = row.trained.split_digest[:16] or "unknown"
                origins.setdefault(f"{_seeds(row)}, split {split}", []).append(row.name)
        lines += [f"{origin}: {', '.join(names)}" for origin, names in origins.items()]
        lines += [f"{name}: {note}" for name, run in trained for note in run.notes]
        lines.append("versions: " + ", ".join(f"{k} {v}" for k, v in self.versions.items()))
        return lines


# --- tables -------------------------------------------------------------------------------------

_SEEDS = (
    "seeds: a score is the mean over the seeds, and each draw resamples seeds as well as groups; "
    "counts of clips only one has right, and McNemar's test, are of each method's first seed"
)
NO_LEAKS = "Sought in folds, prompts and run folders: none was found."
LEAK_HEAD = ("", "kind", "found")
_DIFFERENCE = ("a - b", "difference", "p", "p (Holm)", "only a right", "only b right", "McNemar p")


def _overview_head(scores: Sequence[str]) -> list[str]:
    cost = ("unparsed", "parameters", "train min", "clips/s", "validation")
    return ["method", "family", *map(score_text, scores), "seeds", *cost]


def _table_row(row: Row, scores: Sequence[str]) -> dict[str, Any]:
    trained = row.trained or Trained(row.name)
    return {
        "method": row.name,
        "family": row.family,
        **{name: row.scores.get(name) for name in scores},
        "seeds": max(1, len(row.seeds)),
        "clips": row.clips,
        "groups": row.groups,
        "unparsed": row.unparsed,
        "parameters": trained.parameters,
        "minutes": trained.minutes,
        "clips_per_s": trained.clips_per_s,
        "validation": trained.validation,
        "select": trained.select,
        "ece": row.ece,
        "brier": row.brier,
    }


def _overview_cells(row: Mapping[str, Any], scores: Sequence[str]) -> list[str]:
    validation = row["validation"]
    return [
        row["method"],
        row["family"],
        *(interval_text(row[name]) for name in scores),
        str(row["seeds"]),
        str(row["unparsed"]),
        number_text(row["parameters"], ",.0f"),
        number_text(row["minutes"], ".1f"),
        number_text(row["clips_per_s"], ".1f"),
        "-" if validation is None else f"{validation:.3f} ({score_text(row['select'])})",
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


def verdict(claim: Claim, found: Difference) -> str:
    """Return what a measured difference says of a claim."""
    if not found.clear:
        return "not shown: the data do not tell them apart"
    return "holds" if found.favours == claim.better else "the reverse holds"


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


def _noise(noise: float | None) -> list[str]:
    if noise is None:
        return []
    return [
        f"sampling noise: accuracies closer than ±{noise:.3f} are noise at this number "
        "of clips (1.96 sqrt(p(1-p)/n) at the best accuracy, clips taken as independent)"
    ]


def _always(constant: Mapping[str, float | str], scores: Sequence[str]) -> str:
    named = ", ".join(f"{score_text(s)} {constant[s]:.3f}" for s in scores if s in constant)
    if "mae" in constant:
        return f"always answering {constant['label']}, the mean of these clips' labels: {named}"
    return (
        f"always answering '{constant['label']}', the most frequent label of these clips: {named}"
    )


def _seeds(row: Row) -> str:
    if len(row.seeds) > 1:
        return f"seeds {', '.join(map(str, row.seeds))}"
    return f"seed {row.trained.seed if row.trained else None}"
