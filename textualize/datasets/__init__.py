"""Corpora to clips: one file per corpus, `manifest.py` for anyone's own, `folds.py` for splits."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from textualize.errors import unknown
from textualize.labels import LabelSet
from textualize.store import Failure
from textualize.types import Clip


@dataclass(frozen=True, slots=True)
class Listing:
    """The clips of a corpus, its labels, and the rows that could not be used."""

    clips: tuple[Clip, ...]
    labels: LabelSet | None
    failures: tuple[Failure, ...] = ()


DATASETS: Mapping[str, str] = {
    "demo": "textualize.datasets.demo:load",
    "folder": "textualize.datasets.folder:load",
    "manifest": "textualize.datasets.manifest:load",
    "meld": "textualize.datasets.meld:load",
    "ravdess": "textualize.datasets.ravdess:load",
}


def load_dataset(name: str, root: str | Path) -> Listing:
    """Return a corpus' clips.

    Args:
        name: one of DATASETS.
        root: the corpus' folder (for `manifest`: the file; for `demo`: ignored).

    Raises:
        TextualizeError: unknown name, or nothing usable under `root`.
    """
    if name not in DATASETS:
        raise unknown("dataset", name, DATASETS)
    module, _, attribute = DATASETS[name].partition(":")
    loader = cast(Callable[[Path], Listing], getattr(importlib.import_module(module), attribute))
    return loader(Path(root))
