"""Recipe and records to a run folder: one function for every method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from textualize.errors import TextualizeError
from textualize.finetune.recipe import Recipe, load_recipe
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
        TextualizeError: an unusable recipe or folder, an unlabelled record, or a label outside
            the set.
    """
    chosen = load_recipe(recipe, overrides) if isinstance(recipe, str) else recipe
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
    if run.begin(chosen, known, training, validation, test, leaks, corpus):
        window = chosen.windows
        learned = [piece for record in training for piece in windowed(record, window, "train")]
        checked = [piece for record in validation for piece in windowed(record, window, "test")]
        trainer(chosen, learned, checked, run)
    return run
