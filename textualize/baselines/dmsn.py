"""DMSN, a reconstruction: 3-D convolutions at several scales, decomposed over space and time.

After de Melo, Granger and Bordallo López, "Facial Expression Analysis Using Decomposed Multiscale
Spatiotemporal Networks", 2024, arXiv 2203.11111. No code was released, and the wiring of the
blocks, the channels and the training are not in what is known of it: all of it here is ours, made
of the stem, channels and head of the same authors' MSN. Its scores are not the publication's.

    clip (B, 3, T, H, W) -> stem -> four stages of blocks -> mean over T, H, W -> head

A block is a residual bottleneck of C channels to O over c = 3q in the middle; side by side means
one branch for each kernel k of 3, 5, 7, concatenated; every convolution has batch normalisation:

    a      1x1x1 (C, c)   1x3x3 (c, c)              side by side: kx1x1 (c, q)     1x1x1 (3q, O)
    b      1x1x1 (C, c)   side by side: 1xkxk (c, q) then kx1x1 (q, q)             1x1x1 (3q, O)
    c      1x1x1 (C, c)   side by side: 1xkxk (c, q)     3x1x1 (3q, 3q)            1x1x1 (3q, O)
    msn    3x1x1 (C, c)   side by side: kxkxk (c, c/4)                             3x1x1 (3c/4, O)

So a is multiscale over temporal ranges, c over spatial sizes, b over both; msn, not decomposed, is
the control.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from textualize.baselines.norms import normed_alone
from textualize.baselines.task import Kind as TaskKind
from textualize.baselines.task import Task
from textualize.errors import TextualizeError, unknown

Kind = Literal["a", "b", "c", "msn"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SHALLOW, DEEP = (2, 2, 2, 2), (3, 4, 6, 3)  # blocks of the stages, as in ResNet-18 and -50
SCALES = (3, 5, 7)
SHARED = 3  # the one kernel of the direction a block is not multiscale in
STRIDES = (1, 2, 2, 1)  # of the stages: 16 frames of 112 end as (2, 7, 7), as in MSN
STEM = 64
_STEM_KERNEL = 7


class Block(nn.Module):
    """One residual block, (B, C, T, H, W) to (B, O, T/stride, H/stride, W/stride), rounded up.

    kind: see the module. width: c. scales: the kernels side by side; three times the same one is
    the ablation without scales. shared: the kernel of the other direction, in a and c. The stride
    is that of the convolutions over space and over time, never of the 1x1x1 before them, which
    would leave most of the clip unread. The shortcut is a 1x1x1 convolution where shapes change.
    """

    def __init__(
        self,
        kind: Kind,
        channels: int,
        width: int,
        out: int,
        *,
        stride: int = 1,
        scales: Sequence[int] = SCALES,
        shared: int = SHARED,
    ) -> None:
        """Raises TextualizeError for another kind, an even kernel, or a width it cannot share."""
        super().__init__()
        parts = _branch_width(kind, width, scales, shared)
        reduce = (3, 1, 1) if kind == "msn" else (1, 1, 1)
        before, branch, after = _between(kind, width, parts, stride, len(scales), shared)
        self.reduce = nn.Sequential(_conv(channels, width, reduce), nn.ReLU(), *before)
        self.scales = nn.ModuleList(branch(k) for k in scales)
        self.expand = nn.Sequential(*after, _conv(len(scales) * parts, out, reduce))
        self.shortcut: nn.Module = nn.Identity()
        if channels != out or stride != 1:
            self.shortcut = _conv(channels, out, (1, 1, 1), (stride, stride, stride))
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, O, T', H', W') of x (B, C, T, H, W)."""
        inner = self.reduce(x)
        found = self.expand(torch.cat([scale(inner) for scale in self.scales], 1))
        out: Tensor = self.activation(found + self.shortcut(x))
        return out


class DMSN(nn.Module):
    """The network without its head (a reconstruction): what any visual method can read clips with.

    kind: of the blocks. blocks: how many each stage has, `SHALLOW` or `DEEP`. stem: channels of
    the stem, a multiple of 16; stage i has 2 stem 2^i channels and three eighths of it in the
    middle of its blocks. `width` is D, that of the last stage.
    """

    def __init__(
        self,
        kind: Kind = "c",
        blocks: Sequence[int] = SHALLOW,
        *,
        stem: int = STEM,
        scales: Sequence[int] = SCALES,
    ) -> None:
        """Raises TextualizeError for another kind, number of stages, or stem."""
        super().__init__()
        if len(blocks) != len(STRIDES) or min(blocks) < 1:
            raise TextualizeError(
                f"blocks should be {len(STRIDES)} numbers above 0; given {blocks}"
            )
        if stem < 16 or stem % 16:
            raise TextualizeError(f"stem should be a multiple of 16; given {stem}")
        self.kind = kind
        widths = [stem] + [2 * stem * 2**i for i in range(len(blocks))]
        self.stem = nn.Sequential(
            _conv(3, stem, (_STEM_KERNEL,) * 3, (1, 2, 2)), nn.ReLU(), nn.MaxPool3d(3, 2, padding=1)
        )
        self.stages = nn.Sequential(
            *(
                _stage(kind, count, inner, outer, stride, scales)
                for count, (inner, outer), stride in zip(
                    blocks, pairwise(widths), STRIDES, strict=True
                )
            )
        )
        self.width = widths[-1]
        normed_alone(self)

    def maps(self, clips: Tensor) -> Tensor:
        """Return the last stage's maps, (B, D, T', H', W'), of clips (B, 3, T, H, W).

        Raises TextualizeError for clips of another shape.
        """
        if clips.ndim != 5 or clips.shape[1] != 3 or not clips.numel():
            raise TextualizeError(f"clips should be (B, 3, T, H, W); given {tuple(clips.shape)}")
        out: Tensor = self.stages(self.stem(clips))
        return out

    def forward(self, clips: Tensor) -> Tensor:
        """Return one vector a clip, (B, D): the mean of `maps` over time and space."""
        return self.maps(clips).mean((2, 3, 4))


class DMSNHead(nn.Module):
    """What is predicted from the vectors of a backbone, by the task.

    For values: D-512-512-V with ReLU and dropout, as in MSN. For classes: dropout and D-C.
    """

    def __init__(self, width: int, task: Task, *, hidden: int = 512, dropout: float = 0.5) -> None:
        """Raises TextualizeError for a task per step: a clip has one answer here."""
        super().__init__()
        if task.per_step:
            raise TextualizeError("DMSN answers once a clip: a task per step is not for it")
        self.kind: TaskKind = task.kind
        layers: list[nn.Module] = []
        for _ in range(2 if task.kind == "values" else 0):
            layers += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout)]
            width = hidden
        last = [] if layers else [nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, *last, nn.Linear(width, task.outputs))

    def forward(self, vectors: Tensor) -> Tensor:
        """Return values or class scores, (B, outputs), of vectors (B, D)."""
        out: Tensor = self.layers(vectors)
        return out


@dataclass(frozen=True, slots=True)
class Cost:
    """What a network costs: trainable numbers, and multiply-adds of one clip."""

    parameters: int
    macs: int


def cost(network: nn.Module, frames: int, size: int) -> Cost:
    """Return the cost of clips (3, frames, size, size), counted without computing anything."""
    counted = copy.deepcopy(network).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        counted(torch.empty(1, 3, frames, size, size, device="meta"))
    parameters = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return Cost(parameters, counter.get_total_flops() // 2)


def block_weights(kind: Kind, channels: int, width: int, out: int) -> int:
    """Return the analytic number of convolution weights of a block, without its shortcut.

    With C channels, c = width and q = c / 3:

        a    Cc + 9 c^2 + 15 cq + 3 qO           b    Cc + 83 cq + 15 q^2 + 3 qO
        c    Cc + 83 cq + 27 q^2 + 3 qO          msn  3 Cc + 495 c^2/4 + 9/4 cO

    >>> [block_weights(kind, 64, 48, 128) for kind in KINDS]
    [41472, 76800, 79872, 308160]
    """
    c, q = width, _branch_width(kind, width, SCALES, SHARED)
    inner = {
        "a": 9 * c * c + 15 * c * q,
        "b": 83 * c * q + 15 * q * q,
        "c": 83 * c * q + 27 * q * q,
        "msn": 495 * c * q,  # here q is c / 4
    }[kind]
    ends = 3 if kind == "msn" else 1
    return ends * channels * c + inner + ends * 3 * q * out


def _branch_width(kind: Kind, width: int, scales: Sequence[int], shared: int) -> int:
    """Return q, the channels of one branch; raises TextualizeError where there is no such block."""
    if kind not in KINDS:
        raise unknown("block", kind, KINDS)
    if not scales or any(k < 1 or k % 2 == 0 for k in (*scales, shared)):
        raise TextualizeError(f"kernels should be odd; given {tuple(scales)} and {shared}")
    by = 4 if kind == "msn" else len(scales)
    if width < 1 or width % by:
        raise TextualizeError(f"width of a block '{kind}' should be a multiple of {by}: {width}")
    return width // by


def _between(
    kind: Kind, c: int, q: int, stride: int, branches: int, shared: int
) -> tuple[list[nn.Module], Callable[[int], nn.Module], list[nn.Module]]:
    """Return what a block has before its branches, one branch by its kernel, and what is after."""

    def space(a: int, b: int, k: int) -> list[nn.Module]:
        return [_conv(a, b, (1, k, k), (1, stride, stride)), nn.ReLU()]

    def time(a: int, b: int, k: int) -> list[nn.Module]:
        return [_conv(a, b, (k, 1, 1), (stride, 1, 1)), nn.ReLU()]

    wide = branches * q
    if kind == "a":
        return space(c, c, shared), lambda k: nn.Sequential(*time(c, q, k)), []
    if kind == "b":
        return [], lambda k: nn.Sequential(*space(c, q, k), *time(q, q, k)), []
    if kind == "c":
        return [], lambda k: nn.Sequential(*space(c, q, k)), time(wide, wide, shared)
    return [], lambda k: nn.Sequential(_conv(c, q, (k, k, k), (stride,) * 3), nn.ReLU()), []


def _stage(
    kind: Kind, count: int, channels: int, out: int, stride: int, scales: Sequence[int]
) -> nn.Sequential:
    width = 3 * out // 8
    return nn.Sequential(
        *(
            Block(
                kind, out if i else channels, width, out, stride=1 if i else stride, scales=scales
            )
            for i in range(count)
        )
    )


def _conv(
    channels: int, out: int, kernel: Sequence[int], stride: Sequence[int] = (1, 1, 1)
) -> nn.Sequential:
    """Return a convolution with its norm; it keeps the size, or a stride's share, rounded up."""
    one = nn.Conv3d(
        channels,
        out,
        (kernel[0], kernel[1], kernel[2]),
        (stride[0], stride[1], stride[2]),
        (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2),
        bias=False,
    )
    return nn.Sequential(one, nn.BatchNorm3d(out))
