import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import ortho_group

from textualize.baselines.discrepancy import closeness, coral, mmd
from textualize.errors import TextualizeError

X = torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
Y = torch.tensor([[0.0, 2.0], [1.0, 2.0], [2.0, 2.0]], dtype=torch.float64)


def samples(n=12, m=9, width=6, shift=0.7, seed=0):
    g = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(k, width, generator=g, dtype=torch.float64) for k in (n, m))
    return x, y + shift


# the multi-kernel discrepancy


def test_the_hand_case():
    assert mmd(X, Y).item() == pytest.approx(4.7305371966, abs=1e-9)


def test_it_is_what_its_equation_says():
    x, y = samples()
    u = np.concatenate([x, y])
    d = cdist(u, u, "sqeuclidean")
    bandwidth = d.sum() / (21 * 20) / 4
    k = sum(np.exp(-d / (bandwidth * 2**q)) for q in range(5))
    biased = k[:12, :12].mean() + k[12:, 12:].mean() - 2 * k[:12, 12:].mean()
    assert mmd(x, y).item() == pytest.approx(biased, abs=1e-12)
    off = [k[p][:, p][~np.eye(n, dtype=bool)].mean() for p, n in ((range(12), 12),
                                                                 (range(12, 21), 9))]  # fmt: skip
    assert mmd(x, y, unbiased=True).item() == pytest.approx(sum(off) - 2 * k[:12, 12:].mean())
    one = np.exp(-d / (4 * bandwidth))
    single = one[:12, :12].mean() + one[12:, 12:].mean() - 2 * one[:12, 12:].mean()
    assert mmd(x, y, kernels=1).item() == pytest.approx(single, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_equal_samples_are_at_zero_and_it_is_symmetric_and_never_negative(seed):
    x, y = samples(seed=seed, shift=0.0)
    assert mmd(x, x).item() == pytest.approx(0.0, abs=1e-12)
    assert mmd(x, x[torch.randperm(len(x))]).item() == pytest.approx(0.0, abs=1e-12)
    assert mmd(x, y).item() == pytest.approx(mmd(y, x).item(), abs=1e-12)
    assert mmd(x, y).item() > 0


@pytest.mark.parametrize(
    "change",
    [
        lambda u: u + torch.arange(6) * 100.0,
        lambda u: u @ torch.from_numpy(ortho_group.rvs(6, random_state=1)),
        lambda u: u * 1e-4,
        lambda u: u * 1e4,
    ],
    ids=["shift", "rotation", "smaller", "larger"],
)
def test_a_common_shift_rotation_or_scaling_changes_nothing(change):
    x, y = samples()
    assert mmd(change(x), change(y)).item() == pytest.approx(mmd(x, y).item(), rel=1e-6)


def test_the_unbiased_estimate_is_zero_on_average_for_one_distribution():
    found = [mmd(*samples(20, 20, shift=0.0, seed=s), unbiased=True).item() for s in range(200)]
    error = np.std(found) / math.sqrt(len(found))
    assert abs(np.mean(found)) < 3 * error
    assert min(found) < 0
    assert np.mean([mmd(*samples(20, 20, shift=0.0, seed=s)).item() for s in range(50)]) > 0.1


def test_both_samples_have_a_gradient_unless_they_are_equal():
    x, y = (u.clone().requires_grad_() for u in samples())
    mmd(x, y).backward()
    for u in (x, y):
        assert u.grad is not None
        assert torch.isfinite(u.grad).all()
        assert bool((u.grad.abs().sum(1) > 0).all())
    same = samples()[0].requires_grad_()
    mmd(same, same.detach().clone()).backward()
    assert same.grad is not None
    assert float(same.grad.abs().max()) < 1e-12


def test_the_gradient_is_that_of_differences_at_a_fixed_bandwidth():
    x, y = samples(5, 4, 3)
    u = torch.cat([x, y])
    bandwidth = (u[:, None] - u[None]).square().sum() / (9 * 8) / 4

    def fixed(x):
        d = (torch.cat([x, y])[:, None] - torch.cat([x, y])[None]).square().sum(-1)
        k = sum(torch.exp(-d / (bandwidth * 2**q)) for q in range(5))
        return k[:5, :5].mean() + k[5:, 5:].mean() - 2 * k[:5, 5:].mean()

    own = x.clone().requires_grad_()
    mmd(own, y).backward()
    eps = 1e-6
    for i, j in ((0, 0), (2, 1), (4, 2)):
        step = torch.zeros_like(x)
        step[i, j] = eps
        slope = (fixed(x + step) - fixed(x - step)).item() / (2 * eps)
        assert own.grad[i, j].item() == pytest.approx(slope, abs=1e-7)


def test_descent_moves_one_sample_to_the_other():
    x, y = samples(30, 30, shift=2.0)
    y = y.clone().requires_grad_()
    optimizer = torch.optim.SGD([y], 20.0)
    before, apart = mmd(x, y).item(), (y.mean(0) - x.mean(0)).norm().item()
    for _ in range(100):
        optimizer.zero_grad()
        mmd(x, y).backward()
        optimizer.step()
    assert mmd(x, y).item() < 0.2 * before
    assert (y.mean(0) - x.mean(0)).norm().item() < 0.2 * apart


def test_rows_that_are_all_one_point_are_no_failure():
    x = torch.zeros(3, 2, requires_grad=True)
    found = mmd(x, torch.zeros(4, 2))
    found.backward()
    assert found.item() == 0
    assert torch.isfinite(x.grad).all()
    assert mmd(x[:1], torch.ones(1, 2)).item() > 0


def test_half_precision_is_computed_in_single():
    x, y = samples()
    coarse = mmd(x.bfloat16(), y.bfloat16())
    assert coarse.dtype == torch.float32
    assert coarse.item() == pytest.approx(mmd(x, y).item(), rel=0.02)


# covariances, mean directions


def test_coral_is_the_distance_of_covariances_and_blind_to_a_shift():
    x, y = samples()
    off = np.cov(x.numpy().T) - np.cov(y.numpy().T)
    assert coral(x, y).item() == pytest.approx((off**2).sum() / (4 * 36))
    assert coral(x, x + 5).item() == pytest.approx(0, abs=1e-12)
    assert coral(x, 2 * x).item() > 0


def test_closeness_is_the_cosine_of_the_means():
    x = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    assert closeness(x, torch.tensor([[0.0, 7.0]])).item() == pytest.approx(0)
    assert closeness(x, 10 * x).item() == pytest.approx(1)
    assert closeness(x, -x).item() == pytest.approx(-1)


@pytest.mark.parametrize(
    ("call", "given"),
    [
        (lambda: mmd(X[:0], Y), "(0, 2)"),
        (lambda: mmd(X, torch.zeros(3, 4)), "(3, 4)"),
        (lambda: mmd(X[:1], Y, unbiased=True), "2 or more rows"),
        (lambda: coral(X, Y[:1]), "2 or more rows"),
        (lambda: closeness(X, Y[0]), "(2,)"),
    ],
)
def test_samples_that_are_none_are_refused_in_one_line(call, given):
    with pytest.raises(TextualizeError) as caught:
        call()
    assert given in str(caught.value)
    assert "\n" not in str(caught.value)
