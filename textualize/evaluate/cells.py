"""The cells of a suite: one method on one fold with one seed, trained and answered once.

runs/<suite>/<method>/fold1/            a run folder and its predictions.jsonl, or
runs/<suite>/<method>/fold1/seed-3/     one for each seed, where the suite has several

Where the test part is sealed the answers are those on validation, in validation-predictions.jsonl.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from textualize.datasets.folds import Fold
from textualize.evaluate.answers import Given, as_given
from textualize.evaluate.findings import Trained
from textualize.evaluate.lines import Training
from textualize.evaluate.sealed import Part, is_sealed, log_opening
from textualize.evaluate.trained_run import read_run
from textualize.files import digest_of, read_json, write_json_atomic
from textualize.finetune.options import Recipe
from textualize.finetune.run_folder import RunFolder
from textualize.finetune.train import train
from textualize.labels import LabelSet
from textualize.methods import load
from textualize.predictions import read_predictions, write_predictions
from textualize.types import Prediction, Record

_ON_VALIDATION = "validation-predictions.jsonl"
UNSEEDED = ("majority", "bag-of-words", "linear")  # nothing in them is drawn: one seed says all


@dataclass(frozen=True, slots=True)
class Cell:
    """One training: what `name` stands for, its fold, and the seed where there are several."""

    name: str
    recipe: Recipe
    fold: Fold
    seed: int | None
    where: Path
    part: Part = "test"

    @property
    def asked(self) -> tuple[str, ...]:
        """The clips the cell is asked about."""
        return self.fold.test if self.part == "test" else self.fold.validation

    @property
    def answers(self) -> Path:
        """The file of its answers."""
        return self.where / ("predictions.jsonl" if self.part == "test" else _ON_VALIDATION)

    @property
    def trained(self) -> bool:
        """True when the run is finished and has answered."""
        return RunFolder(self.where).complete and self.answers.is_file()

    def __str__(self) -> str:
        """Return the cell as a reader is told of it."""
        return f"{self.name}, fold {self.fold.name}" + (
            "" if self.seed is None else f", seed {self.seed}"
        )


@dataclass(frozen=True, slots=True)
class Answered:
    """A cell's answers on its test part and how it came to them; `opened` if just now."""

    cell: Cell
    predictions: Sequence[Prediction]
    trained: Trained
    opened: bool


def cells(
    recipes: Mapping[str, Recipe],
    folds: Sequence[Fold],
    seeds: Sequence[int] | None,
    runs: Path,
    part: Part = "test",
) -> list[Cell]:
    """Return every cell, method by method; without `seeds` each recipe's own seed is used."""
    found = []
    for name, recipe in recipes.items():
        own = seeds[:1] if seeds and recipe.method in UNSEEDED else seeds
        for fold in folds:
            where = runs / name / f"fold{fold.name.replace('/', 'of')}"
            if own is None:
                found.append(Cell(name, recipe, fold, None, where, part))
            for seed in own or ():
                seeded = recipe.model_copy(update={"seed": seed})
                found.append(Cell(name, seeded, fold, seed, where / f"seed-{seed}", part))
    return found


def answered(cell: Cell, records: Mapping[str, Record], labels: LabelSet, corpus: str) -> Answered:
    """Train a cell if it is not, and return its answers on the part it is asked about.

    Args:
        cell: what to train.
        records: the labelled records by clip id.
        labels: the label set.
        corpus: the records' name on the model card.
    """
    fold = cell.fold
    run = train(
        cell.recipe,
        [records[i] for i in fold.train],
        [records[i] for i in fold.validation],
        cell.where,
        labels=labels,
        test=fold.test,
        leaks=fold.leaks,
        corpus=corpus,
        unlabelled=[records[i] for i in fold.unlabelled],
    )
    asked = [records[i] for i in cell.asked]
    predictions, speed, first = _predictions(run, asked, cell.answers)
    if first and cell.part == "test":  # at once: it must not get lost with what comes after
        sealed = is_sealed(fold, {r.clip.id: r.clip for r in asked})
        log_opening(cell.where, cell.name, cell.asked, sealed=sealed, fold=fold.name)
    return Answered(cell, predictions, read_run(cell.where, speed), first)


def _predictions(
    run: RunFolder, test: Sequence[Record], path: Path
) -> tuple[list[Prediction], float | None, bool]:
    """Return the predictions, clips per second, and whether the part was opened for it."""
    key = digest_of([r.clip.id for r in test])
    timing = path.with_name(path.name.replace("predictions.jsonl", "predicted.json"))
    if path.is_file() and timing.is_file():
        about = read_json(timing, "speed of prediction")
        if about["clips"] == key:
            return read_predictions(path), about["clips_per_s"], False
    method = load(run.path)
    begun = time.perf_counter()
    answers = method.predict(test)
    speed = round(len(test) / max(time.perf_counter() - begun, 1e-9), 1)
    write_predictions(path, answers)
    write_json_atomic(timing, {"clips": key, "clips_per_s": speed})
    return answers, speed, True


# --- together -----------------------------------------------------------------------------------


def given(answers: Iterable[Answered]) -> dict[str, Given]:
    """Return the predictions of every method over its folds, by seed where it has seeds."""
    found: dict[str, dict[int | None, list[Prediction]]] = {}
    for each in answers:
        own = found.setdefault(each.cell.name, {})
        own.setdefault(each.cell.seed, []).extend(each.predictions)
    return {name: as_given(own) for name, own in found.items()}


def trainings(answers: Iterable[Answered]) -> tuple[Training, ...]:
    """Return the trainings behind answers, one a cell."""
    return tuple(Training(a.cell.name, a.cell.seed, a.trained) for a in answers)


def trained_by_name(each: Iterable[Training]) -> dict[str, Trained]:
    """Return how every method was trained, over folds and seeds.

    Minutes are those of one seed: over folds summed, over seeds averaged.
    """
    seeds: dict[str, dict[int | None, list[Trained]]] = {}
    for one in each:
        seeds.setdefault(one.name, {}).setdefault(one.seed, []).append(one.trained)
    return {name: over_seeds([together(p) for p in own.values()]) for name, own in seeds.items()}


def together(parts: Sequence[Trained]) -> Trained:
    """Return one line about a method trained on several folds.

    Minutes are summed, validation scores and speeds averaged, notes merged.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    return replace(
        first,
        minutes=round(sum(p.minutes or 0.0 for p in parts), 2),
        validation=_mean(p.validation for p in parts),
        clips_per_s=_mean((p.clips_per_s for p in parts), 1),
        tokens=_mean((p.tokens for p in parts), 1),
        split_digest=digest_of([p.split_digest for p in parts]),
        notes=tuple(f"fold {i}: {n}" for i, p in enumerate(parts, 1) for n in p.notes),
    )


def over_seeds(seeds: Sequence[Trained]) -> Trained:
    """Return one line about a method trained with several seeds: means, and how many say a note."""
    first = seeds[0]
    if len(seeds) == 1:
        return first
    count = Counter(note for seed in seeds for note in dict.fromkeys(seed.notes))
    return replace(
        first,
        minutes=_mean((s.minutes for s in seeds), 2),
        validation=_mean(s.validation for s in seeds),
        clips_per_s=_mean((s.clips_per_s for s in seeds), 1),
        tokens=_mean((s.tokens for s in seeds), 1),
        notes=tuple(
            note if n == len(seeds) else f"{note} ({n} of {len(seeds)} seeds)"
            for note, n in count.items()
        ),
    )


def _mean(values: Iterable[float | None], places: int = 6) -> float | None:
    known = [v for v in values if v is not None]
    return round(sum(known) / len(known), places) if known else None
