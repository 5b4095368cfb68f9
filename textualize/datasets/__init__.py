"""Corpora to clips: one file per corpus, `manifest.py` for anyone's own, `folds.py` for splits."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from textualize.errors import TextualizeError, unknown
from textualize.labels import LabelSet
from textualize.store import Failure
from textualize.types import Clip


@dataclass(frozen=True, slots=True)
class Listing:
    """The clips of a corpus, its labels, and the rows that could not be used.

    `notes` are sentences for a reader: what was normalised, left out or found odd, with counts.
    """

    clips: tuple[Clip, ...]
    labels: LabelSet | None
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()


DATASETS: Mapping[str, str] = {
    "affectnet": "textualize.datasets.affectnet:load",
    "afew": "textualize.datasets.afew:load",
    "avec": "textualize.datasets.avec:load",
    "biovid": "textualize.datasets.biovid:load",
    "c-expr-db": "textualize.datasets.c_expr_db:load",
    "c-expr-db-challenge": "textualize.datasets.c_expr_db:load_challenge",
    "demo": "textualize.datasets.demo:load",
    "emorynlp": "textualize.datasets.emorynlp:load",
    "folder": "textualize.datasets.folder:load",
    "hf": "textualize.datasets.hf:load",
    "manifest": "textualize.datasets.manifest:load",
    "meld": "textualize.datasets.meld:load",
    "mmmo": "textualize.datasets.mmmo:load",
    "mosi": "textualize.datasets.mosi:load",
    "raf-db": "textualize.datasets.raf_db:load",
    "ravdess": "textualize.datasets.ravdess:load",
    "tree": "textualize.datasets.tree:load",
    "unbc": "textualize.datasets.unbc:load",
}


def load_dataset(name: str, root: str | Path, options: Mapping[str, str] | None = None) -> Listing:
    """Return a corpus' clips.

    Args:
        name: one of DATASETS.
        root: the corpus' folder (for `manifest`: the file; for `demo`: ignored).
        options: what the corpus' loader takes as keywords, as text ("true", "drop", "0.5").

    Raises:
        TextualizeError: unknown name or option, a value the option does not take, or nothing
            usable under `root`.
    """
    if name not in DATASETS:
        raise unknown("dataset", name, DATASETS)
    module, _, attribute = DATASETS[name].partition(":")
    loader: Callable[..., Listing] = getattr(importlib.import_module(module), attribute)
    return loader(Path(root).expanduser(), **_values(loader, name, options or {}))


def dataset_options(name: str) -> Mapping[str, str]:
    """Return the options a corpus takes: name -> the values it may have, and the default.

    >>> dataset_options("c-expr-db")["other"]
    'true or false (default true)'
    """
    if name not in DATASETS:
        raise unknown("dataset", name, DATASETS)
    module, _, attribute = DATASETS[name].partition(":")
    loader = getattr(importlib.import_module(module), attribute)
    hints = get_type_hints(loader)
    return {
        option: f"{_expected(hints[option])} (default {_text(parameter.default)})"
        for option, parameter in _keywords(loader).items()
    }


def _keywords(loader: Callable[..., Listing]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(loader).parameters
    return {n: p for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


def _values(loader: Callable[..., Listing], name: str, given: Mapping[str, str]) -> dict[str, Any]:
    """Return the options in the types of the loader's keywords."""
    known, hints = _keywords(loader), get_type_hints(loader)
    values: dict[str, Any] = {}
    for option, text in given.items():
        if option not in known:
            if not known:
                raise TextualizeError(f"dataset '{name}' takes no options; given '{option}'")
            raise unknown(f"option of dataset '{name}'", option, known)
        try:
            values[option] = _value(str(text), hints[option])
        except ValueError:
            raise TextualizeError(
                f"{name}: option {option} should be {_expected(hints[option])}; given '{text}'"
            ) from None
    return values


def _value(text: str, hint: Any) -> Any:
    if get_origin(hint) is Literal:
        return {str(choice): choice for choice in get_args(hint)}[_one_of(text, hint)]
    if hint is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    if hint in (int, float):
        return hint(text)
    return Path(text) if Path in get_args(hint) or hint is Path else text


def _one_of(text: str, hint: Any) -> str:
    if text not in map(str, get_args(hint)):
        raise ValueError(text)
    return text


def _expected(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " or ".join(str(choice) for choice in get_args(hint))
    named = {bool: "true or false", int: "a whole number", float: "a number"}
    return named.get(hint, "a path" if Path in get_args(hint) or hint is Path else "text")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)
