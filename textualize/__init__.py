"""Videos of people into words, words into emotions, and an honest comparison with features.

import textualize as tz

clips = tz.load_dataset("demo", "").clips
records = tz.extract(clips, corpus="corpora/demo")
print(tz.render(records[0], "compound").text)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from textualize.errors import TextualizeError
from textualize.types import Clip, Cue, Prediction, Prompt, Record, Span, Track, Utterance

if TYPE_CHECKING:
    from textualize.datasets import load_dataset
    from textualize.datasets.folds import grouped_folds, published_fold
    from textualize.datasets.published import load_fold
    from textualize.describe import describe
    from textualize.evaluate.finished import evaluate
    from textualize.extract.pipeline import extract
    from textualize.finetune.train import train
    from textualize.methods import load
    from textualize.prompt import render
    from textualize.serve.client import Client
    from textualize.store import Corpus

__version__ = "0.1.0"

# name -> module; imported on first use, so that `import textualize` stays light
_LAZY = {
    "Client": "textualize.serve.client",
    "Corpus": "textualize.store",
    "describe": "textualize.describe",
    "grouped_folds": "textualize.datasets.folds",
    "load": "textualize.methods",
    "load_dataset": "textualize.datasets",
    "load_fold": "textualize.datasets.published",
    "published_fold": "textualize.datasets.folds",
    "render": "textualize.prompt",
    "train": "textualize.finetune.train",
}

__all__ = [
    "Client", "Clip", "Corpus", "Cue", "Prediction", "Prompt", "Record", "Span",
    "TextualizeError", "Track", "Utterance", "describe", "evaluate", "extract", "grouped_folds",
    "load", "load_dataset", "load_fold", "published_fold", "render", "train",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name in ("extract", "evaluate"):  # packages that can be called, see their __init__
        return importlib.import_module(f"textualize.{name}")
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'textualize' has no attribute '{name}'")
