"""A matrix of prompts: every cell asked on validation, the best one then on the test part.

    runs/<suite>/cells/<digest>.json   a cell's answers, by a digest of model, setting and prompts
    runs/<suite>/openings.jsonl        when the test part was answered, and by which cells
    reports/<suite>/report.html …      what is read

A finished cell is never asked again, whatever else the suite comes to name. Cells of one template
are asked together, so that what their prompts share is computed once.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from textualize.datasets.folds import Fold, made_folds
from textualize.datasets.published import PUBLISHED
from textualize.errors import TextualizeError
from textualize.evaluate.compare import FEW_GROUPS
from textualize.evaluate.leaks import find_leaks, prompt_leaks
from textualize.evaluate.material import Material
from textualize.evaluate.matrix_build import build_matrix
from textualize.evaluate.matrix_desk import Desk, Model, Say
from textualize.evaluate.matrix_findings import Header, Matrix
from textualize.evaluate.matrix_page import write_matrix
from textualize.evaluate.prompted import LocalModel
from textualize.evaluate.sealed import (
    append_opening,
    begin_ledger,
    is_sealed,
    opened_line,
    package_commit,
    reopened,
)
from textualize.evaluate.served import ServedModel
from textualize.evaluate.settings import CellAnswers, PromptSuite, Setting, template_of
from textualize.files import digest_of
from textualize.finetune.run_folder import RunFolder, versions_of
from textualize.labels import LabelSet, labels_of
from textualize.prompt import render_with
from textualize.store import Corpus
from textualize.types import Record

_PACKAGES = ("textualize", "torch", "transformers")


@dataclass(frozen=True, slots=True)
class Prompted:
    """A finished matrix: the report, its folder, and how many cells were asked now or before."""

    matrix: Matrix
    folder: Path
    asked: int
    kept: int


def run_prompts(
    suite: PromptSuite,
    corpus: Corpus,
    runs: Path,
    out: Path,
    *,
    open_test: bool = False,
    say: Say = lambda _: None,
) -> Prompted:
    """Ask every cell on validation, the chosen one on the test part; write the report to `out`.

    Args:
        suite: what to ask.
        corpus: where the records are.
        runs: the folder the suite's cells go to.
        out: the report's folder.
        open_test: answer a corpus' own split named test, which is sealed otherwise.
        say: called with one line for each step.

    Raises:
        TextualizeError: a corpus without class labels, an unknown model or template, a server that
            does not answer.
    """
    records = {r.clip.id: r for r in corpus.records() if r.clip.label is not None}
    labels = corpus.labels or labels_of(r.clip.label for r in records.values())
    if not records or labels.numeric:
        raise TextualizeError(f"corpus {corpus.folder} has no clip labelled with a class")
    fold = suite_fold(suite, records, corpus)
    asked = [records[i] for i in fold.validation]
    model = _model(suite, labels, [records[i] for i in fold.train])
    for note in model.notes:
        say(note)
    desk = Desk(suite, model, runs, say)
    validation = desk.answers(suite.settings, asked)
    header = _header(suite, model, corpus, labels)
    chosen = build_matrix(header, validation, {}, asked).winner.setting
    openings = begin_ledger(runs)
    test = _opened(desk, fold, records, chosen, openings, open_test=open_test)
    told = [*_warnings(suite, model, records, labels, fold, corpus), *reopened([openings])]
    header = replace(header, warnings=tuple(told), opened=opened_line([openings]))
    tested = [records[i] for i in fold.test]
    matrix = build_matrix(header, validation, test, [*asked, *tested])
    answered = {"validation": validation, "test": test}
    write_matrix(matrix, out, answered, records, _shown(suite, asked[0], labels))
    return Prompted(matrix, out, desk.asked, desk.kept)


def _opened(
    desk: Desk,
    fold: Fold,
    records: Mapping[str, Record],
    chosen: Setting,
    openings: Path,
    *,
    open_test: bool,
) -> dict[Setting, CellAnswers]:
    """Return what the chosen cell and the reference answer on the test part; write that down."""
    suite, before = desk.suite, desk.asked
    sealed = is_sealed(fold, {i: r.clip for i, r in records.items()})
    if sealed and not open_test:
        desk.say("the test split is sealed: nothing of it is answered (open it with --open-test)")
        return {}
    if not fold.test:
        return {}
    cells = dict.fromkeys([chosen, suite.reference])
    found = desk.answers(cells, [records[i] for i in fold.test])
    if desk.asked > before:
        append_opening(
            openings,
            fold.test,
            run="prompts",
            method=", ".join(str(s) for s in cells),
            fold=fold.name,
            sealed=sealed,
            run_digest=digest_of(suite.model_dump(mode="json")),
            split_digest=digest_of([fold.train, fold.validation, fold.test]),
            prompt_digest=template_of(chosen).digest,
        )
    return found


def suite_fold(suite: PromptSuite, records: Mapping[str, Record], corpus: Corpus) -> Fold:
    """Return the parts a suite is run on: those of its run, or one of the folds it names.

    Raises:
        TextualizeError: no such fold, or the corpus has none of the run's validation clips.
    """
    run = Path(suite.model or "")
    if suite.model and (run / "splits.json").is_file():
        ids = RunFolder(run).parts
        parts = {p: tuple(i for i in own if i in records) for p, own in ids.items()}
        if not parts["validation"]:
            raise TextualizeError(f"the corpus has none of the validation clips of {run}")
        return Fold(run.name, parts["train"], parts["validation"], parts["test"])
    clips = [r.clip for r in records.values()]
    wanted = "published" if suite.folds is None else suite.folds
    folds = made_folds(
        clips, wanted, test=suite.test, seed=suite.seed, published=corpus.folder / PUBLISHED
    )
    if suite.fold > len(folds):
        raise TextualizeError(f"fold should be 1 to {len(folds)}; given {suite.fold}")
    return folds[suite.fold - 1]


def _model(suite: PromptSuite, labels: LabelSet, train: Sequence[Record]) -> Model:
    if suite.endpoint is not None:
        return ServedModel(suite.endpoint, labels, train, suite.seed)
    return LocalModel.open(suite.model or "", labels, train, suite.max_tokens)


def _header(suite: PromptSuite, model: Model, corpus: Corpus, labels: LabelSet) -> Header:
    return Header(
        title=suite.title,
        model=model.name,
        corpus=corpus.folder.resolve().name,
        statistic=suite.statistic,
        labels=labels.labels,
        reference=suite.reference,
        draws=suite.draws,
        seed=suite.seed,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=package_commit(),
        versions={"python": platform.python_version()} | versions_of(_PACKAGES),
    )


def _warnings(
    suite: PromptSuite,
    model: Model,
    records: Mapping[str, Record],
    labels: LabelSet,
    fold: Fold,
    corpus: Corpus,
) -> list[str]:
    """Return the model's notes and what leaks: in the parts, and in each template's prompts."""
    asked = [records[i] for i in fold.validation]
    groups = len({r.clip.fold_group for r in asked})
    few = [f"few groups: {groups}; the intervals are too narrow"] * (groups < FEW_GROUPS)
    found = list(find_leaks(Material.of(records.values(), corpus), [fold], asked, labels, {}))
    for template in suite.templates:
        loaded = template_of(Setting(template, suite.modalities[0]))
        prompts = [render_with(loaded, r) for r in asked]  # without the list of options
        found += prompt_leaks(f"template {template}", prompts, asked, labels)
    return [*few, *model.notes, *fold.leaks, *(x.line() for x in found if x.severity == "leak")]


def _shown(suite: PromptSuite, record: Record, labels: LabelSet) -> dict[str, str]:
    """Return each template's prompt for one clip, with the most senses, by name."""
    modalities = max(suite.modalities, key=len)
    return {
        Path(t).stem: render_with(
            template_of(Setting(t, modalities)), record, labels=labels.labels
        ).text
        for t in suite.templates
    }
