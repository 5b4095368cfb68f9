"""Checkpoints that know whether they are whole, and what their log says about the epochs.

A checkpoint is sealed last, by the sha256 of every file in it; one that was being written when
the power went is recognised by that and skipped.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as tensor_bytes
from transformers import TrainerState

from textualize.errors import TextualizeError
from textualize.files import file_digest, write_bytes_atomic, write_json_atomic
from textualize.finetune.recipe import TextRecipe

SCORES = ("macro_f1", "weighted_f1", "accuracy")
WEIGHTS, SEAL = "trainable.safetensors", "sealed.json"

logger = logging.getLogger(__name__)


def seal(checkpoint: Path) -> None:
    """Declare a checkpoint whole."""
    write_json_atomic(checkpoint / SEAL, _digests(checkpoint))


def save_trained(net: torch.nn.Module, checkpoint: Path) -> None:
    """Write the trained tensors, not the frozen base; the seal of an older one is broken."""
    (checkpoint / SEAL).unlink(missing_ok=True)
    trained = {
        name: p.detach().cpu().contiguous() for name, p in net.named_parameters() if p.requires_grad
    }
    write_bytes_atomic(checkpoint / WEIGHTS, tensor_bytes(trained))


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(f for f in folder.iterdir() if f.is_file() and f.name != SEAL)
    return {f.name: file_digest(f) for f in files}


def whole(checkpoint: Path) -> bool:
    """Return whether a checkpoint is sealed and every file is as it was sealed."""
    try:
        sealed: Mapping[str, str] = json.loads((checkpoint / SEAL).read_text("utf-8"))
    except (OSError, json.JSONDecodeError):
        return False
    return bool(sealed) and sealed == _digests(checkpoint)


def last_whole(folder: Path) -> Path | None:
    """Return the newest whole checkpoint of a folder, or None; torn ones are named in the log."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda f: int(f.name.split("-")[1]))
    for checkpoint in reversed(found):
        if whole(checkpoint):
            return checkpoint
        logger.warning("%s is torn: skipped", checkpoint)
    return None


def load_trained(net: torch.nn.Module, checkpoint: Path) -> None:
    """Copy the trained tensors of a checkpoint into a network."""
    stored = load_file(str(checkpoint / WEIGHTS))
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(stored.pop(name))
    if stored:
        raise TextualizeError(f"{checkpoint} belongs to another model: remove it and train again")


# --- the log ---


def epoch_lines(state: TrainerState, selected: int | None = None) -> list[dict[str, Any]]:
    """Return one line an epoch: training loss, validation scores and loss, the step."""
    losses = {round(e["epoch"]): e["loss"] for e in state.log_history if "loss" in e}
    lines = []
    for entry in state.log_history:
        if f"eval_{SCORES[0]}" not in entry:
            continue
        epoch = round(entry["epoch"])
        line = {"epoch": epoch, "step": entry["step"], "train_loss": losses.get(epoch)}
        line |= {name: entry[f"eval_{name}"] for name in SCORES}
        line["validation_loss"] = entry["eval_loss"]
        lines.append(line | ({"selected": epoch == selected} if selected is not None else {}))
    return lines


def exhausted(state: TrainerState, recipe: TextRecipe) -> bool:
    """Return whether all epochs are done, or `patience` of them brought nothing better."""
    scores = [line[recipe.select] for line in epoch_lines(state)]
    if not scores:
        return False
    since_best = len(scores) - 1 - scores.index(max(scores))
    return len(scores) >= recipe.epochs or since_best >= recipe.patience
