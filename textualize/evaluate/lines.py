"""The lines of a report: one method's scores, what is claimed, lost and left out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from textualize.evaluate.compare import Interval
from textualize.evaluate.metrics import Bin, ClassScore

Family = Literal["floor", "text", "features", "oracle"]
FAMILIES: tuple[Family, ...] = ("floor", "text", "features", "oracle")


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run folder says about how a method came to be.

    `method` is its name in the table of methods; `validation` is the selected epoch's score named
    `select`; `clips_per_s` is how fast it predicted, where that was measured; `tokens` how long
    the prompts of validation are on average; `reads` what its recipe has it read.
    """

    method: str
    parameters: int | None = None
    minutes: float | None = None
    clips_per_s: float | None = None
    tokens: float | None = None
    validation: float | None = None
    select: str = "macro_f1"
    seed: int | None = None
    split_digest: str = ""
    packages: Mapping[str, str] = field(default_factory=dict, hash=False)
    summary: Mapping[str, Any] = field(default_factory=dict, hash=False)
    notes: tuple[str, ...] = ()
    reads: str | None = None  # older reports do not say


@dataclass(frozen=True, slots=True)
class Training:
    """One training of the method `name`: on one fold, with one seed where there are several."""

    name: str
    seed: int | None
    trained: Trained


@dataclass(frozen=True, slots=True)
class Row:
    """One method's line: scores with intervals, and what a reader needs to judge them.

    `reads` is as in the table of methods, or labels, of an oracle. A score that is undefined, the
    correlation of one answer for all, is not among `scores`. `per_class` and `confusion` follow the
    report's labels, empty for numbers; the last confusion column is unparsed answers. `ece` and
    `brier` are None for a method that gives no probabilities. Of several `seeds` scores are means,
    counts are sums, and `by_seed` is the report's statistic of each. `beside` are the scores
    compounds ask for.
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
    seeds: tuple[int, ...] = ()
    by_seed: tuple[float, ...] = ()
    beside: Mapping[str, Interval] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Claim:
    """What somebody says of two methods: that `better` has the better score than `than`."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    better: str
    than: str
    says: str


@dataclass(frozen=True, slots=True)
class Ablated:
    """That the line `name` is of `method` trained on the modalities `letters` (of T, V, A) only."""

    method: str
    letters: str
    name: str


@dataclass(frozen=True, slots=True)
class Weakened:
    """A method's score as a modality is missing, or replaced by noise, in a share of the clips."""

    method: str
    modality: str
    how: Literal["missing", "noise"]
    share: float
    score: Interval


def row_from_json(value: Mapping[str, Any]) -> Row:
    """Return the row whose `asdict` this is."""
    given = dict(value)
    given["scores"] = {k: Interval(**v) for k, v in given["scores"].items()}
    given["beside"] = {k: Interval(**v) for k, v in given.get("beside", {}).items()}
    given["per_class"] = tuple(ClassScore(**v) for v in given["per_class"])
    given["confusion"] = tuple(tuple(v) for v in given["confusion"])
    given["reliability"] = tuple(Bin(**v) for v in given["reliability"])
    for name in ("seeds", "by_seed"):
        given[name] = tuple(given.get(name, ()))
    if given["trained"] is not None:
        given["trained"] = trained_from_json(given["trained"])
    return Row(**given)


def trained_from_json(value: Mapping[str, Any]) -> Trained:
    """Return what was trained, whose `asdict` this is."""
    return Trained(**{**value, "notes": tuple(value["notes"])})
