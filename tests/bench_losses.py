"""The Sinkhorn divergence against a library, forward and backward; run through `make bench`."""

import time
import warnings
from collections.abc import Callable

import torch
from bench import ratio
from torch import Tensor

EPSILON, CLIPS, NEIGHBOURS = 0.01, 128, 30


def losses() -> None:
    """Ours, converged to 1e-9, against POT's, which stops at 1000 iterations where it has not.

    A teacher of four classes with a student that is a noisy linear image of it, and with one that
    knows nothing of it: similarities of 128 clips to 30 anchors each.
    """
    from textualize.baselines.losses import sinkhorn_divergence, transport

    torch.set_num_threads(1)
    for name, student in (("near student", True), ("far student", False)):
        x, y = _clouds(student)
        ratio(
            f"Sinkhorn divergence and gradient, {name}, ours against POT",
            lambda x=x, y=y: _backward(lambda a, b: sinkhorn_divergence(a, b, EPSILON), x, y),
            lambda x=x, y=y: _backward(_pot, x, y),
        )
        cost = torch.cdist(x, y).square() / 2
        start = time.process_time()
        plan = transport(cost, EPSILON)
        print(
            f"  marginals off by {float(plan.error):.0e} after "
            f"{1000 * (time.process_time() - start):.0f} ms; POT's by {_off(cost):.0e}"
        )


def _clouds(near: bool) -> tuple[Tensor, Tensor]:
    from textualize.baselines.losses import neighbours, similarities

    g = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    teacher = noise(4, 512)[torch.arange(CLIPS) % 4] + 0.5 * noise(CLIPS, 512)
    student = teacher @ noise(512, 64) + 5 * noise(CLIPS, 64) if near else noise(CLIPS, 64)
    own, other = similarities(teacher), similarities(student)
    chosen = neighbours(own, NEIGHBOURS)
    return other.gather(1, chosen), own.gather(1, chosen)


def _backward(divergence: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> None:
    divergence(x.clone().requires_grad_(), y).backward()


def _pot(x: Tensor, y: Tensor) -> Tensor:
    def one(a: Tensor, b: Tensor) -> Tensor:
        return _solved((a.unsqueeze(1) - b.unsqueeze(0)).square().sum(-1) / 2).value

    return one(x, y) - one(x, x) / 2 - one(y, y) / 2


def _solved(cost: Tensor):  # type: ignore[no-untyped-def]
    import ot

    weights = torch.full((CLIPS,), 1 / CLIPS, dtype=cost.dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it stopped before it converged
        return ot.solve(
            cost, weights, weights, reg=EPSILON, reg_type="KL", max_iter=1000, tol=1e-9,
            grad="envelope",
        )  # fmt: skip


def _off(cost: Tensor) -> float:
    plan = _solved(cost).plan
    return sum(float((plan.sum(axis) - 1 / CLIPS).abs().sum()) for axis in (0, 1))


if __name__ == "__main__":
    losses()
