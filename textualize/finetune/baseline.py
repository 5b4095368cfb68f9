"""The one training loop of the feature methods.

What differs between methods is in their modules (`stages`, `forward`, `loss`); this file reads
downward: records to tensors, stage by stage epochs with a checkpoint each, the best epoch restored,
the run finished. A killed run continues from its last whole epoch, to the last bit of an unbroken
one on a CPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from accelerate import Accelerator
from rich.console import Console
from rich.markup import escape
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from textualize.baselines.adaptation import Adaptation
from textualize.baselines.batch import Source
from textualize.baselines.fusion import settings_of
from textualize.baselines.network import Network
from textualize.errors import TextualizeError
from textualize.finetune.feature_data import Data, prepare
from textualize.finetune.feature_progress import (
    CHECKPOINT,
    Progress,
    read_progress,
    restore,
    save_checkpoint,
    weights,
)
from textualize.finetune.feature_recipes import FeatureRecipe, NetworkRecipe
from textualize.finetune.linear_start import start_path
from textualize.finetune.picture_data import PictureData, prepare_pictures
from textualize.finetune.picture_recipes import PictureRecipe
from textualize.finetune.run_folder import RunFolder
from textualize.finetune.subjects import (
    adaptation_note,
    oracle_note,
    oracle_targets,
    with_subjects,
)
from textualize.labels import LabelSet
from textualize.methods import Method
from textualize.types import Record

LOG_EVERY_S = 60.0


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """What the epochs share."""

    recipe: NetworkRecipe
    network: Network
    data: Data | PictureData
    device: torch.device
    run: RunFolder

    def autocast(self) -> torch.autocast:
        """Return the precision the network computes in."""
        mixed = self.recipe.dtype == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=mixed)


def train_features(
    recipe: NetworkRecipe,
    train: Sequence[Record],
    validation: Sequence[Record],
    run: RunFolder,
    unlabelled: Sequence[Record] = (),
) -> Method:
    """Return the trained method after filling a begun run folder.

    A stage's epoch is the one with the best validation score `recipe.select`, or the lowest loss
    where the network says that the stage has no score.

    Raises:
        TextualizeError: a track is nowhere, a label is unknown, there is nothing to train or
            validate on, or the loss is not finite.
    """
    started = time.time()
    if not train or not validation:
        raise TextualizeError(
            f"{recipe.method} needs training and validation records; given {len(train)} and "
            f"{len(validation)}"
        )
    accelerator = Accelerator()
    if accelerator.num_processes > 1:
        raise TextualizeError(
            f"{recipe.method} trains in one process; given {accelerator.num_processes}: "
            "start it without a launcher"
        )
    recipe = recipe.resolved(run.labels)
    data = _prepared(recipe, run.labels, train, validation)
    if recipe.adapts:
        data, adapted = with_subjects(data, recipe, train, unlabelled)
        run.notes.append(adaptation_note(recipe.method, adapted, run.test_ids))
    truth = None
    if recipe.oracle:
        truth = oracle_targets(data, recipe, adapted, run.labels)
        run.notes.append(oracle_note(recipe.method))
    with deterministic(recipe.seed):
        settings = settings_of(recipe.method, recipe)
        network = data.build(settings)
        if truth is not None and isinstance(network, Adaptation):
            network.tell(truth, recipe.select)
        training = Training(recipe, network.to(accelerator.device), data, accelerator.device, run)
        progress = _stages(training, accelerator)
    method = data.method(network.cpu(), settings)
    method.save(run.path)
    notes = list(data.notes)
    if isinstance(data, PictureData):
        data.keep_history(network, run.path)
        notes += data.torn()
    run.write_metrics(
        [{**x, "selected": i in progress.selected} for i, x in enumerate(progress.lines, 1)]
    )
    answers = method.predict(validation)
    fitted: dict[str, tuple[Sequence[Record], Sequence[str]]] = {
        "scales and weights": (train, ("train",))
    }
    if unlabelled:
        fitted["the adaptation, without labels"] = (unlabelled, ("train", "test"))
    if recipe.oracle:
        fitted["the oracle's epoch, by labels"] = (unlabelled, ("train",))
    if data.task.kind == "classes" or not data.task.per_step:
        run.write_validation(validation, [p.label for p in answers])
    run.write_fitted(fitted)
    summary = _summary(training, progress) | {"seconds": round(time.time() - started, 1)}
    run.finish(summary, notes, started, effective=_effective(training))
    return method


def _prepared(
    recipe: NetworkRecipe,
    labels: LabelSet,
    train: Sequence[Record],
    validation: Sequence[Record],
) -> Data | PictureData:
    if isinstance(recipe, PictureRecipe):
        return prepare_pictures(recipe, labels, train, validation)
    return prepare(cast(FeatureRecipe, recipe), labels, train, validation)


def _stages(training: Training, accelerator: Accelerator) -> Progress:
    """Return the progress; the network is left with the weights of the last stage's best epoch."""
    network, recipe = training.network, training.recipe
    held = training.data.validation.to(training.device)
    train = training.data.train.to(training.device)
    checkpoint = training.run.path / CHECKPOINT
    progress, resumed = Progress(), checkpoint.is_file()
    if resumed:
        progress = read_progress(checkpoint)
    with _telling() as tell:
        while progress.stage < len(network.stages):
            network.begin(network.stages[progress.stage])
            optimizer = accelerator.prepare(_optimizer(recipe, network))
            if resumed:
                best, resumed = restore(checkpoint, network, optimizer), False
            else:
                _start(training, progress, held)
                best = weights(network)
            while not progress.finished(recipe):
                loss = _one_epoch(training, progress, optimizer, train, accelerator)
                if _validated(training, progress, held, {"loss": loss}):
                    best = weights(network)
                save_checkpoint(checkpoint, progress, network, optimizer, best)
                training.run.write_metrics(progress.lines)
                tell(_line(training, progress))
            network.load_state_dict(best)
            progress.next_stage()
    return progress


@contextmanager
def _telling() -> Iterator[Callable[[str], None]]:
    """Yield what shows a line on standard error: on a terminal the last, in a log one a minute."""
    console = Console(stderr=True)
    told = time.monotonic()

    def tell(line: str) -> None:
        nonlocal told
        status.update(escape(line))
        if not console.is_terminal and time.monotonic() - told > LOG_EVERY_S:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
            told = time.monotonic()

    with console.status("") as status:
        yield tell


def _line(training: Training, progress: Progress) -> str:
    """Return the last epoch as text."""
    recipe, line = training.recipe, progress.lines[-1]
    stage = f" {line['stage']}" if "stage" in line else ""
    key = f"validation_{recipe.select}"
    key = key if key in line else "validation_loss"
    best = progress.lines[progress.best_line - 1][key]
    return (
        f"{recipe.method}{stage}: epoch {progress.epoch}/{recipe.epochs}  loss {line['loss']:.3f}  "
        f"{key.replace('_', ' ', 1)} {line[key]:.3f}  "
        f"(best {best:.3f} at {progress.best_line - progress.begun - progress.started})"
    )


def _optimizer(recipe: NetworkRecipe, network: Network) -> torch.optim.Optimizer:
    """Return the optimizer, a group of parameters for each share of the learning rate."""
    rates = network.rates()
    grouped: dict[float, list[nn.Parameter]] = {}
    for name, p in network.named_parameters():
        if p.requires_grad:
            rate = next((r for part, r in rates.items() if name.startswith(f"{part}.")), 1.0)
            grouped.setdefault(rate, []).append(p)
    groups = [{"params": own, "rate": rate} for rate, own in sorted(grouped.items(), reverse=True)]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            groups, recipe.lr, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay
        )
    return torch.optim.AdamW(groups, recipe.lr, weight_decay=recipe.weight_decay)


def _start(training: Training, progress: Progress, held: Source) -> None:
    """Start the linear paths of the present stage from fitted models, and note how good that is."""
    recipe, data = training.recipe, training.data
    if not isinstance(recipe, FeatureRecipe) or not isinstance(data, Data):
        return
    paths = training.network.linear_paths() if recipe.linear_start else []
    if paths:
        strengths = [start_path(path, data, recipe.select) for path in paths]
        told = {"start": "linear", "strengths C": strengths}
        _validated(training, progress, held, told, start=True)


def _one_epoch(
    training: Training,
    progress: Progress,
    optimizer: torch.optim.Optimizer,
    data: Source,
    accelerator: Accelerator,
) -> float:
    """Return the mean training loss; order and dropout follow from seed and epoch alone."""
    recipe, network = training.recipe, training.network
    torch.manual_seed(recipe.seed * 100_003 + len(progress.lines))
    network.train()
    total, size = 0.0, recipe.batch_size
    order = torch.randperm(len(data)).to(training.device)
    for start in range(0, len(data), size):
        done = (progress.epoch + start / len(data)) / recipe.epochs
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * recipe.lr * 0.5 * (1 + math.cos(math.pi * done))
        rows = order[start : start + size]
        batch = network.draw(data, rows)
        if isinstance(recipe, FeatureRecipe) and recipe.drop_stream:
            batch = batch.without_streams(recipe.drop_stream)
        with training.autocast():
            loss = network.loss(batch)
        if not torch.isfinite(loss):
            raise TextualizeError(
                f"{recipe.method}: the training loss is {float(loss.detach())} in epoch "
                f"{len(progress.lines) + 1}: give a lower lr (now {recipe.lr:g})"
            )
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
        total += float(loss.detach()) * len(rows)
    return total / len(data)


def _validated(
    training: Training,
    progress: Progress,
    held: Source,
    told: dict[str, Any],
    *,
    start: bool = False,
) -> bool:
    """Add the line of an epoch, or of the start; True when it is the stage's best so far."""
    network, select, task = training.network, training.recipe.select, training.data.task
    stage = network.stages[progress.stage]
    network.eval()
    line: dict[str, Any] = {"stage": stage} if len(network.stages) > 1 else {}
    score = None
    every = torch.arange(len(held), device=training.device)
    size = held.at_once
    pieces = (held.take(every[i : i + size]) for i in range(0, len(held), size))
    with torch.no_grad(), training.autocast():
        if network.scored(stage):
            out = torch.cat([network(piece) for piece in pieces]).float()
            held_loss = float(task.loss(out, held))
            score = task.score(select, out, held.targets)
        else:
            parts = [float(network.loss(piece)) * len(piece) for piece in pieces]
            held_loss = sum(parts) / len(held)
    line |= {**told, "validation_loss": held_loss, **network.told()}
    if score is not None:
        line[f"validation_{select}"] = score
    chosen = network.criterion()
    if chosen is None:
        return progress.add(line, select, score, held_loss, start)
    return progress.add(line | {"criterion": chosen}, "criterion", chosen, held_loss, start)


# --- what a run tells ---------------------------------------------------------------------------


def _summary(training: Training, progress: Progress) -> dict[str, Any]:
    network, select = training.network, training.recipe.select
    score = progress.lines[progress.selected[-1] - 1][f"validation_{select}"]
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "MACs per clip": macs(network, training.data.validation),
        "selected epoch": progress.lines[progress.selected[-1] - 1]["epoch"],
        "epochs": progress.lines[-1]["epoch"],
        f"validation {select}": round(score, 4),
    }


def macs(network: Network, batch: Source) -> int:
    """Return the multiply-accumulates of one clip's answer: matrix products and convolutions."""
    network.eval()
    counter = FlopCounterMode(display=False)
    # the fused attention kernels of a CPU are not counted
    with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        network(batch.take(torch.tensor([0])))
    return counter.get_total_flops() // 2


def _effective(training: Training) -> dict[str, Any]:
    """Return the settings that were in force, as they came out of recipe, labels and records."""
    recipe, data = training.recipe, training.data
    optimizer = _optimizer(recipe, training.network)
    return {
        "task": data.task.to_json(),
        "select": recipe.select,
        "optimizer": type(optimizer).__name__,
        "lr": optimizer.param_groups[0]["lr"],
        "weight_decay": optimizer.param_groups[0]["weight_decay"],
        "batch_size": min(recipe.batch_size, len(data.train)),
        "updates_per_epoch": math.ceil(len(data.train) / recipe.batch_size),
        "training_clips": len(data.train),
        "validation_clips": len(data.validation),
        "device": training.device.type,
        "dtype": recipe.dtype,
        **data.effective(),
        "network": settings_of(recipe.method, recipe),
    }


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Seed torch, use deterministic single-threaded kernels; everything is put back after."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(strict, warn_only=warn_only)
