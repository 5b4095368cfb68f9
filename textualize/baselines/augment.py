"""Pictures as they could have been: turned, enlarged, shifted, mirrored, brighter or darker.

What is drawn is apart from what is done with it: a batch's motion comes from torch's generator in
one place, before any picture is read, so that it is the same however the pictures are read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


@dataclass(frozen=True, slots=True)
class Augment:
    """How far pictures of training are moved at most.

    flip: the chance of a mirror image. rotation: degrees. zoom: share by which a picture is
    enlarged at most. shift: share of the side. light: share by which brightness and contrast
    change.
    """

    flip: float = 0.5
    rotation: float = 10.0
    zoom: float = 0.15
    shift: float = 0.05
    light: float = 0.2

    def draw(self, count: int) -> Motion:
        """Return the motions of so many pieces, from torch's generator."""
        u = torch.rand(count, 7) * 2 - 1
        mirrored = torch.where(u[:, 0] < 2 * self.flip - 1, -1.0, 1.0)
        angle = u[:, 1] * math.radians(self.rotation)
        scale = 1 + self.zoom * (u[:, 2] + 1) / 2
        cos, sin = scale * angle.cos(), scale * angle.sin()
        shift = self.shift * 2 * u[:, 3:5]  # the picture is 2 wide
        turn = torch.stack([cos * mirrored, -sin, sin * mirrored, cos], 1).view(-1, 2, 2)
        light = 1 + self.light * u[:, 5:7]
        return Motion(torch.cat([turn, shift.unsqueeze(2)], 2), light)


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """What happens to B pieces.

    places: (B, 2, 3), where a point (x, y) of the picture goes; its corners are (-1, -1), (1, 1).
    light: (B, 2) factors of contrast and brightness.
    """

    places: Tensor
    light: Tensor

    def to(self, device: torch.device) -> Motion:
        """Return the same on another device."""
        return Motion(self.places.to(device), self.light.to(device))


def moved(pixels: Tensor, motion: Motion) -> Tensor:
    """Return pixels (B, C, T, H, W), 0 to 1, after the motion; what comes from outside is black."""
    b, c, t, h, w = pixels.shape
    turn, shift = motion.places[:, :, :2], motion.places[:, :, 2:]
    back = torch.linalg.inv(turn)  # the grid says for each place where it comes from
    theta = torch.cat([back, -back @ shift], 2)
    grid = F.affine_grid(theta.to(pixels.dtype), [b, c * t, h, w], align_corners=False)
    flat = F.grid_sample(pixels.reshape(b, c * t, h, w), grid, align_corners=False)
    found = flat.view(b, c, t, h, w)
    contrast, brightness = (motion.light[:, i].view(-1, 1, 1, 1, 1) for i in (0, 1))
    middle = found.mean((1, 2, 3, 4), keepdim=True)
    return (((found - middle) * contrast + middle) * brightness).clamp(0, 1)


def moved_points(points: Tensor, motion: Motion, side: int) -> Tensor:
    """Return points (B, T, K, 2) in pixels of a picture `side` wide after the motion.

    A point keeps its number: in a mirror image what was the left eye's is where the right eye is.
    """
    turn, shift = motion.places[:, None, :, :2], motion.places[:, None, None, :, 2]
    at = points * (2 / side) - 1
    return (at @ turn.transpose(-1, -2) + shift + 1) * (side / 2)
