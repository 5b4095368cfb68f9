"""transformers' Trainer, changed in what a text method needs.

A checkpoint holds the trained tensors only, not the frozen base, and is sealed last, so that a
torn one is recognised. Validation scores the records exactly as prediction does. The loss is a
mean over clips, by class weight where asked for.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
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
from textualize.finetune.packing import packed, packed_losses
from textualize.finetune.recipe import TextRecipe
from textualize.finetune.run_folder import RunFolder
from textualize.finetune.schedule import LOWEST_LR, halving
from textualize.text import models
from textualize.text.predict import Item, TextMethod, probabilities

KEPT = 3  # checkpoints on disk: the best, the last, and one more should the last be torn

logger = logging.getLogger(__name__)


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
            data_collator=packed if recipe.packing else method.collate,
            callbacks=[_Stop(recipe), _Line(recipe)],
        )
        self.remove_callback(PrinterCallback)
        self.model_accepts_loss_kwargs = False  # the loss below is already a mean over clips
        if recipe.gradient_checkpointing:
            models.recompute_layers(getattr(method.net, "base", method.net), recipe.model)

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
        if self.recipe.packing:
            losses = packed_losses(model, self.text_method.net.get_output_embeddings(), inputs)
        else:
            losses = self.text_method.losses(model, inputs)
        if self.weights is None:
            return losses.mean()
        # Over the training clips the weights average 1; dividing by a batch's own sum instead
        # would take the weighting back in small batches.
        return (self.weights.to(losses.device)[inputs["class"]] * losses).mean()

    def training_step(self, *inputs: Any, **options: Any) -> Tensor:
        """Return the loss of one step.

        Raises:
            TextualizeError: it is not a number; what would be learned from it is none either.
        """
        with _multiplied_in(self.recipe.matmul):
            loss: Tensor = super().training_step(*inputs, **options)
        if not bool(torch.isfinite(loss)):
            raise TextualizeError(
                f"the loss is {float(loss)} at step {self.state.global_step + 1} of "
                f"{self.state.max_steps}: {_remedy(self.recipe)}"
            )
        return loss

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
        self.accelerator.wait_for_everyone()  # every process has written its random state
        if self.args.should_save:
            seal(Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}")
        self.accelerator.wait_for_everyone()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_trained(self.model, Path(resume_from_checkpoint))


@contextmanager
def _multiplied_in(dtype: str) -> Iterator[None]:
    """Let float32 matrices be multiplied in a coarser type, where the processor is faster so."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if dtype == "bfloat16" else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _remedy(recipe: TextRecipe) -> str:
    if recipe.dtype != "float32" or recipe.quantization == "int8":  # int8 computes in float16
        return f"lower lr (now {recipe.lr:g}), or set dtype to float32 and quantization to none"
    return f"lower lr (now {recipe.lr:g}) or max_grad_norm (now {recipe.max_grad_norm:g})"


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
        optim="adamw_torch_fused" if recipe.optimizer == "adamw" else "sgd",
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
        ddp_find_unused_parameters=False,
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
