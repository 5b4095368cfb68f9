"""Runs that are served: opened, checked, and asked in prompts.

A run is opened by the loaders that prediction uses, so the template, the chat template and the
base's weights are checked against the digests the run keeps before anything is served.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np

from textualize.errors import TextualizeError, unknown
from textualize.methods import load, method_of
from textualize.serve.engine import Item, LabelScores
from textualize.text import budget
from textualize.text.answers import Shot
from textualize.text.causal import TextLLM
from textualize.text.predict import TextMethod, fitted_texts
from textualize.types import Record
from textualize.windows import window_of_run

# what a template reads of measurements themselves: given cues cannot tell it
MEASURED = ("aus_active", "visual_emotions", "prosody_words", "arousal", "valence", "dominance")


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt as it is scored: its text within the budget, its tokens, what it lost.

    `shots` are the solved examples before it, which the tokens hold as well.
    """

    text: str
    item: Item
    lost: str
    shots: tuple[Shot, ...] = ()

    @property
    def token_ids(self) -> list[int]:
        """The ids the engine is given."""
        return list(self.item["input_ids"])


@dataclass(frozen=True, slots=True)
class Answer:
    """A label and every label's calibrated probability, in the order of the run's labels."""

    label: str
    probabilities: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ServedRun:
    """One run under its name."""

    name: str
    folder: Path
    method: TextMethod
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def digest(self) -> str:
        """The digest of its template."""
        return self.method.reader.template.digest

    @property
    def labels(self) -> tuple[str, ...]:
        """Its labels, in the order of every score vector."""
        return self.method.labels

    @property
    def answers(self) -> list[list[int]]:
        """The token ids of every label's answer; empty for a run with a head."""
        return self.method.answers if isinstance(self.method, TextLLM) else []

    @property
    def answer_texts(self) -> tuple[str, ...]:
        """What the model writes for each label; a run with a head writes the label."""
        return self.method.answer_texts if isinstance(self.method, TextLLM) else self.labels

    @property
    def needs_clips(self) -> bool:
        """Whether its template reads measurements themselves, which cues do not tell."""
        return any(self.method.reader.template.mentions(name) for name in MEASURED)

    def asked(self, records: Sequence[Record]) -> list[Asked]:
        """Return each record's prompt as local prediction would read it."""
        with self._lock:  # one tokenizer; threads would get in each other's way
            texts, shots, losses = fitted_texts(self.method, records)
            items = self.method.items(texts, shots)
        return [
            Asked(text, item, budget.told(lost), tuple(solved))
            for text, item, lost, solved in zip(texts, items, losses, shots, strict=True)
        ]

    def asked_texts(
        self, texts: Sequence[str], shots: Sequence[Sequence[Shot]] = ()
    ) -> list[Asked]:
        """Return prompts that were rendered elsewhere; a text too long loses its beginning.

        Raises:
            TextualizeError: a prompt with solved examples is too long, or the run takes none.
        """
        if any(shots) and not isinstance(self.method, TextLLM):
            raise TextualizeError(f"run '{self.name}' takes no solved examples")
        with self._lock:
            whole = [
                self.method.length(t, s)
                for t, s in zip(texts, shots or [()] * len(texts), strict=True)
            ]
            losses = [max(0, n - self.method.limit) for n in whole]
            if any(losses) and any(shots):
                raise TextualizeError(
                    f"the prompt has {max(whole)} tokens, '{self.name}' reads {self.method.limit}"
                )
            items = self.method.items(texts, shots)
        return [
            Asked(text, item, budget.told({"tokens": over}) if over else "")
            for text, item, over in zip(texts, items, losses, strict=True)
        ]

    def ids(self, text: str) -> list[int]:
        """Return the token ids of a text that is in its frame already."""
        with self._lock:
            return list(self.method.tokenizer(text, verbose=False)["input_ids"])

    def answer(self, scores: LabelScores) -> Answer:
        """Return what the run decides on an engine's scores, by its prior and temperature."""
        row = self.method.decision.probabilities(np.array([scores.log_probs]))[0]
        found = dict(zip(self.labels, row.tolist(), strict=True))
        return Answer(self.labels[int(row.argmax())], found)

    def specials(self) -> tuple[str, ...]:
        """Return the model's control tokens, longest first."""
        return tuple(sorted(set(self.method.tokenizer.all_special_tokens), key=len, reverse=True))


def open_runs(folders: Sequence[Path], *, weights: bool) -> dict[str, ServedRun]:
    """Return the runs by name, the folder's own; without `weights` they read and cannot score.

    Raises:
        TextualizeError: two have one name, or one is not of a text method that reads whole clips.
    """
    found: dict[str, ServedRun] = {}
    for folder in folders:
        name = folder.resolve().name
        if name in found:
            raise TextualizeError(f"two runs are called '{name}': rename a folder")
        found[name] = ServedRun(name, folder, _opened(folder, weights=weights))
    return found


def _opened(folder: Path, *, weights: bool) -> TextMethod:
    kind = method_of(folder)
    if kind not in ("text-llm", "text-encoder"):
        raise TextualizeError(f"{folder} is a run of {kind}; served are text-llm and text-encoder")
    if window_of_run(folder):
        raise TextualizeError(f"{folder} reads clips in windows, which cannot be served")
    if weights:
        return cast(TextMethod, load(folder))
    if kind != "text-llm":
        raise TextualizeError(
            f"{folder} is a run of {kind}, vLLM serves text-llm: give --engine transformers"
        )
    return TextLLM.load(folder, weights=False)


def run_named(runs: Mapping[str, ServedRun], name: str | None) -> ServedRun:
    """Return the run asked for; the first where none is named."""
    if name is None:
        return next(iter(runs.values()))
    if name not in runs:
        raise unknown("model", name, runs)
    return runs[name]
