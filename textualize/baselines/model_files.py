"""A trained network on disk: model.safetensors, and model.json that says what is in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from textualize.baselines.network import Network
from textualize.errors import TextualizeError
from textualize.files import read_json, write_bytes_atomic, write_json_atomic


def write_model(
    folder: Path,
    network: Network,
    about: Mapping[str, Any],
    more: Mapping[str, Tensor] | None = None,
) -> None:
    """Write weights and further tensors, then what they mean: `about`, which names its schema."""
    tensors = {
        f"network.{k}": v.detach().cpu().contiguous() for k, v in network.state_dict().items()
    }
    tensors |= more or {}
    shapes = {k: list(v.shape) for k, v in sorted(tensors.items())}
    write_bytes_atomic(folder / "model.safetensors", save_tensors(tensors))
    write_json_atomic(folder / "model.json", {**about, "shapes": shapes})


def read_model(folder: Path, schema: int, what: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what `write_model` wrote: `about`, and the tensors by name.

    Raises:
        TextualizeError: a file is missing or damaged, of another schema, or not the other's.
    """
    about: dict[str, Any] = read_json(folder / "model.json", what)
    if about.get("schema") != schema:
        raise TextualizeError(
            f"{what} {folder} has schema {about.get('schema')}, this textualize reads "
            f"{schema}: update textualize, or train again"
        )
    tensors = read_tensors(folder / "model.safetensors")
    if {k: list(v.shape) for k, v in tensors.items()} != about["shapes"]:
        raise TextualizeError(
            f"{folder}: model.safetensors does not belong to model.json: train again"
        )
    return about, tensors


def put_weights(network: Network, tensors: Mapping[str, Tensor]) -> None:
    """Give a network the weights of `read_model`; it stands in its last stage, which predicts."""
    network.begin(network.stages[-1])
    network.load_state_dict(part(tensors, "network."))


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose name starts with `prefix`, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file; raises TextualizeError if it is missing or damaged."""
    try:
        return load_tensors(path.read_bytes())
    except FileNotFoundError:
        raise TextualizeError(f"no weights at {path}: train again") from None
    except (SafetensorError, json.JSONDecodeError) as error:
        raise TextualizeError(f"weights {path} are damaged ({error}): train again") from None
