import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from textualize.baselines.score_bank import (
    ScoreBank,
    blend,
    effective_number,
    explored,
    softmax_pool,
)

S = torch.tensor([1.0, 2.0, 4.0, 0.0], dtype=torch.float64)
scores = st.lists(st.floats(-5, 5), min_size=1, max_size=20).map(torch.tensor)


def bank(positions, seed=0, **options):
    torch.manual_seed(seed)
    asked = {"reach": 16, "beta": 1.0, "warm_up": 0, "exploration": 5, **options}
    return ScoreBank(torch.tensor(positions), **asked)


@pytest.mark.parametrize(
    ("beta", "pooled", "clips"),
    [(0, 1.75, 4), (0.5, 2.8724788, 3.034), (1, 3.5900958, 1.813), (2, 3.9555303, 1.116),
     (100, 4.0, 1)],
)  # fmt: skip
def test_hand_values(beta, pooled, clips):
    assert float(softmax_pool(S, beta)) == pytest.approx(pooled, abs=5e-8)
    assert float(effective_number(torch.softmax(beta * S, 0))) == pytest.approx(clips, abs=5e-4)


@given(scores, st.floats(0, 3), st.floats(-4, 4))
def test_a_constant_shifts_the_answer_and_leaves_the_weights(s, beta, constant):
    s = s.double()
    weights = torch.softmax(beta * s, 0)
    assert torch.allclose(torch.softmax(beta * (s + constant), 0), weights, atol=1e-9)
    shifted = softmax_pool(s + constant, beta)
    assert float(shifted) == pytest.approx(float(softmax_pool(s, beta)) + constant, abs=1e-6)


@given(scores, st.floats(0, 3), st.floats(0, 3))
def test_more_beta_is_never_less(s, one, other):
    low, high = sorted((one, other))
    assert softmax_pool(s.double(), high) >= softmax_pool(s.double(), low) - 1e-9


def test_an_observation_by_hand():
    found = blend(torch.zeros(6), 2, 1.0, reach=4)
    assert found.tolist() == [0.5, 0.75, 1.0, 0.75, 0.5, 0.25]


@given(scores, st.data(), st.floats(-5, 5), st.integers(1, 20))
def test_an_observation_never_overshoots_and_is_exact_where_it_was(s, data, score, reach):
    s, at = s.double(), data.draw(st.integers(0, len(s) - 1))
    found = blend(s, at, score, reach)
    assert float(found[at]) == pytest.approx(score)
    assert bool(((found - s) * (score - found) >= -1e-9).all())
    assert float(blend(found, at, score, reach)[at]) == pytest.approx(score)
    apart = (torch.arange(len(s)) - at).abs() >= reach
    assert torch.equal(found[apart], s[apart])


@given(st.integers(1, 984), st.integers(1, 9))
@settings(deadline=None)
def test_exploration_reaches_every_start(n, steps):
    seen = torch.zeros(n, dtype=torch.bool)
    for k in range(steps):
        at, near = explored(n, steps, k)
        assert 0 <= at < n and near.start <= at < near.stop
        seen[near] = True
    assert bool(seen.all())


def visit(own, score):
    """Visit every video once; `score` gives what a start is worth."""
    rows = torch.arange(len(own.positions))
    starts = own.draw(rows)
    own.observe(rows, starts, torch.tensor([score(int(s)) for s in starts]))
    return starts


def test_the_three_phases():
    own = bank([45, 1, 2], warm_up=2, exploration=5)
    for _ in range(2):
        visit(own, float)
        assert not own.scores.any() and not len(own.scored())
    seen = torch.stack([visit(own, float) for _ in range(5)])
    assert sorted(seen[:, 0].tolist()) == [0, 11, 22, 33, 44]
    assert seen[:, 1].tolist() == [0] * 5 and set(seen[:, 2].tolist()) == {0, 1}
    # every start has the score of the explored one next to it
    nearest = (torch.arange(45)[:, None] - torch.tensor([0, 11, 22, 33, 44])).abs().min(1).values
    assert bool(((own.scores[0] - torch.arange(45)).abs() <= nearest.max() + 1).all())
    assert own.scored().tolist() == [0, 1, 2]
    before = own.scores.clone()
    at = visit(own, lambda s: -50.0)
    moved = own.scores[0] != before[0]
    assert bool((moved == ((torch.arange(45) - at[0]).abs() < 16)).all())
    assert float(own.scores[0, at[0]]) == -50.0


def test_orders_of_exploration_differ_between_videos():
    own = bank([100] * 40)
    assert len({tuple(row) for row in own.order.tolist()}) > 20


@pytest.mark.parametrize("beta", [0.0, 0.7])
def test_what_is_drawn_follows_the_weights(beta):
    own = bank([6, 4], beta=beta)
    own.visits += 5
    own.scores = torch.randn(2, 6)
    expected = own.weights(torch.tensor([0, 1]))
    assert float(expected[1, 4:].sum()) == 0 and torch.allclose(expected.sum(1), torch.ones(2))
    drawn = own.draw(torch.tensor([0, 1] * 4000)).view(-1, 2)
    for video, n in ((0, 6), (1, 4)):
        counts = torch.bincount(drawn[:, video], minlength=n).numpy()
        shares = expected[video, :n].double().numpy()
        assert chisquare(counts, 4000 * shares / shares.sum()).pvalue > 1e-3
    if beta == 0:
        assert own.effective()[1] == pytest.approx(1.0, abs=1e-6)


def test_a_sure_bank_draws_the_best_and_counts_one():
    own = bank([8], beta=200.0)
    own.visits += 5
    own.scores[0, 3] = 1.0
    assert set(own.draw(torch.zeros(50, dtype=torch.long)).tolist()) == {3}
    assert own.effective() == pytest.approx((1.0, 1 / 8))


def test_it_goes_on_from_its_state():
    own = bank([20, 30])
    for _ in range(7):
        visit(own, lambda s: s / 10)
    other = bank([20, 30], seed=9)
    other.restore(own.state())
    torch.manual_seed(3)
    one = visit(own, float)
    torch.manual_seed(3)
    two = visit(other, float)
    assert torch.equal(one, two) and torch.equal(own.scores, other.scores)
