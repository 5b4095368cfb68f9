"""Feature methods: a network of this folder with the statistics and labels it needs to predict."""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from textualize.baselines.batch import Batch, Features, Scale
from textualize.baselines.model_files import put_weights, read_model, write_model
from textualize.baselines.network import Network
from textualize.baselines.pooling import extent, summarise
from textualize.baselines.task import Task, softmax, vote
from textualize.errors import unknown
from textualize.types import Prediction, Record, Track

log = logging.getLogger(__name__)
SCHEMA = 3

NETWORKS: Mapping[str, str] = {
    "concat": "textualize.baselines.concat:Concat",
    "linear": "textualize.baselines.concat:Concat",  # without its hidden layer
    "jca": "textualize.baselines.jca:JCA",
    "jmt": "textualize.baselines.jmt:JMT",
    "lfan": "textualize.baselines.lfan:LFAN",
    "can": "textualize.baselines.can:CAN",
    "pkdot": "textualize.baselines.pkdot:PKDOT",
    "subject-msda": "textualize.baselines.subject_msda:SubjectMSDA",
}

# of pictures; they are saved and read back by `pictured.PictureMethod`, see also `either.py`
PICTURED: Mapping[str, str] = {
    "stochastic-softmax": "textualize.baselines.stochastic_softmax:StochasticSoftmax",
    "dmsn": "textualize.baselines.dmsn_clips:ClipDMSN",
    "au-guided": "textualize.baselines.au_guided:AuGuided",
    "subject-msda": "textualize.baselines.subject_pictures:SubjectPictures",
}


def network_class(method: str, *, pictured: bool = False) -> type[Network]:
    """Return the class of a method with a network; raises TextualizeError for another method.

    Of a method of both tables it is that of tracks, `pictured` that of pictures.
    """
    known = {**NETWORKS, **PICTURED} if pictured else {**PICTURED, **NETWORKS}
    if method not in known:
        raise unknown("feature method", method, known)
    module, _, name = known[method].partition(":")
    return cast(type[Network], getattr(importlib.import_module(module), name))


def settings_of(method: str, recipe: object) -> dict[str, Any]:
    """Return the options a method's network takes, from the recipe keys of their names."""
    made = network_class(method, pictured=hasattr(recipe, "pictures"))
    return {name: getattr(recipe, name) for name in _options(made)}


def _options(made: type[object]) -> list[str]:
    """Return the keywords a class takes but `steps`: also those it passes on to the one above."""
    parameters = inspect.signature(made.__init__).parameters.values()
    names = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "steps"]
    passed_on = any(p.kind is p.VAR_KEYWORD for p in parameters)
    return names + (_options(made.__mro__[1]) if passed_on else [])


def build(features: Features, task: Task, settings: Mapping[str, Any]) -> Network:
    """Return the untrained network of `features.method`; `settings` see `settings_of`.

    Raises:
        TextualizeError: the method is unknown, or its streams do not fit it.
    """
    made = network_class(features.method)
    flat = made.reads == "functionals" and not task.per_step
    widths = {"functionals": features.width} if flat else features.widths
    network: Network = cast(Any, made)(widths, task, steps=features.steps, **settings)
    return network


class FeatureMethod:
    """A trained feature network: records in, predictions out."""

    def __init__(
        self, task: Task, features: Features, network: Network, settings: Mapping[str, Any]
    ) -> None:
        """Hold the parts; `settings` are those `build` made the network from."""
        self.task = task
        self.labels = task.names if task.kind == "classes" else ()
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
        clips = [summarise(r, f.needed, f.steps) for r in records]
        batch, notes = f.batch(clips, predicting=True)
        for note in notes:
            log.warning(note)
        self.network.eval()
        device = next(self.network.parameters()).device
        found = []
        with torch.inference_mode():
            for i, record in enumerate(records):
                one = batch.take(torch.tensor([i]))
                found.append(self._answer(record, self.network(one.to(device))[0], one))
        return found

    def _answer(self, record: Record, out: Tensor, one: Batch) -> Prediction:
        """Return the prediction of a clip from the network's output for it."""
        method = self.features.method
        if self.task.kind == "values" and not self.task.per_step:
            return Prediction(record.clip.id, method, float(self.task.numbers(out)[0]))
        if self.task.kind == "values":
            return Prediction(record.clip.id, method, None, series=self._series(record, out))
        logits = out.double().cpu().numpy()
        if self.task.per_step:
            seen = torch.stack(list(one.steps.values())).any(0)[0].cpu().numpy()
            scores = vote(logits[seen] if seen.any() else logits, self.task.votes)
        else:
            scores = softmax(logits)
        return Prediction(
            record.clip.id,
            method,
            self.labels[int(np.argmax(scores))],
            dict(zip(self.labels, scores.tolist(), strict=True)),
            series=self._series(record, out) if self.task.per_step else None,
        )

    def _series(self, record: Record, out: Tensor) -> Track:
        """Return the answer of every step on the clip's time: values, or class probabilities."""
        start, end = extent(record, self.features.needed)
        rate = self.features.steps / (end - start) if end > start else 1.0
        if self.task.kind == "values":
            rows = self.task.smoothed(self.task.numbers(out), rate)
        else:
            rows = softmax(out.double().cpu().numpy())
        unit = self.task.unit if self.task.kind == "values" else "probability"
        names = self.task.names
        return Track(rows.astype(np.float32), rate, start, names, unit, self.features.method)

    def save(self, folder: Path) -> None:
        """Write model.safetensors (weights, statistics), then model.json (what they mean)."""
        f = self.features
        statistics = {}
        for name, scale in f.scales.items():
            statistics[f"mean.{name}"] = torch.from_numpy(scale.mean)
            statistics[f"std.{name}"] = torch.from_numpy(scale.std)
        about = {
            "schema": SCHEMA,
            "method": f.method,
            "task": self.task.to_json(),
            "settings": self.settings,
            "columns": {t: list(c) for t, c in f.columns.items()},
            "groups": {m: list(t) for m, t in f.groups.items()},
            "steps": f.steps,
            "speaker_relative": f.relative,
            "standardised": f.standard,
            "training_only": sorted(f.training_only),
            "statistics": sorted(f.scales),
        }
        write_model(folder, self.network, about, statistics)

    @classmethod
    def load(cls, run: str | Path) -> FeatureMethod:
        """Return the method saved in a run folder.

        Raises:
            TextualizeError: a file is missing or damaged, or the two do not belong together.
        """
        about, tensors = read_model(Path(run), SCHEMA, "feature model")
        features = _features(about, tensors)
        task = Task.from_json(about["task"])
        network = build(features, task, about["settings"])
        put_weights(network, tensors)
        return cls(task, features, network, about["settings"])


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
        standard=bool(about["standardised"]),
        training_only=frozenset(about["training_only"]),
    )
