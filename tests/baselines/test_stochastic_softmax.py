import numpy as np
import pytest
import torch

from textualize.baselines.pictures import PictureSource
from textualize.baselines.reels import TrackReel
from textualize.baselines.score_bank import softmax_pool
from textualize.baselines.stochastic_softmax import StochasticSoftmax
from textualize.baselines.task import Task
from textualize.errors import TextualizeError

TASK = Task("classes", False, 2, ("different", "same"))
SMALL = {"steps": 4, "width": 4, "hidden": 8, "dropout": 0.0}


def network(seed=0, **options):
    torch.manual_seed(seed)
    return StochasticSoftmax({}, TASK, **{**SMALL, **options})


def source(videos, labels, frames=0):
    reels = [
        TrackReel(v, np.arange(len(v)), np.arange(len(v)) / 5, None, v.shape[1], len(v))
        for v in videos
    ]
    return PictureSource(reels, torch.tensor(labels), torch.ones(len(reels)), frames=frames)


def noise(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 255, (n, 16, 16, 3), dtype=np.uint8) for n in lengths]


def test_a_video_is_pooled_over_the_highest_of_every_piece():
    net = network(beta=0.7).eval()
    batch = source(noise([11]), [0]).take(torch.tensor([0]))
    with torch.no_grad():
        frames = net.head(net.reader(batch.pixels)).transpose(1, 2)[0]
        pieces = torch.stack([frames[:, s : s + 4].max(1).values for s in range(8)], 1)
        assert torch.allclose(net.piece_scores(frames[None])[0], pieces)
        assert torch.allclose(net(batch)[0], softmax_pool(pieces, 0.7), atol=1e-6)
        short = source(noise([3]), [0]).take(torch.tensor([0]))
        frames = net.head(net.reader(short.pixels[:, :, :3])).transpose(1, 2)[0]
        assert torch.allclose(net(short)[0], frames.max(1).values, atol=1e-6)


def test_in_training_a_piece_is_one_score_whatever_beta():
    batch = source(noise([9, 9]), [0, 1], frames=4).take(torch.tensor([0, 1]))
    one, two = (network(beta=b).eval()(batch) for b in (0.0, 5.0))
    assert torch.allclose(one, two, atol=1e-6)


def test_the_bank_notes_the_right_class_without_dropout():
    net = network(dropout=0.9, warm_up=0, exploration=1).train()
    data = source(noise([10, 6, 2]), [0, 1, 1], frames=4)
    batch = net.draw(data, torch.arange(3))
    net.loss(batch)
    expected = net._answers(batch)[1].gather(1, batch.targets.unsqueeze(1)).squeeze(1)
    assert net.bank is not None and net.bank.positions.tolist() == [7, 3, 1]
    for i in range(3):
        assert float(net.bank.scores[i, batch.starts[i]]) == pytest.approx(float(expected[i]))
    assert net.bank.visits.tolist() == [1, 1, 1]
    net.eval()
    net.loss(batch)
    assert net.bank.visits.tolist() == [1, 1, 1]


def test_what_an_epoch_tells_begins_with_the_softmax_phase():
    net = network(warm_up=1, exploration=1).train()
    data = source(noise([10, 6]), [0, 1], frames=4)
    told = []
    for _ in range(3):
        net.loss(net.draw(data, torch.arange(2)))
        told.append(net.told())
    assert told[0] == {} and 0 < told[1]["effective_share"] <= 1
    assert 1 <= told[2]["effective_starts"] <= 5


def test_the_control_keeps_no_bank():
    net = network(sampling="uniform").train()
    net.loss(net.draw(source(noise([10, 6]), [0, 1], frames=4), torch.arange(2)))
    assert net.bank is None and net.memory() == {} == net.told()


def test_it_remembers():
    net, other = network(warm_up=0, exploration=1).train(), network(seed=1).train()
    data = source(noise([10, 6]), [0, 1], frames=4)
    net.loss(net.draw(data, torch.arange(2)))
    other.remember(net.memory())
    assert all(torch.equal(v, other.memory()[k]) for k, v in net.memory().items())
    assert len(net.history()["rows"]) == 2 and set(net.memory()) > {"scores", "watched.weights"}
    older = {k: v for k, v in net.memory().items() if not k.startswith("watched.")}
    other.remember(older)  # of a checkpoint from before there was a history
    other.loss(other.draw(data, torch.arange(2)))
    assert other.history() == {} and set(other.memory()) == set(older)


def test_dmsn_as_backbone_scores_pieces_of_its_own():
    net = network(backbone="dmsn-a", width=16, beta=0.5).eval()
    batch = source(noise([9]), [0]).take(torch.tensor([0]))
    with torch.no_grad():
        parts = [net.head(net.reader(batch.pixels[:, :, a : a + 4]))[0, 0] for a in (0, 2, 4, 5)]
        assert torch.allclose(net(batch)[0], softmax_pool(torch.stack(parts, 1), 0.5), atol=1e-5)
    assert net.resolved() == {"backbone": "dmsn-a"}
    with pytest.raises(TextualizeError, match="no block named"):
        network(backbone="dmsn-z", width=16)


def test_values_and_steps_are_refused():
    for task in (Task("values", False, 1, ("v",), objective="mse"),
                 Task("classes", True, 2, ("a", "b"))):  # fmt: skip
        with pytest.raises(TextualizeError, match="answers with a class of the clip"):
            StochasticSoftmax({}, task)


def test_the_sampler_finds_what_tells():
    """Of 40 grey pictures 5 are tinted by their class: pieces with them come to be drawn more."""
    rng = np.random.default_rng(0)
    videos, labels = noise([40] * 32), [i % 2 for i in range(32)]
    told = rng.integers(0, 36, 32)
    for video, label, at in zip(videos, labels, told, strict=True):
        video[at : at + 5, :, :, 2 * label] //= 4
    data = source(videos, labels, frames=5)
    net = network(steps=5, warm_up=1, exploration=5).train()
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for epoch in range(14):
        torch.manual_seed(epoch)
        for rows in torch.randperm(32).split(8):
            loss = net.loss(net.draw(data, rows))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    weights, starts = net.bank.weights(torch.arange(32)), torch.arange(36)
    inside = (starts - torch.tensor(told).unsqueeze(1)).abs() < 5
    mass, even = float((weights * inside).sum(1).mean()), float(inside.float().mean())
    assert mass > 1.5 * even
    assert net.told()["effective_share"] < 0.9
