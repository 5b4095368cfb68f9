"""Where on a face an expression shows: heat maps of its action units, drawn from 68 landmarks.

After Belharbi et al., "Guided Interpretable Facial Expression Recognition via Spatial Action Unit
Cues", 2024, arXiv 2402.00281. An action unit is one ellipse or two beside landmarks in the order
of iBUG, see `au_codebook`; an expression is the highest of its action units at every point. Neutral
shows nowhere: it has no map.

    28 x 28 points of each action unit -> 3 x 3 mean -> highest -> the map's size -> 0 to 1

Landmarks are (x, y) in sides of a square picture of a face, (0, 0) its upper left corner. The
published lengths are pixels of a picture of 256; here they grow with the face: they are as
published where the outer corners of the eyes are a side / 2.2 apart, which is how the face sensors
cut faces out. (The release takes the highest after each action unit has the map's size.)
"""

from __future__ import annotations

from typing import NamedTuple, TypedDict, Unpack

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from textualize.baselines.au_codebook import ACTIONS, SHAPES, Codebook, Ellipse
from textualize.errors import TextualizeError
from textualize.extract.face.ibug import OUTER_CORNERS, POINTS

INTEROCULAR = 1 / 2.2  # sides between the outer corners of the eyes, where lengths are published

_PX = 1 / 256  # a side, in pixels of the published lengths
_COARSE, _LINES = 28, 3  # points a side of an action unit's map, lines of each
_NEVER = 1e-6  # an axis of no length would divide by 0


class Style(TypedDict, total=False):
    """How maps are drawn.

    codebook: whose ellipses, by default those of "facs". relative: lengths by the distance of the
    eyes, the default; False takes them of the picture's side, as published, whatever the face's
    size.
    """

    codebook: Codebook
    relative: bool


class HeatMaps(NamedTuple):
    """values: (B, S, S) from 0 to 1, the highest 1; drawn: (B,) bool, values are 0 where False."""

    values: Tensor
    drawn: Tensor


def heat_maps(points: Tensor, actions: Tensor, size: int, **style: Unpack[Style]) -> HeatMaps:
    """Return the maps of faces, lowest 0 and highest 1.

    A face is not drawn where a landmark it needs is unknown (not finite), where it has no action
    unit, or where none lies in the picture.

    Args:
        points: landmarks (B, 68, 2) in sides of the picture.
        actions: (B, A) bool, which of `ACTIONS` are shown.
        size: S, points a side of the map.
        style: see `Style`.
    """
    found = drawing(points, actions, size, **style)
    low, high = found.flatten(1).amin(1), found.flatten(1).amax(1)
    drawn = (high > low) & points.flatten(1).isfinite().all(1)
    spread = torch.where(drawn, high - low, 1.0)
    values = (found - low[:, None, None]) / spread[:, None, None]
    return HeatMaps(values * drawn[:, None, None], drawn)


def drawing(points: Tensor, actions: Tensor, size: int, **style: Unpack[Style]) -> Tensor:
    """Return `heat_maps` before they are brought to 0 and 1: (B, S, S), more with every action."""
    if points.shape[1:] != (POINTS, 2):
        raise TextualizeError(
            f"landmarks should be (faces, {POINTS}, 2); given {tuple(points.shape)}"
        )
    codebook, relative = style.get("codebook", "facs"), style.get("relative", True)
    points = points.float()
    found = points.new_zeros(len(points), _COARSE, _COARSE)
    known = points.flatten(1).isfinite().all(1)
    kinds, kind = torch.unique(actions.to(points.device), dim=0, return_inverse=True)
    for i, chosen in enumerate(kinds.tolist()):
        rows = torch.nonzero((kind == i) & known)[:, 0]
        if len(rows) and any(chosen):
            found[rows] = _drawn(points[rows], chosen, codebook, relative)
    return resized(found, size)


def resized(maps: Tensor, size: int) -> Tensor:
    """Return maps (B, h, w) at another size, (B, S, S), bilinear; smaller ones are averages."""
    if maps.shape[1:] == (size, size):
        return maps
    found = F.interpolate(
        maps.unsqueeze(1), (size, size), mode="bilinear", antialias=size < maps.shape[-1]
    )
    return found.squeeze(1)


def _drawn(points: Tensor, chosen: list[bool], codebook: Codebook, relative: bool) -> Tensor:
    """Return the maps of faces that all show the same action units, (B, COARSE, COARSE)."""
    shapes = SHAPES[codebook]
    wanted = [shapes[au] for au, shown in zip(ACTIONS, chosen, strict=True) if shown]
    pairs = [(each[0], each[-1]) for each in dict.fromkeys(wanted)]  # as of 23 and 26: once
    scale = _PX * points.new_ones(len(points))
    if relative:
        one, other = (points[:, i] for i in OUTER_CORNERS)
        scale = _PX * (one - other).norm(dim=1) / INTEROCULAR
    parts = [_ellipse(points, e, scale, codebook) for pair in pairs for e in pair]
    centre, half = (torch.stack(x, 1) for x in zip(*parts, strict=True))
    filled = _filled(centre, half)
    filled = torch.maximum(filled[:, ::2], filled[:, 1::2])
    soft = F.avg_pool2d(F.pad(filled, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return soft.amax(1)


def _ellipse(
    points: Tensor, ellipse: Ellipse, scale: Tensor, codebook: Codebook
) -> tuple[Tensor, Tensor]:
    """Return an ellipse's centres and half axes, each (B, 2), in sides; scale: (B,) of a pixel."""
    one, other = OUTER_CORNERS
    facing = (points[:, other, 0] - points[:, one, 0]).sign()  # -1 in a mirror image
    centres, halves = [], []
    for axis, own in enumerate((ellipse.x, ellipse.y)):
        at = points[:, list(own), axis]
        way = facing if axis == 0 else 1
        half = ellipse.axes[axis] * scale
        if ellipse.spans:
            half = half + _half(at, way, ellipse.least * scale, codebook)
        centres.append(at.mean(1) + way * ellipse.shift[axis] * scale)
        halves.append(half)
    return torch.stack(centres, 1), torch.stack(halves, 1)


def _half(at: Tensor, way: Tensor | int, least: Tensor, codebook: Codebook) -> Tensor:
    """Return half of what two coordinates (B, 2) are apart.

    The release has `least` only below a pixel, and where the second is before the first.
    """
    half = (at[:, 1] - at[:, 0]) / 2
    if codebook == "facs":
        return torch.maximum(half.abs(), least)
    return torch.where(half * way < _PX, least, half.abs())


def _filled(centre: Tensor, half: Tensor) -> Tensor:
    """Return how much of each point ellipses (B, E, 2) cover, (B, E, COARSE, COARSE), 0 to 1.

    A point is as many lines high as `_LINES` and is covered as far as the ellipse goes in each.
    """
    lines = (torch.arange(_COARSE * _LINES, device=centre.device) + 0.5) / (_COARSE * _LINES)
    half = half.clamp(min=_NEVER)
    off = ((lines - centre[..., 1:]) / half[..., 1:]).square()
    reach = half[..., :1] * (1 - off).clamp(min=0).sqrt()
    left = torch.arange(_COARSE, device=centre.device)
    ends = [
        ((centre[..., :1] + way * reach) * _COARSE).unsqueeze(-1).sub(left).clamp_(0, 1)
        for way in (1, -1)
    ]
    covered = ends[0].sub_(ends[1])
    return covered.view(*covered.shape[:2], _COARSE, _LINES, _COARSE).mean(3)
