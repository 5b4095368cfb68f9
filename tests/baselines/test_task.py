import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812

from textualize.baselines.batch import Batch
from textualize.baselines.task import (
    OBJECTIVES,
    VOTES,
    Task,
    Values,
    better,
    smooth,
    vote,
)
from textualize.errors import TextualizeError
from textualize.evaluate import metrics

# methods that vote must be told apart by this clip
FRAMES = np.array([[6, 0, 5], [3, 2, 2], [1, 6, 3], [0, 6, 3], [4, 1, 3]], float)
NAN = float("nan")


def batch(targets, weights=None):
    n = len(targets)
    w = torch.ones(n) if weights is None else torch.tensor(weights)
    return Batch({}, {}, torch.zeros(n, 0), targets, w)


def test_three_votes_say_three_classes():
    found = {rule: vote(FRAMES, rule) for rule in VOTES}
    assert [int(found[r].argmax()) for r in VOTES] == [0, 2, 1]
    assert found["majority"] == pytest.approx([3 / 5, 2 / 5, 0])
    assert found["mean_probability"] == pytest.approx([0.404, 0.429, 0.167], abs=5e-4)
    assert found["mean_logit"] == pytest.approx(
        np.exp([2.8, 3.0, 3.2]) / np.exp([2.8, 3, 3.2]).sum()
    )
    assert int(found["majority"].argmax()) == metrics.majority_vote(FRAMES)
    assert int(found["mean_logit"].argmax()) == metrics.mean_logit_vote(FRAMES)
    assert int(found["mean_probability"].argmax()) == metrics.mean_probability_vote(FRAMES)


@given(st.integers(1, 6), st.integers(2, 4), st.integers(0, 99), st.sampled_from(VOTES))
def test_a_vote_is_a_distribution_and_knows_no_level(steps, classes, seed, rule):
    logits = np.random.default_rng(seed).normal(size=(steps, classes))
    found = vote(logits, rule)
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()
    assert vote(logits + 7.0, rule) == pytest.approx(found)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))  # a series keeps these
    assert vote(log_p, rule) == pytest.approx(found)


def test_a_tie_goes_to_the_lowest_class():
    assert int(vote(np.array([[1.0, 0], [0, 1.0]]), "majority").argmax()) == 0


def test_classes_are_weighted_cross_entropy():
    out, ids = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    w = [1.0, 2.0, 0.0, 0.5, 1.0]
    each = F.cross_entropy(out, ids, reduction="none") * torch.tensor(w)
    loss = Task("classes", False, 3).loss(out, batch(ids, w))
    assert loss == pytest.approx(float(each.sum() / sum(w)))


@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize(("kind", "objective"), [(k, o) for k in OBJECTIVES for o in OBJECTIVES[k]])
def test_what_is_not_annotated_changes_neither_loss_nor_gradient(kind, objective, per_step):
    torch.manual_seed(0)
    task = Task(kind, per_step, 3, objective=objective)
    shape = (6, 4) if per_step else (6,)
    out = torch.randn(*shape, 3)
    if kind == "classes":
        targets = torch.randint(3, shape)
        targets.view(-1)[::3] = -1
        gone = targets < 0
    else:
        targets = torch.randn(*shape, 3)
        targets.view(-1, 3)[::3] = NAN
        gone = targets.isnan().all(-1)
    found = []
    for filled in (0.0, 1e3):
        x = torch.where(gone.unsqueeze(-1), torch.full_like(out, filled), out).requires_grad_()
        task.loss(x, batch(targets)).backward()
        found.append((float(task.loss(x, batch(targets)).detach()), x.grad.clone()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    assert torch.equal(found[0][1], found[1][1])
    assert not found[0][1][gone].any()
    assert torch.isfinite(found[0][1]).all()
    kept = ~gone
    if not per_step:  # the mean over what is annotated, not over all
        left = task.loss(out[kept], batch(targets[kept]))
        assert found[0][0] == pytest.approx(float(left), rel=1e-6)


def test_half_a_clips_annotation_counts_half():
    task = Task("values", True, 1, objective="mse")
    targets = torch.tensor([[[1.0], [NAN]], [[3.0], [5.0]]])
    assert float(task.loss(torch.zeros(2, 2, 1), batch(targets))) == pytest.approx((1 + 9 + 25) / 3)


def test_concordance_loss_is_over_all_steps_together_and_the_mean_of_the_values():
    x = torch.tensor([[[0.1, 1.0], [0.4, 2.0]], [[-0.2, 0.0], [0.3, 5.0]]])
    y = torch.tensor([[[0.0, 1.0], [0.5, 2.0]], [[-0.1, 0.0], [0.1, 5.0]]])
    loss = Task("values", True, 2, objective="ccc").loss(x, batch(y))
    assert float(loss) == pytest.approx((1 - 0.8333333333 + 0) / 2, abs=1e-6)


def test_an_invalid_pair_does_not_inflate_the_score():
    """-5 read as a value on both sides would add a far point on the diagonal."""
    task = Task("values", True, 1, objective="ccc")
    out = torch.tensor([[[0.1], [0.4], [-0.2], [0.3], [-5.0]]])
    true = torch.tensor([[[0.0], [0.5], [-0.1], [0.1], [NAN]]])
    assert task.score("ccc", out, true) == pytest.approx(0.8333333333, abs=1e-6)
    assert task.score("mae", out, true) == pytest.approx(0.125)
    with_it = task.score("ccc", out, true.nan_to_num(-5.0))
    assert with_it > 0.97


def test_numbers_come_back_in_the_units_and_range_of_the_annotation():
    values = Values((2.0, 0.0), (0.5, 1.0), (1.0, -1.0), (3.0, 1.0))
    task = Task("values", False, 2, ("a", "b"), "mse", values=values)
    found = task.numbers(torch.tensor([[1.0, 0.5], [9.0, -9.0]]))
    assert found == pytest.approx(np.array([[2.5, 0.5], [3.0, -1.0]]))
    assert Task.from_json(task.to_json()) == task


def test_concordance_does_not_depend_on_the_standardisation():
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(20, 1, generator=g), torch.randn(20, 1, generator=g)
    task = Task("values", False, 1, objective="ccc")
    one, two = (float(task.loss(a * x + b, batch(a * y + b))) for a, b in ((1, 0), (0.2, 3)))
    assert one == pytest.approx(two, abs=1e-5)


def test_lower_errors_and_higher_agreement_are_better():
    assert better("mae", 0.1, 0.2) and better("rmse", 0.1, 0.2)
    assert better("ccc", 0.2, 0.1) and better("macro_f1", 0.2, 0.1)
    assert not better("ccc", 0.1, 0.1)


@pytest.mark.parametrize(("kind", "objective"), [("classes", "ccc"), ("values", "cross_entropy")])
def test_a_loss_of_the_other_kind_is_refused(kind, objective):
    with pytest.raises(TextualizeError, match="is not for"):
        Task(kind, False, 1, objective=objective)


@given(st.integers(2, 30), st.integers(1, 12), st.integers(0, 99))
def test_smoothing_is_the_mean_of_the_rows_there_are(rows, width, seed):
    x = np.random.default_rng(seed).normal(size=(rows, 2))
    found = smooth(x, 10.0, width / 10.0)
    for t in range(rows):
        own = x[max(t - width // 2, 0) : t + width - width // 2]
        assert found[t] == pytest.approx(own.mean(0), abs=1e-9)


def test_smoothing_by_one_row_is_the_identity_and_a_constant_stays_to_its_ends():
    x = np.random.default_rng(0).normal(size=(9, 2))
    assert smooth(x, 5.0, 0.2) is x
    assert smooth(np.ones((9, 1)), 5.0, 1.0) == pytest.approx(np.ones((9, 1)))
    task = Task("values", True, 2, ("v", "a"), "ccc", smooth_s=(0.0, 1.0))
    both = task.smoothed(x, 5.0)
    assert np.array_equal(both[:, 0], x[:, 0])
    assert not np.array_equal(both[:, 1], x[:, 1])
