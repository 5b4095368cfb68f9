"""Where a trained au-guided network looks, on a clip whose class is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from textualize.baselines.activation import CamKind
from textualize.baselines.au_guided import AuGuided
from textualize.baselines.au_map import HeatMaps
from textualize.baselines.landmarked import landmarks_of
from textualize.baselines.pictured import PictureMethod
from textualize.baselines.pictures import PictureSource
from textualize.baselines.reading import open_reel
from textualize.errors import TextualizeError
from textualize.types import Record


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One clip's n pictures and what the network made of them.

    pixels: (n, 3, S, S), 0 to 1. points: landmarks (n, 68, 2) in sides, NaN where unknown. maps: of
    the true class, of the picture's size. attention: (n, h, w). cam, cam_said: class activation
    maps of the true class and of the one the clip was taken for. true, said: their ids.
    """

    record: Record
    pixels: Tensor
    points: Tensor
    maps: HeatMaps
    attention: Tensor
    cam: Tensor
    cam_said: Tensor
    true: int
    said: int


def look(method: PictureMethod, record: Record, cam: CamKind = "cam") -> Look | str:
    """Return what the network made of a clip whose class is known, or why it has no pictures.

    `cam` is the kind of the class activation maps.

    Raises:
        TextualizeError: the method is another one, the clip's label is none of its classes, or
            there is no such map of it.
    """
    network = cast(AuGuided, guided(method).network)
    if record.clip.label not in method.labels:
        raise TextualizeError(
            f"clip '{record.clip.id}' has label {record.clip.label!r}; the run knows "
            f"{', '.join(method.labels)}"
        )
    reel = open_reel(record, method.reading)
    if isinstance(reel, str):
        return reel
    true = method.labels.index(str(record.clip.label))
    source = PictureSource([reel], torch.tensor([true]), torch.ones(1))
    batch = source.to(network.head.weight.device).take(torch.tensor([0]))
    network.eval()
    with torch.inference_mode():
        found = network.attend(batch)
        said = int(network(batch)[0].argmax())
        cams = [network.activation(found, found.clips * 0 + c, cam) for c in (true, said)]
        maps = network.maps(batch, batch.pixels.shape[-1])
    pixels = batch.pixels.transpose(1, 2)[batch.seen]
    points = landmarks_of(batch)
    return Look(record, pixels, points, maps, found.attention, cams[0], cams[1], true, said)


def guided(method: object) -> PictureMethod:
    """Return a trained au-guided method as what it is; raises TextualizeError for another one."""
    if not isinstance(method, PictureMethod) or not isinstance(method.network, AuGuided):
        name = getattr(method, "name", type(method).__name__)
        raise TextualizeError(f"attention on action units is au-guided's; this run is of {name}")
    return method
