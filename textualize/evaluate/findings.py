"""What an evaluation found: the nouns of a report, their JSON, their tables, their sentences."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, cast

from textualize.evaluate.compare import Difference, Interval
from textualize.evaluate.metrics import Bin, ClassScore

Family = Literal["floor", "text", "features"]
FAMILIES: tuple[Family, ...] = ("floor", "text", "features")
SCORE_NAMES = ("accuracy", "macro_f1", "weighted_f1", "uar")


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run folder says about how a method came to be.

    `method` is its name in the table of methods; `validation` is the selected epoch's score named
    `select`; `clips_per_s` is how fast it predicted, where that was measured.
    """

    method: str
    parameters: int | None = None
    minutes: float | None = None
    clips_per_s: float | None = None
    validation: float | None = None
    select: str = "macro_f1"
    seed: int | None = None
    split_digest: str = ""
    packages: Mapping[str, str] = field(default_factory=dict, hash=False)
    summary: Mapping[str, Any] = field(default_factory=dict, hash=False)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One method's line: scores with intervals, and what a reader needs to judge them.

    `reads` is words, tracks or nothing. `per_class` and `confusion` follow the report's labels;
    the last confusion column is unparsed answers. `ece` and `brier` are None for a method that
    gives no probabilities.
    """

    name: str
    family: Family
    reads: str
    scores: Mapping[str, Interval]
    clips: int
    groups: int
    unparsed: int
    ece: float | None
    brier: float | None
    per_class: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    reliability: tuple[Bin, ...]
    trained: Trained | None


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found; JSON-able. `headline` is the (words, tracks) pair best on validation."""

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
    noise: float
    constant: Mapping[str, float | str]
    cue_states: Mapping[str, Mapping[str, int]]
    speaker: Mapping[str, int]
    versions: Mapping[str, str]
    warnings: tuple[str, ...]

    def row(self, name: str) -> Row:
        """Return the line of one method."""
        return next(r for r in self.rows if r.name == name)

    def headline_difference(self) -> Difference | None:
        """Return the difference between the best words and the best tracks, if there is one."""
        found = (d for d in self.differences if (d.a, d.b) == self.headline)
        return next(found, None)

    def table_rows(self) -> list[dict[str, Any]]:
        """Return the overview table as plain values, one dict a method."""
        return [_table_row(r) for r in self.rows]

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values; `from_json` is the way back."""
        return cast("dict[str, Any]", json.loads(json.dumps(asdict(self), allow_nan=False)))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Report:
        """Return the report `to_json` wrote."""
        given = dict(value)
        given["rows"] = tuple(_row_from_json(r) for r in given["rows"])
        given["differences"] = tuple(Difference(**d) for d in given["differences"])
        given["headline"] = tuple(given["headline"]) if given["headline"] else None
        for name in ("labels", "class_counts", "warnings"):
            given[name] = tuple(given[name])
        return cls(**{f.name: given[f.name] for f in fields(cls)})

    def to_markdown(self) -> str:
        """Return the report's tables and warnings as Markdown."""
        parts = [f"# {self.title}", self.finding()]
        parts += [f"> {w}" for w in self.warnings]
        parts.append(_markdown(_OVERVIEW, [_overview_cells(r) for r in self.table_rows()]))
        if self.differences:
            cells = [_difference_cells(d) for d in self.differences]
            parts.append(f"## Words against features ({score_text(self.statistic)})")
            parts.append(_markdown(_DIFFERENCE, cells))
        head = ["class", "clips", *(r.name for r in self.rows)]
        per_class = [
            [label, str(self.class_counts[i]), *(f"{r.per_class[i].f1:.3f}" for r in self.rows)]
            for i, label in enumerate(self.labels)
        ]
        parts += ["## F1 of every class", _markdown(head, per_class)]
        parts += ["## Where this comes from", "\n".join(f"- {x}" for x in self.provenance())]
        return "\n\n".join(parts) + "\n"

    def finding(self) -> str:
        """Return the main result as one or two sentences."""
        found = self.headline_difference()
        size = f"{self.clips} clips of {self.groups} groups, {len(self.labels)} classes."
        if found is None:
            return f"{size} No headline comparison: see the warnings and the table of differences."
        text, tracks = (self.row(x).scores[self.statistic].value for x in (found.a, found.b))
        verdict = (
            f"{found.a if found.value > 0 else found.b} is better"
            if found.clear
            else "the data do not tell them apart"
        )
        return (
            f"{size} Chosen on validation, the best method that reads words is {found.a} "
            f"({score_text(self.statistic)} {text:.3f}), the best that reads features {found.b} "
            f"({tracks:.3f}). Difference {difference_text(found)}: {verdict}."
        )

    def provenance(self) -> list[str]:
        """Return one line each on noise, sensors, speakers, seeds, splits, notes and versions."""
        lines = [
            f"sampling noise: accuracies closer than ±{self.noise:.3f} are noise at this number "
            "of clips (1.96 sqrt(p(1-p)/n) at the best accuracy, clips taken as independent)",
            f"always answering '{self.constant['label']}', the most frequent label of these "
            f"clips: accuracy {self.constant['accuracy']:.3f}, "
            f"macro F1 {self.constant['macro_f1']:.3f}",
            f"intervals: 95 %, {self.draws} draws of whole groups, seed {self.seed}",
            f"speaker statistics: unlabelled, over all clips of the speaker: "
            f"{self.speaker['with']} of {self.speaker['of']} clips",
        ]
        for modality, states in self.cue_states.items():
            counted = ", ".join(f"{state} {n}" for state, n in states.items())
            lines.append(f"{modality} (clips in each state): {counted}")
        trained = [(r.name, r.trained) for r in self.rows if r.trained is not None]
        origins: dict[str, list[str]] = {}
        for name, run in trained:
            split = run.split_digest[:16] or "unknown"
            origins.setdefault(f"seed {run.seed}, split {split}", []).append(name)
        lines += [f"{origin}: {', '.join(names)}" for origin, names in origins.items()]
        lines += [f"{name}: {note}" for name, run in trained for note in run.notes]
        lines.append("versions: " + ", ".join(f"{k} {v}" for k, v in self.versions.items()))
        return lines


# --- tables -------------------------------------------------------------------------------------

_OVERVIEW = (
    "method",
    "family",
    "accuracy",
    "macro F1",
    "weighted F1",
    "UAR",
    "unparsed",
    "parameters",
    "train min",
    "clips/s",
    "validation",
)
_DIFFERENCE = ("a - b", "difference", "p", "p (Holm)", "only a right", "only b right", "McNemar p")


def _table_row(row: Row) -> dict[str, Any]:
    trained = row.trained or Trained(row.name)
    return {
        "method": row.name,
        "family": row.family,
        **{name: row.scores[name] for name in SCORE_NAMES},
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


def _overview_cells(row: Mapping[str, Any]) -> list[str]:
    validation = row["validation"]
    return [
        row["method"],
        row["family"],
        *(interval_text(row[name]) for name in SCORE_NAMES),
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
        str(found.only_a),
        str(found.only_b),
        f"{found.mcnemar_p:.3f}",
    ]


def score_text(name: str) -> str:
    """Return a score's name as a reader writes it.

    >>> score_text("macro_f1"), score_text("accuracy")
    ('macro F1', 'accuracy')
    """
    return {"macro_f1": "macro F1", "weighted_f1": "weighted F1", "uar": "UAR"}.get(name, name)


def interval_text(interval: Interval) -> str:
    """Return a score with its interval.

    >>> interval_text(Interval(0.5, 0.4, 0.6, 12, False))
    '0.500 [0.400, 0.600]'
    """
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def difference_text(found: Difference) -> str:
    """Return a difference with its sign and interval."""
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def number_text(value: float | None, form: str) -> str:
    """Return a number in a format, or a dash when it is not known.

    >>> number_text(1234, ",.0f"), number_text(None, ".1f")
    ('1,234', '-')
    """
    return "-" if value is None else format(value, form)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"

    return "\n".join([line(head), line(["---"] * len(head)), *(line(r) for r in rows)])


def _row_from_json(value: Mapping[str, Any]) -> Row:
    given = dict(value)
    given["scores"] = {k: Interval(**v) for k, v in given["scores"].items()}
    given["per_class"] = tuple(ClassScore(**v) for v in given["per_class"])
    given["confusion"] = tuple(tuple(v) for v in given["confusion"])
    given["reliability"] = tuple(Bin(**v) for v in given["reliability"])
    if given["trained"] is not None:
        given["trained"] = Trained(
            **{**given["trained"], "notes": tuple(given["trained"]["notes"])}
        )
    return Row(**given)
