"""The report: every method on the same clips, with intervals, differences and what was missing.

`build_report` computes from records and predictions alone; `report_files.py` writes.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from textualize.errors import TextualizeError
from textualize.evaluate.answers import Answers, Given, answers_of, shared
from textualize.evaluate.cautions import noise_of, states_of, warnings_of
from textualize.evaluate.compare import DRAWS
from textualize.evaluate.findings import FAMILIES, Ablated, Claim, Report, Row, Trained
from textualize.evaluate.headline import Pairs, differences_of, headline_of
from textualize.evaluate.rows import Drawing, constant, row_of
from textualize.evaluate.strata import (
    Agreement,
    Condition,
    agreement_of,
    condition_of,
    strata_of,
)
from textualize.evaluate.videos import Videos, video_scores
from textualize.finetune.run_folder import versions_of
from textualize.labels import LabelSet
from textualize.types import Prompt, Record

PACKAGES = ("textualize", "numpy", "scipy", "scikit-learn")


@dataclass(frozen=True, slots=True)
class _Compared:
    """What is reported on: the records given, the methods on the clips they share, their lines."""

    records: Sequence[Record]
    labels: LabelSet
    methods: tuple[Answers, ...]
    dropped: int
    rows: tuple[Row, ...]
    drawing: Drawing

    @property
    def first(self) -> Answers:
        """Any of the methods, for what is alike in all."""
        return self.methods[0]

    @property
    def scored(self) -> list[Record]:
        """The records of the clips that are scored."""
        ids = set(self.first.ids)
        return [r for r in self.records if r.clip.id in ids]

    @property
    def by_name(self) -> dict[str, Answers]:
        """The methods by name."""
        return {m.method: m for m in self.methods}


def build_report(
    records: Sequence[Record],
    predictions: Mapping[str, Given],
    labels: LabelSet,
    *,
    prompts: Mapping[str, Prompt] | None = None,
    runs: Mapping[str, Trained] | None = None,
    title: str = "Words and features on the same clips",
    pairs: Pairs | None = None,
    claims: Sequence[Claim] = (),
    statistic: str = "macro_f1",
    draws: int = DRAWS,
    seed: int = 0,
    intersect: bool = False,
    created: str | None = None,
    conditions: Sequence[Condition] | None = None,
    headline: tuple[str, str] | None = None,
    ablation: Sequence[Ablated] = (),
    videos: Videos | None = None,
) -> Report:
    """Return the report on several methods' predictions for the same clips.

    `predictions` maps a name to one prediction a clip, or to these by seed; `runs` says how the
    name was trained and is needed for names that are not themselves in the table of methods.
    `pairs` are the (a, b) to compare; by default every method that reads words with every method
    that reads tracks, and what `claims` are of. `conditions` sort the clips into strata; without
    them the records say. `headline` is the pair to look into, by default chosen on validation.
    What `ablation` names has its line, and is compared with no other. With `videos` the answers
    are scored over these too.

    Raises:
        TextualizeError: the clip sets differ and `intersect` is false; a name without a run is
            unknown; a clip is answered twice.
    """
    if not predictions:
        raise TextualizeError("no predictions to report on: give at least one method")
    drawing = Drawing(statistic, draws, seed)
    on = _compared(records, predictions, labels, runs or {}, drawing, intersect=intersect)
    smaller = {a.name for a in ablation if a.name != a.method}
    whole = [r for r in on.rows if r.name not in smaller]
    headline, doubt = (headline, "") if headline else headline_of(whole, pairs)
    report = replace(
        _report_of(on, title, created, prompts),
        differences=differences_of(whole, on.by_name, pairs, claims, drawing),
        headline=headline,
        claims=tuple(claims),
        ablation=tuple(ablation),
        strata=strata_of(
            [condition_of(r) for r in on.scored] if conditions is None else conditions,
            [m for m in on.methods if m.method not in smaller],
            draws=draws,
            seed=seed,
        ),
        agreement=_agreement(on, headline),
    )
    if videos:
        ordered = [on.by_name[row.name] for row in on.rows]
        report = replace(report, videos=video_scores(ordered, videos, draws=draws, seed=seed))
    return replace(report, warnings=tuple(warnings_of(report, doubt, len(records))))


def _compared(
    records: Sequence[Record],
    predictions: Mapping[str, Given],
    labels: LabelSet,
    runs: Mapping[str, Trained],
    drawing: Drawing,
    *,
    intersect: bool,
) -> _Compared:
    asked = [answers_of(name, p, records, labels) for name, p in sorted(predictions.items())]
    methods, dropped = shared(asked, intersect=intersect)
    rows = [row_of(m, predictions[m.method], labels, runs.get(m.method), drawing) for m in methods]
    rows.sort(key=lambda r: (FAMILIES.index(r.family), r.name))
    return _Compared(records, labels, methods, dropped, tuple(rows), drawing)


def _report_of(
    on: _Compared, title: str, created: str | None, prompts: Mapping[str, Prompt] | None
) -> Report:
    """The report as far as methods are not compared with one another."""
    first, scored = on.first, on.scored
    return Report(
        title=title,
        created=created or datetime.now(UTC).isoformat(timespec="seconds"),
        labels=on.labels.labels,
        statistic=on.drawing.statistic,
        draws=on.drawing.draws,
        seed=on.drawing.seed,
        clips=len(first.ids),
        groups=len(set(first.groups)),
        unlabelled=sum(r.clip.label is None for r in on.records),
        dropped=on.dropped,
        class_counts=_class_counts(first, on.labels),
        rows=on.rows,
        differences=(),
        headline=None,
        noise=noise_of(on.rows, len(first.ids)),
        constant=constant(first, on.labels),
        cue_states=states_of(scored, prompts),
        speaker={"with": sum(r.speaker is not None for r in scored), "of": len(scored)},
        versions={"python": platform.python_version()} | versions_of(PACKAGES),
        warnings=(),
    )


def _agreement(on: _Compared, headline: tuple[str, str] | None) -> Agreement | None:
    if headline is None:
        return None
    a, b = (on.by_name[name] for name in headline)
    drawing = on.drawing
    return agreement_of(a, b, on.labels.labels, draws=drawing.draws, seed=drawing.seed)


def _class_counts(method: Answers, labels: LabelSet) -> tuple[int, ...]:
    if labels.numeric:
        return ()
    return tuple(np.bincount(method.true, minlength=len(labels)).tolist())
