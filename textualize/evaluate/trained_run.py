"""What a finished run folder says of its training, as reports tell it."""

from __future__ import annotations

from pathlib import Path

from textualize.errors import TextualizeError
from textualize.evaluate.lines import Trained
from textualize.finetune.run_folder import RunFolder
from textualize.methods import read_with


def read_run(run: str | Path, clips_per_s: float | None = None) -> Trained:
    """Return what a finished run folder says about its training.

    Raises:
        TextualizeError: not a run folder, or its training did not finish.
    """
    folder = RunFolder(run)
    recipe = folder.recipe_values
    if not folder.complete:
        raise TextualizeError(f"the run {run} is unfinished: train it again, it goes on from there")
    about = folder.environment
    summary = about["summary"]
    named = [key.removeprefix("validation ") for key in summary if key.startswith("validation ")]
    select = str(named[0] if named else recipe["select"])  # of numbers another than of classes
    chosen = [line for line in folder.metrics() if line.get("selected") and select in line]
    validation = summary.get(f"validation {select}", chosen[-1][select] if chosen else None)
    return Trained(
        method=str(recipe["method"]),
        parameters=summary.get("parameters"),
        minutes=about["minutes"],
        clips_per_s=clips_per_s,
        tokens=summary.get("tokens per prompt"),
        validation=validation,
        select=select,
        seed=recipe["seed"],
        split_digest=folder.split_digest,
        packages=about["packages"],
        summary=summary,
        notes=tuple(about["notes"]),
        reads=read_with(str(recipe["method"]), recipe),
    )
