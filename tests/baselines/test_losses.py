import math
import os

os.environ.setdefault("POT_BACKEND_DISABLE_TENSORFLOW", "1")
os.environ.setdefault("POT_BACKEND_DISABLE_JAX", "1")

import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from textualize.baselines.losses import (
    ccc,
    ccc_loss,
    costs,
    neighbours,
    similarities,
    sinkhorn_divergence,
    structural_loss,
    transport,
    transport_to_itself,
)
from textualize.errors import TextualizeError

D = torch.float64
SMALL = torch.tensor([[0, 1, 2], [1, 0, 1], [2, 1, 0.5]], dtype=D)
Z_T = torch.tensor([[1, 0], [0.8, 0.6], [0, 1], [-0.6, 0.8]], dtype=D)
Z_S = torch.tensor([[1, 0], [0.6, 0.8], [0.6, -0.8], [-1, 0]], dtype=D)


def points(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=D)


def plain_sinkhorn(cost, epsilon, updates):
    """<P, C>, value and marginal error after that many updates of f and g from 0."""
    n, m = cost.shape
    g = torch.zeros(m, dtype=D)
    for _ in range(updates):
        f = -epsilon * (torch.logsumexp((g - cost) / epsilon, 1) - math.log(m))
        g = -epsilon * (torch.logsumexp((f[:, None] - cost) / epsilon, 0) - math.log(n))
    plan = torch.exp((f[:, None] + g - cost) / epsilon) / (n * m)
    return float((plan * cost).sum()), float(f.mean() + g.mean()), plan


# concordance


def test_ccc_hand_value_and_its_loss():
    x, y = (torch.tensor(v, dtype=D) for v in ([0.1, 0.4, -0.2, 0.3], [0, 0.5, -0.1, 0.1]))
    assert float(ccc(x, y)) == pytest.approx(0.8333333333, abs=1e-10)
    assert float(ccc_loss(x, y)) == pytest.approx(1 - 0.8333333333, abs=1e-10)


def test_ccc_is_1_for_equal_minus_1_for_mirrored_0_for_constant():
    x = points(9)
    assert float(ccc(x, x)) == pytest.approx(1)
    assert float(ccc(x - x.mean(), x.mean() - x)) == pytest.approx(-1)
    for y in (torch.full_like(x, 0.3), torch.zeros_like(x)):
        assert float(ccc(x, y)) == pytest.approx(0, abs=1e-12)
    assert float(ccc(torch.ones(4), torch.ones(4))) == 0


@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.booleans()), max_size=12))
def test_what_is_masked_does_not_exist_and_ccc_is_bounded(rows):
    mask = torch.tensor([m for *_, m in rows], dtype=torch.bool)
    x = torch.tensor([a for a, *_ in rows], dtype=D)
    y = torch.tensor([b for _, b, _ in rows], dtype=D)
    found = ccc(torch.where(mask, x, torch.nan), torch.where(mask, y, torch.nan), mask)
    assert float(found) == pytest.approx(float(ccc(x[mask], y[mask])), abs=1e-12)
    assert -1 - 1e-12 <= float(found) <= 1 + 1e-12


def test_masked_entries_get_no_gradient_and_a_constant_a_finite_one():
    y = points(6)
    x = torch.full_like(y, 0.5).requires_grad_()
    mask = torch.tensor([1, 1, 1, 1, 0, 0], dtype=torch.bool)
    ccc_loss(x, y, mask).backward()
    assert torch.isfinite(x.grad).all() and x.grad[:4].abs().sum() > 0
    assert (x.grad[4:] == 0).all()
    nothing = torch.zeros(3, requires_grad=True)
    ccc_loss(nothing, torch.zeros(3), torch.zeros(3, dtype=torch.bool)).backward()
    assert (nothing.grad == 0).all()


def test_ccc_keeps_precision_far_from_zero():
    x, y = points(100).float(), points(100, seed=1).float()
    far = [(v.double() + 4096).float() for v in (x, y)]
    near = [(v.double() - 4096).float() for v in far]
    assert float(ccc(*far)) == pytest.approx(float(ccc(*near)), abs=1e-6)


# the plan


@pytest.mark.parametrize(
    ("epsilon", "linear", "value"),
    [(1.0, 0.5755391735, 0.7529036513), (1e6, 0.9444440617, 0.9444442532)],
)
def test_three_points_agree_with_the_hand_values(epsilon, linear, value):
    found = transport(SMALL, epsilon)
    assert float((found.plan * SMALL).sum()) == pytest.approx(linear, abs=1e-8)
    assert float(found.value) == pytest.approx(value, abs=1e-8)


def test_where_the_published_value_had_not_converged_ours_is_the_higher_dual():
    # 2000 plain updates give the numbers in print; their marginals are still off by 6.5e-5
    linear, value, plan = plain_sinkhorn(SMALL, 0.1, 2000)
    assert (linear, value) == pytest.approx((0.1669941784, 0.2764865071), abs=1e-8)
    assert float((plan.sum(1) - 1 / 3).abs().sum()) > 1e-5
    ours = transport(SMALL, 0.1)
    assert ours.converged and float(ours.value) > value + 1e-6
    # after 100 000 plain updates, marginals off by 1.1e-10
    assert float((ours.plan * SMALL).sum()) == pytest.approx(0.1669733359, abs=1e-8)
    assert float(ours.value) == pytest.approx(0.2764880060, abs=1e-8)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from([1e-3, 0.01, 0.3, 10]),
    st.integers(0, 99),
)
def test_marginals_hold_and_the_plan_is_not_negative(n, m, epsilon, seed):
    cost = costs(points(n, 3, seed=seed), points(m, 3, seed=seed + 1))
    found = transport(cost, epsilon)
    assert found.converged
    assert (found.plan >= 0).all()
    assert (found.plan.sum(1) - 1 / n).abs().max() <= 1e-9
    assert (found.plan.sum(0) - 1 / m).abs().max() <= 1e-9
    kl = (found.plan * (found.plan * n * m).clamp(min=1e-300).log()).sum()
    primal = (found.plan * cost).sum() + epsilon * kl
    assert float(found.value) == pytest.approx(float(primal), rel=1e-7, abs=1e-9)


def test_large_epsilon_spreads_the_plan_small_epsilon_is_the_assignment():
    cost = costs(points(6, 2), points(6, 2, seed=1))
    wide = transport(cost, 1e7)
    assert torch.allclose(wide.plan, torch.full_like(cost, 1 / 36), atol=1e-7)
    rows, columns = linear_sum_assignment(cost.numpy())
    best = float(cost[rows, columns].mean())
    assert float((transport(cost, 1e-4).plan * cost).sum()) == pytest.approx(best, abs=1e-6)


def test_entropy_and_linear_cost_do_not_fall_as_epsilon_grows():
    cost = costs(points(7, 2), points(5, 2, seed=1))
    found = [transport(cost, e) for e in (0.003, 0.01, 0.03, 0.1, 0.3, 1, 10)]
    entropy = [float(t.entropy) for t in found]
    linear = [float((t.plan * cost).sum()) for t in found]
    for values in (entropy, linear):  # both to rounding: small epsilons are at the assignment
        assert all(b >= a - 1e-9 for a, b in zip(values, values[1:], strict=False))
        assert values[-1] > values[0] + 0.1
    assert entropy[-1] <= math.log(35) + 1e-9


def test_a_batch_is_solved_as_its_members_are():
    x, y = points(3, 8, 4), points(3, 6, 4, seed=1, scale=2)
    x[1] *= 10  # a hard problem beside easy ones
    together = transport(costs(x, y), 0.05)
    for i in range(3):
        alone = transport(costs(x[i], y[i]), 0.05)
        assert torch.allclose(together.plan[i], alone.plan, atol=1e-9)
    assert torch.allclose(
        sinkhorn_divergence(x, y, 0.05),
        torch.stack([sinkhorn_divergence(a, b, 0.05) for a, b in zip(x, y, strict=True)]),
        atol=1e-9,
    )


def test_separated_clusters_converge_where_plain_sinkhorn_does_not():
    centres = points(4, 8, scale=3)
    x = centres[torch.arange(32) % 4] + points(32, 8, seed=1, scale=0.05)
    y = centres[torch.arange(32) % 3] + points(32, 8, seed=2, scale=0.05)
    cost = costs(x, y)
    found = transport(cost, 0.01)
    assert found.converged
    _, value, plan = plain_sinkhorn(cost, 0.01, 2000)
    assert float((plan.sum(1) - 1 / 32).abs().sum()) > 1e-3
    assert float(found.value) >= value


def test_an_unconverged_plan_says_so_and_the_divergence_refuses_it(monkeypatch):
    monkeypatch.setattr("textualize.baselines.losses.ROUNDS", 1)
    x, y = points(40, 3), points(40, 3, seed=1)
    assert not transport(costs(x, y), 0.1).converged
    with pytest.raises(TextualizeError, match="has not converged: marginals are off by .* raise"):
        sinkhorn_divergence(x, y, 0.1)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan")])
def test_epsilon_has_to_be_positive(epsilon):
    with pytest.raises(TextualizeError, match="positive epsilon"):
        sinkhorn_divergence(points(4, 2), points(4, 2), epsilon)


def test_points_that_are_not_finite_are_one_line():
    x = points(4, 2)
    x[1, 0] = torch.nan
    with pytest.raises(TextualizeError, match="not finite"):
        sinkhorn_divergence(x, points(4, 2))


# the divergence


def test_between_a_cloud_and_itself_both_ways_of_solving_agree():
    x = points(20, 4)
    for epsilon in (1e-3, 0.1, 5):
        own, general = transport_to_itself(x, epsilon), transport(costs(x, x), epsilon)
        assert own.converged
        assert torch.allclose(own.plan, general.plan, atol=1e-9)
        assert float(own.value) == pytest.approx(float(general.value), abs=1e-10)
        assert float(own.f.abs().max()) <= epsilon * math.log(20) / 2 + 1e-12


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99), st.sampled_from([0.01, 0.1, 2]))
def test_divergence_is_0_for_equal_never_negative_symmetric(n, m, seed, epsilon):
    x, y = points(n, 3, seed=seed), points(m, 3, seed=seed + 1)
    one, other = (float(sinkhorn_divergence(*pair, epsilon)) for pair in ((x, y), (y, x)))
    assert abs(float(sinkhorn_divergence(x, x.clone(), epsilon))) <= 1e-9
    assert one >= -1e-9
    assert one == pytest.approx(other, abs=1e-8)


def test_order_of_the_points_does_not_matter():
    x, y = points(11, 3), points(11, 3, seed=1)
    mixed = y[torch.randperm(11, generator=torch.Generator().manual_seed(0))]
    assert float(sinkhorn_divergence(x, y)) == pytest.approx(
        float(sinkhorn_divergence(x, mixed)), abs=1e-9
    )
    assert abs(float(sinkhorn_divergence(y, mixed))) <= 1e-9


def test_with_large_epsilon_it_is_half_the_squared_distance_of_the_means():
    x, y = points(8, 3), points(8, 3, seed=1) + 1
    apart = float((x.mean(0) - y.mean(0)).square().sum() / 2)
    assert float(sinkhorn_divergence(x, y, 1e5)) == pytest.approx(apart, abs=1e-4)


def test_gradient_is_that_of_the_function():
    x, y = points(7, 3).requires_grad_(), points(7, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a, b: sinkhorn_divergence(a, b, 0.1), (x, y), eps=1e-5, atol=1e-6
    )
    batch = points(2, 4, 2).requires_grad_(), points(2, 5, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a, b: sinkhorn_divergence(a, b, 0.2), batch, eps=1e-5, atol=1e-6
    )


def library(x, y, epsilon):
    """The same divergence by POT, iterated until its plans converge, with its own gradient."""

    def one(a, b):
        cost = (a.unsqueeze(1) - b.unsqueeze(0)).square().sum(-1) / 2
        weights = (torch.full((len(c),), 1 / len(c), dtype=D) for c in (a, b))
        return ot.solve(
            cost, *weights, reg=epsilon, reg_type="KL", max_iter=20_000, tol=1e-11, grad="envelope"
        ).value

    return one(x, y) - one(x, x) / 2 - one(y, y) / 2


@pytest.mark.parametrize("epsilon", [0.1, 1.0])
def test_agrees_with_the_library_in_value_and_gradient(epsilon):
    x, y = points(24, 6, scale=0.2), points(24, 6, seed=1, scale=0.2).requires_grad_()
    ours = sinkhorn_divergence(x, y, epsilon)
    (own,) = torch.autograd.grad(ours, y)
    theirs = library(x, y, epsilon)
    (other,) = torch.autograd.grad(theirs, y)
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), abs=1e-6)
    assert torch.allclose(own, other, atol=1e-6)


def test_single_precision_points_are_solved_in_double():
    x, y = points(40, 5).float(), points(40, 5, seed=1).float()
    found = sinkhorn_divergence(x, y)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(
        float(sinkhorn_divergence(x.double(), y.double())), rel=1e-6
    )


# structure


def test_anchors_of_the_hand_case():
    own = similarities(Z_T)
    assert neighbours(own, 2).tolist() == [[0, 1], [0, 1], [2, 3], [2, 3]]
    assert neighbours(own, 2, exclude_self=True).tolist() == [[1, 2], [0, 2], [1, 3], [1, 2]]
    assert neighbours(own, 4).tolist() == [[0, 1, 2, 3]] * 4
    chosen = neighbours(own, 2, "random", exclude_self=True)
    assert all(i not in row and row[0] < row[1] for i, row in enumerate(chosen.tolist()))


def test_fewer_columns_than_neighbours_is_refused():
    for k, exclude in ((5, False), (4, True), (0, False)):
        with pytest.raises(TextualizeError, match=f"{k} neighbours in a batch of 4"):
            neighbours(similarities(Z_T), k, exclude_self=exclude)


CASES = [
    (0.49662334, {}),
    (0.33662334, {"min_shift": True}),
    (0.32822027, {"anchors": "bottom"}),
    (0.23222028, {"anchors": "bottom", "min_shift": True}),
    (0.58765676, {"exclude_self": True}),
    (0.25165677, {"exclude_self": True, "min_shift": True}),
]


@pytest.mark.parametrize(("published", "options"), CASES)
def test_full_step_gives_the_hand_value_of_the_iterations_it_was_made_with(published, options):
    kind = {k: v for k, v in options.items() if k != "min_shift"}
    teacher, student = similarities(Z_T), similarities(Z_S)
    chosen = neighbours(teacher, 2, **kind)
    if options.get("min_shift"):
        teacher, student = teacher - teacher.min(), student - student.min()
    x, y = teacher.gather(1, chosen), student.gather(1, chosen)
    values = [plain_sinkhorn(costs(*pair), 0.01, 4000)[1] for pair in ((x, y), (x, x), (y, y))]
    assert values[0] - values[1] / 2 - values[2] / 2 == pytest.approx(published, abs=1e-8)
    # converged, the dual is never lower; where 4000 updates were enough it is the same
    ours = float(structural_loss(Z_T, Z_S, k=2, **options))
    assert published - 1e-8 <= ours <= published + 2e-6
    if not kind:
        assert ours == pytest.approx(published, abs=1e-8)


def test_structure_ignores_rotation_and_the_length_of_embeddings():
    teacher, student = points(12, 5), points(12, 7, seed=1)
    turn = torch.linalg.qr(points(7, 7, seed=2))[0]
    lengths = points(12, 1, seed=3).abs() + 0.1
    before = float(structural_loss(teacher, student, k=4))
    assert float(structural_loss(teacher, student @ turn, k=4)) == pytest.approx(before, abs=1e-8)
    assert float(structural_loss(teacher, student * lengths, k=4)) == pytest.approx(
        before, abs=1e-8
    )
    assert float(structural_loss(teacher * lengths, student, k=4)) == pytest.approx(
        before, abs=1e-8
    )
    assert abs(float(structural_loss(teacher, 3 * teacher, k=4))) <= 1e-9


@pytest.mark.parametrize("index_aware", [False, True])
def test_no_gradient_reaches_the_teacher(index_aware):
    teacher, student = points(9, 4).requires_grad_(), points(9, 4, seed=1).requires_grad_()
    structural_loss(teacher, student, k=3, index_aware=index_aware).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


def test_the_cloud_forgets_which_clip_a_row_is_of_the_ablation_does_not():
    # a ring and the same ring read backwards: rows are permuted, the cloud is the same
    angle = torch.arange(8, dtype=D) ** 1.3
    ring = torch.stack([angle.cos(), angle.sin()], 1)
    order = torch.arange(7, -1, -1)
    both = {"k": 8, "anchors": "top"}
    assert float(structural_loss(ring, ring[order], index_aware=True, **both)) > 0.1
    rows = similarities(ring)
    assert abs(float(sinkhorn_divergence(rows, rows[order]))) <= 1e-9
    assert float((rows - rows[order]).square().mean()) > 0.1


def test_descending_the_loss_brings_the_structures_together():
    teacher = points(16, 4)
    student = points(16, 6, seed=1).requires_grad_()
    optimizer = torch.optim.Adam([student], lr=0.05)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = structural_loss(teacher, student, k=5)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]
