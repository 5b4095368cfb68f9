"""Shared fixtures: real material, found through TEXTUALIZE_ASSETS."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of real media and weights; the test is skipped, loudly, without it."""
    root = Path(os.environ.get("TEXTUALIZE_ASSETS", "../shared")).resolve()
    if not (root / "data").is_dir():
        pytest.skip(f"no real material at {root}: set TEXTUALIZE_ASSETS to its folder")
    return root
