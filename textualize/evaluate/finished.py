"""Finished runs beside one another, on clips that none of them has seen: the report on these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from textualize.errors import TextualizeError
from textualize.evaluate.conclude import Ground, Told, conclude
from textualize.evaluate.fusing import Parts, run_parts
from textualize.evaluate.given_runs import Answering, answering, translation_claims
from textualize.evaluate.leaks import run_folds
from textualize.evaluate.material import Material
from textualize.evaluate.named_runs import single_runs
from textualize.evaluate.report import build_report
from textualize.evaluate.report_files import Evaluated, prompts_of
from textualize.evaluate.sealed import (
    LOUD,
    ledger,
    refuse_sealed,
    validation_only,
)
from textualize.evaluate.videos import videos_of
from textualize.explain import explain
from textualize.extract.timings import time_told
from textualize.finetune.run_folder import RunFolder
from textualize.labels import LabelSet, Rule
from textualize.store import Corpus
from textualize.types import Record


def evaluate(
    runs: Sequence[str | Path],
    records: Sequence[Record],
    *,
    out: str | Path,
    title: str = "Words and features on the same clips",
    labels: LabelSet | None = None,
    template: str = "compound",
    statistic: str | None = None,
    intersect: bool = False,
    explained: Sequence[str] = (),
    corpus: Corpus | None = None,
    read: Sequence[Record] | None = None,
    open_test: bool = False,
    rule: Rule = "product",
    faces: bool = False,
) -> Evaluated:
    """Compare finished runs on the given labelled records and write the report to `out`.

    `statistic` is macro_f1, or ccc of numbers, unless given. The clips named by `explained` get on
    their pages what each run's answer rests on. A run may be a folder of seeds. What leaks is
    sought among the clips of `corpus`, where it is given, else among the records; `read` are all
    its records, where they are read already. Records of the corpus' own split named test need
    `open_test`, and that is written down; where all are validation clips of every run, the title
    says so. A run trained on basic emotions is scored on compounds, by `rule`, and the other way
    round; its name says so. With `faces` the clips' pages have small pictures of them.

    Raises:
        TextualizeError: a run is unfinished, was trained on one of the records, or two runs
            answer to one name, or a clip to explain is not among the labelled records, or the
            test split is sealed.
    """
    tested = _tested(records, explained)
    refuse_sealed(tested, open_test=open_test)
    asked = [Path(r) for r in runs]
    single = single_runs(asked)
    every = [run for own in single.values() for run in own]
    chosen_on = validation_only(every, tested)
    known = labels or RunFolder(every[0]).labels
    found = [
        answering(name, own, tested, known, rule, seeded=own[0] not in asked,
                  on_validation=chosen_on)
        for name, own in single.items()
    ]  # fmt: skip
    folds = run_folds(single, tested)
    material = Material.of(tested, corpus)
    told = _told(found, tested, template, explained, faces=faces)
    report = build_report(
        tested,
        told.predictions,
        known,
        prompts=told.prompts,
        runs={one.name: one.trained for one in found},
        title=(LOUD if chosen_on else "") + title,
        claims=translation_claims(found),
        statistic=statistic or ("ccc" if known.numeric else "macro_f1"),
        intersect=intersect,
        videos=videos_of([r.clip for r in tested], material.clips, folds),
    )
    if read is None:
        read = corpus.records() if corpus else tested
    ground = Ground(
        tested,
        {r.clip.id: r for r in read},
        known,
        material,
        folds,
        single,
        [ledger(run) for run in every],
        chosen_on,
        warnings=[leak for one in found for leak in one.leaks],
        extraction=time_told(corpus.folder) if corpus else "",
    )

    def parts_of(name: str) -> Parts:
        return run_parts(single.get(name, ()), told.predictions[name], ground.known)

    report = conclude(report, ground, told, parts_of, Path(out))
    return Evaluated(report, Path(out), 0, len(found))


def _tested(records: Sequence[Record], explained: Sequence[str]) -> list[Record]:
    """The labelled records; raises TextualizeError without any, or one to explain."""
    tested = [r for r in records if r.clip.label is not None]
    if not tested:
        raise TextualizeError("none of the records has a label to compare with")
    strange = sorted(set(explained) - {r.clip.id for r in tested})
    if strange:
        raise TextualizeError(f"clip '{strange[0]}' to explain is not among those compared")
    return tested


def _told(
    found: Sequence[Answering],
    tested: Sequence[Record],
    template: str,
    explained: Sequence[str],
    *,
    faces: bool,
) -> Told:
    """What methods answer, and what every answer rests on for the clips that is asked for."""
    explanations = {
        r.clip.id: [replace(explain(one.method, r), method=one.name) for one in found]
        for r in tested
        if r.clip.id in explained
    }
    return Told(
        {one.name: one.predictions for one in found},
        [t for one in found for t in one.trainings],
        prompts_of(tested, template),
        explanations=explanations,
        faces=faces,
    )
