"""A suite trains what is missing, predicts, and reports: every method on the same clips.

    runs/<suite>/<method>/fold1/        a run folder and its predictions.jsonl, see `cells.py`
    reports/<suite>/report.html …       what is read

A finished fold is never trained or predicted again. Choices are made on validation; the test parts
are predicted by this command alone, and every time it does so is written to `openings.jsonl`. A
corpus' own split named test is sealed: without `open_test` the report is of validation.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from textualize.datasets.folds import Fold, made_folds
from textualize.datasets.published import PUBLISHED
from textualize.datasets.synthetic import Synthetic, write_synthetic
from textualize.errors import TextualizeError
from textualize.evaluate.ablation import Ablation, ablated
from textualize.evaluate.cells import (
    Answered,
    Cell,
    answered,
    cells,
    given,
    trained_by_name,
    trainings,
)
from textualize.evaluate.conclude import Ground, Told, conclude
from textualize.evaluate.findings import Ablated, Claim, Report
from textualize.evaluate.fusing import Parts, cell_parts
from textualize.evaluate.material import Material
from textualize.evaluate.report import build_report
from textualize.evaluate.report_files import Evaluated, prompts_of
from textualize.evaluate.sealed import (
    LOUD,
    begin_ledger,
    part_of,
)
from textualize.evaluate.suite_file import load_as
from textualize.evaluate.videos import videos_of
from textualize.evaluate.weaken import Weakening, lost_answers, weakened_scores
from textualize.extract.timings import time_told
from textualize.finetune.options import Recipe
from textualize.finetune.recipe import load_recipe
from textualize.labels import LabelSet, labels_of
from textualize.methods import read_with
from textualize.store import Corpus
from textualize.types import Record

Say = Callable[[str], None]


class Variant(BaseModel):
    """A recipe under another name, with settings of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str
    set: dict[str, Any] = {}


class Suite(BaseModel):
    """What `eval/*.yaml` holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    dataset: str | None = None
    """the dataset this suite was written for; only shown"""
    synthetic: Synthetic | None = None
    """make the corpus from a seed instead of reading one"""
    methods: list[str] = Field(min_length=1)
    """recipes by name or file, or names of `variants`"""
    variants: dict[str, Variant] = {}
    """name -> a recipe with other settings, as an ablation"""
    overrides: dict[str, dict[str, Any]] = {}
    """recipe name -> key -> value, on top of the recipe"""
    folds: int | str | None = 4
    """a number or "grouped", "loso", "published", a .json file of folds; null: the corpus' own
    splits; see `made_folds`"""
    only_folds: list[int] | None = None
    """run just these (1-based) folds"""
    test: str = "test"
    """with the corpus' own splits: the split reported on"""
    seed: int = 0
    """of the folds, of the intervals and, without `seeds`, of every method"""
    seeds: list[int] | None = Field(None, min_length=1)
    """train every method once for each; one in which nothing is drawn only for the first"""
    claims: list[Claim] = []
    """pairs to compare beside words and features: better, than, and what is said of them"""
    robustness: Weakening | None = None
    """score what reads tracks as these lose a modality"""
    ablation: Ablation | None = None
    """train methods again on fewer of transcript, face and voice"""
    template: str = "compound"
    """the template the report's clip pages show"""
    statistic: str = Field(
        "macro_f1", pattern="^(macro_f1|weighted_f1|accuracy|uar|ccc|pcc|icc|mae|rmse)$"
    )
    draws: int = Field(2000, ge=100)

    @model_validator(mode="after")
    def _names_are_known(self) -> Suite:
        names = [Path(m).stem for m in self.methods]
        claimed = {x for c in self.claims for x in (c.better, c.than)}
        weakened = set(self.robustness.methods or () if self.robustness else ())
        for wrong, what in (
            ([n for n, k in Counter(names).items() if k > 1], "methods names '{}' twice"),
            (sorted(self.variants.keys() - set(names)), "variant '{}' is not among methods"),
            (sorted(claimed - set(names)), "claims are of '{}', which is not among methods"),
            (sorted(weakened - set(names)), "robustness is of '{}', which is not among methods"),
        ):
            if wrong:
                raise ValueError(what.format(wrong[0]))
        if self.seeds is not None and len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds names a seed twice")
        return self

    def recipe(self, name: str) -> Recipe:
        """Return the recipe of one of `methods`, with the suite's settings and seed."""
        variant = self.variants.get(name)
        values = (variant.set if variant else {}) | self.overrides.get(name, {})
        chosen = load_recipe(
            variant.recipe if variant else name,
            [f"{k}={json.dumps(v)}" for k, v in values.items()],
        )
        return chosen.model_copy(update={"seed": self.seed})


def load_suite(name: str) -> Suite:
    """Return a shipped suite by name, or the one in a `.yaml` file.

    Raises:
        TextualizeError: unknown suite, unknown key, or a value that does not fit.
    """
    return load_as(Suite, name)


def run_suite(
    suite: Suite,
    corpus: Corpus,
    runs: Path,
    out: Path,
    *,
    open_test: bool = False,
    faces: bool = False,
    say: Say = lambda _: None,
) -> Evaluated:
    """Train what is missing, predict every test part, write the report to `out`.

    Args:
        suite: what to compare.
        corpus: where the records are.
        runs: the folder the suite's runs go to.
        out: the report's folder.
        open_test: report on a corpus' own split named test, which is sealed otherwise: then the
            report is of validation, and says so.
        faces: put small pictures of the clips on their pages.
        say: called with one line for each step.

    Raises:
        TextualizeError: too few groups, an unknown method, a corpus without labels.
    """
    records = [r for r in corpus.records() if r.clip.label is not None]
    if not records:
        raise TextualizeError(f"corpus {corpus.folder} has no labelled record")
    labels = corpus.labels or labels_of(r.clip.label for r in records)
    by_id = {r.clip.id: r for r in records}
    folds = suite_folds(suite, records, corpus.folder / PUBLISHED)
    leaks = [f"fold {fold.name}: {leak}" for fold in folds for leak in fold.leaks]
    for leak in leaks:
        say(leak)
    recipes, ablation = _recipes(suite, say)
    openings = begin_ledger(runs)
    part = part_of(folds, by_id, open_test=open_test or suite.synthetic is not None)
    if part == "validation":
        say("the test split is sealed: reporting on validation (open it with --open-test)")
    asked = cells(recipes, folds, suite.seeds, runs, part)
    fresh = sum(not cell.trained for cell in asked)
    done = [_answered(cell, by_id, labels, corpus, say) for cell in asked]
    tested = [by_id[i] for fold in folds for i in getattr(fold, part)]
    where = {name: [a.cell.where for a in done if a.cell.name == name] for name in recipes}
    material, sealed = Material.of(records, corpus), part == "validation"
    ground = Ground(
        tested, by_id, labels, material, folds, where, [openings], sealed, warnings=leaks,
        extraction=time_told(corpus.folder),
    )  # fmt: skip
    report, told = _reported(suite, ground, done, ablation, say)

    def parts_of(name: str) -> Parts:
        return cell_parts(done, name, by_id, labels)

    report = conclude(report, ground, replace(told, faces=faces), parts_of, out)
    return Evaluated(report, out, fresh, len(done) - fresh)


def _recipes(suite: Suite, say: Say) -> tuple[dict[str, Recipe], tuple[Ablated, ...]]:
    """What is trained, by name, and which of it is of fewer modalities."""
    recipes = {Path(name).stem: suite.recipe(name) for name in suite.methods}
    told = [n for n, r in recipes.items() if read_with(r.method, r.model_dump()) == "labels"]
    for name in (n for c in suite.claims for n in (c.better, c.than) if n in told):
        raise TextualizeError(
            f"a claim is of '{name}', an oracle, whose epochs are chosen with labels of the person "
            "adapted to: leave the claim out"
        )
    if suite.ablation is None:
        return recipes, ()
    smaller, ablation = ablated(suite.ablation, recipes, say)
    return recipes | smaller, ablation


def _answered(
    cell: Cell, records: Mapping[str, Record], labels: LabelSet, corpus: Corpus, say: Say
) -> Answered:
    if not cell.trained:
        say(f"{cell}: training on {len(cell.fold.train)} clips")
    return answered(cell, records, labels, corpus.folder.resolve().name)


def _reported(
    suite: Suite, ground: Ground, done: Sequence[Answered], ablation: Sequence[Ablated], say: Say
) -> tuple[Report, Told]:
    """The report on what was answered, and what was answered."""
    told = Told(given(done), trainings(done), prompts_of(ground.tested, suite.template))
    report = build_report(
        ground.tested,
        told.predictions,
        ground.labels,
        prompts=told.prompts,
        runs=trained_by_name(told.trainings),
        title=(LOUD if ground.sealed else "") + suite.title,
        claims=suite.claims,
        ablation=ablation,
        statistic=suite.statistic,
        draws=suite.draws,
        seed=suite.seed,
        videos=videos_of([r.clip for r in ground.tested], ground.material.clips, ground.folds),
    )
    if suite.robustness is None:
        return report, told
    lost = lost_answers(suite.robustness, done, ground.known, say)
    scores = weakened_scores(lost, told.predictions, ground.tested, ground.labels, report)
    return replace(report, weakened=scores), replace(told, lost=lost)


def suite_corpus(suite: Suite, given: Path | None, runs: Path) -> Corpus:
    """Return the corpus a suite is run on: the one given, or the one it makes in `runs`.

    Raises:
        TextualizeError: it needs a corpus and none is given, or the other way round.
    """
    if suite.synthetic is None and given is None:
        raise TextualizeError("the suite needs a corpus: give --corpus (see textualize extract)")
    if suite.synthetic is not None and given is not None:
        raise TextualizeError(f"the suite makes its own corpus: leave out --corpus {given}")
    if suite.synthetic is None:
        return Corpus(Path(given or ""))
    return write_synthetic(runs / "corpus", suite.synthetic)


def suite_folds(
    suite: Suite, records: Sequence[Record], published: Path | None = None
) -> list[Fold]:
    """Return the folds a suite runs on these records; `published` see `made_folds`."""
    clips = [r.clip for r in records]
    wanted = "published" if suite.folds is None else suite.folds
    folds = made_folds(clips, wanted, test=suite.test, seed=suite.seed, published=published)
    if suite.only_folds is None:
        return folds
    wrong = [i for i in suite.only_folds if not 1 <= i <= len(folds)]
    if wrong:
        raise TextualizeError(f"only_folds should be 1 to {len(folds)}; given {wrong[0]}")
    return [folds[i - 1] for i in suite.only_folds]
