import pytest
import torch
from torch import nn

from textualize.baselines.answer import Answer, Skip
from textualize.baselines.batch import Batch
from textualize.baselines.layers import mlp
from textualize.baselines.task import Task

WIDTHS = {"visual": 8, "audio": 2}


def batch_of(b=3, steps=7, seed=0, factor=1.0):
    """Streams with NaN where nothing was seen."""
    g = torch.Generator().manual_seed(seed)
    streams, masks = {}, {}
    for m, width in WIDTHS.items():
        x = factor * torch.randn(b, steps, width, generator=g)
        masks[m] = torch.rand(b, steps, generator=g) < 0.6
        masks[m][:, 2] = True
        streams[m] = x.masked_fill(~masks[m].unsqueeze(-1), torch.nan)
    summaries = {m: factor * torch.randn(b, 2 * d, generator=g) for m, d in WIDTHS.items()}
    targets, weights = torch.zeros(b).long(), torch.ones(b)
    return Batch(streams, masks, torch.zeros(b, 0), targets, weights, summaries=summaries)


def test_the_path_of_a_step_is_linear_and_reads_seen_steps_only():
    path = Skip(WIDTHS, Task(per_step=True, outputs=3), 0.0)
    out, bias = path(batch_of()), path.linear.bias
    assert out.shape == (3, 7, 3)
    assert torch.allclose(path(batch_of(factor=2.0)) - bias, 2 * (out - bias), atol=1e-5)


def test_the_path_of_a_clip_reads_the_functionals_of_its_streams():
    batch, path = batch_of(), Skip(WIDTHS, Task(outputs=3), 0.0)
    assert torch.equal(path.inputs(batch), torch.cat(list(batch.summaries.values()), -1))
    assert torch.allclose(path(batch), path.linear(path.inputs(batch)))
    alone = Skip({"audio": 2}, Task(outputs=3), 0.0)
    assert torch.equal(alone.inputs(batch), batch.summaries["audio"])


def test_heads_give_their_outputs_in_turn_beside_the_path():
    heads = [nn.Linear(4, 1), nn.Linear(4, 2)]
    answer, fused = Answer(heads, WIDTHS, Task(outputs=3), 0.0), torch.randn(3, 4)
    expected = torch.cat([head(fused) for head in heads], -1)
    assert torch.allclose(answer(fused, batch_of()), expected + answer.skip(batch_of()))
    assert torch.equal(Answer(heads, {}, Task(outputs=3), 0.0)(fused, batch_of()), expected)


@pytest.mark.parametrize("heads", [[nn.Linear(4, 3)], [mlp(4, 5, 1, 0.1), mlp(4, 5, 2, 0.1)]])
def test_a_start_is_the_linear_model_and_learns_in_all_its_parts(heads):
    answer = Answer(heads, WIDTHS, Task(outputs=3), 0.0)
    (path,) = answer.linear_paths()
    weight, bias = torch.randn(3, 20), torch.randn(3)
    path.start(weight, bias)
    batch, fused = batch_of(), torch.randn(3, 4)
    assert torch.allclose(answer(fused, batch), path.inputs(batch) @ weight.T + bias, atol=1e-5)
    answer(fused, batch).square().sum().backward()
    last = [[m for m in head.modules() if isinstance(m, nn.Linear)][-1] for head in heads]
    assert all(m.weight.grad.abs().sum() > 0 for m in (*last, path.linear))


def test_a_path_that_is_missing_or_frozen_is_not_started():
    task = Task(outputs=3)
    assert Answer([nn.Linear(4, 3)], {}, task, 0.0).linear_paths() == []
    frozen = Answer([nn.Linear(4, 3)], WIDTHS, task, 0.0).requires_grad_(False)
    assert frozen.linear_paths() == []
