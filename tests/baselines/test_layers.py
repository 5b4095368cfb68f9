import math

import pytest
import torch
from torch import nn

from textualize.baselines.layers import (
    Attention,
    CausalTCN,
    EncoderLayer,
    FeatureDropout,
    MaskedBatchNorm,
    StreamEncoders,
    mean_over,
    receptive_field,
    sinusoidal,
)
from textualize.errors import TextualizeError

NAN = float("nan")


def sequence(b=3, steps=7, width=8, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(b, steps, width, generator=g)
    seen = torch.rand(b, steps, generator=g) < 0.6
    seen[:, 2] = True
    return x, seen


def with_nan(x, seen):
    return torch.where(seen.unsqueeze(-1), x, torch.full_like(x, NAN))


def size(module):
    return sum(p.numel() for p in module.parameters())


# --- attention ------------------------------------------------------------------------------------


def test_attention_agrees_with_the_hand_case():
    q = torch.tensor([[[1.0, 0], [0, 1]]], dtype=torch.float64)
    k = torch.tensor([[[1.0, 1], [0, 2], [1, 0]]], dtype=torch.float64)
    v = torch.tensor([[[1.0, 0], [0, 1], [2, 2]]], dtype=torch.float64)
    expected = torch.tensor(
        [[[1.20333628, 1.0], [0.56405390, 0.85603384]]], dtype=torch.float64
    )  # softmax(q kT / sqrt 2) v
    # keys and values come from one place: four columns, of which K and V read two each
    net = Attention(4).double()
    with torch.no_grad():
        net.inner.in_proj_weight.zero_()
        net.inner.in_proj_weight[0:2, 0:2] = torch.eye(2) * math.sqrt(2)  # d_k is 2, not 4
        net.inner.in_proj_weight[4:6, 0:2] = torch.eye(2)
        net.inner.in_proj_weight[8:10, 2:4] = torch.eye(2)
        net.inner.in_proj_bias.zero_()
        net.inner.out_proj.weight.copy_(torch.eye(4))
        net.inner.out_proj.bias.zero_()
    out = net(nn.functional.pad(q, (0, 2)), torch.cat([k, v], -1), torch.ones(1, 3).bool())
    assert torch.allclose(out[..., :2], expected, atol=1e-8)


def test_unseen_keys_are_as_if_they_were_not_there():
    x, seen = sequence()
    net = Attention(8, heads=2)
    out = net(x, with_nan(x, seen), seen)
    for i in range(len(x)):
        kept = x[i : i + 1, seen[i]]
        alone = net(x[i : i + 1], kept, torch.ones(1, kept.shape[1]).bool())
        assert torch.allclose(out[i], alone[0], atol=1e-6)


def test_with_no_seen_key_attention_gives_zeros_and_finite_gradients():
    x, seen = sequence()
    seen[1] = False
    x.requires_grad_()
    net = Attention(8)
    out = net(x, x, seen)
    assert torch.equal(out[1], torch.zeros_like(out[1]))
    out.square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


def test_heads_that_do_not_divide_the_width_are_one_clear_line():
    with pytest.raises(TextualizeError, match="width 8 cannot be split among 3 heads"):
        Attention(8, heads=3)


def test_the_encoder_layer_is_that_of_torch():
    x, _ = sequence()
    ours = EncoderLayer(8, inner=12)
    torchs = nn.TransformerEncoderLayer(8, 1, 12, dropout=0.0, batch_first=True)
    torchs.self_attn.load_state_dict(ours.attention.inner.state_dict())
    torchs.linear1.load_state_dict(ours.ffn[0].state_dict())
    torchs.linear2.load_state_dict(ours.ffn[3].state_dict())
    torchs.norm1.load_state_dict(ours.norm_attention.state_dict())
    torchs.norm2.load_state_dict(ours.norm_ffn.state_dict())
    everything = torch.ones(x.shape[:2]).bool()
    assert torch.allclose(ours(x, everything), torchs(x), atol=1e-5)
    assert size(ours) == size(torchs)


def test_the_encoder_layer_ignores_what_is_unseen():
    x, seen = sequence()
    net = EncoderLayer(8)
    assert torch.equal(net(x, seen), net(with_nan(x, seen), seen))
    assert torch.equal(net(x, seen)[~seen], torch.zeros_like(x[~seen]))


@pytest.mark.parametrize("width", [1, 7, 8])
def test_positions_are_distinct_and_bounded(width):
    p = sinusoidal(16, width)
    assert p.shape == (16, width)
    assert p.abs().max() <= 1
    distances = torch.cdist(p, p) + torch.eye(16)
    assert distances.min() > 1e-3


# --- causal convolutions --------------------------------------------------------------------------


def tcn(channels=(6, 6, 4, 4), width=3, seed=0, **options):
    torch.manual_seed(seed)
    return CausalTCN(width, channels, **options).eval()


def test_an_output_never_depends_on_later_steps():
    net = tcn()
    x, everything = torch.randn(2, 40, 3), torch.ones(2, 40).bool()
    before = net(x, everything)
    for t in (0, 7, 38):
        later = x.clone()
        later[:, t + 1 :] += 10
        assert torch.equal(net(later, everything)[:, : t + 1], before[:, : t + 1])
        assert not torch.allclose(net(later, everything)[:, t + 1 :], before[:, t + 1 :])


@pytest.mark.parametrize(("levels", "field"), [(1, 9), (4, 121), (5, 249)])
def test_the_receptive_field_is_as_published(levels, field):
    assert receptive_field(levels) == field
    net = tcn([2] * levels).double()
    x = torch.randn(1, field + 5, 3, dtype=torch.float64, requires_grad=True)
    net(x, torch.ones(1, field + 5).bool())[0, -1].sum().backward()
    reached = x.grad.abs().sum(-1)[0] > 0
    assert not reached[:5].any()
    assert reached[5:].all()


def test_unseen_steps_in_front_and_behind_change_nothing():
    net = tcn()
    x, seen = sequence(width=3)
    out = net(x, seen)
    nothing = torch.full((3, 5, 3), NAN)
    unseen = torch.zeros(3, 5).bool()
    front = net(torch.cat([nothing, x], 1), torch.cat([unseen, seen], 1))
    behind = net(torch.cat([x, nothing], 1), torch.cat([seen, unseen], 1))
    assert torch.allclose(front[:, 5:], out, atol=1e-6)
    assert torch.allclose(behind[:, :7], out, atol=1e-6)
    assert torch.equal(out[~seen], torch.zeros_like(out[~seen]))


def test_its_convolutions_are_weight_normed_with_kernel_and_residual():
    net = tcn((6, 6), width=3)
    first, second = (net.blocks[i].convs[0] for i in (0, 1))
    assert first.weight.shape == (6, 3, 5)
    assert second.dilation == (2,)
    g, v = first.parametrizations.weight.original0, first.parametrizations.weight.original1
    assert torch.allclose(first.weight, g * v / v.flatten(1).norm(dim=1).view(-1, 1, 1), atol=1e-6)
    assert isinstance(net.blocks[1].residual, nn.Identity)


def test_channels_are_given_for_all_streams_or_for_each():
    widths = {"visual": 3, "audio": 5}
    assert StreamEncoders(widths, [8, 4], kernel=3, dropout=0.0).widths == [4, 4]
    each = {"audio": [8, 2], "visual": [6]}
    assert StreamEncoders(widths, each, kernel=3, dropout=0.0).widths == [6, 2]
    for wrong in ({"audio": [8]}, {**each, "text": [4]}, {**each, "audio": []}):
        with pytest.raises(TextualizeError, match="the streams are visual, audio"):
            StreamEncoders(widths, wrong, kernel=3, dropout=0.0)


# --- statistics -----------------------------------------------------------------------------------


def test_batch_norm_in_training_is_that_of_the_seen_steps_alone():
    x, seen = sequence()
    ours, plain = MaskedBatchNorm(8), nn.BatchNorm1d(8)
    out = ours(with_nan(x, seen), seen)
    assert torch.allclose(out[seen], plain(x[seen]), atol=1e-6)
    assert torch.allclose(ours.running_var, plain.running_var)
    assert torch.equal(out[~seen], torch.zeros_like(out[~seen]))


@pytest.mark.parametrize("steps_seen", [0, 1])
def test_batch_norm_trains_on_less_than_two_steps(steps_seen):
    x, seen = sequence()
    seen = torch.zeros_like(seen)
    seen.view(-1)[:steps_seen] = True
    net = MaskedBatchNorm(8)
    out = net(x, seen)
    assert torch.isfinite(out).all()
    assert torch.equal(net.running_mean, torch.zeros(8))
    assert torch.allclose(out[seen], x[seen], atol=1e-4)


def test_the_mean_over_steps_is_that_of_the_seen_ones():
    x, seen = sequence()
    for i in range(len(x)):
        kept = x[i, seen[i]]
        assert torch.allclose(mean_over(with_nan(x, seen), seen)[i], kept.mean(0), atol=1e-6)


def test_a_dropped_feature_is_dropped_at_every_step_of_its_clip():
    torch.manual_seed(0)
    net, x = FeatureDropout(0.5), torch.ones(20, 7, 8)
    out = net(x)
    assert torch.equal(out, out[:, :1].expand_as(out))
    assert set(out.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(net.eval()(x), x)
