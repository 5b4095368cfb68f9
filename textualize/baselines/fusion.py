"""Feature methods: a network of this folder with the statistics and labels it needs to predict."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from textualize.baselines.batch import Features, Scale, summarise
from textualize.baselines.concat import Concat
from textualize.baselines.jca import JCA, STREAMS
from textualize.errors import TextualizeError, unknown
from textualize.files import read_json, write_bytes_atomic, write_json_atomic
from textualize.types import Prediction, Record

log = logging.getLogger(__name__)
SCHEMA = 1


def build(features: Features, n_classes: int, settings: Mapping[str, Any]) -> nn.Module:
    """Return the untrained network of `features.method`.

    settings: "hidden", "attention" and "dropout" as in the recipe.

    Raises:
        TextualizeError: the method is unknown, or jca's groups do not fit its two streams.
    """
    hidden, dropout = int(settings["hidden"]), float(settings["dropout"])
    if features.method == "concat":
        return Concat(features.width, n_classes, hidden=hidden, dropout=dropout)
    if features.method == "jca":
        check_groups(features)
        return JCA(
            features.widths,
            n_classes,
            steps=features.steps,
            hidden=hidden,
            attention=int(settings["attention"]),
            dropout=dropout,
        )
    raise unknown("feature method", features.method, ("concat", "jca"))


def check_groups(features: Features) -> None:
    """Raise TextualizeError unless the groups split the tracks into the two streams."""
    if set(features.groups) != set(STREAMS) or not all(features.groups.values()):
        raise TextualizeError(
            f"jca has two streams, 'visual' and 'audio'; recipe key 'groups' gives "
            f"{ {m: list(t) for m, t in features.groups.items()} }: give each at least one track"
        )
    grouped = [t for own in features.groups.values() for t in own]
    if sorted(grouped) != sorted(features.columns):
        raise TextualizeError(
            f"jca: recipe key 'tracks' is {', '.join(features.columns)} and 'groups' holds "
            f"{', '.join(grouped)}: every track belongs to one group"
        )


class FeatureMethod:
    """A trained feature network: records in, predictions out."""

    def __init__(
        self,
        labels: Sequence[str],
        features: Features,
        network: nn.Module,
        settings: Mapping[str, Any],
    ) -> None:
        """Hold the parts; `settings` are those `build` made the network from."""
        self.labels = tuple(labels)
        self.features = features
        self.network = network
        self.settings = dict(settings)

    def predict(self, records: Sequence[Record]) -> list[Prediction]:
        """Return one prediction per record, in order.

        Clips are read one by one, so that a score does not depend on its neighbours to the last
        bit. Missing tracks and statistics are logged with their count.
        """
        if not records:
            return []
        f = self.features
        clips = [summarise(r, list(f.columns), f.steps) for r in records]
        batch, notes = f.batch(clips)
        for note in notes:
            log.warning(note)
        self.network.eval()
        device = next(self.network.parameters()).device
        found = []
        with torch.inference_mode():
            for i, record in enumerate(records):
                logits = self.network(batch.take(torch.tensor([i])).to(device))[0].double()
                scores = torch.softmax(logits, -1).tolist()
                label = self.labels[int(np.argmax(scores))]
                named = dict(zip(self.labels, scores, strict=True))
                found.append(Prediction(record.clip.id, self.features.method, label, named))
        return found

    def save(self, folder: Path) -> None:
        """Write model.safetensors (weights, statistics), then model.json (what they mean)."""
        f = self.features
        tensors = {
            f"network.{k}": v.detach().cpu().contiguous()
            for k, v in self.network.state_dict().items()
        }
        for name, scale in f.scales.items():
            tensors[f"mean.{name}"] = torch.from_numpy(scale.mean)
            tensors[f"std.{name}"] = torch.from_numpy(scale.std)
        about = {
            "schema": SCHEMA,
            "method": f.method,
            "labels": list(self.labels),
            "settings": self.settings,
            "columns": {t: list(c) for t, c in f.columns.items()},
            "groups": {m: list(t) for m, t in f.groups.items()},
            "steps": f.steps,
            "speaker_relative": f.relative,
            "statistics": sorted(f.scales),
            "shapes": {k: list(v.shape) for k, v in sorted(tensors.items())},
        }
        write_bytes_atomic(folder / "model.safetensors", save_tensors(tensors))
        write_json_atomic(folder / "model.json", about)

    @classmethod
    def load(cls, run: str | Path) -> FeatureMethod:
        """Return the method saved in a run folder.

        Raises:
            TextualizeError: a file is missing or damaged, or the two do not belong together.
        """
        folder = Path(run)
        about = read_json(folder / "model.json", "feature model")
        if about.get("schema") != SCHEMA:
            raise TextualizeError(
                f"feature model {folder} has schema {about.get('schema')}, this textualize reads "
                f"{SCHEMA}: update textualize, or train again"
            )
        tensors = read_tensors(folder / "model.safetensors")
        shapes = {k: list(v.shape) for k, v in tensors.items()}
        if shapes != about["shapes"]:
            raise TextualizeError(
                f"{folder}: model.safetensors does not belong to model.json: train again"
            )
        features = _features(about, tensors)
        network = build(features, len(about["labels"]), about["settings"])
        network.load_state_dict(part(tensors, "network."))
        return cls(about["labels"], features, network, about["settings"])


def _features(about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Features:
    return Features(
        method=str(about["method"]),
        columns={t: tuple(c) for t, c in about["columns"].items()},
        groups={m: tuple(t) for m, t in about["groups"].items()},
        steps=int(about["steps"]),
        relative=bool(about["speaker_relative"]),
        scales={
            name: Scale(tensors[f"mean.{name}"].numpy(), tensors[f"std.{name}"].numpy())
            for name in about["statistics"]
        },
    )


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
