import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from textualize.baselines.bank_history import (
    FILE,
    BankHistory,
    read_history,
    watched,
    write_history,
)
from textualize.baselines.bank_picture import draw_bank, drawn
from textualize.baselines.score_bank import ScoreBank
from textualize.errors import TextualizeError

SETTINGS = {"warm_up": 1, "exploration": 2}


def bank(positions, seed=0):
    torch.manual_seed(seed)
    return ScoreBank(torch.tensor(positions), reach=4, beta=1.0, **SETTINGS)


def visited(own, history, epochs, seed=0):
    """Every video once an epoch, in two batches; the further in, the higher the score."""
    for epoch in range(epochs):
        torch.manual_seed(1000 * seed + epoch)
        for rows in torch.randperm(len(own.positions)).split(2):
            starts = own.draw(rows)
            own.observe(rows, starts, starts.float())
            history.note(own, rows, starts)


def test_the_videos_watched_follow_the_seed_and_disturb_no_draw():
    targets, positions = torch.arange(40) % 4, torch.full((40,), 9)
    positions[::3] = 1
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, again, other = (watched(targets, positions, s) for s in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert targets[one].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert bool((positions[one] > 1).all())
    assert len(watched(torch.arange(20) % 10, torch.full((20,), 9), 0)) == 10
    assert len(watched(targets, torch.ones(40), 0)) == 0


def test_what_is_noted_is_what_the_bank_says():
    own = bank([9, 5, 1, 7, 9])
    history = BankHistory(torch.tensor([1, 4]), 9)
    visited(own, history, 6)
    assert history.starts.shape == (2, 6) and history.weights.shape == (2, 6, 9)
    even = history.weights[0, 0, :5].float()
    assert torch.allclose(even, torch.full((5,), 0.2), atol=1e-3)  # the warm-up leaves no score
    last = own.weights(torch.tensor([1, 4]))
    assert torch.allclose(history.weights[:, -1].float(), last, atol=1e-3)
    assert not history.weights[0, :, 5:].any()
    assert bool((history.starts >= 0).all()) and int(history.starts[0].max()) < 5


def test_it_goes_on_from_its_state():
    banks = bank([9, 5, 7]), bank([9, 5, 7])
    whole, first = (BankHistory(torch.tensor([0, 2]), 9) for _ in range(2))
    visited(banks[0], whole, 5)
    visited(banks[1], first, 2)
    again = BankHistory.of(first.state())
    for epoch in range(2, 5):
        torch.manual_seed(epoch)
        for rows in torch.randperm(3).split(2):
            starts = banks[1].draw(rows)
            banks[1].observe(rows, starts, starts.float())
            again.note(banks[1], rows, starts)
    assert torch.equal(whole.starts, again.starts)
    assert torch.equal(whole.weights, again.weights)


@pytest.fixture
def run(tmp_path):
    own, history = bank([9, 5, 7]), BankHistory(torch.tensor([0, 1]), 9)
    visited(own, history, 5)
    seconds = [torch.arange(9) / 5, 2.0 + torch.arange(5) / 5]
    write_history(tmp_path, history.state(), ["a", "b"], seconds, torch.tensor([1, 0]))
    return tmp_path


def test_written_and_read_it_is_the_same(run):
    first, second = read_history(run)
    assert (first.clip, first.target, second.clip, second.target) == ("a", 1, "b", 0)
    assert first.weights.shape == (5, 9) and second.weights.shape == (5, 5)
    assert second.seconds.tolist() == pytest.approx([2.0, 2.2, 2.4, 2.6, 2.8])
    assert torch.allclose(second.weights.sum(1), torch.ones(5), atol=5e-3)


def test_the_drawing_shows_every_weight_and_share(run):
    lines = [
        {"epoch": e, **({"effective_share": 1 - e / 10} if e > 2 else {})} for e in range(1, 6)
    ]
    lines[3]["selected"] = True
    videos = read_history(run)
    figure = drawn(videos, ("calm", "glad"), lines, SETTINGS)
    maps, share = figure.axes[:2], figure.axes[2]
    assert [a.get_title(loc="left") for a in maps] == ["a: glad", "b: calm"]
    for axes, video in zip(maps, videos, strict=True):
        shown = axes.collections[0].get_array()
        assert np.allclose(shown, video.weights.numpy() * len(video.seconds))
        rings = axes.lines[0]
        assert rings.get_ydata().tolist() == [1, 2, 3, 4, 5]
        at = video.seconds.numpy()[video.starts.numpy()]
        assert np.allclose(rings.get_xdata(), at + 0.1)
    assert list(share.lines[0].get_xdata()) == [3, 4, 5]
    assert list(share.lines[0].get_ydata()) == pytest.approx([0.7, 0.6, 0.5])
    assert {t.get_text().strip() for t in share.texts} == {
        "evenly",
        "explored",
        "by score",
        "chosen",
    }


def test_what_cannot_be_drawn_is_said_in_one_line(run, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(TextualizeError, match="has no bank.safetensors: training with sampling"):
        read_history(empty)
    with pytest.raises(TextualizeError, match=r"should end in \.png"):
        draw_bank(run, run / "bank.gif")
    (empty / FILE).write_bytes((run / FILE).read_bytes()[:200])
    with pytest.raises(TextualizeError, match="are damaged"):
        read_history(empty)
    save_file({"weights": torch.zeros(2)}, empty / FILE)
    with pytest.raises(TextualizeError, match="is no history of a bank"):
        read_history(empty)
