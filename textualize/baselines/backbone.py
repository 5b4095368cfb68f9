"""Networks of single pictures from `transformers`, layer by layer: from scratch, or trained before.

Any of its vision models will do whose hidden states are maps (ResNet, ConvNeXt, RegNet, Swin, ...)
or tokens of patches (ViT, DeiT, DINOv2, ...): tokens are laid out as the map they were cut from,
those that stand for no patch are left out.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    PretrainedConfig,
    ResNetConfig,
    ResNetModel,
)

from textualize.baselines.norms import normed_alone
from textualize.errors import TextualizeError

SMALL = "small"
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
_HELD = 2  # the last stages of a ResNet that large maps are not halved in


class Backbone(nn.Module):
    """Pictures (n, 3, H, W), 0 to 1, to the maps of every layer.

    model: "small", a ResNet from scratch with one basic block a stage, `width` channels in the
    first and twice as many in each of the next three; or a hub id or a folder, whose weights are
    read; or the description of a model (`described`), built without its weights. large_maps: the
    last two stages of a ResNet keep the size they are given, as published: 28 x 28 of 224.

    `width` is K of the last layer, `depth` how many layers there are; `tokens` says that a layer's
    points are a transformer's tokens, whose values have no sign of their own.
    """

    mean: Tensor
    std: Tensor
    tokens: bool

    def __init__(self, model: str | Mapping[str, Any], width: int, *, large_maps: bool) -> None:
        """Raises TextualizeError where there is no such model, or none of pictures."""
        super().__init__()
        mean: tuple[float, ...] = _MEAN
        std: tuple[float, ...] = _STD
        if isinstance(model, Mapping):
            self.model = AutoModel.from_config(AutoConfig.for_model(**model))
        elif model == SMALL:
            self.model = ResNetModel(_small(width))
        else:
            self.model, mean, std = _pretrained(model)
        stages = getattr(getattr(self.model, "encoder", None), "stages", None)
        if large_maps and isinstance(self.model, ResNetModel) and stages is not None:
            _keep_size(stages[-_HELD:])
        normed_alone(self.model)
        shape = (1, 3, 1, 1)
        self.register_buffer("mean", torch.tensor(mean).view(shape))
        self.register_buffer("std", torch.tensor(std).view(shape))
        resizes = "interpolate_pos_encoding" in inspect.signature(self.model.forward).parameters
        self._options = {"interpolate_pos_encoding": True} if resizes else {}
        self.width, self.depth = self._measure()

    @property
    def described(self) -> dict[str, Any]:
        """The model without its weights, as JSON values."""
        config: PretrainedConfig = self.model.config
        return dict(config.to_diff_dict()) | {"model_type": config.model_type}

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Return the maps of every layer, (n, K, h, w), the last as the model gives it out."""
        out = self.model(
            pixel_values=(pixels - self.mean) / self.std, output_hidden_states=True, **self._options
        )
        states = getattr(out, "reshaped_hidden_states", None) or out.hidden_states
        self.tokens = out.last_hidden_state.ndim == 3
        return [*(as_map(x) for x in states[:-1]), as_map(out.last_hidden_state)]

    @torch.enable_grad()
    def _measure(self) -> tuple[int, int]:
        """Return `width` and `depth`; what no layer's map depends on (a pooler) is frozen."""
        side = getattr(self.model.config, "image_size", None) or 64
        side = max(side) if isinstance(side, list | tuple) else side
        training = self.training
        layers = self.eval()(torch.zeros(1, 3, side, side))
        self.train(training)
        used = [p for p in self.parameters() if p.requires_grad]
        total = torch.stack([layer.sum() for layer in layers]).sum()
        for p, gradient in zip(
            used, torch.autograd.grad(total, used, allow_unused=True), strict=True
        ):
            p.requires_grad_(gradient is not None)
        return layers[-1].shape[1], len(layers)


def as_map(states: Tensor) -> Tensor:
    """Return states of points (n, K, h, w) as they are, of tokens (n, N, K) laid out as a square.

    >>> as_map(torch.zeros(2, 1 + 14 * 14, 8)).shape
    torch.Size([2, 8, 14, 14])
    """
    if states.ndim == 4:
        return states
    side = math.isqrt(states.shape[1])
    patches = states[:, states.shape[1] - side**2 :]
    return patches.transpose(1, 2).reshape(len(states), -1, side, side)


def _small(width: int) -> ResNetConfig:
    return ResNetConfig(
        embedding_size=width,
        hidden_sizes=[width, 2 * width, 4 * width, 8 * width],
        depths=[1, 1, 1, 1],
        layer_type="basic",
    )


def _pretrained(model: str) -> tuple[nn.Module, tuple[float, ...], tuple[float, ...]]:
    """Return a model with its weights, and the mean and spread of the pictures it knows."""
    try:
        found = AutoModel.from_pretrained(model)
        processor = AutoImageProcessor.from_pretrained(model)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise TextualizeError(
            f"no vision model '{model}' ({reason}): give {SMALL}, a hub id or the folder of a "
            "transformers model with its preprocessor_config.json"
        ) from None
    return found, tuple(processor.image_mean), tuple(processor.image_std)


def _keep_size(stages: nn.ModuleList) -> None:
    for layer in stages.modules():
        if isinstance(layer, nn.Conv2d):
            layer.stride = (1, 1)
