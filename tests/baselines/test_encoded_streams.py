"""What `CAN` and `LFAN` have in common: streams encoded in time, each for itself, then fused."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from textualize.baselines.can import CAN
from textualize.baselines.lfan import LFAN
from textualize.baselines.task import Task
from textualize.errors import TextualizeError

WIDTHS = {"visual": 3, "audio": 5, "text": 4}
OPTIONS = {CAN: {"hidden": 8}, LFAN: {"width": 8}}
pytestmark = pytest.mark.parametrize("made", OPTIONS)


def network(made, task=None, *, widths=WIDTHS, **options):
    torch.manual_seed(0)
    options = {"channels": [6, 4], "dropout": 0.0, **OPTIONS[made], **options}
    return made(widths, task or Task(outputs=3), steps=6, **options)


@pytest.mark.parametrize("names", [["visual"], ["visual", "audio"], ["visual", "audio", "text"]])
@pytest.mark.parametrize("per_step", [False, True])
def test_it_takes_any_number_of_streams(made, names, per_step, random_batch):
    widths = {m: WIDTHS[m] for m in names}
    net = network(made, Task(outputs=3, per_step=per_step), widths=widths).eval()
    out = net(random_batch(widths=widths))
    assert out.shape == ((6, 6, 3) if per_step else (6, 3))


def test_an_output_per_step_never_depends_on_later_steps(made, random_batch):
    batch, net = random_batch(), network(made, Task(outputs=3, per_step=True)).eval()
    batch = replace(batch, steps={m: torch.ones_like(s) for m, s in batch.steps.items()})
    later = {m: torch.cat([x[:, :4], x[:, 4:] + 9], 1) for m, x in batch.streams.items()}
    before, after = net(batch), net(replace(batch, streams=later))
    assert torch.allclose(before[:, :4], after[:, :4], atol=1e-6)
    assert not torch.allclose(before[:, 4:], after[:, 4:], atol=1e-3)


def test_a_clip_does_not_depend_on_its_batch(made, random_batch):
    batch, net = random_batch(), network(made).eval()
    alone = torch.cat([net(batch.take(torch.tensor([i]))) for i in range(len(batch))])
    assert torch.allclose(net(batch), alone, atol=1e-5)


def test_what_is_masked_changes_nothing(made, random_batch):
    batch = random_batch()
    noise = {
        m: torch.where(batch.steps[m].unsqueeze(-1), x, torch.full_like(x, float("nan")))
        for m, x in batch.streams.items()
    }
    for training in (False, True):
        net = network(made).train(training)
        assert torch.equal(net(batch), net(replace(batch, streams=noise)))


def test_a_clip_without_any_step_has_finite_scores(made, random_batch):
    batch, net = random_batch(), network(made).eval()
    blind = replace(batch, steps={m: torch.zeros_like(s) for m, s in batch.steps.items()})
    assert torch.isfinite(net(blind)).all()
    assert torch.isfinite(net.train()(blind)).all()


def test_every_parameter_is_reached_by_the_loss(made, random_batch):
    net = network(made)
    net.loss(random_batch(32)).backward()
    dead = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []


def test_loss_falls_on_a_shift_between_classes(made, random_batch):
    batch, net = random_batch(64), network(made)
    shift = nn.functional.one_hot(batch.targets, 3).float().unsqueeze(1)
    data = replace(batch, streams={**batch.streams, "visual": batch.streams["visual"] + 2 * shift})
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    before = float(net.loss(data).detach())
    for _ in range(40):
        optimizer.zero_grad()
        net.loss(data).backward()
        optimizer.step()
    assert float(net.loss(data).detach()) < 0.5 * before


def test_channels_that_do_not_fit_are_one_clear_line(made):
    with pytest.raises(TextualizeError, match="recipe key 'channels' is for visual"):
        network(made, channels={"visual": [4]})
