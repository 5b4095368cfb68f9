"""The one table of methods: a name, where its code is, what it reads.

Nothing else registers anything. A method is trained by `finetune.train` into a run folder and
read back by `load`; what it then offers is `Method.predict`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from textualize.errors import TextualizeError, missing_package, unknown
from textualize.files import read_json
from textualize.types import Prediction, Record
from textualize.windows import ByWindow, window_of_run


class Method(Protocol):
    """A trained method: records in, one prediction a record out, in the same order."""

    labels: tuple[str, ...]

    def predict(self, records: Sequence[Record]) -> list[Prediction]:
        """Return one prediction per record; scores do not depend on the other records."""


Reads = Literal["words", "tracks", "pictures", "nothing", "labels"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the table. `load` and `train` are "module:name", imported when needed."""

    load: str
    train: str
    reads: Reads
    extra: str | None
    about: str


METHODS: Mapping[str, Entry] = {
    "majority": Entry(
        "textualize.baselines.floor:Majority",
        "textualize.baselines.floor:train_majority",
        "nothing",
        None,
        "the most frequent training label",
    ),
    "bag-of-words": Entry(
        "textualize.baselines.floor:BagOfWords",
        "textualize.baselines.floor:train_bag_of_words",
        "words",
        None,
        "TF-IDF of the prompt + logistic regression",
    ),
    "text-encoder": Entry(
        "textualize.text.encoder:TextEncoder",
        "textualize.finetune.text:train_encoder",
        "words",
        "finetune",
        "BERT-type encoder or LLM with a classification head, LoRA",
    ),
    "text-llm": Entry(
        "textualize.text.causal:TextLLM",
        "textualize.finetune.text:train_causal",
        "words",
        "finetune",
        "causal LLM that answers by scoring every label, LoRA or from scratch",
    ),
    "linear": Entry(
        "textualize.baselines.fusion:FeatureMethod",
        "textualize.finetune.linear:train_linear",
        "tracks",
        "finetune",
        "functionals of every track + logistic regression, or ridge where labels are numbers",
    ),
    **{
        name: Entry(
            "textualize.baselines.fusion:FeatureMethod",
            "textualize.finetune.baseline:train_features",
            "tracks",
            "finetune",
            about,
        )
        for name, about in (
            ("concat", "concatenated functionals of every track + MLP"),
            ("jca", "joint cross-attention (Praveen et al. 2022), four wirings"),
            ("jmt", "joint multimodal transformer (Waligora et al. 2024), correct layout"),
            ("lfan", "leader-follower attention over streams, causal encoders (Richet et al.)"),
            ("can", "channel attention over concatenated streams (Richet et al. 2024)"),
            ("pkdot", "privileged distillation by optimal transport (Aslam et al. 2024)"),
        )
    },
    "subject-msda": Entry(
        "textualize.baselines.either:TracksOrPictures",
        "textualize.finetune.baseline:train_features",
        "tracks",  # or pictures, see `read_with`
        "finetune",
        "adaptation to a person without labels (Zeeshan et al. 2024)",
    ),
    **{
        name: Entry(
            "textualize.baselines.pictured:PictureMethod",
            "textualize.finetune.baseline:train_features",
            "pictures",
            "finetune",
            about,
        )
        for name, about in (
            ("stochastic-softmax", "temporal stochastic softmax (Ayral et al. 2021), inflated CNN"),
            ("dmsn", "decomposed multiscale 3-D CNN, a reconstruction (de Melo et al. 2024)"),
            ("au-guided", "attention led to action units (Belharbi et al. 2024), single faces"),
        )
    },
}


def entry(name: str) -> Entry:
    """Return a method's row; raises TextualizeError with the nearest names for an unknown one."""
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    return METHODS[name]


def read_with(name: str, recipe: Mapping[str, Any]) -> Reads:
    """Return what a method reads with a recipe: pictures where it has that key.

    An oracle reads labels of whom it is tested on, so that it is a rival of none.
    """
    if recipe.get("choose") == "oracle":
        return "labels"
    usual = entry(name).reads
    return "pictures" if usual == "tracks" and "pictures" in recipe else usual


def resolve(target: str, name: str) -> object:
    """Import "module:name"; a missing package becomes the pip line that installs it."""
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        extra = entry(name).extra
        if extra is None or (error.name or "").startswith("textualize"):
            raise
        raise missing_package(f"method '{name}'", error.name or "a package", extra) from None


def method_of(run: Path) -> str:
    """Return the name of a run folder's method.

    Raises:
        TextualizeError: it is no run folder, or damaged.
    """
    described = run / "labels.json"
    if not described.is_file():
        raise TextualizeError(f"{run} is not a run folder: it has no labels.json")
    return str(read_json(described, "run labels").get("method"))


def load(run: str | Path) -> Method:
    """Return the trained method of a run folder, ready to predict.

    A method that was trained on windows reads a clip in the same windows.
    """
    folder = Path(run)
    name = method_of(folder)
    loader = resolve(entry(name).load, name)
    method = cast(Method, loader.load(folder))  # type: ignore[attr-defined]
    window = window_of_run(folder)
    return ByWindow(method, window) if window else method
