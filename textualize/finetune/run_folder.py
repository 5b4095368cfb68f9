"""The run folder: everything a trained method is, and everything needed to check it.

runs/<name>/
    recipe.yaml        the resolved recipe
    labels.json        schema version, method, label set, labels in score order
    splits.json        clip ids of train, validation and test, their digest, what leaks
    environment.json   versions, machine, seed, minutes
    prompt/            the template's text, parts and digest (methods that read words)
    adapter/ | model/ | model.safetensors   the weights: a stock PEFT adapter, a
                       transformers folder, or our own tensors
    metrics.jsonl      one line an epoch
    fitted.json        the clips that scales, priors and temperatures were fitted on
    bank.safetensors   where training looked (stochastic-softmax)
    validation.jsonl   the selected weights' answers on the validation part
    README.md          the model card, written last: a folder without it is unfinished
"""

from __future__ import annotations

import platform
import shutil
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from textualize.errors import TextualizeError
from textualize.files import (
    digest_of,
    read_json,
    read_jsonl,
    read_yaml,
    write_json_atomic,
    write_jsonl_atomic,
    write_text_atomic,
)
from textualize.finetune.options import Recipe
from textualize.finetune.recipe import parse
from textualize.labels import LABEL_SETS, LabelSet
from textualize.types import MODALITIES, Record
from textualize.windows import clip_of

SCHEMA = 1
PACKAGES = ("textualize", "torch", "transformers", "peft", "accelerate", "numpy", "scikit-learn")
_BEGUN = {"labels.json", "recipe.yaml", "splits.json", "prompt"}  # written before any training


def versions_of(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for package in packages:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _refuse_overlap(ids: Mapping[str, Sequence[str]], leaks: Sequence[str]) -> None:
    """Raise TextualizeError where parts share clips, unless the fold says that they do."""
    if leaks:
        return
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        shared = set(ids[one]) & set(ids[other])
        if shared:
            raise TextualizeError(f"{one} and {other} share {len(shared)} clips")


def _splits(
    train: Sequence[Record],
    validation: Sequence[Record],
    test: Sequence[str],
    leaks: Sequence[str],
    corpus: str,
    unlabelled: Sequence[Record],
) -> dict[str, Any]:
    """Return what splits.json holds; see `RunFolder.begin`."""
    ids = {"train": [r.clip.id for r in train], "validation": [r.clip.id for r in validation]}
    ids["test"] = list(test)
    _refuse_overlap(ids, leaks)
    adapted = {"unlabelled": [r.clip.id for r in unlabelled]} if unlabelled else {}
    return {
        **ids,
        "digest": digest_of(ids),
        "leaks": list(leaks),
        "corpus": corpus,
        "states": _states([*train, *validation]),
        **adapted,
    }


def _states(records: Sequence[Record]) -> dict[str, dict[str, int]]:
    """Return how many records have each state of each sense, "not_run" where nothing looked."""
    found: dict[str, dict[str, int]] = {}
    for sense in MODALITIES:
        seen = [r.status.get(sense) for r in records]
        found[sense] = dict(Counter(str(s.state) if s else "not_run" for s in seen))
    return found


class RunFolder:
    """A folder that is being filled by training, or read back by prediction."""

    def __init__(self, path: str | Path) -> None:
        """Point at a folder; nothing is read or written yet.

        `notes` are what was noticed before a method saw the records; the card tells them.
        """
        self.path = Path(path)
        self.notes: list[str] = []

    @property
    def complete(self) -> bool:
        """True once training has finished and the card is written."""
        return (self.path / "README.md").is_file()

    @property
    def started(self) -> bool:
        """True once there is something training would go on from, or that it has finished."""
        return any(p.name not in _BEGUN for p in self.path.iterdir())

    def begin(
        self,
        recipe: Recipe,
        labels: LabelSet,
        train: Sequence[Record],
        validation: Sequence[Record],
        test: Sequence[str] = (),
        leaks: Sequence[str] = (),
        corpus: str = "",
        unlabelled: Sequence[Record] = (),
    ) -> bool:
        """Write what is known before training; False when this very run is already finished.

        `test` are the ids of the fold's test part: written down, never read by training. `leaks`
        says what the parts of a published fold share; without it they may share nothing. `corpus`
        is the name the model card gives the records. `unlabelled` are read without their labels,
        by a method that adapts to them.

        Raises:
            TextualizeError: the folder holds another run, or train and validation overlap.
        """
        splits = _splits(train, validation, test, leaks, corpus, unlabelled)
        if (self.path / "splits.json").exists() and self.started:
            self._refuse_another(recipe, labels, splits)
            return not self.complete
        if self.path.exists() and self.started:
            raise TextualizeError(f"{self.path} is not empty and not a run folder: give another")
        write_json_atomic(
            self.path / "labels.json",
            {
                "schema": SCHEMA,
                "method": recipe.method,
                "label_set": labels.name,
                "labels": list(labels.labels),
            },
        )
        resolved = recipe.model_dump(mode="json")
        write_text_atomic(self.path / "recipe.yaml", yaml.safe_dump(resolved, sort_keys=False))
        write_json_atomic(self.path / "splits.json", splits)
        return True

    def _refuse_another(
        self, recipe: Recipe, labels: LabelSet, splits: Mapping[str, object]
    ) -> None:
        """Raise TextualizeError where the folder holds another run than this."""
        stored = read_json(self.path / "splits.json", "splits")
        same = (
            all(stored.get(k) == splits.get(k) for k in ("digest", "unlabelled"))
            # through today's schema: a key added since then has its default
            and parse(self.recipe_values, str(self.path / "recipe.yaml")) == recipe
            and self.labels.labels == labels.labels
        )
        if not same:
            raise TextualizeError(
                f"{self.path} holds a run with another recipe, split or labels: "
                "give another --out, or remove it"
            )

    @property
    def labels(self) -> LabelSet:
        """The labels in the order of every score vector."""
        about = read_json(self.path / "labels.json", "run labels")
        if int(about.get("schema", SCHEMA + 1)) > SCHEMA:
            raise TextualizeError(
                f"run {self.path} has schema {about.get('schema')}, this textualize reads up to "
                f"{SCHEMA}: update textualize"
            )
        names = tuple(str(x) for x in about["labels"])
        known = LABEL_SETS.get(str(about.get("label_set")))
        return known if known and known.labels == names else LabelSet("own", names, {})

    @property
    def recipe_values(self) -> dict[str, Any]:
        """The resolved recipe as plain values."""
        path = self.path / "recipe.yaml"
        if not path.is_file():
            raise TextualizeError(f"{self.path} is not a run folder: it has no recipe.yaml")
        return read_yaml(path)

    @property
    def test_ids(self) -> list[str]:
        """The clip ids of the fold's test part (empty when none was named)."""
        return list(read_json(self.path / "splits.json", "splits")["test"])

    @property
    def split_digest(self) -> str:
        """The digest of its parts."""
        return str(read_json(self.path / "splits.json", "splits")["digest"])

    @property
    def leaks(self) -> list[str]:
        """What the parts of its fold are known to share; empty for an honest fold."""
        return list(read_json(self.path / "splits.json", "splits").get("leaks", ()))

    @property
    def parts(self) -> dict[str, list[str]]:
        """The clip ids of train, validation and test."""
        splits = read_json(self.path / "splits.json", "splits")
        return {part: list(splits[part]) for part in ("train", "validation", "test")}

    @property
    def fitted(self) -> dict[str, tuple[list[str], list[str]]]:
        """What was fitted: the clips it was fitted on, and the parts it may be fitted on.

        Empty for runs from before this was written down.
        """
        path = self.path / "fitted.json"
        stored = read_json(path, "what the run fitted") if path.is_file() else {}
        return {what: (list(x["clips"]), list(x["may"])) for what, x in stored.items()}

    def write_fitted(self, fitted: Mapping[str, tuple[Sequence[Record], Sequence[str]]]) -> None:
        """Keep on which records each thing was fitted, and on which parts it may be."""
        write_json_atomic(
            self.path / "fitted.json",
            {
                what: {"clips": sorted({clip_of(r.clip.id) for r in own}), "may": list(may)}
                for what, (own, may) in fitted.items()
            },
        )

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, minutes, summary and notes of the finished training."""
        return read_json(self.path / "environment.json", "environment of the run")

    def metrics(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl."""
        return self._lines("metrics.jsonl", "metrics of the run")

    def validation(self) -> list[dict[str, Any]]:
        """Return the lines of validation.jsonl; none where the answers were not kept."""
        return self._lines("validation.jsonl", "validation answers of the run")

    def _lines(self, name: str, what: str) -> list[dict[str, Any]]:
        path = self.path / name
        return read_jsonl(path, what, dict) if path.is_file() else []

    def write_metrics(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Replace metrics.jsonl atomically; one line an epoch, the selected one marked."""
        write_jsonl_atomic(self.path / "metrics.jsonl", lines)

    def write_validation(
        self, validation: Sequence[Record], answered: Sequence[str | float | None]
    ) -> None:
        """Keep the selected weights' answers on the validation records, None where unreadable."""
        lines = (
            {"clip_id": r.clip.id, "group": r.clip.fold_group, "true": r.clip.label, "label": label}
            for r, label in zip(validation, answered, strict=True)
        )
        write_jsonl_atomic(self.path / "validation.jsonl", lines)

    def finish(
        self,
        summary: Mapping[str, Any],
        notes: Sequence[str],
        started: float,
        effective: Mapping[str, Any] | None = None,
    ) -> None:
        """Write environment.json and, last of all, the model card.

        `summary` holds what a reader wants first (parameters, selected epoch, validation score);
        `notes` are the visible substitutions and truncations; `started` is time.time() at the
        beginning of training; `effective` are the settings that were in force, where a recipe
        leaves some to the records.
        """
        environment = {
            "python": sys.version.split()[0],
            "machine": platform.machine(),
            "system": platform.system(),
            "packages": versions_of(PACKAGES),
            "minutes": round((time.time() - started) / 60, 2),
            "summary": dict(summary),
            "notes": [*self.leaks, *self.notes, *notes],
        }
        if effective is not None:
            environment["effective"] = dict(effective)
        write_json_atomic(self.path / "environment.json", environment)
        shutil.rmtree(self.path / "checkpoints", ignore_errors=True)
        from textualize.finetune.card import model_card  # scipy, which nothing else here needs

        write_text_atomic(self.path / "README.md", model_card(self, environment))
