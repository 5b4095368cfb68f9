import math
from dataclasses import replace

import pytest
import torch

from textualize.baselines.lfan import LFAN, Follower, leader_follower
from textualize.baselines.task import Task
from textualize.errors import TextualizeError

WIDTHS = {"visual": 3, "audio": 5, "text": 4}


def network(task=None, *, widths=WIDTHS, seed=0, **options):
    torch.manual_seed(seed)
    options = {"channels": [6, 4], "width": 8, "dropout": 0.0, **options}
    return LFAN(widths, task or Task(outputs=3), steps=6, **options)


def size(module):
    return sum(p.numel() for p in module.parameters())


def test_the_formula_agrees_with_a_plain_loop():
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, 4, generator=g, dtype=torch.float64) for _ in range(3))
    found = leader_follower(q, k, v, torch.ones(3).bool())
    for head in range(2):
        for i in range(3):
            logits = [float(q[head, i] @ k[head, j]) / math.sqrt(4) for j in range(3)]
            total = sum(math.exp(x) for x in logits)
            expected = v[head, i].clone()
            for j in range(3):
                expected += math.exp(logits[j]) / total * v[head, j]
            assert torch.allclose(found[head, i], expected, atol=1e-12)


def test_the_follower_is_the_formula_of_each_step_heads_and_streams_side_by_side():
    torch.manual_seed(0)
    net = Follower([3, 5], width=8, heads=2, dropout=0.0)
    streams = [torch.randn(2, 4, 3), torch.randn(2, 4, 5)]
    out = net(streams, [torch.ones(2, 4).bool()] * 2)
    b, t = 1, 2
    rows = torch.stack([f(x[b, t]) for f, x in zip(net.qkv, streams, strict=True)])  # (M, 24)
    q, k, v = rows[:, :8], rows[:, 8:16], rows[:, 16:]
    heads = [
        (q[:, h] @ k[:, h].T / 2.0).softmax(-1) @ v[:, h] + v[:, h]
        for h in (slice(0, 4), slice(4, 8))
    ]
    flat = torch.cat([torch.cat([h[m] for h in heads]) for m in range(2)])
    assert torch.allclose(out[b, t], net.norm(net.out(flat)), atol=1e-6)


def test_an_unseen_stream_is_as_if_it_were_not_there():
    q, k, v = (torch.randn(2, 5, 1, 3, 4) for _ in range(3))
    seen = torch.tensor([True, False, True])
    found = leader_follower(q, k, v, seen)
    alone = leader_follower(q[..., seen, :], k[..., seen, :], v[..., seen, :], seen[seen])
    assert torch.allclose(found[..., seen, :], alone, atol=1e-6)
    assert torch.equal(found[..., 1, :], torch.zeros_like(found[..., 1, :]))
    assert torch.equal(leader_follower(q, k, v, torch.zeros(3).bool()), torch.zeros_like(found))


def test_parameters_are_those_of_the_published_widths():
    follower = Follower([128, 32, 128], width=32, heads=2, dropout=0.1)
    per_stream = sum(d * 96 + 96 for d in (128, 32, 128))
    assert size(follower) == per_stream + (96 * 96 + 96) + 2 * 96
    channels = {"video": [256, 256, 128, 128], "vggish": [64, 64, 32, 32]}
    channels["bert"] = channels["video"]
    widths = {"video": 512, "vggish": 128, "bert": 768}
    net = LFAN(widths, Task(outputs=8), steps=6, channels=channels, skip=False)
    assert net.answer.heads[0].in_features == 128 + 96
    assert size(net.follower) == size(follower)


def test_the_leader_stands_beside_the_follower(random_batch):
    batch = random_batch()
    for leader, index in ((None, 0), ("audio", 1), ("text", 2)):
        net = network(leader=leader, skip=False).eval()
        assert net.leader == index
        with torch.no_grad():
            net.follower.norm.weight.zero_()  # the follower is now the same for everyone
        for i, m in enumerate(WIDTHS):
            moved = replace(batch, streams={**batch.streams, m: batch.streams[m] + 1})
            same = torch.allclose(net(batch), net(moved), atol=1e-6)
            assert same == (i != index)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"leader": "vido"}, "lfan leader"),
        ({"width": 9}, "'width' 9 is not a multiple of 'heads' 2"),
        ({"channels": {"visual": [4]}}, "recipe key 'channels' is for visual"),
    ],
)
def test_options_that_do_not_fit_are_one_clear_line(options, message):
    with pytest.raises(TextualizeError, match=message) as caught:
        network(**options)
    assert "\n" not in str(caught.value)
