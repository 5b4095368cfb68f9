"""Losses with a definition of their own: concordance, Sinkhorn divergence, structural transport.

Entropic optimal transport between uniform clouds x (N, k) and y (M, k), cost C = |x - y|^2 / 2:

    OT(x, y) = min over P of <P, C> + eps KL(P | a b'),   P 1 = a = 1/N,   P' 1 = b = 1/M
    S(x, y)  = OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2

Feydy et al., "Interpolating between Optimal Transport and MMD using Sinkhorn Divergences", 2019.
Everything between the points and the loss is float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from textualize.errors import TextualizeError

Anchors = Literal["top", "bottom", "random"]

TOLERANCE = 1e-9  # of the plan's marginals, the sum of absolute differences
ROUNDS = 200  # of four Sinkhorn updates and a Newton step; a plan that needs 30 is a hard one
ANNEAL = 0.25  # of one regularisation to the next on the way down to epsilon
ROUGH = 0.01  # the marginals' tolerance on the way
REACH = 30.0  # of a Newton step, in epsilons: parts of a plan that no longer touch shift for ever
TINY = (
    1e-300  # a column that no row reaches yet: its potential rises by 690 epsilon, not without end
)


def ccc(x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the concordance correlation of x and y where `mask` is True, a scalar in [-1, 1].

        CCC = 2 cov(x, y) / (var x + var y + (mean x - mean y)^2)

    x, y, mask: one shape. Population form (1/n), as Aff-Wild2 is evaluated; float64 inside.
    0 by convention where nothing varies or nothing is valid; differentiable there too.
    Lin, "A Concordance Correlation Coefficient to Evaluate Reproducibility", 1989.
    """
    valid = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
    n = valid.sum().clamp(min=1)
    # what is masked may be NaN: it has to leave before the first product
    a, b = (torch.where(valid, v, 0.0).double() for v in (x, y))
    mean_a, mean_b = a.sum() / n, b.sum() / n
    a, b = (torch.where(valid, v - m, 0.0) for v, m in ((a, mean_a), (b, mean_b)))
    spread = (a.square().sum() + b.square().sum()) / n + (mean_a - mean_b).square()
    found: Tensor = 2 * (a * b).sum() / n / spread.clamp(min=torch.finfo(torch.float64).tiny)
    return found.to(x.dtype)


def ccc_loss(x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return 1 - CCC, a scalar: 0 at agreement, 1 for a constant, 2 at opposition."""
    return 1 - ccc(x, y, mask)


@dataclass(frozen=True, slots=True, eq=False)
class Transport:
    """A solved problem of entropic optimal transport, of each problem in a batch.

    plan: (..., N, M). f: (..., N) and g: (..., M) dual potentials. value: (...), OT. error: (...),
    sum of absolute differences of the plan's marginals; converged where within the tolerance.
    """

    plan: Tensor
    f: Tensor
    g: Tensor
    value: Tensor
    error: Tensor
    converged: Tensor

    @property
    def entropy(self) -> Tensor:
        """Entropy of the plan in nats, (...)."""
        terms: Tensor = torch.special.entr(self.plan)
        return terms.sum((-2, -1))


def costs(x: Tensor, y: Tensor) -> Tensor:
    """Return half the squared distances, (..., N, M), of points (..., N, k) and (..., M, k)."""
    # differences, not products: |x|^2 + |y|^2 - 2xy is not exactly 0 for equal points
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cdist(x, y, compute_mode=exact).square() / 2


@torch.no_grad()
def transport(cost: Tensor, epsilon: float, tolerance: float = TOLERANCE) -> Transport:
    """Return the solution for a cost (..., N, M) between uniform marginals.

    Epsilon falls from the largest cost. At each level Sinkhorn updates in the log domain take
    turns with Newton steps on the potential g, the other eliminated; a step that does not raise
    the dual is shortened, then dropped. Where Sinkhorn alone needs 10^4 updates this needs 20
    steps. What has not converged says so in `converged`.

    Raises:
        TextualizeError: epsilon is not positive, or a cost is not finite.
    """
    check(cost, epsilon)
    cost = cost.double()
    g = torch.zeros(cost.shape[:-2] + cost.shape[-1:], dtype=cost.dtype, device=cost.device)
    level = float(cost.abs().max()) / 2
    while level > epsilon:
        g = _solve(cost, level, g, ROUGH).g
        level *= ANNEAL
    return _solve(cost, epsilon, g, tolerance)


def check(cost: Tensor, epsilon: float) -> None:
    """Raise TextualizeError unless epsilon is positive and every cost finite."""
    if not epsilon > 0:
        raise TextualizeError(f"transport needs a positive epsilon; given {epsilon}")
    if not bool(torch.isfinite(cost).all()):
        raise TextualizeError(
            "transport between points that are not finite: lower the learning rate, or look for "
            "NaN in the features"
        )


def _solve(cost: Tensor, epsilon: float, g: Tensor, tolerance: float) -> Transport:
    """Return the solution at one epsilon, from a potential g; unconverged after ROUNDS."""
    found = _at(cost, epsilon, g, tolerance)
    for _ in range(ROUNDS):
        if bool(found.converged.all()):
            break
        for _ in range(4):
            found = _at(cost, epsilon, found.g + _sinkhorn(found, epsilon), tolerance)
        if not bool(found.converged.all()):
            found = _newton(cost, epsilon, found, tolerance)
    return found


def _at(cost: Tensor, epsilon: float, g: Tensor, tolerance: float) -> Transport:
    """Return the plan of a potential g with the best f for it: its rows sum to 1/N exactly."""
    n, m = cost.shape[-2:]
    scores = (g.unsqueeze(-2) - cost) / epsilon
    shares = scores.softmax(-1)
    # the softmax knows its own normaliser: that of any entry, safest the largest
    normaliser = scores.amax(-1) - shares.amax(-1).log()
    f = -epsilon * (normaliser - math.log(m))
    error = (shares.mean(-2) - 1 / m).abs().sum(-1)
    return Transport(shares / n, f, g, f.mean(-1) + g.mean(-1), error, error <= tolerance)


def _sinkhorn(found: Transport, epsilon: float) -> Tensor:
    """Return the change of g that makes the columns of the plan sum to 1/M."""
    columns = found.plan.sum(-2)
    return -epsilon * (columns * columns.shape[-1]).clamp(min=TINY).log()


def _newton(cost: Tensor, epsilon: float, found: Transport, tolerance: float) -> Transport:
    """Return the solution after a Newton step on g, or `found` where no length of it helps.

    The dual as a function of g has gradient b - c and Hessian -(diag c - N P'P) / eps, with c the
    column sums; it is flat along 1, which + c c' lifts without changing the step.
    """
    n, m = cost.shape[-2:]
    columns = found.plan.sum(-2)
    curvature = torch.diag_embed(columns + 1e-10 / m) - n * found.plan.mT @ found.plan
    curvature += columns.unsqueeze(-1) * columns.unsqueeze(-2)
    factor, failed = torch.linalg.cholesky_ex(curvature)
    step = epsilon * torch.cholesky_solve((1 / m - columns).unsqueeze(-1), factor).squeeze(-1)
    usable = (failed == 0) & torch.isfinite(step).all(-1)
    longest = step.abs().amax(-1).clamp(min=TINY)
    length = torch.where(usable, (REACH * epsilon / longest).clamp(max=1), 0.0)
    step = torch.where(usable.unsqueeze(-1), step, 0.0)
    for _ in range(4):
        new = _at(cost, epsilon, found.g + length.unsqueeze(-1) * step, tolerance)
        worse = new.value < found.value
        if not bool(worse.any()):
            break
        length = torch.where(worse, length / 4, length)
    return _where(worse, found, new)


def _where(condition: Tensor, one: Transport, other: Transport) -> Transport:
    """Return `one` where the condition (...) holds, else `other`."""
    rows, cells = condition.unsqueeze(-1), condition.unsqueeze(-1).unsqueeze(-1)
    return Transport(
        torch.where(cells, one.plan, other.plan),
        torch.where(rows, one.f, other.f),
        torch.where(rows, one.g, other.g),
        torch.where(condition, one.value, other.value),
        torch.where(condition, one.error, other.error),
        torch.where(condition, one.converged, other.converged),
    )


@torch.no_grad()
def transport_to_itself(points: Tensor, epsilon: float, tolerance: float = TOLERANCE) -> Transport:
    """Return the solution between a cloud (..., N, k) and itself; f and g are the same.

    The update averaged with the potential it starts from, f <- (f + T f) / 2, halves the error
    every time whatever epsilon is: P has no negative eigenvalue (Feydy et al. 2019, section 3).
    With costs of 0 on the diagonal |f| <= eps log(N) / 2, so that scalings s = exp(f / eps) stay
    within [1 / sqrt N, sqrt N], and an update is a product of matrix and vector.

    Raises:
        TextualizeError: epsilon is not positive, or a point is not finite.
    """
    cost = costs(points.double(), points.double())
    check(cost, epsilon)
    n = cost.shape[-1]
    kernel = (-cost / epsilon).exp()
    s = torch.ones(*cost.shape[:-1], 1, dtype=cost.dtype, device=cost.device)
    for _ in range(ROUNDS):
        rows = s * (kernel @ s) / n
        error = (rows.squeeze(-1) - 1).abs().mean(-1)
        if bool((error <= tolerance).all()):
            break
        s = s / rows.sqrt()
    f = epsilon * s.squeeze(-1).log()
    plan = s * kernel * s.mT / n**2
    value = 2 * f.mean(-1) - epsilon * (plan.sum((-2, -1)) - 1)
    return Transport(plan, f, f, value, error, error <= tolerance)


def sinkhorn_divergence(x: Tensor, y: Tensor, epsilon: float = 0.01) -> Tensor:
    """Return S(x, y) >= 0 of clouds x (..., N, k) and y (..., M, k), of each pair in the batch.

    The gradient is the envelope's, that of the costs under the solved plans: no iteration is
    recorded, none is differentiated. There is no second derivative.

    Raises:
        TextualizeError: epsilon is not positive, a point is not finite, or a plan did not converge.
    """
    own, other = x.detach().double(), y.detach().double()
    across = transport(costs(own, other), epsilon)
    if own.shape == other.shape:
        both = transport_to_itself(torch.stack([own, other]), epsilon)
        within_x, within_y = ((both.plan[i], both.value[i], both.error[i]) for i in (0, 1))
    else:
        solved = (transport_to_itself(own, epsilon), transport_to_itself(other, epsilon))
        within_x, within_y = ((t.plan, t.value, t.error) for t in solved)
    errors = torch.stack([across.error, within_x[2], within_y[2]])
    if not bool((errors <= TOLERANCE).all()):
        raise TextualizeError(
            f"transport with epsilon {epsilon} has not converged: marginals are off by "
            f"{float(errors.max()):.1e}; raise epsilon"
        )
    value = (across.value - within_x[1] / 2 - within_y[1] / 2).to(x.dtype)
    for points, at, plan, target, within in (
        (x, own, across.plan, other, within_x[0]),
        (y, other, across.plan.mT, own, within_y[0]),
    ):
        if points.requires_grad:
            mass = (plan.sum(-1) - within.sum(-1)).unsqueeze(-1)  # 0 but for rounding
            slope = (mass * at + within @ at - plan @ target).to(x.dtype)
            value = value + ((points - points.detach()) * slope).sum((-2, -1))
    return value


def similarities(z: Tensor) -> Tensor:
    """Return the cosines of the rows of z (..., N, D) with each other, (..., N, N)."""
    unit = F.normalize(z, dim=-1)
    return unit @ unit.mT


def neighbours(
    teacher: Tensor, k: int, anchors: Anchors = "top", exclude_self: bool = False
) -> Tensor:
    """Return the k anchor columns of each row of similarities (N, N), (N, k), ascending.

    anchors: the most similar ("top", the paper), the least ("bottom", as released), or random.
    exclude_self leaves a row's own column out.

    Raises:
        TextualizeError: a row has fewer than k other columns, or k is below 1.
    """
    n = len(teacher)
    most = n - 1 if exclude_self else n
    if not 1 <= k <= most:
        raise TextualizeError(f"{k} neighbours in a batch of {n}: give 1 to {most}")
    rank = torch.rand_like(teacher) if anchors == "random" else teacher.detach().clone()
    rank = -rank if anchors == "bottom" else rank
    if exclude_self:
        rank.fill_diagonal_(-math.inf)
    return rank.topk(k, dim=-1).indices.sort(-1).values


def structural_loss(
    teacher: Tensor,
    student: Tensor,
    *,
    k: int = 30,
    anchors: Anchors = "top",
    exclude_self: bool = False,
    index_aware: bool = False,
    min_shift: bool = False,
    epsilon: float = 0.01,
) -> Tensor:
    """Return how far the student's similarities between clips are from the teacher's, a scalar.

    teacher: (N, D) and student: (N, D') embeddings of the same N clips. Each row of cosines is cut
    to the k columns the teacher's row chooses; the two clouds of N points in R^k are compared by
    the Sinkhorn divergence, or row by row with their mean squared error (`index_aware`). The cloud
    forgets which clip a row is of: clips that exchange their rows cost nothing unless
    index_aware. min_shift subtracts each matrix's least cosine, as released, which lets the scales
    of teacher and student differ. No gradient reaches the teacher.

    Aslam et al., "Distilling Privileged Multimodal Information for Expression Recognition using
    Optimal Transport", FG 2024.
    """
    own, other = similarities(teacher.detach().double()), similarities(student.double())
    chosen = neighbours(own, k, anchors, exclude_self)
    if min_shift:
        own, other = own - own.min(), other - other.min()
    own, other = own.gather(-1, chosen), other.gather(-1, chosen)
    loss = F.mse_loss(other, own) if index_aware else sinkhorn_divergence(other, own, epsilon)
    return loss.to(student.dtype)
