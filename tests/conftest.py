"""Shared fixtures: real material, found through TEXTUALIZE_ASSETS; and no waiting for disks."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator
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


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What the imports make stays: the collector need not look through it again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True, scope="session")
def _written_is_written() -> Iterator[None]:
    """No test takes away the power: who asks for the disk is asked, the disk itself is not.

    A file that is torn or refused is seen without it, and processes that tests start do wait.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", os.fstat)  # as the real one, it fails on what is no open file
        yield
