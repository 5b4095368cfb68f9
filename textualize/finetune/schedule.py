"""Schedules of the learning rate that transformers has not."""

from __future__ import annotations

from collections.abc import Callable

LOWEST_LR = 1e-7  # where a rate that halves stops


def halving(warmup: int, steps: int, floor: float) -> Callable[[int], float]:
    """Return the rate's factor by step: rising over `warmup`, halved every `steps`, never below.

    >>> rate = halving(2, 10, 0.2)
    >>> [rate(step) for step in (0, 1, 2, 9, 10, 20, 40)]
    [0.0, 0.5, 1.0, 1.0, 0.5, 0.25, 0.2]
    """
    return lambda step: step / warmup if step < warmup else max(0.5 ** (step // steps), floor)
