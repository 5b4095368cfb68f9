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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from textualize import assets
from textualize.datasets.folds import Fold, made_folds
from textualize.datasets.published import PUBLISHED
from textualize.datasets.synthetic import Synthetic, write_synthetic
from textualize.errors import TextualizeError
from textualize.evaluate.ablation import Ablation, ablated
from textualize.evaluate.answers import Given
from textualize.evaluate.cells import (
    answered,
    cells,
    given,
    trained_by_name,
)
from textualize.evaluate.findings import Claim
from textualize.evaluate.fusing import cell_parts, run_parts, with_combination
from textualize.evaluate.given_runs import answering, translation_claims
from textualize.evaluate.leaks import Material, find_leaks, run_folds
from textualize.evaluate.report import Report, build_report, write_report
from textualize.evaluate.sealed import (
    LOUD,
    WARNING,
    begin_ledger,
    ledger,
    opened_line,
    part_of,
    refuse_sealed,
    reopened,
    validation_only,
)
from textualize.evaluate.weaken import Weakening, weakened_scores
from textualize.explain import explain
from textualize.finetune.options import Recipe
from textualize.finetune.recipe import load_recipe
from textualize.finetune.run_folder import RunFolder
from textualize.labels import LabelSet, Rule, labels_of
from textualize.prompt import render
from textualize.store import Corpus
from textualize.types import Prompt, Record

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
        for wrong, what in (
            ([n for n, k in Counter(names).items() if k > 1], "methods names '{}' twice"),
            (sorted(self.variants.keys() - set(names)), "variant '{}' is not among methods"),
            (sorted(claimed - set(names)), "claims are of '{}', which is not among methods"),
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


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A finished evaluation: the report and the folder it was written to."""

    report: Report
    folder: Path
    trained: int
    reused: int


def load_suite(name: str) -> Suite:
    """Return a shipped suite by name, or the one in a `.yaml` file.

    Raises:
        TextualizeError: unknown suite, unknown key, or a value that does not fit.
    """
    path = assets.find("eval", name, ".yaml")
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
        return Suite.model_validate(values)
    except yaml.YAMLError as error:
        raise TextualizeError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(x) for x in first["loc"])
        known = ", ".join(sorted(Suite.model_fields))
        raise TextualizeError(
            f"{path.name}: '{key}': {first['msg'].lower()}; keys are: {known}"
        ) from None


def run_suite(
    suite: Suite,
    corpus: Corpus,
    runs: Path,
    out: Path,
    *,
    open_test: bool = False,
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
    for fold in folds:
        for leak in fold.leaks:
            say(f"fold {fold.name}: {leak}")
    recipes = {Path(name).stem: suite.recipe(name) for name in suite.methods}
    smaller, ablation = ablated(suite.ablation, recipes, say) if suite.ablation else ({}, ())
    recipes |= smaller
    openings = begin_ledger(runs)
    part = part_of(folds, by_id, open_test=open_test or suite.synthetic is not None)
    if part == "validation":
        say("the test split is sealed: reporting on validation (open it with --open-test)")
    done = []
    fresh = 0
    for cell in cells(recipes, folds, suite.seeds, runs, part):
        if not cell.trained:
            say(f"{cell}: training on {len(cell.fold.train)} clips")
            fresh += 1
        done.append(answered(cell, by_id, labels, corpus.folder.resolve().name))
    tested = [by_id[i] for fold in folds for i in getattr(fold, part)]
    prompts = prompts_of(tested, suite.template)
    predictions: dict[str, Given] = given(done)
    report = build_report(
        tested,
        predictions,
        labels,
        prompts=prompts,
        runs=trained_by_name(done),
        title=(LOUD if part == "validation" else "") + suite.title,
        claims=suite.claims,
        ablation=ablation,
        statistic=suite.statistic,
        draws=suite.draws,
        seed=suite.seed,
    )
    if suite.robustness:
        lost = weakened_scores(suite.robustness, done, by_id, labels, report, say)
        report = replace(report, weakened=lost)
    report, together = with_combination(
        report, lambda name: cell_parts(done, name, by_id, labels), predictions, by_id, labels
    )
    told = [f"fold {fold.name}: {leak}" for fold in folds for leak in fold.leaks]
    told += [*reopened([openings]), *[WARNING] * (part == "validation")]
    material = Material.of(records, corpus)
    where = {name: [a.cell.where for a in done if a.cell.name == name] for name in recipes}
    report = replace(
        report,
        warnings=(*report.warnings, *told),
        leaks=find_leaks(material, folds, tested, labels, where),
        opened=opened_line([openings]),
    )
    page = write_report(report, out, tested, prompts, {**predictions, **together})
    return Evaluated(report, page.parent, fresh, len(done) - fresh)


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


def prompts_of(records: Sequence[Record], template: str) -> dict[str, Prompt]:
    """Return every record's prompt by clip id."""
    return {r.clip.id: render(r, template) for r in records}


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
    open_test: bool = False,
    rule: Rule = "product",
) -> Evaluated:
    """Compare finished runs on the given labelled records and write the report to `out`.

    `statistic` is macro_f1, or ccc of numbers, unless given. The clips named by `explained` get on
    their pages what each run's answer rests on. A run may be a folder of seeds. What leaks is
    sought among the clips of `corpus`, where it is given, else among the records. Records of the
    corpus' own split named test need `open_test`, and that is written down; where all are
    validation clips of every run, the title says so. A run trained on basic emotions is scored on
    compounds, by `rule`, and the other way round; its name says so.

    Raises:
        TextualizeError: a run is unfinished, was trained on one of the records, or two runs
            answer to one name, or a clip to explain is not among the labelled records, or the
            test split is sealed.
    """
    tested = [r for r in records if r.clip.label is not None]
    if not tested:
        raise TextualizeError("none of the records has a label to compare with")
    strange = sorted(set(explained) - {r.clip.id for r in tested})
    if strange:
        raise TextualizeError(f"clip '{strange[0]}' to explain is not among those compared")
    refuse_sealed(tested, open_test=open_test)
    single = _single_runs([Path(r) for r in runs])
    chosen_on = validation_only([run for own in single.values() for run in own], tested)
    known = labels or RunFolder(next(run for own in single.values() for run in own)).labels
    asked = {Path(r) for r in runs}
    found = [
        answering(name, own, tested, known, rule, seeded=own[0] not in asked,
                  on_validation=chosen_on)
        for name, own in single.items()
    ]  # fmt: skip
    rests = {
        r.clip.id: [replace(explain(one.method, r), method=one.name) for one in found]
        for r in tested
        if r.clip.id in explained
    }
    predictions = {one.name: one.predictions for one in found}
    prompts = prompts_of(tested, template)
    report = build_report(
        tested,
        predictions,
        known,
        prompts=prompts,
        runs={one.name: one.trained for one in found},
        title=(LOUD if chosen_on else "") + title,
        claims=translation_claims(found),
        statistic=statistic or ("ccc" if known.numeric else "macro_f1"),
        intersect=intersect,
    )
    known_records = {r.clip.id: r for r in (corpus.records() if corpus else tested)}
    report, together = with_combination(
        report,
        lambda name: run_parts(single.get(name, ()), predictions[name], known_records),
        predictions,
        known_records,
        known,
    )
    leaked = [leak for one in found for leak in one.leaks]
    ledgers = [ledger(run) for own in single.values() for run in own]
    folds = run_folds(single, tested)
    material = Material.of(tested, corpus)
    report = replace(
        report,
        warnings=(*report.warnings, *leaked, *reopened(ledgers), *[WARNING] * chosen_on),
        leaks=find_leaks(material, folds, tested, known, single),
        opened=opened_line(ledgers),
    )
    page = write_report(report, Path(out), tested, prompts, {**predictions, **together}, rests)
    return Evaluated(report, page.parent, 0, len(found))


def seed_runs(folder: Path) -> list[Path]:
    """Return the runs a folder stands for: itself, or its runs `seed-N`.

    An empty list says that it is no run.
    """
    if (folder / "labels.json").is_file():
        return [folder]
    return sorted(
        (p for p in folder.glob("seed-*") if (p / "labels.json").is_file()),
        key=lambda p: int(p.name.removeprefix("seed-")),
    )


def run_names(runs: Sequence[Path]) -> list[tuple[Path, str]]:
    """Return each run with its name: its folder's, with that of the one above where two share it.

    >>> [name for _, name in run_names([Path("runs/jca/fold1of3"), Path("runs/bow/fold1of3")])]
    ['jca-fold1of3', 'bow-fold1of3']
    """
    count = Counter(run.name for run in runs)
    return [(r, r.name if count[r.name] == 1 else f"{r.parent.name}-{r.name}") for r in runs]


def evaluation_records(
    corpus: Corpus, runs: Sequence[Path], split: str | None = None, *, open_test: bool = True
) -> list[Record]:
    """Return the records runs are compared on.

    With `split` None: the runs' own test part if they name one that is in the corpus, else every
    labelled record. "test" insists on the runs' own test part where they name one; any other name
    is a split of the corpus. A run may be a folder of seeds. Without `open_test` records of the
    corpus' own split named test give way to the runs' validation part.

    Raises:
        TextualizeError: the runs' test parts differ, or nothing is left, or "test" is sealed.
    """
    records = [r for r in corpus.records() if r.clip.label is not None]
    folders = [RunFolder(r) for folder in runs for r in seed_runs(folder)]
    known = {r.clip.id for r in records}
    parts = {frozenset(f.test_ids) for f in folders}
    if split is None and not any(part & known for part in parts):
        parts = {frozenset()}  # another corpus than that of the runs
    if len(parts) > 1:
        raise TextualizeError("the runs have different test parts: train them on the same fold")
    own = next(iter(parts))
    if split not in (None, "test"):
        chosen = [r for r in records if r.clip.split == split]
    elif own:
        chosen = [r for r in records if r.clip.id in own]
    elif split == "test":
        chosen = [r for r in records if r.clip.split == "test"]
    else:
        chosen = records
    if split is None and not open_test and any(r.clip.split == "test" for r in chosen):
        on = set.intersection(*(set(f.parts["validation"]) for f in folders))
        chosen = [r for r in records if r.clip.id in on]
    refuse_sealed(chosen, open_test=open_test)
    if not chosen:
        raise TextualizeError(
            f"corpus {corpus.folder} has no labelled record for {split or 'the test part'}"
        )
    return chosen


def _single_runs(runs: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the run folders of every name; raises TextualizeError for none, or a name twice."""
    if not runs:
        raise TextualizeError("no runs to compare")
    found: dict[str, list[Path]] = {}
    for folder, name in run_names(runs):
        if name in found:
            raise TextualizeError(f"two runs are called '{name}': rename one folder")
        found[name] = seed_runs(folder) or [folder]
    return found
