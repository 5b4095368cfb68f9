"""au-guided: a classifier of faces whose attention is led to where its class' action units are.

After Belharbi et al., "Guided Interpretable Facial Expression Recognition via Spatial Action Unit
Cues", 2024, arXiv 2402.00281.

    picture -> layers F_1 ... F_n -> mean over F_n's points -> linear -> class scores
    T_l = mean of F_l's channels, (h, w)       of a transformer's tokens: of their absolute values
    loss = cross-entropy + weight * mean over layers l and pictures with a map of 1 - cos(T_l, A)

A is the map of the true class' action units (`au_map`): nobody marks anything. A class without
action units (neutral) and a picture without landmarks have no map and are classified only. A clip's
scores are the mean over its pictures. Landmarks and maps are for training: prediction reads pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from textualize.baselines.activation import CamKind, activation
from textualize.baselines.aligned import Aligned
from textualize.baselines.attention_metrics import CRITERIA, Criterion, alignment, others
from textualize.baselines.au_codebook import Codebook, expression_actions, selected
from textualize.baselines.au_map import HeatMaps, heat_maps
from textualize.baselines.backbone import SMALL, Backbone
from textualize.baselines.landmarked import landmarks_of
from textualize.baselines.network import Network
from textualize.baselines.pictures import Pictures
from textualize.baselines.task import Task
from textualize.errors import TextualizeError, unknown
from textualize.labels import LabelSet

MAP_SIZE = 56  # points a side of the maps attention is compared with in training


@dataclass(frozen=True, slots=True, eq=False)
class Attended:
    """What a network made of n pictures.

    clips: (n,) row of each picture in its batch. logits: (n, C). attention: (n, h, w), T of the
    guided layer, of several the last. features: (n, K, h, w) of the last layer.
    """

    clips: Tensor
    logits: Tensor
    attention: Tensor
    features: Tensor


class AuGuided(Network):
    """Classifies pictures of faces; the loss asks its attention to lie on action units.

    weight: lambda of the alignment; 0 is plain classification. layers: those that are aligned, 1
    the first, -1 the last. actions: label -> its action units, for labels that are no emotions, or
    in place of the codebook's. relative: see `heat_maps`. shuffled: maps of training are drawn on
    the landmarks of another picture of the batch, the control. The others: see `Backbone`.
    """

    reads: ClassVar[Literal["streams", "functionals", "pictures"]] = "pictures"

    def __init__(
        self,
        widths: Mapping[str, int],
        task: Task,
        *,
        steps: int,
        backbone: str | Mapping[str, Any] = SMALL,
        width: int = 16,
        large_maps: bool = True,
        dropout: float = 0.0,
        weight: float = 4.0,
        layers: Sequence[int] = (-1,),
        criterion: Criterion = "cosine",
        codebook: Codebook = "facs",
        relative: bool = True,
        actions: Mapping[str, Sequence[int]] | None = None,
        shuffled: bool = False,
    ) -> None:
        """Raises TextualizeError for values, an unknown criterion, layer or label."""
        super().__init__(widths, task)
        if task.kind != "classes" or task.per_step:
            raise TextualizeError(
                "au-guided answers classes of clips: action units belong to expressions"
            )
        if criterion not in CRITERIA:
            raise unknown("criterion", criterion, CRITERIA)
        self.backbone = Backbone(backbone, width, large_maps=large_maps)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.backbone.width, task.outputs)
        self.weight, self.aligned_by = weight, criterion
        self.codebook, self.relative, self.shuffled = codebook, relative, shuffled
        self.layers = _layers(layers, self.backbone.depth)
        self.class_actions: Tensor
        self.register_buffer("class_actions", self._class_actions(actions or {}), persistent=False)
        self._aligned = Aligned()

    def resolved(self) -> dict[str, Any]:
        """Return the settings the network is built from again without the backbone's files."""
        return {"backbone": self.backbone.described}

    def _class_actions(self, given: Mapping[str, Sequence[int]]) -> Tensor:
        """Return which action units each class shows, (C, A) bool."""
        names = self.task.names
        for label in given:
            if label not in names:
                raise unknown("label in recipe key 'actions'", label, names)
        labels = LabelSet("own", tuple(names), {})
        found = torch.stack(
            [
                selected(given.get(name, expression_actions(name, labels, self.codebook)))
                for name in names
            ]
        )
        if self.weight and not found.any():
            raise TextualizeError(
                f"au-guided knows no action units of {', '.join(names)}: give recipe key "
                "'actions', or set weight to 0"
            )
        return found

    def forward(self, batch: Pictures) -> Tensor:
        """Return class scores (B, C), the mean over a clip's pictures."""
        found = self.attend(batch)
        return _over_clips(found.logits, found.clips, batch)

    def loss(self, batch: Pictures) -> Tensor:
        """Return cross-entropy and, weighted, how far attention is from the maps."""
        clips, pixels = _pictures(batch)
        layers = self.backbone(pixels)
        loss = self.task.loss(_over_clips(self._logits(layers[-1]), clips, batch), batch)
        if not self.weight:
            return loss
        maps = self.maps(batch)
        parts = [
            alignment(self._attention(layers[i]), maps.values, maps.drawn, self.aligned_by)
            for i in self.layers
        ]
        aligned = torch.stack(parts).mean()
        if self.training:
            self._aligned.add(aligned, maps)
        return loss + self.weight * aligned

    def told(self) -> dict[str, float]:
        """Return the epoch's mean criterion, and the share of its pictures that had a map.

        Raises TextualizeError where none had: then the weight did nothing.
        """
        return self._aligned.told() if self.weight else {}

    def attend(self, batch: Pictures) -> Attended:
        """Return scores and attention of every picture there is."""
        clips, pixels = _pictures(batch)
        layers = self.backbone(pixels)
        guided = self._attention(layers[self.layers[-1]])
        return Attended(clips, self._logits(layers[-1]), guided, layers[-1])

    def scores(self, pixels: Tensor) -> Tensor:
        """Return class scores (n, C) of single pictures (n, 3, H, W)."""
        return self._logits(self.backbone(pixels)[-1])

    def activation(self, found: Attended, classes: Tensor, kind: CamKind = "cam") -> Tensor:
        """Return the class activation map of each picture's class (n,), 0 to 1, (n, h, w)."""
        return activation(found.features, self.head, classes, kind)

    def maps(self, batch: Pictures, size: int = MAP_SIZE) -> HeatMaps:
        """Return where the true class of each picture there is shows, (n, S, S)."""
        clips = torch.nonzero(batch.seen)[:, 0]
        target = batch.targets[clips]
        actions = self.class_actions[target.clamp(min=0)] & (target >= 0)[:, None]
        points = landmarks_of(batch)
        if self.shuffled and self.training:
            points = points[others(len(points))]
        return heat_maps(points, actions, size, codebook=self.codebook, relative=self.relative)

    def _attention(self, states: Tensor) -> Tensor:
        return attention_of(states, absolute=self.backbone.tokens)

    def _logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(features.mean((2, 3))))
        return logits.float() if logits.dtype == torch.bfloat16 else logits


def attention_of(states: Tensor, *, absolute: bool = False) -> Tensor:
    """Return T of a layer's maps (n, K, h, w): the mean over its channels, (n, h, w).

    >>> attention_of(torch.tensor([[[[1.0]], [[-3.0]]]]), absolute=True).item()
    2.0
    """
    return (states.abs() if absolute else states).mean(1)


def _pictures(batch: Pictures) -> tuple[Tensor, Tensor]:
    """Return the clip of each picture there is, (n,), and its pixels, (n, 3, H, W)."""
    return torch.nonzero(batch.seen)[:, 0], batch.pixels.transpose(1, 2)[batch.seen]


def _over_clips(logits: Tensor, clips: Tensor, batch: Pictures) -> Tensor:
    """Return the mean of pictures' scores (n, C) over each clip, (B, C); 0 without a picture."""
    total = logits.new_zeros(len(batch), logits.shape[1]).index_add(0, clips, logits)
    return total / batch.seen.sum(1, keepdim=True).clamp(min=1).to(total.dtype)


def _layers(given: Sequence[int], depth: int) -> tuple[int, ...]:
    """Return the indices of layers, counted from 1 or, backwards, from -1; ascending."""
    for i in given:
        if not 1 <= abs(i) <= depth:
            raise TextualizeError(
                f"recipe key 'layers' should be 1 to {depth}, or -1 the last; given {i}"
            )
    return tuple(sorted({i - 1 if i > 0 else depth + i for i in given}))
