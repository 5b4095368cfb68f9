"""Parameters and multiply-adds as counted are those of the closed formulas, to the last one."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))  # pytest's importlib mode leaves it out
import analytic  # noqa: E402

from textualize.baselines.au_guided import AuGuided  # noqa: E402
from textualize.baselines.dmsn import DEEP, DMSN, KINDS, SHALLOW, block_weights, cost  # noqa: E402
from textualize.baselines.dmsn_clips import ClipDMSN  # noqa: E402
from textualize.baselines.pictures import PictureSource  # noqa: E402
from textualize.baselines.reels import TrackReel  # noqa: E402
from textualize.baselines.stochastic_softmax import StochasticSoftmax  # noqa: E402
from textualize.baselines.task import Task  # noqa: E402
from textualize.finetune.baseline import macs  # noqa: E402

TASK = Task("classes", False, 3, ("a", "b", "c"))
ACTIONS = {"a": [1], "b": [6, 12], "c": [4]}


def clip(frames, size):
    """A source of one clip."""
    pixels = np.random.default_rng(0).integers(1, 255, (frames, size, size, 3), dtype=np.uint8)
    reel = TrackReel(pixels, np.arange(frames), np.arange(frames) / 5, None, size, frames)
    return PictureSource([reel], torch.zeros(1, dtype=torch.long), torch.ones(1))


def counted(network, frames, size):
    return sum(p.numel() for p in network.parameters()), macs(network, clip(frames, size))


def as_tuple(found):
    return found.parameters, found.macs


@pytest.mark.parametrize(("width", "frames", "size"), [(4, 1, 32), (6, 5, 33), (4, 3, 48)])
def test_stochastic_softmax(width, frames, size):
    net = StochasticSoftmax({}, TASK, steps=4, width=width, hidden=10)
    expected = analytic.stochastic_softmax(width, size, frames, 10, 3)
    assert counted(net, frames, size) == as_tuple(expected)


@pytest.mark.parametrize(("width", "size"), [(4, 32), (6, 33), (4, 57)])
def test_au_guided(width, size):
    net = AuGuided({}, TASK, steps=1, width=width, actions=ACTIONS)
    assert counted(net, 1, size) == as_tuple(analytic.au_guided(width, size, 3))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("blocks", "frames", "size"), [(SHALLOW, 5, 33), (DEEP, 16, 112)])
def test_dmsn(kind, blocks, frames, size):
    with torch.device("meta"):
        found = cost(DMSN(kind, blocks), frames, size)
    assert (found.parameters, found.macs) == as_tuple(analytic.dmsn(kind, blocks, 64, frames, size))


def test_dmsn_answers_a_clip_in_pieces():
    net = ClipDMSN({}, TASK, steps=4, block="a", stem=16)
    body = analytic.dmsn("a", SHALLOW, 16, 4, 32)
    head = analytic.linear(256, 3)
    pieces = 3  # of 4, 4 and 4 pictures: 10 of them, the last piece moved back
    expected = (body.parameters + head.parameters, pieces * (body.macs + head.macs))
    assert counted(net, 10, 32) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_the_weights_of_a_block_are_those_published(kind):
    """Convolution weights alone: without norms and shortcut, see `block_weights`."""
    for a, out in ((64, 128), (128, 256)):
        found = analytic.dmsn_block(kind, a, out, (1, 1), 1)
        c = 3 * out // 8
        q = c // (4 if kind == "msn" else 3)
        norms = {"a": 2 * c + 3 * q, "b": c + 6 * q, "c": c + 6 * q, "msn": c + 3 * q}[kind] + out
        shortcut = a * out + 2 * out
        assert found.parameters - 2 * norms - shortcut == block_weights(kind, a, c, out)


def test_subject_msda():
    from torch.utils.flop_counter import FlopCounterMode

    from textualize.baselines.fusion import network_class, settings_of
    from textualize.finetune.recipe import load_recipe

    recipe = load_recipe("subject-msda")
    own = settings_of("subject-msda", recipe)
    net: nn.Module = network_class("subject-msda")({"functionals": 228}, TASK, **own)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.eval().parts(_Functionals(torch.randn(1, 228)))
    expected = analytic.subject_msda(228, own["hidden"], 3)
    assert sum(p.numel() for p in net.parameters()) == expected.parameters
    assert counter.get_total_flops() // 2 == expected.macs


class _Functionals:
    """Of a batch what is read."""

    def __init__(self, functionals):
        self.functionals = functionals
