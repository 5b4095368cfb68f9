"""A network of pictures made one of videos: convolutions also see the picture before and after.

A 2-D network stays as it is, its pictures in a row, (B T, C, H, W); each of its convolutions wider
than a pixel is replaced by one over three pictures that holds the weights three times, divided by
three, as in Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017. Nothing is pooled
over time. A video of one picture repeated has the 2-D network's output at every time; with `zeros`
beyond the ends, as released with the temporal stochastic softmax, at the ends it has not.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from textualize.errors import TextualizeError

Padding = Literal["replicate", "zeros"]
KERNEL = 3


class TimeConv(nn.Module):
    """A 2-D convolution inflated over time: (B T, C, H, W) to (B T, O, H', W').

    `frames` is T, which `Inflated` sets before its pictures come.
    """

    def __init__(self, flat: nn.Conv2d, padding: Padding = "replicate") -> None:
        """Take weights, stride, groups and borders of a 2-D convolution.

        Raises TextualizeError for one whose padding is not of zeros and in numbers.
        """
        super().__init__()
        if isinstance(flat.padding, str) or flat.padding_mode != "zeros":
            raise TextualizeError(
                f"a convolution with padding {flat.padding!r} ({flat.padding_mode}) cannot be "
                "inflated: give a backbone that pads with a number of zeros"
            )
        weight = flat.weight.detach().unsqueeze(2).repeat(1, 1, KERNEL, 1, 1) / KERNEL
        self.weight = nn.Parameter(weight)
        self.bias = None if flat.bias is None else nn.Parameter(flat.bias.detach().clone())
        self.stride, self.dilation = (1, *flat.stride), (1, *flat.dilation)
        self.space, self.groups = (0, *flat.padding), flat.groups
        self.padding: Padding = padding
        self.frames = 1

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of pictures of which `frames` in a row are a video's."""
        videos = x.view(-1, self.frames, *x.shape[1:]).transpose(1, 2)
        mode = "replicate" if self.padding == "replicate" else "constant"
        wide = F.pad(videos, (0, 0, 0, 0, KERNEL // 2, KERNEL // 2), mode=mode)
        out = F.conv3d(
            wide, self.weight, self.bias, self.stride, self.space, self.dilation, self.groups
        )
        return out.transpose(1, 2).flatten(0, 1)


class Inflated(nn.Module):
    """Videos (B, 3, T, H, W) to a vector for every picture (B, T, D), through an inflated network.

    `flat` takes pictures (N, 3, H, W) to vectors (N, D). It is changed: its convolutions wider than
    a pixel become `TimeConv`s.
    """

    def __init__(self, flat: nn.Module, padding: Padding = "replicate") -> None:
        """Inflate the network; raises TextualizeError where there is nothing to inflate."""
        super().__init__()
        self.flat = flat
        self.inflated: list[TimeConv] = []
        for parent in list(flat.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.Conv2d) and max(child.kernel_size) > 1:
                    over_time = TimeConv(child, padding)
                    setattr(parent, name, over_time)
                    self.inflated.append(over_time)
        if not self.inflated:
            raise TextualizeError("the backbone has no convolution wider than a pixel to inflate")

    def forward(self, videos: Tensor) -> Tensor:
        """Return the vectors of every picture."""
        frames = videos.shape[2]
        for one in self.inflated:
            one.frames = frames
        found: Tensor = self.flat(videos.transpose(1, 2).flatten(0, 1))
        return found.view(-1, frames, found.shape[-1])
