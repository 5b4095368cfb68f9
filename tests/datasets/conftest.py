from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


def grown(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


@pytest.fixture(scope="session")
def grow() -> Callable[..., Path]:
    """What puts files that hold next to nothing under a folder: grow(folder, name, ...)."""
    return grown
