"""Class activation maps of au-guided: where the evidence for a class lies, in four ways.

    cam        sum over k of w_k F_k, w the class' row of the linear head   Zhou et al. 2016
    gradcam    what of that is above 0, w_k the mean gradient of F_k        Selvaraju et al. 2017
    gradcam++  gradients that raise the score, more of small regions        Chattopadhay et al. 2018
    layercam   gradients that raise the score, each at its own point        Jiang et al. 2021

F (n, K, h, w) is the backbone's last layer. The first follows from the head alone; the gradients of
the others are captum's. Every map is brought to 0 and 1; one that is nowhere above 0 is 0 all over.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from textualize.baselines.attention_metrics import class_map, from_0_to_1
from textualize.errors import TextualizeError, missing_package, unknown

CamKind = Literal["cam", "gradcam", "gradcam++", "layercam"]
CAM_KINDS: tuple[CamKind, ...] = get_args(CamKind)


def activation(features: Tensor, head: nn.Linear, classes: Tensor, kind: CamKind) -> Tensor:
    """Return the activation map of each picture's class, 0 to 1, (n, h, w).

    Args:
        features: F, (n, K, h, w); scores are `head` of its mean over points.
        head: K values to C scores.
        classes: (n,) ids.
        kind: one of `CAM_KINDS`.

    Raises:
        TextualizeError: an unknown kind; captum is not there for one that needs it; gradcam++ of a
            layer that has values below 0.
    """
    if kind not in CAM_KINDS:
        raise unknown("class activation map", kind, CAM_KINDS)
    if kind == "cam":
        return class_map(features, head.weight, classes)
    with torch.inference_mode(False), torch.enable_grad():
        own = features.detach().clone()
        found = _by_gradients(own, _Rest(head), classes.clone(), kind)
    return from_0_to_1(found.relu().flatten(1)).view_as(found)


class _Rest(nn.Module):
    """What follows the last layer: the layer, which captum looks at, mean and head."""

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.layer = nn.Identity()
        # copies: weights made or read in inference mode give no gradient
        self.weight, self.bias = (x.detach().clone() for x in (head.weight, head.bias))

    def forward(self, features: Tensor) -> Tensor:
        means = self.layer(features).mean((2, 3))
        return nn.functional.linear(means, self.weight, self.bias)


def _by_gradients(features: Tensor, rest: _Rest, classes: Tensor, kind: CamKind) -> Tensor:
    """Return a map whose values above 0 speak for the class, (n, h, w)."""
    try:
        from captum.attr import (  # type: ignore[import-untyped]
            LayerGradCam,
            LayerGradientXActivation,
        )
    except ModuleNotFoundError:
        raise missing_package("a class activation map by gradients", "captum", "cam") from None
    if kind == "gradcam":
        found: Tensor = LayerGradCam(rest, rest.layer).attribute(features, classes)
        return found[:, 0]
    plain = LayerGradientXActivation(rest, rest.layer, multiply_by_inputs=False)
    gradients = plain.attribute(features, classes)
    raising: Tensor = gradients.relu()
    if kind == "layercam":
        return (raising * features).sum(1)
    return (_plus_plus(features, raising) * features).sum(1)


def _plus_plus(features: Tensor, raising: Tensor) -> Tensor:
    """Return the weights of gradcam++, (n, K, 1, 1), equations 10, 11 and 19 of its paper."""
    if (features < 0).any():
        raise TextualizeError(
            "gradcam++ is of layers that are nowhere below 0; this run's last layer is: give cam, "
            "gradcam or layercam"
        )
    # g^2 / (2 g^2 + g^3 sum of F), of gradients above 0: the others' weight is 0
    share = 1 / (2 + raising * features.sum((2, 3), keepdim=True))
    return (share * raising).sum((2, 3), keepdim=True)
