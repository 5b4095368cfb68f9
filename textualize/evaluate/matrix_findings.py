"""What a matrix of prompts came to: scores, what each level gains, and what wording does by chance.

A gain is the mean difference between cells that differ in nothing but one level, with its interval
over resampled groups of clips. Beside it stands how far the scores of those cells lie apart when
only the question is put in other words: a smaller gain is not one. The winner is chosen on
validation, where it looks better than it is; its score on the test part stands apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from textualize.evaluate.compare import Difference, Interval
from textualize.evaluate.settings import Setting
from textualize.evaluate.spoken import (
    difference_text,
    interval_text,
    markdown,
    number_text,
    score_text,
)

KIND = "prompts"  # tells this report.json from that of a comparison of methods
CLEAR = "more than wording, clear"  # the verdict of a gain that is one
_LEVELS = {"template": "template", "modalities": "modalities", "turns": "turns before",
           "answers": "answers", "shots": "shots", "wording": "wording"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """What was asked, of what model, and what a reader must know first."""

    title: str
    model: str
    corpus: str
    statistic: str
    labels: tuple[str, ...]
    reference: Setting
    draws: int
    seed: int
    created: str
    commit: str
    versions: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    opened: str = ""


@dataclass(frozen=True, slots=True)
class CellScore:
    """One cell on validation. `tokens` are the mean of its prompts, `cut` how many were cut."""

    setting: Setting
    score: Interval
    accuracy: float
    unparsed: int
    tokens: float
    cut: int


@dataclass(frozen=True, slots=True)
class Gain:
    """What `level` of an axis adds to `against`, over `pairs` of cells alike in all else.

    `low` and `high` are the least and the largest gain of any one paraphrase; `spread` is the mean
    distance between the best and the worst paraphrase of these cells, None where there is one;
    `interval` is the gain's over resampled groups of clips, all cells under the same draws.
    """

    axis: str
    level: str
    against: str
    pairs: int
    value: float
    low: float
    high: float
    spread: float | None
    interval: Interval

    @property
    def verdict(self) -> str:
        """Whether the gain is more than wording does, and more than other clips would."""
        wording = "more than" if abs(self.value) > (self.spread or 0.0) else "within"
        clear = self.interval.low > 0 or self.interval.high < 0
        said = "one wording only" if self.spread is None else f"{wording} wording"
        return f"{said}, {'clear' if clear else 'not clear'}"


@dataclass(frozen=True, slots=True)
class Winner:
    """The cell chosen on validation, and what it and the reference are worth on the test part."""

    setting: Setting
    validation: Interval
    test: Interval | None = None
    reference_test: Interval | None = None
    difference: Difference | None = None


@dataclass(frozen=True, slots=True)
class Matrix:
    """The report; `clips` and `groups` are those of validation, `tested` clips of the test part."""

    header: Header
    clips: int
    groups: int
    tested: int
    cells: tuple[CellScore, ...]
    spread: float | None
    gains: tuple[Gain, ...]
    winner: Winner

    def finding(self) -> str:
        """Return the result in a sentence or two."""
        name = score_text(self.header.statistic)
        won = self.winner
        said = (
            f"Of {len(self.cells)} ways to ask, '{won.setting}' is best on validation ({name} "
            f"{interval_text(won.validation)})"
        )
        if won.test and won.difference:
            said += (
                f"; on the test part it has {interval_text(won.test)}, "
                f"{difference_text(won.difference)} against '{self.header.reference}'"
            )
        else:
            said += "; the test part was not opened"
        if self.spread is not None:
            said += f". Wording the question otherwise moves a cell by {self.spread:.3f} on average"
        return f"{said}."

    def cell_table(self) -> tuple[list[str], list[list[str]]]:
        """Return the head and rows of all cells, the best on validation first."""
        head = [
            "cell", score_text(self.header.statistic), "accuracy", "unparsed", "tokens a prompt",
            "cut",
        ]  # fmt: skip
        rows = [
            [
                str(c.setting),
                interval_text(c.score),
                f"{c.accuracy:.3f}",
                str(c.unparsed),
                f"{c.tokens:.0f}",
                str(c.cut),
            ]
            for c in sorted(self.cells, key=rank_of)
        ]
        return head, rows

    def gain_table(self) -> tuple[list[str], list[list[str]]]:
        """Return the head and rows of what each level gains, beside the spread of wording."""
        head = ["axis", "level", "against", "gain, 95 % interval", "over paraphrases",
                "spread of wording", "pairs", "the gain is"]  # fmt: skip
        rows = [
            [
                _LEVELS[g.axis],
                g.level,
                g.against,
                gain_text(g),
                f"{g.low:+.3f} to {g.high:+.3f}",
                number_text(g.spread, ".3f"),
                str(g.pairs),
                g.verdict,
            ]
            for g in self.gains
        ]
        return head, rows

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"kind": KIND, **asdict(self)}

    def to_markdown(self) -> str:
        """Return the report as Markdown."""
        name = score_text(self.header.statistic)
        parts = [f"# {self.header.title}", self.finding()]
        parts += [f"> {warning}" for warning in self.header.warnings]
        parts += ["## What each level gains", markdown(*self.gain_table())]
        about = f"## Every cell: {name} of {self.clips} validation clips, {self.groups} groups"
        parts += [about, markdown(*self.cell_table()), "\n".join(f"- {x}" for x in self.provenance)]
        return "\n\n".join(parts) + "\n"

    @property
    def provenance(self) -> list[str]:
        """One line each on model, corpus, openings and versions."""
        head = self.header
        versions = ", ".join(f"{k} {v}" for k, v in head.versions.items())
        return [
            f"model: {head.model}",
            f"corpus: {head.corpus}; chosen on {self.clips} validation clips",
            head.opened or "the sealed test part was not opened",
            f"versions: {versions}; commit {head.commit or 'unknown'}",
        ]


def gain_text(gain: Gain) -> str:
    """Return a gain with its sign and its interval over clips."""
    return f"{gain.value:+.3f} [{gain.interval.low:+.3f}, {gain.interval.high:+.3f}]"


def rank_of(cell: CellScore) -> tuple[float, float]:
    """Return what sorts the best first; of equals the shorter prompt, then the suite's order."""
    return -cell.score.value, cell.tokens


def header_from_json(value: Mapping[str, Any]) -> Header:
    """Return the header that `Matrix.to_json` wrote."""
    lists = {key: tuple(value[key]) for key in ("labels", "warnings")}
    return Header(**{**value, **lists, "reference": Setting(**value["reference"])})
