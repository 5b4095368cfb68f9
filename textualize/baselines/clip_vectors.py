"""Clips to one vector each: what a network of pictures, or of short clips, says of them on average.

A picture's vector is the mean over all points of a backbone's last map, so that no place of the
picture counts more than another; a clip's is the mean over its pictures, or over its pieces.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from textualize.baselines.backbone import Backbone
from textualize.baselines.pictures import Pictures
from textualize.baselines.stochastic_softmax import PieceVectors

_DMSN = "dmsn-"


def clip_vectors(
    backbone: str | Mapping[str, Any], width: int, steps: int
) -> PictureVectors | OverPieces:
    """Return the network of a recipe's `backbone` and `width`, untrained but for weights it has.

    Raises:
        TextualizeError: there is no such model, or none of pictures.
    """
    if isinstance(backbone, str) and backbone.startswith(_DMSN):
        return OverPieces(PieceVectors(backbone.removeprefix(_DMSN), width, steps))
    return PictureVectors(Backbone(backbone, width, large_maps=False))


class PictureVectors(nn.Module):
    """The mean over a clip's pictures of a `Backbone`'s averaged maps; `width` is D."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.width = backbone.width
        self.described: str | dict[str, Any] = backbone.described

    def forward(self, batch: Pictures) -> Tensor:
        """Return (B, D)."""
        maps = self.backbone(batch.pixels.transpose(1, 2)[batch.seen])[-1]
        found = maps.mean((2, 3)).float()
        clips = torch.nonzero(batch.seen)[:, 0]
        total = found.new_zeros(len(batch), self.width).index_add(0, clips, found)
        return torch.div(total, batch.seen.sum(1, keepdim=True).clamp(min=1))


class OverPieces(nn.Module):
    """The mean over a clip's pieces of DMSN's vectors (a reconstruction); `width` is D."""

    def __init__(self, pieces: PieceVectors) -> None:
        super().__init__()
        self.pieces = pieces
        self.width = pieces.width
        self.described: str | dict[str, Any] = pieces.described

    def forward(self, batch: Pictures) -> Tensor:
        """Return (B, D)."""
        out = torch.zeros(len(batch), self.width, device=batch.pixels.device)
        for rows, videos in batch.by_length():
            vectors = self.pieces(videos)
            out = out.index_copy(0, rows, vectors.mean(1).to(out.dtype))
        return out
