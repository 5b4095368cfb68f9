"""Picture methods: a network of this folder with how it reads clips and what it answers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from textualize.baselines.fusion import network_class
from textualize.baselines.model_files import put_weights, read_model, write_model
from textualize.baselines.network import Network
from textualize.baselines.pictures import PictureSource
from textualize.baselines.reading import Reading, open_reel
from textualize.baselines.task import Task, softmax
from textualize.types import Prediction, Record

log = logging.getLogger(__name__)
SCHEMA = 1


def build_pictured(name: str, task: Task, frames: int, settings: Mapping[str, Any]) -> Network:
    """Return the untrained network of a picture method; `settings` see `settings_of`."""
    made = network_class(name, pictured=True)
    network: Network = cast(Any, made)({}, task, steps=frames, **settings)
    return network


class PictureMethod:
    """A trained network of pictures: records in, predictions out.

    `frames` are the pictures of a piece in training; a clip is answered on the whole.
    """

    def __init__(
        self,
        name: str,
        task: Task,
        reading: Reading,
        frames: int,
        network: Network,
        settings: Mapping[str, Any],
    ) -> None:
        """Hold the parts; `settings` are those `build_pictured` made the network from."""
        self.name, self.task = name, task
        self.labels = task.names if task.kind == "classes" else ()
        self.reading, self.frames = reading, frames
        self.network = network
        self.settings = dict(settings)

    def predict(self, records: Sequence[Record]) -> list[Prediction]:
        """Return one prediction per record, in order, read one by one.

        A record without pictures has the label None, or the training mean where labels are
        numbers; its text says so, and why.
        """
        self.network.eval()
        device = next(self.network.parameters()).device
        found = []
        for record in records:
            reel = open_reel(record, self.reading)
            if isinstance(reel, str):
                log.warning("%s: clip '%s' has no pictures: %s", self.name, record.clip.id, reel)
                found.append(self._blind(record.clip.id, reel))
                continue
            one = PictureSource([reel], torch.zeros(1), torch.ones(1)).to(device)
            with torch.inference_mode():
                out = self.network(one.take(torch.tensor([0])))[0]
            found.append(self._answer(record.clip.id, out))
        return found

    def _blind(self, clip_id: str, why: str) -> Prediction:
        if self.task.kind == "values":
            mean = float(self.task.numbers(torch.zeros(1))[0])  # targets are standardised
            return Prediction(clip_id, self.name, mean, text=f"the mean: no pictures: {why}")
        return Prediction(clip_id, self.name, None, text=f"no pictures: {why}")

    def _answer(self, clip_id: str, out: Tensor) -> Prediction:
        if self.task.kind == "values":
            return Prediction(clip_id, self.name, float(self.task.numbers(out)[0]))
        scores = softmax(out.double().cpu().numpy())
        return Prediction(
            clip_id,
            self.name,
            self.labels[int(np.argmax(scores))],
            dict(zip(self.labels, scores.tolist(), strict=True)),
        )

    def save(self, folder: Path) -> None:
        """Write model.safetensors (weights), then model.json (what they mean)."""
        about = {
            "schema": SCHEMA,
            "method": self.name,
            "task": self.task.to_json(),
            "settings": self.settings,
            "reading": asdict(self.reading),
            "frames": self.frames,
        }
        write_model(folder, self.network, about)

    @classmethod
    def load(cls, run: str | Path) -> PictureMethod:
        """Return the method saved in a run folder.

        Raises:
            TextualizeError: a file is missing or damaged, or the two do not belong together.
        """
        about, tensors = read_model(Path(run), SCHEMA, "picture model")
        name, task, frames = about["method"], Task.from_json(about["task"]), int(about["frames"])
        network = build_pictured(name, task, frames, about["settings"])
        put_weights(network, tensors)
        return cls(name, task, Reading(**about["reading"]), frames, network, about["settings"])
