"""Recipe and records to a run folder: one function for every method."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from textualize.errors import TextualizeError
from textualize.files import write_json_atomic, write_text_atomic
from textualize.finetune.feature_recipes import FeatureRecipe, NetworkRecipe
from textualize.finetune.options import Recipe
from textualize.finetune.recipe import TextRecipe, load_recipe
from textualize.finetune.run_folder import RunFolder
from textualize.labels import LabelSet, is_number, labels_of
from textualize.methods import entry, resolve
from textualize.types import Clip, Record
from textualize.windows import uncut_notes, windowed

Trainer = Callable[..., None]  # (recipe, train, validation, run), and unlabelled of who adapts


def train(
    recipe: str | Recipe,
    training: Sequence[Record],
    validation: Sequence[Record],
    out: str | Path,
    *,
    labels: LabelSet | None = None,
    test: Sequence[str] = (),
    leaks: Sequence[str] = (),
    corpus: str = "",
    overrides: Sequence[str] = (),
    unlabelled: Sequence[Record] = (),
) -> RunFolder:
    """Train a method into a run folder and return it; a finished run is returned as it is.

    Several processes of a launcher train one text method together; the first writes the folder.

    Args:
        recipe: a shipped recipe's name, a `.yaml` file, or a Recipe.
        training: the records to learn from.
        validation: the records every choice is made on.
        out: the run folder.
        labels: the label set; by default the labels of the records.
        test: ids of the fold's test part, written into splits.json and never read.
        leaks: what the fold's parts are known to share (`Fold.leaks`), written beside them; a
            fold without leaks may share no clip.
        corpus: the records' name on the model card.
        overrides: "key=value" settings on top of the recipe.
        unlabelled: the records a method that adapts to people adapts to; labels are taken off
            them here (of an oracle, when its epochs are chosen), and other methods never see them.

    Raises:
        TextualizeError: an unusable recipe or folder, several seeds, an unlabelled record, a
            label outside the set, or a subject that is learned from and adapted to.
    """
    chosen = load_recipe(recipe, overrides) if isinstance(recipe, str) else recipe
    if chosen.seeds is not None:
        raise TextualizeError(
            f"one run has one seed; given seeds {chosen.seeds}: set seed, or call train_seeds"
        )
    if not training or not validation:
        raise TextualizeError(
            f"training needs train and validation records; given {len(training)} and "
            f"{len(validation)}"
        )
    known = labels or labels_of(r.clip.label for r in (*training, *validation))
    chosen = _for_labels(chosen, known, (*training, *validation))
    trainer = cast(Trainer, resolve(entry(chosen.method).train, chosen.method))
    run = RunFolder(out)
    adapts = isinstance(chosen, NetworkRecipe) and chosen.adapts
    if adapts:
        _check_apart((*training, *validation), unlabelled)
    oracle = isinstance(chosen, NetworkRecipe) and chosen.oracle
    others = [r if oracle else r.with_label(None) for r in unlabelled] if adapts else []

    def begin() -> bool:
        return run.begin(chosen, known, training, validation, test, leaks, corpus, others)

    if begin() if _processes() == 1 else _begun_together(chosen, run, begin):
        window = chosen.windows
        run.notes += uncut_notes(training, window, "train")
        run.notes += uncut_notes(validation, window, "validation")
        learned = [piece for record in training for piece in windowed(record, window, "train")]
        checked = [piece for record in validation for piece in windowed(record, window, "test")]
        target = [piece for record in others for piece in windowed(record, window, "train")]
        trainer(chosen, learned, checked, run, *[target] * adapts)
    return run


def annotated(recipe: Recipe, records: Sequence[Record]) -> tuple[dict[str, Record], list[Clip]]:
    """Return the records a recipe can learn from by clip id, and their clips to make folds of.

    These are the labelled ones; for a recipe that answers per step those with its annotation, of
    which clips without a label are alike to the folds.
    """
    track = recipe.per_step if isinstance(recipe, FeatureRecipe) else None
    if track is None:
        found = {r.clip.id: r for r in records if r.clip.label is not None}
        return found, [r.clip for r in found.values()]
    found = {r.clip.id: r for r in records if track in r.tracks}
    if not found:
        raise TextualizeError(
            f"none of {len(records)} records has the track '{track}' of recipe key 'per_step'"
        )
    clips = [r.clip for r in found.values()]
    return found, [replace(c, label=track) if c.label is None else c for c in clips]


def _check_apart(labelled: Sequence[Record], unlabelled: Sequence[Record]) -> None:
    """Raise TextualizeError where a subject is both learned from and adapted to."""
    both = {r.clip.subject for r in labelled} & {r.clip.subject for r in unlabelled} - {None}
    if both:
        raise TextualizeError(
            f"{len(both)} subjects are learned from and adapted to (first: "
            f"'{min(map(str, both))}'): leave their labelled clips out of train and validation"
        )


def _for_labels(recipe: Recipe, known: LabelSet, records: Sequence[Record]) -> Recipe:
    """Return the recipe for these labels; raises TextualizeError for a label that does not fit."""
    if isinstance(recipe, NetworkRecipe):
        recipe = recipe.resolved(known)
        if recipe.answers_per_step:
            return recipe  # the answer is a track; clips need no label
        if recipe.task == "values":
            for record in records:
                if not is_number(record.clip.label):
                    raise TextualizeError(
                        f"clip '{record.clip.id}' is labelled {record.clip.label!r}; "
                        f"{recipe.method} with task values expects a number"
                    )
            return recipe
    if known.numeric and all(is_number(r.clip.label) for r in records):
        if recipe.method == "majority":
            return recipe  # it answers with their mean
        raise TextualizeError(
            f"{recipe.method} answers with classes; the clips' labels are numbers: train a method "
            "that reads tracks (concat, jca, …), or label the clips with classes"
        )
    for record in records:
        try:
            known.index(record.clip.label)
        except TextualizeError as error:
            raise TextualizeError(f"clip '{record.clip.id}': {error}") from None
    return recipe


def train_seeds(
    recipe: str | Recipe,
    training: Sequence[Record],
    validation: Sequence[Record],
    out: str | Path,
    *,
    overrides: Sequence[str] = (),
    **options: Any,
) -> list[RunFolder]:
    """Train once for every seed of a recipe, into `out/seed-N`, and return the runs.

    `out/seeds.json` then holds the validation score of each, their mean and standard deviation,
    and `out/README.md` tells them with every class. A recipe without `seeds` is trained once, into
    `out` itself. `options` are those of `train`.

    Raises:
        TextualizeError: what `train` raises, or `out` is itself a run.
    """
    chosen = load_recipe(recipe, overrides) if isinstance(recipe, str) else recipe
    if chosen.seeds is None:
        return [train(chosen, training, validation, out, **options)]
    if (Path(out) / "recipe.yaml").exists():
        raise TextualizeError(f"{out} is a run of one seed: give another --out for several")
    runs = [
        train(
            chosen.model_copy(update={"seed": seed, "seeds": None}),
            training,
            validation,
            Path(out) / f"seed-{seed}",
            **options,
        )
        for seed in chosen.seeds
    ]
    if first_process():
        select = str(runs[0].recipe_values["select"])
        from textualize.finetune.card import seeds_card  # scipy, which nothing else here needs

        write_json_atomic(Path(out) / "seeds.json", spread(runs, select))
        write_text_atomic(Path(out) / "README.md", seeds_card(runs, select))
    return runs


def spread(runs: Sequence[RunFolder], select: str) -> dict[str, Any]:
    """Return the validation scores of runs by folder name, their mean and standard deviation.

    The standard deviation, over n - 1, is None for one run.
    """
    scores = {run.path.name: run.environment["summary"][f"validation {select}"] for run in runs}
    values = list(scores.values())
    return {
        "score": f"validation {select}",
        "runs": scores,
        "mean": round(statistics.fmean(values), 4),
        "sd": round(statistics.stdev(values), 4) if len(values) > 1 else None,
    }


# --- several processes --------------------------------------------------------------------------


def first_process() -> bool:
    """Return whether this process is the only one, or the first of a launcher's."""
    return int(os.environ.get("RANK", "0")) == 0


def _processes() -> int:
    """Return how many processes a launcher (accelerate, torchrun) has started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _begun_together(recipe: Recipe, run: RunFolder, begin: Callable[[], bool]) -> bool:
    """Return what `begin` does, called in the first process alone."""
    if not isinstance(recipe, TextRecipe):
        raise TextualizeError(
            f"{recipe.method} trains in one process; given {_processes()}: "
            "start it without a launcher"
        )
    import torch  # the light methods do without
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available())  # as the Trainer does; the first counts
    begun = begin() if state.is_main_process else False
    state.wait_for_everyone()
    return begun if state.is_main_process else not run.complete
