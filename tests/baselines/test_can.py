import torch

from textualize.baselines.can import ChannelAttention


def size(module):
    return sum(p.numel() for p in module.parameters())


def test_parameters_of_the_fusion_are_those_of_the_publication():
    assert size(ChannelAttention([128, 64, 128], 128)) == 189_184


def test_weights_sum_to_one_over_the_seen_features():
    torch.manual_seed(0)
    net = ChannelAttention([3, 5, 4], 8)
    x, seen = torch.randn(2, 6, 24), torch.rand(2, 6, 3) < 0.6
    seen[0, 0] = False
    weights = net.weigh(x, seen)
    assert torch.allclose(weights.sum(-1), seen.any(-1).float(), atol=1e-6)
    assert torch.equal(weights.view(2, 6, 3, 8)[~seen], torch.zeros(int((~seen).sum()), 8))
    everything = net.weigh(x, torch.ones_like(seen))
    assert torch.equal(everything, net.score(x).softmax(-1))


def test_the_fusion_is_the_weighted_features():
    torch.manual_seed(0)
    net, all_seen = ChannelAttention([3, 5], 8), torch.ones(2, 6).bool()
    streams = [torch.randn(2, 6, 3), torch.randn(2, 6, 5)]
    x = torch.cat([net.project[0](streams[0]), net.project[1](streams[1])], -1)
    expected = torch.softmax(net.score(x), -1) * x
    assert torch.allclose(net(streams, [all_seen, all_seen]), expected, atol=1e-6)
