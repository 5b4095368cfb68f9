"""A causal model as it is asked in the cells of a matrix: loaded once, its work shared by cells.

Cues are worded once for each clip and register. The prompts of the cells handed over together are
scored as a forest (`text/forest.py`); what was scored before, in whatever cell, is not scored
again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textualize.describe import describe
from textualize.errors import TextualizeError
from textualize.evaluate.sealed import run_digest
from textualize.evaluate.settings import CellAnswers, Setting, template_of
from textualize.files import digest_of
from textualize.finetune.recipe import Shots, TextRecipe
from textualize.finetune.run_folder import RunFolder
from textualize.labels import LabelSet
from textualize.prompt import render_with
from textualize.text import budget, predict
from textualize.text.answers import options
from textualize.text.causal import TextLLM
from textualize.text.demonstrations import Demonstrations, solved_of
from textualize.text.forest import forest_log_probs
from textualize.text.prompts import PromptReader
from textualize.types import PROMPT_CUT, Cue, Prediction, Record
from textualize.variables import LETTERS
from textualize.weights.models import find_model, weights_digest
from textualize.wording import Register

Seen = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What one cell asks: `prompts` are token ids, or chat messages, of each clip.

    `digest` is over the model, the setting and all prompts, so equal digests have equal answers.
    """

    setting: Setting
    template_digest: str
    clips: tuple[str, ...]
    prompts: tuple[Any, ...]
    lost: tuple[budget.Lost, ...]
    digest: str


class Worded:
    """The cues of records, each worded once in a register."""

    def __init__(self) -> None:
        """Start with nothing worded."""
        self._cues: dict[tuple[str, str], tuple[Cue, ...]] = {}

    def cues(self, record: Record, register: Register, letters: str) -> tuple[Cue, ...]:
        """Return the record's cues of these modalities, as `describe` words them."""
        key = (record.clip.id, register)
        if key not in self._cues:
            self._cues[key] = describe(record, register=register)
        wanted = {LETTERS[letter] for letter in letters}
        return tuple(c for c in self._cues[key] if c.modality in wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class WordedReader(PromptReader):
    """A reader of records whose cues are worded once for all cells."""

    worded: Worded

    def texts(self, records: Sequence[Record]) -> list[str]:
        """Return one prompt a record, in the same order."""
        template = self.template
        return [
            render_with(
                template,
                record,
                labels=self.options,
                cues=self.worded.cues(record, template.register, template.modalities),
            ).text
            for record in records
        ]


class LocalModel:
    """A causal model in this process."""

    def __init__(self, name: str, method: TextLLM, digest: str, train: Sequence[Record]):
        """Take a loaded method; `train` are the records demonstrations are drawn from."""
        self.name = name
        self._method = method
        self._digest = digest
        self._train = list(train)
        self._worded = Worded()
        self._scored: dict[tuple[str, tuple[int, ...]], Tensor] = {}
        self.notes = list(method.notes)

    @classmethod
    def open(
        cls, name: str, labels: LabelSet, train: Sequence[Record], max_tokens: int | None = None
    ) -> LocalModel:
        """Return the model of a run folder of text-llm, of a local folder, or of a hub id.

        Raises:
            TextualizeError: the run is of another method or has other labels, or there is no such
                model.
        """
        path = Path(name)
        if (path / "recipe.yaml").is_file():
            run = RunFolder(path)
            _check_run(run, labels)
            method = TextLLM.load(path)
            if method.decision.exponent or method.decision.temperature != 1:
                method.notes.append("the run's own prior correction and temperature are not used")
            return cls(name, method, run_digest(path), train)
        recipe = TextRecipe(
            method="text-llm", model=name, epochs=0, lora=None, max_tokens=max_tokens
        )
        method = TextLLM.build(recipe, labels, ())
        source = find_model(name)
        digest = digest_of([weights_digest(source.folder, name), recipe.dtype])
        return cls(name, method, digest, train)

    def ask(self, setting: Setting, records: Sequence[Record], shots: Shots | None) -> Asked:
        """Return what a cell asks about records, each prompt within the model's limit.

        Raises:
            TextualizeError: letters under a template that does not list the options.
        """
        method = self.method(setting, shots)
        items, lost = predict.read(method, records)
        prompts = tuple(tuple(item["input_ids"]) for item in items)
        told = {**asdict(setting), "template": method.reader.template.digest}
        return Asked(
            setting,
            method.reader.template.digest,
            tuple(r.clip.id for r in records),
            prompts,
            tuple(lost),
            digest_of([self._digest, told, method.labels, [r.clip.id for r in records], prompts]),
        )

    def method(self, setting: Setting, shots: Shots | None) -> TextLLM:
        """Return the method that asks as a cell does; network and tokenizer are shared."""
        own, labels = self._method, self._method.label_set
        template = template_of(setting)
        listed = options(labels.labels, setting.answers)
        reader = WordedReader(template=template, options=listed, worded=self._worded)
        if not reader.lists_options and setting.answers == "letters":
            raise TextualizeError(
                f"template '{setting.template}' does not list the options: it cannot be asked for "
                "letters"
            )
        recipe = own.recipe.model_copy(update={"answers": setting.answers, "shots": shots})
        made = TextLLM(own.net, own.tokenizer, reader, labels, recipe)
        if shots is not None:
            writes = dict(zip(made.labels, made.answer_texts, strict=True))
            solved = solved_of(self._train, reader.texts(self._train), labels)
            made.demonstrations = Demonstrations(solved, shots, writes, recipe.seed)
        return made

    def answer(
        self, asked: Sequence[Asked], seen: Seen = lambda done, total: None
    ) -> list[CellAnswers]:
        """Return the answers of cells, scored together."""
        for kind in sorted({a.setting.answers for a in asked}):
            own = [a for a in asked if a.setting.answers == kind]
            self._score(kind, {p for a in own for p in a.prompts}, own[0].setting, seen)
        return [self._answers(a) for a in asked]

    def _score(self, kind: str, prompts: set[tuple[int, ...]], one: Setting, seen: Seen) -> None:
        new = sorted(p for p in prompts if (kind, p) not in self._scored)
        if not new:
            return
        tree = self.method(one, None).tree
        net = self._method.net
        net.eval()
        for prompt, row in zip(new, forest_log_probs(net, new, tree, seen=seen), strict=True):
            if not bool(torch.isfinite(row).all()):
                raise TextualizeError(f"{self.name} gives scores that are not finite: use float32")
            self._scored[kind, prompt] = row

    def _answers(self, asked: Asked) -> CellAnswers:
        labels = self._method.labels
        logs = np.stack([self._scored[asked.setting.answers, p].numpy() for p in asked.prompts])
        rows = np.exp(logs - np.logaddexp.reduce(logs, axis=1, keepdims=True))
        made = tuple(
            Prediction(
                clip,
                "text-llm",
                labels[int(row.argmax())],
                dict(zip(labels, row.tolist(), strict=True)),
                f"{PROMPT_CUT}{budget.told(lost)}" if lost else "",
            )
            for clip, row, lost in zip(asked.clips, rows, asked.lost, strict=True)
        )
        return CellAnswers(made, tuple(len(p) for p in asked.prompts))


def _check_run(run: RunFolder, labels: LabelSet) -> None:
    method, window = (run.recipe_values.get(key) for key in ("method", "window"))
    if method != "text-llm" or window or run.labels.labels != labels.labels:
        raise TextualizeError(
            f"{run.path} is a run of {method}{' in windows' if window else ''} with labels "
            f"{', '.join(run.labels.labels)}: prompts are tried on a run of text-llm that reads "
            "whole clips and has the corpus' labels"
        )
