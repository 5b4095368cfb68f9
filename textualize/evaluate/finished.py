"""Finished runs beside one another: which clips they are asked about, and the report on these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from textualize.errors import TextualizeError
from textualize.evaluate.conclude import Ground, Told, conclude
from textualize.evaluate.fusing import Parts, run_parts
from textualize.evaluate.given_runs import Answering, answering, translation_claims
from textualize.evaluate.leaks import run_folds
from textualize.evaluate.material import Material
from textualize.evaluate.report import build_report
from textualize.evaluate.report_files import Evaluated, prompts_of
from textualize.evaluate.sealed import (
    LOUD,
    ledger,
    refuse_sealed,
    validation_only,
)
from textualize.evaluate.videos import videos_of
from textualize.explain import Explanation, explain
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
    folds = run_folds(single, tested)
    material = Material.of(tested, corpus)
    told = Told(
        {one.name: one.predictions for one in found},
        [t for one in found for t in one.trainings],
        prompts_of(tested, template),
        explanations=_explanations(found, tested, explained),
        faces=faces,
    )
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
    by_id = {r.clip.id: r for r in read}
    ledgers = [ledger(run) for own in single.values() for run in own]
    leaked = [leak for one in found for leak in one.leaks]
    took = time_told(corpus.folder) if corpus else ""
    ground = Ground(tested, by_id, known, material, folds, single, ledgers, chosen_on, leaked, took)

    def parts_of(name: str) -> Parts:
        return run_parts(single.get(name, ()), told.predictions[name], by_id)

    report = conclude(report, ground, told, parts_of, Path(out))
    return Evaluated(report, Path(out), 0, len(found))


def _explanations(
    found: Sequence[Answering], tested: Sequence[Record], explained: Sequence[str]
) -> dict[str, list[Explanation]]:
    """What every method's answer rests on, for the clips it is asked for."""
    return {
        r.clip.id: [replace(explain(one.method, r), method=one.name) for one in found]
        for r in tested
        if r.clip.id in explained
    }


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
    read: Sequence[Record],
    runs: Sequence[Path],
    split: str | None = None,
    *,
    open_test: bool = True,
) -> list[Record]:
    """Return which of a corpus' records runs are compared on.

    With `split` None: the runs' own test part if they name one that is in the corpus, else every
    labelled record. "test" insists on the runs' own test part where they name one; any other name
    is a split of the corpus. A run may be a folder of seeds. Without `open_test` records of the
    corpus' own split named test give way to the runs' validation part.

    Raises:
        TextualizeError: the runs' test parts differ, or nothing is left, or "test" is sealed.
    """
    records = [r for r in read if r.clip.label is not None]
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
            f"the corpus has no labelled record for {split or 'the test part'}: name a split it has"
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
