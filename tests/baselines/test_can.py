from dataclasses import replace

import pytest
import torch
from torch import nn

from textualize.baselines.batch import Batch
from textualize.baselines.can import CAN, ChannelAttention
from textualize.baselines.task import Task
from textualize.errors import TextualizeError

WIDTHS = {"visual": 3, "audio": 5, "text": 4}


def random_batch(n=6, steps=6, widths=WIDTHS, classes=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    return Batch(
        {m: torch.randn(n, steps, d, generator=g) for m, d in widths.items()},
        {m: torch.rand(n, steps, generator=g) < 0.7 for m in widths},
        torch.randn(n, 7, generator=g),
        torch.randint(classes, (n,), generator=g),
        torch.rand(n, generator=g) + 0.5,
        summaries={m: torch.randn(n, 2 * d, generator=g) for m, d in widths.items()},
    )


def network(task=None, *, widths=WIDTHS, seed=0, **options):
    torch.manual_seed(seed)
    options = {"channels": [6, 4], "hidden": 8, "dropout": 0.0, **options}
    return CAN(widths, task or Task(outputs=3), steps=6, **options)


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


@pytest.mark.parametrize("names", [["visual"], ["visual", "audio"], ["visual", "audio", "text"]])
@pytest.mark.parametrize("per_step", [False, True])
def test_it_takes_any_number_of_streams(names, per_step):
    widths = {m: WIDTHS[m] for m in names}
    net = network(Task(outputs=3, per_step=per_step), widths=widths).eval()
    out = net(random_batch(widths=widths))
    assert out.shape == ((6, 6, 3) if per_step else (6, 3))


def test_an_output_per_step_never_depends_on_later_steps():
    batch, net = random_batch(), network(Task(outputs=3, per_step=True)).eval()
    batch = replace(batch, steps={m: torch.ones_like(s) for m, s in batch.steps.items()})
    later = {m: torch.cat([x[:, :4], x[:, 4:] + 9], 1) for m, x in batch.streams.items()}
    before, after = net(batch), net(replace(batch, streams=later))
    assert torch.allclose(before[:, :4], after[:, :4], atol=1e-6)
    assert not torch.allclose(before[:, 4:], after[:, 4:], atol=1e-3)


def test_a_clip_does_not_depend_on_its_batch():
    batch, net = random_batch(), network().eval()
    alone = torch.cat([net(batch.take(torch.tensor([i]))) for i in range(len(batch))])
    assert torch.allclose(net(batch), alone, atol=1e-5)


def test_what_is_masked_changes_nothing():
    batch = random_batch()
    noise = {
        m: torch.where(batch.steps[m].unsqueeze(-1), x, torch.full_like(x, float("nan")))
        for m, x in batch.streams.items()
    }
    for training in (False, True):
        net = network().train(training)
        assert torch.equal(net(batch), net(replace(batch, streams=noise)))


def test_a_clip_without_any_step_has_finite_scores():
    batch, net = random_batch(), network().eval()
    blind = replace(batch, steps={m: torch.zeros_like(s) for m, s in batch.steps.items()})
    assert torch.isfinite(net(blind)).all()
    assert torch.isfinite(net.train()(blind)).all()


def test_every_parameter_is_reached_by_the_loss():
    net = network()
    net.loss(random_batch(32)).backward()
    dead = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []


def test_loss_falls_on_a_shift_between_classes():
    batch, net = random_batch(64), network()
    shift = nn.functional.one_hot(batch.targets, 3).float().unsqueeze(1)
    data = replace(batch, streams={**batch.streams, "visual": batch.streams["visual"] + 2 * shift})
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    before = float(net.loss(data).detach())
    for _ in range(40):
        optimizer.zero_grad()
        net.loss(data).backward()
        optimizer.step()
    assert float(net.loss(data).detach()) < 0.5 * before


def test_channels_that_do_not_fit_are_one_clear_line():
    with pytest.raises(TextualizeError, match="recipe key 'channels' is for visual"):
        network(channels={"visual": [4]})
