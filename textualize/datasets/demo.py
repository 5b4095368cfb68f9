"""The demo corpus: drawn faces and synthetic voices, shipped with the package, no real person."""

from __future__ import annotations

from pathlib import Path

from textualize.datasets import Listing, manifest
from textualize.labels import LABEL_SETS

FOLDER = Path(__file__).parent.parent / "demo"


def load(root: Path) -> Listing:
    """Return the shipped clips; `root` is not read."""
    return manifest.load(FOLDER / "clips.csv", LABEL_SETS["compound7"])
