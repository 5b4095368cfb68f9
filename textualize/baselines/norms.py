"""Batch normalisation of one value: a lone picture whose maps have come down to a point."""

from __future__ import annotations

import logging
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

log = logging.getLogger(__name__)


def normed_alone(network: nn.Module) -> None:
    """Let the batch norms of a network take one value a channel in training, in its place.

    One value has no spread: those of its batch norms that are given no more use the mean and spread
    they have come to, as in prediction, and do not go on with them. The first time is logged.
    """
    told = False

    def before(norm: nn.Module, given: tuple[Any, ...]) -> None:
        nonlocal told
        norm.alone = norm.training and given[0].numel() == given[0].shape[1]  # type: ignore[assignment]
        if norm.alone:
            norm.training = False
            if not told:
                log.warning(
                    "a lone picture with maps of one point is normalised by what others had: "
                    "larger pictures have larger maps (recipe key 'size')"
                )
                told = True

    def after(norm: nn.Module, _given: tuple[Any, ...], _out: object) -> None:
        if norm.alone:
            norm.training = True

    for norm in network.modules():
        if isinstance(norm, _BatchNorm):
            norm.register_forward_pre_hook(before)
            norm.register_forward_hook(after)
