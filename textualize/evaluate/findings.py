"""What an evaluation found: a report, its JSON, its sentences; `tables.py` has its tables."""

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
    score_text,
)
from textualize.evaluate.strata import (
    Agreement,
    Stratum,
    agreement_from_json,
    stratum_from_json,
)
from textualize.evaluate.tallies import score_names
from textualize.evaluate.videos import VideoScores, videos_from_json

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
    extraction: str = ""
    """how long it took to make the corpus"""
    strata: tuple[Stratum, ...] = ()
    agreement: Agreement | None = None
    combined: Combined | None = None
    ablation: tuple[Ablated, ...] = ()
    videos: VideoScores | None = None

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
        given.setdefault("extraction", "")
        given["ablation"] = tuple(Ablated(**x) for x in given.get("ablation", ()))
        given["strata"] = tuple(stratum_from_json(x) for x in given.get("strata", ()))
        given["agreement"] = agreement_from_json(given.get("agreement"))
        given["combined"] = combined_from_json(given.get("combined"))
        given["videos"] = videos_from_json(given.get("videos"))
        given["headline"] = tuple(given["headline"]) if given["headline"] else None
        for name in ("labels", "class_counts", "warnings"):
            given[name] = tuple(given[name])
        return cls(**{f.name: given[f.name] for f in fields(cls)})

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
        if self.extraction:
            lines.append(self.extraction)
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


# --- sentences ----------------------------------------------------------------------------------

_SEEDS = (
    "seeds: a score is the mean over the seeds, and each draw resamples seeds as well as groups; "
    "counts of clips only one has right, and McNemar's test, are of each method's first seed"
)


def verdict(claim: Claim, found: Difference) -> str:
    """Return what a measured difference says of a claim."""
    if not found.clear:
        return "not shown: the data do not tell them apart"
    return "holds" if found.favours == claim.better else "the reverse holds"


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
