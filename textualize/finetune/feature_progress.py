"""Where the training of a feature method stands, and the checkpoint it goes on from."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from textualize.baselines.model_files import part, read_tensors
from textualize.baselines.network import Network
from textualize.baselines.task import better
from textualize.files import write_bytes_atomic
from textualize.finetune.feature_recipes import NetworkRecipe

CHECKPOINT = "checkpoints/last.safetensors"


@dataclass(slots=True)
class Progress:
    """Where training stands: the stage, its epochs and which is best so far; every epoch's line.

    A stage that starts from a fitted model has a line for that, too, before its first epoch:
    `started`. Lines are counted from 1 over all stages: `begun` is how many came before this
    stage, `best_line` and `selected` are such numbers.
    """

    stage: int = 0
    begun: int = 0
    started: bool = False
    best_line: int = 0
    best_score: float | None = None
    best_loss: float = math.inf
    lines: list[dict[str, Any]] = field(default_factory=list)
    selected: list[int] = field(default_factory=list)

    @property
    def epoch(self) -> int:
        """Epochs done in this stage."""
        return len(self.lines) - self.begun - self.started

    def add(
        self, line: dict[str, Any], select: str, score: float | None, loss: float, start: bool
    ) -> bool:
        """Count one epoch, or the start; True when it is the best so far (ties: the lower loss)."""
        before = self.lines[-1]["epoch"] if self.lines else 0
        self.lines.append({"epoch": before + (not start), **line})
        self.started = self.started or start
        if self._better(select, score, loss):
            self.best_line, self.best_score, self.best_loss = len(self.lines), score, loss
            return True
        return False

    def _better(self, select: str, score: float | None, loss: float) -> bool:
        if score is None or self.best_score is None or score == self.best_score:
            first = score is not None and self.best_score is None
            return first or loss < self.best_loss
        return better(select, score, self.best_score)

    def finished(self, recipe: NetworkRecipe) -> bool:
        """Whether this stage has had its epochs, or its patience is at an end."""
        waited = len(self.lines) - max(self.best_line, self.begun)
        return self.epoch >= recipe.epochs or waited >= recipe.patience

    def next_stage(self) -> None:
        """Close the stage: its best epoch is the selected one."""
        self.selected.append(self.best_line)
        self.stage, self.begun, self.started = self.stage + 1, len(self.lines), False
        self.best_score, self.best_loss = None, math.inf


def weights(network: Network) -> dict[str, Tensor]:
    """Return a copy of the network's weights on the CPU."""
    return {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}


def save_checkpoint(
    path: Path,
    progress: Progress,
    network: Network,
    optimizer: torch.optim.Optimizer,
    best: dict[str, Tensor],
) -> None:
    """Write weights, best weights, optimizer state and progress as one file, atomically."""
    tensors = {f"network.{k}": v for k, v in weights(network).items()}
    tensors |= {f"best.{k}": v for k, v in best.items()}
    tensors |= {f"memory.{k}": v.contiguous() for k, v in network.memory().items()}
    for i, state in optimizer.state_dict()["state"].items():
        for k, v in state.items():
            tensors[f"optimizer.{i}.{k}"] = torch.as_tensor(v).detach().cpu().clone()
    header = json.dumps(asdict(progress))
    write_bytes_atomic(path, save_tensors(tensors, {"textualize": header}))


def read_progress(path: Path) -> Progress:
    """Return the progress of a checkpoint; raises TextualizeError for a damaged one."""
    read_tensors(path)
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return Progress(**json.loads(header["__metadata__"]["textualize"]))


def restore(path: Path, network: Network, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Put a checkpoint back into network and optimizer; return its best weights."""
    tensors = read_tensors(path)
    network.load_state_dict(part(tensors, "network."))
    if memory := part(tensors, "memory."):
        network.remember(memory)
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in part(tensors, "optimizer.").items():
        i, _, key = name.partition(".")
        state.setdefault(int(i), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return part(tensors, "best.")
