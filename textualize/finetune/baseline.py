"""The one training loop of the feature methods.

What differs between methods is in their modules (`forward`, `loss`); this file reads downward:
records to tensors, epochs with a checkpoint each, the best epoch restored, the run finished.
A killed run continues from its last whole epoch, to the last bit of an unbroken one on a CPU.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from textualize.baselines.batch import Batch, Features, Summaries, fit, summarise
from textualize.baselines.fusion import FeatureMethod, build, part, read_tensors
from textualize.errors import TextualizeError
from textualize.evaluate import metrics
from textualize.files import write_bytes_atomic
from textualize.finetune.recipe import FeatureRecipe
from textualize.finetune.run_folder import RunFolder
from textualize.labels import LabelSet
from textualize.types import Record

CHECKPOINT = "checkpoints/last.safetensors"


@dataclass(slots=True)
class Progress:
    """Where training stands: epochs done, their metrics, and which is best so far."""

    epoch: int = 0
    best_epoch: int = 0
    best_score: float = -1.0
    best_loss: float = math.inf
    lines: list[dict[str, Any]] = field(default_factory=list)

    def add(self, line: dict[str, Any], score: float, loss: float) -> bool:
        """Count one epoch; True when it is the best so far (ties: the lower loss)."""
        self.epoch += 1
        self.lines.append({"epoch": self.epoch, **line})
        better = (score, -loss) > (self.best_score, -self.best_loss)
        if better:
            self.best_epoch, self.best_score, self.best_loss = self.epoch, score, loss
        return better


def train_features(
    recipe: FeatureRecipe, train: Sequence[Record], validation: Sequence[Record], run: RunFolder
) -> FeatureMethod:
    """Return the trained method after filling a begun run folder.

    The epoch is the one with the best validation score `recipe.select`.

    Raises:
        TextualizeError: a track is nowhere, a label is unknown, or there is nothing to train or
            validate on.
    """
    started = time.time()
    if not train or not validation:
        raise TextualizeError(
            f"{recipe.method} needs training and validation records; given {len(train)} and "
            f"{len(validation)}"
        )
    with deterministic(recipe.seed):
        method, progress, notes = _fit(recipe, train, validation, run)
    method.save(run.path)
    run.write_metrics(
        [{**x, "selected": x["epoch"] == progress.best_epoch} for x in progress.lines]
    )
    summary = {
        "parameters": sum(p.numel() for p in method.network.parameters()),
        "selected epoch": progress.best_epoch,
        "epochs": progress.epoch,
        f"validation {recipe.select}": round(progress.best_score, 4),
        "seconds": round(time.time() - started, 1),
    }
    run.write_validation(validation, [p.label for p in method.predict(validation)])
    run.finish(summary, notes, started)
    return method


def _fit(
    recipe: FeatureRecipe, train: Sequence[Record], validation: Sequence[Record], run: RunFolder
) -> tuple[FeatureMethod, Progress, list[str]]:
    labels = run.labels
    groups = recipe.groups if recipe.method == "jca" else {}
    clips = [summarise(r, recipe.tracks, recipe.steps) for r in train]
    relative = recipe.speaker_relative
    features = fit(clips, recipe.method, recipe.tracks, groups, recipe.steps, relative)
    settings = {k: getattr(recipe, k) for k in ("hidden", "attention", "dropout")}
    network = build(features, len(labels), settings)
    accelerator = Accelerator()
    if accelerator.num_processes > 1:
        raise TextualizeError(
            f"{recipe.method} trains in one process; given {accelerator.num_processes}: "
            "start it without a launcher"
        )
    data, data_notes = _batch(features, clips, train, labels, recipe.class_balanced)
    held_clips = [summarise(r, recipe.tracks, recipe.steps) for r in validation]
    held, held_notes = _batch(features, held_clips, validation, labels, False)
    progress, best = _epochs(
        recipe, network, data.to(accelerator.device), held.to(accelerator.device), accelerator, run
    )
    network.cpu().load_state_dict(best)
    notes = [f"{n} (training)" for n in data_notes] + [f"{n} (validation)" for n in held_notes]
    return FeatureMethod(labels.labels, features, network, settings), progress, notes


def _batch(
    features: Features,
    clips: Sequence[Summaries],
    records: Sequence[Record],
    labels: LabelSet,
    balanced: float,
) -> tuple[Batch, list[str]]:
    targets = [labels.index(r.clip.label) for r in records]
    count = Counter(targets)
    share = [(len(targets) / (len(count) * count[t])) ** balanced for t in targets]
    return features.batch(clips, targets, share)


def _epochs(
    recipe: FeatureRecipe,
    network: nn.Module,
    data: Batch,
    held: Batch,
    accelerator: Accelerator,
    run: RunFolder,
) -> tuple[Progress, dict[str, Tensor]]:
    """Return the progress and the weights of the best epoch."""
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay
    )
    network, optimizer = accelerator.prepare(network, optimizer)
    checkpoint = run.path / CHECKPOINT
    progress, best = Progress(), _copy(network)
    if checkpoint.is_file():
        progress, best = restore(checkpoint, network, optimizer)
    while progress.epoch < recipe.epochs:
        if progress.epoch - progress.best_epoch >= recipe.patience:
            break
        loss = _one_epoch(recipe, progress.epoch, network, optimizer, data, accelerator)
        score, held_loss = _validate(network, held, recipe.select)
        line = {
            "loss": loss,
            "validation_loss": held_loss,
            f"validation_{recipe.select}": score,
        }
        if progress.add(line, score, held_loss):
            best = _copy(network)
        save_checkpoint(checkpoint, progress, network, optimizer, best)
        run.write_metrics(progress.lines)
    return progress, best


def _one_epoch(
    recipe: FeatureRecipe,
    epoch: int,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: Batch,
    accelerator: Accelerator,
) -> float:
    """Return the mean training loss; order and dropout follow from seed and epoch alone."""
    torch.manual_seed(recipe.seed * 100_003 + epoch)
    network.train()
    total, size = 0.0, recipe.batch_size
    order = torch.randperm(len(data)).to(accelerator.device)
    for start in range(0, len(data), size):
        done = (epoch + start / len(data)) / recipe.epochs
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * 0.5 * (1 + math.cos(math.pi * done))
        rows = order[start : start + size]
        loss = cast(Tensor, cast(Any, network).loss(data.take(rows)))
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
        total += float(loss.detach()) * len(rows)
    return total / len(data)


def _validate(network: nn.Module, held: Batch, select: str) -> tuple[float, float]:
    network.eval()
    with torch.no_grad():
        logits = network(held)
        loss = float(nn.functional.cross_entropy(logits, held.targets))
    predicted = logits.argmax(-1).tolist()
    score = metrics.score(select, held.targets.tolist(), predicted, logits.shape[-1])
    return float(score), loss


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}


def save_checkpoint(
    path: Path,
    progress: Progress,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    best: dict[str, Tensor],
) -> None:
    """Write weights, best weights, optimizer state and progress as one file, atomically."""
    tensors = {f"network.{k}": v for k, v in _copy(network).items()}
    tensors |= {f"best.{k}": v for k, v in best.items()}
    for i, state in optimizer.state_dict()["state"].items():
        for k, v in state.items():
            tensors[f"optimizer.{i}.{k}"] = torch.as_tensor(v).detach().cpu().clone()
    header = json.dumps(asdict(progress))
    write_bytes_atomic(path, save_tensors(tensors, {"textualize": header}))


def restore(
    path: Path, network: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Progress, dict[str, Tensor]]:
    """Put a checkpoint back into network and optimizer; return its progress and best weights."""
    tensors = read_tensors(path)
    network.load_state_dict(part(tensors, "network."))
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in part(tensors, "optimizer.").items():
        i, _, key = name.partition(".")
        state.setdefault(int(i), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    size = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + size])
    return Progress(**json.loads(header["__metadata__"]["textualize"])), part(tensors, "best.")


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
