"""Recipe and records to a run folder: one function for every method."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from textualize.errors import TextualizeError
from textualize.files import write_json_atomic
from textualize.finetune.recipe import Recipe, TextRecipe, load_recipe
from textualize.finetune.run_folder import RunFolder
from textualize.labels import LabelSet, labels_of
from textualize.methods import entry, resolve
from textualize.types import Record
from textualize.windows import windowed

Trainer = Callable[[Recipe, Sequence[Record], Sequence[Record], RunFolder], None]


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

    Raises:
        TextualizeError: an unusable recipe or folder, several seeds, an unlabelled record, or a
            label outside the set.
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
    for record in (*training, *validation):
        try:
            known.index(record.clip.label)
        except TextualizeError as error:
            raise TextualizeError(f"clip '{record.clip.id}': {error}") from None
    trainer = cast(Trainer, resolve(entry(chosen.method).train, chosen.method))
    run = RunFolder(out)

    def begin() -> bool:
        return run.begin(chosen, known, training, validation, test, leaks, corpus)

    if begin() if _processes() == 1 else _begun_together(chosen, run, begin):
        window = chosen.windows
        learned = [piece for record in training for piece in windowed(record, window, "train")]
        checked = [piece for record in validation for piece in windowed(record, window, "test")]
        trainer(chosen, learned, checked, run)
    return run


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

    `out/seeds.json` then holds the validation score of each, their mean and standard deviation. A
    recipe without `seeds` is trained once, into `out` itself. `options` are those of `train`.

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
        write_json_atomic(Path(out) / "seeds.json", spread(runs, chosen.select))
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
