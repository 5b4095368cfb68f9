from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch

from textualize.baselines.batch import Batch

WIDTHS = {"visual": 3, "audio": 5, "text": 4}


def drawn(
    n: int = 6, steps: int = 6, widths: Mapping[str, int] = WIDTHS, classes: int = 3, seed: int = 0
) -> Batch:
    g = torch.Generator().manual_seed(seed)
    return Batch(
        {m: torch.randn(n, steps, d, generator=g) for m, d in widths.items()},
        {m: torch.rand(n, steps, generator=g) < 0.7 for m in widths},
        torch.randn(n, 7, generator=g),
        torch.randint(classes, (n,), generator=g),
        torch.rand(n, generator=g) + 0.5,
        summaries={m: torch.randn(n, 2 * d, generator=g) for m, d in widths.items()},
    )


@pytest.fixture(scope="session")
def random_batch() -> Callable[..., Batch]:
    """What draws clips of three streams with holes: random_batch(clips, steps, widths, ...)."""
    return drawn
