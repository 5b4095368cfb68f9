"""Train the text methods on transformers' Trainer: one pass an epoch, the best epoch kept.

Three things differ from the stock Trainer. A checkpoint holds the trained tensors only, not the
frozen base, and is sealed last, so that a torn one is recognised. Validation scores the records
exactly as prediction does. The loss is a mean over clips, by class weight where asked for.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from textualize.errors import TextualizeError
from textualize.evaluate.metrics import score
from textualize.finetune.checkpoints import (
    SCORES,
    epoch_lines,
    exhausted,
    last_whole,
    load_trained,
    save_trained,
    seal,
    whole,
)
from textualize.finetune.recipe import TextRecipe
from textualize.finetune.run_folder import RunFolder
from textualize.finetune.schedule import LOWEST_LR, halving
from textualize.text import budget, models
from textualize.text.causal import TextLLM
from textualize.text.decision import fitted_decision
from textualize.text.encoder import TextEncoder
from textualize.text.predict import Item, TextMethod, probabilities, read
from textualize.types import Record

KEPT = 3  # checkpoints on disk: the best, the last, and one more should the last be torn

logger = logging.getLogger(__name__)


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


def class_weights(classes: Sequence[int], n_classes: int, power: float = 1.0) -> Tensor:
    """Return (N / (C' n_c))^power, (C,), C' the classes that occur; 0 for the others.

    >>> class_weights([0, 0, 0, 1], 3).tolist()
    [0.6666666865348816, 2.0, 0.0]
    """
    counts = Counter(classes)
    weights = [
        (len(classes) / (len(counts) * counts[c])) ** power if c in counts else 0.0
        for c in range(n_classes)
    ]
    return torch.tensor(weights)


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
    notes = list(method.notes)
    learned = method.answered(_counted(method, train, "train", notes), classes)
    checked = _counted(method, validation, "validation", notes)
    summary = _about(method, recipe, checked)
    if recipe.epochs:
        trainer = TextTrainer(method, recipe, learned, classes, checked, truth, run)
        trainer.run_to_end()
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
        summary["truncated prompts"] = f"{method.truncated} of {len(learned) + len(checked)}"
        run.write_validation(validation, [labels.labels[i] for i in decided.argmax(1)])
        run.finish(summary, notes, started)


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
        source = models.find_model(recipe.model, recipe.revision)
        if source.folder.parent.name == "snapshots":  # of the hub's cache
            about["revision"] = source.folder.name
        about["weights sha256"] = models.weights_digest(source.folder)
    about |= {"parameters": total, "trained parameters": trainable}
    about["prompt digest"] = method.reader.template.digest[:16]
    if isinstance(method, TextLLM):
        method.net.eval()
        error = method.scoring_error(items[:2])
        exact = recipe.dtype == "float32" and recipe.quantization == "none"
        if error > (1e-3 if exact else 0.5):
            raise TextualizeError(
                f"model '{recipe.model}' does not take a tree-shaped attention mask: scores differ "
                f"by {error:.2g} from whole sequences; choose another model"
            )
        what = "letter" if recipe.answers == "letters" else "tokens, summed"
        about["scored by"] = f"every label's {what} (tree against whole: {error:.1g})"
    return about


def validated(probabilities: NDArray[np.float64], truth: Sequence[int]) -> dict[str, float]:
    """Return the scores and the loss of validation probabilities (N, C)."""
    guess, rows = probabilities.argmax(1), np.arange(len(probabilities))
    found = {name: score(name, list(truth), guess, probabilities.shape[1]) for name in SCORES}
    picked = probabilities[rows, list(truth)]
    return found | {"validation_loss": float(-np.log(np.maximum(picked, 1e-12)).mean())}


class TextTrainer(Trainer):  # type: ignore[misc]
    """transformers' Trainer with light sealed checkpoints and validation by prediction."""

    def __init__(
        self,
        method: TextMethod,
        recipe: TextRecipe,
        learned: Sequence[Item],
        classes: Sequence[int],
        checked: Sequence[Item],
        truth: Sequence[int],
        run: RunFolder,
    ):
        """Prepare a training; nothing is read from checkpoints yet."""
        self.text_method = method
        self.recipe = recipe
        self.checked = checked
        self.truth = list(truth)
        self.run = run
        self.weights = (
            class_weights(classes, len(method.labels), recipe.class_balanced)
            if recipe.class_balanced
            else None
        )
        super().__init__(
            model=method.net,
            args=_arguments(recipe, run.path / "checkpoints"),
            train_dataset=list(learned),
            eval_dataset=list(checked),
            data_collator=method.collate,
            callbacks=[_Stop(recipe), _Line(recipe)],
        )
        self.remove_callback(PrinterCallback)
        self.model_accepts_loss_kwargs = False  # the loss below is already a mean over clips

    def run_to_end(self) -> None:
        """Train, from the last whole checkpoint if there is one, and load the best epoch."""
        folder = Path(str(self.args.output_dir))
        last = last_whole(folder)
        state = TrainerState.load_from_json(str(last / "trainer_state.json")) if last else None
        if state is not None and exhausted(state, self.recipe):
            self.state = state
        else:
            if last is not None:
                logger.warning("resuming from %s", last)
            self.train(resume_from_checkpoint=str(last) if last else None)
        best = folder / f"checkpoint-{self.best_line()['step']}"
        if not whole(best):
            raise TextualizeError(f"{best} is damaged: remove {folder} and train again")
        load_trained(self.model, best)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Tensor:
        """Return the mean loss over clips, weighted by class where the recipe says so."""
        losses = self.text_method.losses(model, inputs)
        if self.weights is None:
            return losses.mean()
        # Over the training clips the weights average 1; dividing by a batch's own sum instead
        # would take the weighting back in small batches.
        return (self.weights.to(losses.device)[inputs["class"]] * losses).mean()

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Return and log the validation scores of the current weights."""
        p = probabilities(self.text_method, self.checked, 2 * self.recipe.batch_size)
        found = validated(p, self.truth)
        found["loss"] = found.pop("validation_loss")
        metrics = {f"eval_{name}": value for name, value in found.items()}
        self.log(dict(metrics))
        if self.is_world_process_zero():
            self.run.write_metrics(self.lines())
        control: TrainerControl = self.control  # type: ignore[has-type]
        self.control = self.callback_handler.on_evaluate(self.args, self.state, control, metrics)
        return metrics

    def lines(self, selected: int | None = None) -> list[dict[str, Any]]:
        """Return one line an epoch: training loss, validation scores and loss."""
        return epoch_lines(self.state, selected)

    def best_line(self) -> dict[str, Any]:
        """Return the line of the best epoch, the first of equals."""
        return max(self.lines(), key=lambda line: line[self.recipe.select])

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Return the schedule of the learning rate, linear or halved in steps, after a warm-up."""
        every = self.recipe.halve_every
        if every is None or self.lr_scheduler is not None:  # type: ignore[has-type]
            return super().create_scheduler(num_training_steps, optimizer)
        rate = halving(
            int(self.args.get_warmup_steps(num_training_steps)),
            every * max(1, round(num_training_steps / self.recipe.epochs)),
            LOWEST_LR / self.recipe.lr,
        )
        chosen = optimizer if optimizer is not None else self.optimizer
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(chosen, rate)
        return self.lr_scheduler

    # --- checkpoints ----------------------------------------------------------------------------

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        save_trained(self.model, Path(str(output_dir or self.args.output_dir)))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            seal(Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_trained(self.model, Path(resume_from_checkpoint))


def _arguments(recipe: TextRecipe, folder: Path) -> TrainingArguments:
    cuda = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.lr,
        weight_decay=recipe.weight_decay,
        warmup_steps=recipe.warmup,
        lr_scheduler_type="linear",
        max_grad_norm=recipe.max_grad_norm,
        optim="adamw_torch" if recipe.optimizer == "adamw" else "sgd",
        train_sampling_strategy="group_by_length" if recipe.length_grouped else "random",
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        save_total_limit=KEPT,
        metric_for_best_model=recipe.select,
        greater_is_better=True,
        seed=recipe.seed,
        bf16=False,  # no autocast: prediction must compute what training computed
        use_cpu=not cuda,
        logging_nan_inf_filter=False,  # a loss that is not a number is shown, not averaged away
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to=[],
        dataloader_pin_memory=cuda,
        log_level="error",
    )


class _Stop(TrainerCallback):  # type: ignore[misc]
    """Stops after `patience` epochs without a better score; all it knows is the log."""

    def __init__(self, recipe: TextRecipe):
        self.recipe = recipe

    def on_evaluate(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        control.should_training_stop |= exhausted(state, self.recipe)
        return control


class _Line(TrainerCallback):  # type: ignore[misc]
    """Prints one line an epoch."""

    def __init__(self, recipe: TextRecipe):
        self.recipe = recipe
        self.console = Console(stderr=True)

    def on_evaluate(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        lines = epoch_lines(state)
        line, best = lines[-1], max(lines, key=lambda x: x[self.recipe.select])
        self.console.print(
            f"epoch {line['epoch']}/{self.recipe.epochs}  loss {line['train_loss']:.3f}  "
            f"validation {self.recipe.select} {line[self.recipe.select]:.3f}  "
            f"(best {best[self.recipe.select]:.3f} at {best['epoch']})",
            highlight=False,
        )
