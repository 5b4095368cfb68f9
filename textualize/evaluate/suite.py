"""A suite trains what is missing, predicts, and reports: every method on the same clips.

    runs/<suite>/<method>/fold1/        a run folder and its predictions.jsonl
    reports/<suite>/report.html …       what is read

A finished fold is never trained or predicted again. Choices are made on validation; the test parts
are predicted by this command alone, and every time it does so is written to `openings.jsonl`.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from textualize import assets
from textualize.datasets.folds import Fold, made_folds
from textualize.datasets.published import PUBLISHED
from textualize.errors import TextualizeError
from textualize.evaluate.report import Report, Trained, build_report, read_run, write_report
from textualize.explain import Explanation, explain
from textualize.files import digest_of, write_text_atomic
from textualize.finetune.recipe import load_recipe
from textualize.finetune.run_folder import RunFolder
from textualize.finetune.train import train
from textualize.labels import LabelSet, labels_of
from textualize.methods import load
from textualize.predictions import read_predictions, write_predictions
from textualize.prompt import render
from textualize.store import Corpus
from textualize.types import Prediction, Prompt, Record

Say = Callable[[str], None]


class Suite(BaseModel):
    """What `eval/*.yaml` holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    dataset: str | None = None
    """the dataset this suite was written for; only shown"""
    methods: list[str] = Field(min_length=1)
    """recipes by name or file"""
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
    template: str = "compound"
    """the template the report's clip pages show"""
    statistic: str = Field("macro_f1", pattern="^(macro_f1|weighted_f1|accuracy|uar)$")
    draws: int = Field(2000, ge=100)


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
    suite: Suite, corpus: Corpus, runs: Path, out: Path, *, say: Say = lambda _: None
) -> Evaluated:
    """Train what is missing, predict every test part, write the report to `out`.

    Args:
        suite: what to compare.
        corpus: where the records are.
        runs: the folder the suite's runs go to.
        out: the report's folder.
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
    predictions: dict[str, list[Prediction]] = {}
    trained: dict[str, Trained] = {}
    fresh = reused = 0
    for name in suite.methods:
        recipe = load_recipe(name, overrides_of(suite, name)).model_copy(
            update={"seed": suite.seed}
        )
        parts: list[Trained] = []
        for fold in folds:
            where = runs / Path(name).stem / f"fold{fold.name.replace('/', 'of')}"
            known = RunFolder(where)
            if known.complete and (where / "predictions.jsonl").is_file():
                reused += 1
            else:
                say(f"{name}, fold {fold.name}: training on {len(fold.train)} clips")
                fresh += 1
            run = train(
                recipe,
                [by_id[i] for i in fold.train],
                [by_id[i] for i in fold.validation],
                where,
                labels=labels,
                test=fold.test,
                leaks=fold.leaks,
                corpus=corpus.folder.resolve().name,
            )
            answers, speed, first = _answers(run, [by_id[i] for i in fold.test])
            predictions.setdefault(Path(name).stem, []).extend(answers)
            parts.append(read_run(where, speed))
            if first:  # written at once: an opening must not get lost with what comes after
                _log_opening(runs / "openings.jsonl", Path(name).stem, fold)
        trained[Path(name).stem] = together(parts)
    tested = [by_id[i] for fold in folds for i in fold.test]
    prompts = prompts_of(tested, suite.template)
    report = build_report(
        tested,
        predictions,
        labels,
        prompts=prompts,
        runs=trained,
        title=suite.title,
        statistic=suite.statistic,
        draws=suite.draws,
        seed=suite.seed,
    )
    told = [f"fold {fold.name}: {leak}" for fold in folds for leak in fold.leaks]
    told += _reopened(runs / "openings.jsonl")
    report = replace(report, warnings=(*report.warnings, *told))
    page = write_report(report, out, tested, prompts, predictions)
    return Evaluated(report, page.parent, fresh, reused)


def overrides_of(suite: Suite, name: str) -> list[str]:
    """Return a recipe's overrides in `key=value` form."""
    return [f"{k}={json.dumps(v)}" for k, v in suite.overrides.get(name, {}).items()]


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


def _answers(run: RunFolder, test: Sequence[Record]) -> tuple[list[Prediction], float | None, bool]:
    """Return the predictions, clips per second, and whether the test part was opened for it."""
    path = run.path / "predictions.jsonl"
    key = digest_of([r.clip.id for r in test])
    timing = run.path / "predicted.json"
    if path.is_file() and timing.is_file():
        about = json.loads(timing.read_text("utf-8"))
        if about["clips"] == key:
            return read_predictions(path), about["clips_per_s"], False
    method = load(run.path)
    begun = time.perf_counter()
    answers = method.predict(test)
    speed = round(len(test) / max(time.perf_counter() - begun, 1e-9), 1)
    write_predictions(path, answers)
    write_text_atomic(timing, json.dumps({"clips": key, "clips_per_s": speed}) + "\n")
    return answers, speed, True


def _log_opening(path: Path, method: str, fold: Fold) -> None:
    when = datetime.now(UTC).isoformat(timespec="seconds")
    line = {"method": method, "fold": fold.name, "digest": fold.digest, "when": when}
    before = path.read_text("utf-8") if path.is_file() else ""
    write_text_atomic(path, before + json.dumps(line) + "\n")


def _reopened(path: Path) -> list[str]:
    """Return a warning when a test part was predicted more than once by the same method."""
    lines = map(json.loads, path.read_text("utf-8").splitlines()) if path.is_file() else ()
    count = Counter((x["method"], x["fold"]) for x in lines)
    again = {f"{method}, fold {fold}": n for (method, fold), n in count.items() if n > 1}
    return [f"the test part was opened {n} times by {which}" for which, n in again.items()]


def together(parts: Sequence[Trained]) -> Trained:
    """Return one line about a method trained on several folds.

    Minutes are summed, validation scores and speeds averaged, notes merged.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    scores = [p.validation for p in parts if p.validation is not None]
    speeds = [p.clips_per_s for p in parts if p.clips_per_s is not None]
    return replace(
        first,
        minutes=round(sum(p.minutes or 0.0 for p in parts), 2),
        validation=sum(scores) / len(scores) if scores else None,
        clips_per_s=round(sum(speeds) / len(speeds), 1) if speeds else None,
        split_digest=digest_of([p.split_digest for p in parts]),
        notes=tuple(f"fold {i}: {n}" for i, p in enumerate(parts, 1) for n in p.notes),
    )


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
    statistic: str = "macro_f1",
    intersect: bool = False,
    explained: Sequence[str] = (),
) -> Evaluated:
    """Compare finished runs on the given labelled records and write the report to `out`.

    The clips named by `explained` get on their pages what each run's answer rests on.

    Raises:
        TextualizeError: a run is unfinished, was trained on one of the records, or two runs
            answer to one name, or a clip to explain is not among the labelled records.
    """
    tested = [r for r in records if r.clip.label is not None]
    if not tested:
        raise TextualizeError("none of the records has a label to compare with")
    strange = sorted(set(explained) - {r.clip.id for r in tested})
    if strange:
        raise TextualizeError(f"clip '{strange[0]}' to explain is not among those compared")
    predictions: dict[str, list[Prediction]] = {}
    trained: dict[str, Trained] = {}
    leaked: list[str] = []
    rests: dict[str, list[Explanation]] = {clip: [] for clip in explained}
    known: LabelSet | None = labels
    for path in (Path(r) for r in runs):
        run = RunFolder(path)
        name = path.name
        if name in predictions:
            raise TextualizeError(f"two runs are called '{name}': rename one folder")
        _refuse_seen(run, tested)
        known = known or run.labels
        method = load(path)
        begun = time.perf_counter()
        leaked += [f"{name}: {leak}" for leak in run.leaks]
        predictions[name] = method.predict(tested)
        trained[name] = read_run(
            path, round(len(tested) / max(time.perf_counter() - begun, 1e-9), 1)
        )
        for record in tested:
            if record.clip.id in rests:
                about = explain(method, record)
                rests[record.clip.id].append(replace(about, method=name))
    if known is None:
        raise TextualizeError("no runs to compare")
    prompts = prompts_of(tested, template)
    report = build_report(
        tested,
        predictions,
        known,
        prompts=prompts,
        runs=trained,
        title=title,
        statistic=statistic,
        intersect=intersect,
    )
    report = replace(report, warnings=(*report.warnings, *leaked))
    page = write_report(report, Path(out), tested, prompts, predictions, rests)
    return Evaluated(report, page.parent, 0, len(trained))


def evaluation_records(
    corpus: Corpus, runs: Sequence[Path], split: str | None = None
) -> list[Record]:
    """Return the records runs are compared on.

    With `split` None: the runs' own test part if they name one, else every labelled record none
    of them has seen. "test" insists on the runs' own test part where they name one; any other
    name is a split of the corpus.

    Raises:
        TextualizeError: the runs' test parts differ, or nothing is left.
    """
    records = [r for r in corpus.records() if r.clip.label is not None]
    folders = [RunFolder(r) for r in runs]
    parts = {frozenset(f.test_ids) for f in folders}
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
    if not chosen:
        raise TextualizeError(
            f"corpus {corpus.folder} has no labelled record for {split or 'the test part'}"
        )
    return chosen


def _refuse_seen(run: RunFolder, records: Sequence[Record]) -> None:
    splits = json.loads((run.path / "splits.json").read_text("utf-8")) if run.complete else {}
    for part in ("train", "validation"):
        seen = set(splits.get(part, ())) & {r.clip.id for r in records}
        if splits.get("leaks"):  # a published fold, repeated as it is: its own test part may leak
            seen -= set(splits["test"])
        if seen:
            raise TextualizeError(
                f"{run.path} used {len(seen)} of these clips for {part}: evaluate clips it has "
                "not seen (its own test part: --split test)"
            )
