import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from textualize.baselines.dmsn import (
    DEEP,
    DMSN,
    KINDS,
    SHALLOW,
    Block,
    DMSNHead,
    block_weights,
    cost,
)
from textualize.baselines.task import Task
from textualize.errors import TextualizeError

ONE = (1, 1, 1, 1)


def small(kind="c", blocks=ONE, **options):
    torch.manual_seed(0)
    return DMSN(kind, blocks, stem=16, **options)


def block(kind, channels=6, width=12, out=8, **options):
    torch.manual_seed(0)
    return Block(kind, channels, width, out, **options)


def trained_norms(module):
    """Give batch norms other statistics than those they begin with, then evaluate."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm3d):
            nn.init.normal_(norm.running_mean, std=0.1)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.1)
    return module.eval()


def meta(kind, blocks=SHALLOW, **options):
    with torch.device("meta"):
        return DMSN(kind, blocks, **options)


def weights(module):
    return sum(m.weight.numel() for m in module.modules() if isinstance(m, nn.Conv3d))


# --- shapes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 9, 5), (16, 33, 20)])
def test_clips_of_any_length_and_size(kind, shape):
    net = small(kind).eval()
    maps = net.maps(torch.randn(2, 3, *shape))
    halved = [-(-shape[0] // 8), -(-shape[1] // 16), -(-shape[2] // 16)]
    assert maps.shape == (2, net.width, *halved) and net.width == 256
    assert torch.isfinite(maps).all()


@pytest.mark.parametrize("kind", KINDS)
def test_sixteen_frames_of_112_end_as_in_the_predecessor(kind):
    clip = torch.empty(1, 3, 16, 112, 112, device="meta")
    assert meta(kind).maps(clip).shape == (1, 1024, 2, 7, 7)


@pytest.mark.parametrize("shape", [(2, 3, 4, 8), (2, 1, 4, 8, 8), (2, 3, 0, 8, 8)])
def test_what_is_no_batch_of_clips_is_one_line(shape):
    with pytest.raises(TextualizeError, match=r"clips should be \(B, 3, T, H, W\)"):
        small()(torch.zeros(shape))


def test_networks_that_cannot_be_are_one_line():
    with pytest.raises(TextualizeError, match="no block named 'd'"):
        small("d")
    with pytest.raises(TextualizeError, match="4 numbers above 0"):
        small("a", (2, 2, 0, 2))
    with pytest.raises(TextualizeError, match="multiple of 16; given 24"):
        DMSN("a", ONE, stem=24)
    with pytest.raises(TextualizeError, match="kernels should be odd"):
        small("a", scales=(2, 3, 5))
    with pytest.raises(TextualizeError, match="multiple of 4: 6"):
        block("msn", width=6)


# --- blocks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_block_whose_last_norm_is_zero_is_its_shortcut(kind):
    x = torch.rand(2, 8, 5, 6, 7)
    same, other = trained_norms(block(kind, 8)), trained_norms(block(kind, 8, out=4, stride=2))
    for one in (same, other):
        nn.init.zeros_(one.expand[-1][-1].weight)
        nn.init.zeros_(one.expand[-1][-1].bias)
    assert torch.equal(same(x), x)
    assert torch.equal(other(x), other.shortcut(x).relu())


@pytest.mark.parametrize(
    ("kind", "time", "space"), [("a", 7, 3), ("b", 7, 7), ("c", 3, 7), ("msn", 11, 7)]
)
def test_a_block_sees_as_far_as_its_kernels(kind, time, space):
    one = block(kind).eval()
    for p in one.parameters():
        p.data.abs_()  # nothing is cut off at 0: the gradient is there wherever a path is
    x = torch.rand(1, 6, 15, 11, 11, requires_grad=True)
    one(x)[0, :, 7, 5, 5].sum().backward()
    at = x.grad[0].abs().sum(0).nonzero()
    extent = (at.max(0).values - at.min(0).values + 1).tolist()
    assert extent == [time, space, space] and len(at) == time * space * space


@pytest.mark.parametrize(("kind", "reach"), [("a", 3), ("b", 3), ("c", 1), ("msn", 5)])
def test_what_never_changes_gives_the_same_at_every_time(kind, reach):
    one = trained_norms(block(kind))
    out = one(torch.randn(1, 6, 1, 6, 6).expand(-1, -1, 13, -1, -1))
    inside = out[:, :, reach : 13 - reach]
    assert torch.allclose(inside, inside[:, :, :1].expand_as(inside), atol=1e-5)
    assert not torch.allclose(out[:, :, :1], inside[:, :, :1], atol=1e-3)


@pytest.mark.parametrize(
    ("kind", "blind"),
    [("a", {"scales": (1, 1, 1)}), ("b", {"scales": (1, 1, 1)}), ("c", {"shared": 1})],
)
def test_only_without_temporal_kernels_the_order_of_frames_is_nothing(kind, blind):
    x, order = torch.randn(1, 6, 9, 5, 5), torch.randperm(9, generator=torch.Generator())
    for options, same in ((blind, True), ({}, False)):
        one = trained_norms(block(kind, **options))
        assert torch.allclose(one(x[:, :, order]), one(x)[:, :, order], atol=1e-5) is same


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stride", [1, 2])
def test_every_pixel_of_a_clip_is_read(kind, stride):
    one = block(kind, stride=stride).eval()
    for p in one.parameters():
        p.data.abs_()
    x = torch.rand(1, 6, 6, 7, 7, requires_grad=True)
    one(x).sum().backward()
    assert (x.grad != 0).all()


# --- counts -------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(KINDS), st.integers(1, 40), st.integers(1, 4), st.integers(1, 40))
def test_weights_of_a_block_are_the_analytic_ones(kind, channels, twelfth, out):
    with torch.device("meta"):
        one = Block(kind, channels, 12 * twelfth, out)
    counted = weights(one) - weights(one.shortcut)
    assert counted == block_weights(kind, channels, 12 * twelfth, out)


def test_weights_of_the_designed_blocks():
    assert [block_weights(k, 128, 96, 256) for k in KINDS] == [165_888, 307_200, 319_488, 1_232_640]


@pytest.mark.parametrize("blocks", [ONE, SHALLOW, DEEP])
def test_parameters_grow_from_a_to_the_control(blocks):
    counts = [sum(p.numel() for p in meta(kind, blocks).parameters()) for kind in KINDS]
    assert counts == sorted(set(counts))


def block_macs(kind, channels, c, out, before, after):
    """Return the multiply-adds of a block: (frames, size) before and after its stride."""
    q = c // 4 if kind == "msn" else c // 3
    early = before[0] * before[1] ** 2  # not yet strided, strided in space only, strided
    half, late = before[0] * after[1] ** 2, after[0] * after[1] ** 2
    inner = {
        "a": 9 * c * c * half + 15 * c * q * late,
        "b": 83 * c * q * half + 15 * q * q * late,
        "c": 83 * c * q * half + 27 * q * q * late,
        "msn": 495 * c * q * late,
    }[kind]
    ends = 3 if kind == "msn" else 1
    return ends * (channels * c * early + 3 * q * out * late) + inner


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("blocks", [SHALLOW, DEEP])
def test_multiply_adds_are_the_analytic_ones(kind, blocks):
    before, channels = (8, 28), 64
    macs = 3 * 64 * 7**3 * 16 * 56**2
    conv_weights, norms = 3 * 64 * 7**3, 64
    for i, (count, stride) in enumerate(zip(blocks, (1, 2, 2, 1), strict=True)):
        out, c = 128 * 2**i, 48 * 2**i
        after = (before[0] // stride, before[1] // stride)
        macs += channels * out * after[0] * after[1] ** 2  # the shortcut
        conv_weights += channels * out
        norms += out
        for _ in range(count):
            macs += block_macs(kind, channels, c, out, before, after)
            conv_weights += block_weights(kind, channels, c, out)
            norms += {"a": 3 * c, "b": 3 * c, "c": 3 * c, "msn": c + 3 * c // 4}[kind] + out
            channels, before = out, after
    found = cost(meta(kind, blocks), 16, 112)
    assert found.macs == macs and found.parameters == conv_weights + 2 * norms


def test_counting_leaves_the_network_as_it_was():
    net = small()
    net.stem.requires_grad_(False)
    with_stem = cost(small(), 4, 16)
    found = cost(net, 4, 16)
    assert net.training and next(net.parameters()).device.type == "cpu"
    assert found.macs == with_stem.macs
    assert with_stem.parameters - found.parameters == 3 * 16 * 7**3 + 2 * 16


# --- as a network -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_does_not_depend_on_its_batch(kind):
    net, clips = trained_norms(small(kind)), torch.randn(3, 3, 5, 17, 17)
    alone = torch.cat([net(clips[i : i + 1]) for i in range(3)])
    assert torch.allclose(net(clips), alone, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", [Task(outputs=4), Task("values", outputs=2, objective="mse")])
def test_every_parameter_is_reached_and_the_heads_answer(kind, task):
    net = nn.Sequential(small(kind), DMSNHead(256, task, hidden=16, dropout=0.0))
    out = net(torch.randn(4, 3, 5, 20, 20))
    assert out.shape == (4, task.outputs)
    out.square().sum().backward()
    dead = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []


def test_the_head_of_values_is_that_of_the_predecessor():
    linear = [m for m in DMSNHead(1024, Task("values", outputs=1, objective="mse")).modules()
              if isinstance(m, nn.Linear)]  # fmt: skip
    assert [(m.in_features, m.out_features) for m in linear] == [(1024, 512), (512, 512), (512, 1)]
    with pytest.raises(TextualizeError, match="a task per step is not for it"):
        DMSNHead(1024, Task(per_step=True))


@pytest.mark.parametrize("kind", KINDS)
def test_loss_falls_on_what_brightens_or_darkens(kind):
    net = nn.Sequential(small(kind), DMSNHead(256, Task(outputs=2), dropout=0.0))
    label = torch.tensor([0, 1] * 4)
    ramp = torch.linspace(-1, 1, 8).view(1, 1, 8, 1, 1) * (2.0 * label - 1).view(-1, 1, 1, 1, 1)
    clips = ramp + 0.1 * torch.randn(8, 3, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(clips), label)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
