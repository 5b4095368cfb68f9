"""Train a text method into a run folder: one pass an epoch, the best epoch kept."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from accelerate import PartialState
from numpy.typing import NDArray
from transformers import set_seed

from textualize.errors import TextualizeError
from textualize.finetune.packing import check_packing
from textualize.finetune.recipe import TextRecipe
from textualize.finetune.run_folder import RunFolder
from textualize.finetune.trainer import TextTrainer, validated
from textualize.text import budget, models
from textualize.text.causal import TextLLM
from textualize.text.decision import fitted_decision
from textualize.text.encoder import TextEncoder
from textualize.text.predict import Item, TextMethod, probabilities, read
from textualize.types import Record
from textualize.weights.models import find_model, weights_digest


def train_encoder(
    recipe: TextRecipe, train: Sequence[Record], validation: Sequence[Record], run: RunFolder
) -> None:
    """Train a text-encoder into a begun run folder; a killed training goes on where it was.

    Raises:
        TextualizeError: the model is not there, a label is not in the set, or no records.
    """
    started = time.time()
    set_seed(recipe.seed)
    _train(TextEncoder.build(recipe, run.labels), recipe, train, validation, run, started)


def train_causal(
    recipe: TextRecipe, train: Sequence[Record], validation: Sequence[Record], run: RunFolder
) -> None:
    """Train a text-llm into a begun run folder; a killed training goes on where it was.

    Raises:
        TextualizeError: the model is not there, a label is not in the set, or its labels cannot
            be scored.
    """
    started = time.time()
    set_seed(recipe.seed)
    method = TextLLM.build(recipe, run.labels, train)
    _train(method, recipe, train, validation, run, started)


# --- one training ---------------------------------------------------------------------------------


def _train(
    method: Any,
    recipe: TextRecipe,
    train: Sequence[Record],
    validation: Sequence[Record],
    run: RunFolder,
    started: float,
) -> None:
    if not train or not validation:
        raise TextualizeError(
            f"{recipe.method} needs train and validation clips; "
            f"given {len(train)} and {len(validation)}"
        )
    labels = run.labels
    truth = [labels.index(r.clip.label) for r in validation]
    classes = [labels.index(r.clip.label) for r in train]
    notes = [*method.notes, *_one_sided(classes, labels.labels)]
    read_in = _counted(method, train, "train", notes) if recipe.epochs else []
    notes += _all_alike(read_in)
    learned = method.answered(read_in, classes if recipe.epochs else [])
    checked = _counted(method, validation, "validation", notes)
    summary = _about(method, recipe, checked)
    if recipe.packing and recipe.epochs:
        summary["packed"] = (
            f"loss against padded: {check_packing(method, learned, _exact(recipe)):.1g}"
        )
    if recipe.epochs:
        trainer = TextTrainer(method, recipe, learned, classes, checked, truth, run)
        trainer.run_to_end()
    PartialState().wait_for_everyone()  # all have read the best checkpoint, which finish() removes
    if PartialState().is_main_process:
        method.save(run.path)
        found = probabilities(method, checked, 2 * recipe.batch_size)
        lines = [{"epoch": 0, "step": 0, **validated(found, truth), "selected": True}]
        if recipe.epochs:
            lines = trainer.lines(trainer.best_line()["epoch"])
        run.write_metrics(lines)
        summary["selected epoch"] = next(x["epoch"] for x in lines if x["selected"])
        decided = _decide(method, recipe, found, truth, classes, run, summary)
        summary[f"validation {recipe.select}"] = round(validated(decided, truth)[recipe.select], 4)
        summary["tokens per prompt"] = round(sum(map(_length, checked)) / len(checked), 1)
        summary["truncated prompts"] = f"{method.truncated} of {len(learned) + len(checked)}"
        run.write_validation(validation, [labels.labels[i] for i in decided.argmax(1)])
        run.write_fitted({
            "weights and class prior": (train, ("train",)),
            "temperature and prior exponent": (validation, ("train", "validation")),
        })  # fmt: skip
        run.finish(summary, notes, started)
    PartialState().wait_for_everyone()  # nobody goes on to a run that is not finished


def _one_sided(classes: Sequence[int], labels: Sequence[str]) -> list[str]:
    """Return a note where training clips have one label only, or none has one of the labels."""
    counts = Counter(classes)
    if len(counts) == 1:
        return [f"every training clip is '{labels[classes[0]]}': nothing else can be learned"]
    never = [label for i, label in enumerate(labels) if i not in counts]
    return [f"no training clip is {', '.join(never)}"] if never else []


def _all_alike(items: Sequence[Item]) -> list[str]:
    """Return a note where all training prompts are one and the same, as without any words."""
    if len({tuple(item["input_ids"]) for item in items}) != 1 or len(items) == 1:
        return []
    return [f"all {len(items)} training prompts read the same: only the classes' share is learned"]


def _length(item: Item) -> int:
    """Return how many tokens a prompt has."""
    return len(item["input_ids"])


def _exact(recipe: TextRecipe) -> float:
    """Return by how much two exact ways to the same log-probability may differ."""
    return 1e-3 if recipe.dtype == "float32" and recipe.quantization == "none" else 0.5


def _decide(
    method: TextMethod,
    recipe: TextRecipe,
    found: NDArray[np.float64],
    truth: Sequence[int],
    classes: Sequence[int],
    run: RunFolder,
    summary: dict[str, Any],
) -> NDArray[np.float64]:
    """Fit and store how the method decides; return the validation probabilities it then gives."""
    fit = {"prior": recipe.prior_correction, "temperature": recipe.temperature}
    method.decision = fitted_decision(found, truth, classes, recipe.select, **fit)
    if recipe.prior_correction:
        summary["prior exponent"] = method.decision.exponent
    if recipe.temperature:
        summary["temperature"] = round(method.decision.temperature, 4)
    if any(fit.values()):
        method.decision.save(run.path, method.labels)
    return method.decision.again(found)


def _counted(
    method: TextMethod, records: Sequence[Record], part: str, notes: list[str]
) -> list[Item]:
    """Return the records' items; prompts that had to be cut become a note."""
    notes += method.reader.around(records, part)
    items, losses = read(method, records)
    cut = sum(bool(lost) for lost in losses)
    if cut:
        notes.append(
            f"truncated {part} prompts: {cut} of {len(records)} (longer than {method.limit} "
            f"tokens; lost: {budget.told(budget.total(losses))})"
        )
    return items


def _about(method: Any, recipe: TextRecipe, items: Sequence[Item]) -> dict[str, Any]:
    """Return the first rows of the model card."""
    trainable, total = models.parameter_counts(method.net)
    about: dict[str, Any] = {"model": recipe.model}
    if recipe.model == "scratch":
        about["model"] = f"scratch: LLaMA, {recipe.scratch.layers} layers, trained from nothing"
    else:
        source = find_model(recipe.model, recipe.revision)
        if source.commit:
            about["revision"] = source.commit
        about["weights sha256"] = weights_digest(source.folder)
    about |= {"parameters": total, "trained parameters": trainable}
    if PartialState().num_processes > 1:
        about["processes"] = PartialState().num_processes
    about["prompt digest"] = method.reader.template.digest[:16]
    if isinstance(method, TextLLM):
        method.net.eval()
        error = method.scoring_error(items[:2])
        if error > _exact(recipe):
            raise TextualizeError(
                f"model '{recipe.model}' does not take a tree-shaped attention mask: scores differ "
                f"by {error:.2g} from whole sequences; choose another model"
            )
        what = "letter" if recipe.answers == "letters" else "tokens, summed"
        about["scored by"] = f"every label's {what} (tree against whole: {error:.1g})"
    return about
