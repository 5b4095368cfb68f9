"""The cells of a matrix of prompts: every way to ask the same question about the same clips.

`eval/prompts.yaml` names levels on seven axes; a cell is one level of each. The question itself is
worded in several ways: `parts/question@2.jinja` beside `parts/question.jinja` is a paraphrase, and
so for every part a template includes. What wording does by chance is the measure of every gain.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from textualize import assets
from textualize.errors import TextualizeError
from textualize.evaluate.endpoint import Endpoint
from textualize.evaluate.suite_file import load_as, suite_values
from textualize.prompt import Template, load_template, with_parts
from textualize.text.answers import Kind
from textualize.types import Prediction
from textualize.wording import Register


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """One cell: how clips are asked about. `paraphrase` 1 is the template as it is."""

    template: str
    modalities: str = "TVA"
    turns: int = 0
    answers: Kind = "words"
    shots: int = 0
    wording: Register = "terse"
    paraphrase: int = 1

    def __str__(self) -> str:
        """Return the cell as a reader is told of it.

        >>> str(Setting("prompts/facs.jinja", "TV", shots=4, paraphrase=2))
        'facs@2 TV words 4 shots'
        """
        again = f"@{self.paraphrase}" if self.paraphrase > 1 else ""
        told = [
            f"{Path(self.template).stem}{again}",
            self.modalities,
            f"{self.turns} turns" if self.turns else "",
            self.answers,
            f"{self.shots} shots" if self.shots else "",
            self.wording if self.wording != "terse" else "",
        ]
        return " ".join(word for word in told if word)

    def without(self, axis: str) -> Setting:
        """Return the setting with an axis at one and the same level, to match cells by."""
        return replace(self, **{axis: _NOWHERE[axis]})


AXES = tuple(f.name for f in fields(Setting) if f.name != "paraphrase")
_NOWHERE: Mapping[str, Any] = {
    "template": "", "modalities": "", "turns": -1, "answers": "", "shots": -1, "wording": "",
    "paraphrase": 0,
}  # fmt: skip


class PromptSuite(BaseModel):
    """What `eval/prompts.yaml` holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    dataset: str | None = None
    """the dataset this suite was written for; only shown"""
    model: str | None = None
    """a run folder of text-llm, a local folder or a hub id of a causal model used as it is"""
    endpoint: Endpoint | None = None
    """instead of a model: a server that speaks OpenAI's protocol; prompts are sent to it"""
    templates: list[str] = Field(min_length=1)
    """the first level of every axis is what the others are compared with"""
    modalities: list[str] = Field(["TVA"], min_length=1)
    turns: list[int] = Field([0], min_length=1)
    answers: list[Kind] = Field(["words"], min_length=1)
    shots: list[int] = Field([0], min_length=1)
    """solved training examples before each prompt"""
    shots_by: Literal["balanced", "similar"] = "balanced"
    wordings: list[Register] = Field(["terse"], min_length=1)
    paraphrases: int = Field(3, ge=1)
    """at most so many wordings of each template's parts, the first included"""
    folds: int | str | None = 4
    """how train, validation and test are cut, as in other suites; a run brings its own"""
    fold: int = Field(1, ge=1)
    test: str = "test"
    max_tokens: int | None = Field(None, ge=16)
    """longest prompt; null: all the model takes"""
    seed: int = 0
    statistic: str = Field("macro_f1", pattern="^(macro_f1|weighted_f1|accuracy|uar)$")
    draws: int = Field(2000, ge=100)

    @model_validator(mode="after")
    def _possible(self) -> PromptSuite:
        if (self.model is None) == (self.endpoint is None):
            raise ValueError("give a model or an endpoint, one of them")
        for axis in ("templates", "modalities", "turns", "answers", "shots", "wordings"):
            levels = getattr(self, axis)
            if len(set(levels)) < len(levels):
                raise ValueError(f"{axis} names a level twice")
        if any(n < 0 for n in (*self.shots, *self.turns)):
            raise ValueError("shots and turns are counted from 0")
        return self

    def levels(self, axis: str) -> list[Any]:
        """Return the levels of one of `AXES`, the reference first."""
        named = {"template": "templates", "wording": "wordings"}
        return list(getattr(self, named.get(axis, axis)))

    @property
    def settings(self) -> list[Setting]:
        """Every cell, a template's own together; paraphrases of one template may be fewer."""
        found = []
        for levels in itertools.product(*(self.levels(axis) for axis in AXES)):
            one = Setting(**dict(zip(AXES, levels, strict=True)))
            for n in range(1, min(self.paraphrases, paraphrases(one.template)) + 1):
                found.append(replace(one, paraphrase=n))
        return found

    @property
    def reference(self) -> Setting:
        """The cell of every axis' first level."""
        return Setting(**{axis: self.levels(axis)[0] for axis in AXES})


def load_prompt_suite(name: str) -> PromptSuite:
    """Return a shipped suite of prompts by name, or the one in a `.yaml` file.

    Raises:
        TextualizeError: unknown suite, unknown key, or a value that does not fit.
    """
    return load_as(PromptSuite, name)


def is_prompt_suite(name: str) -> bool:
    """Return whether a suite is a matrix of prompts: it names templates and no methods."""
    values = suite_values(name)
    return "templates" in values and "methods" not in values


# --- paraphrases ----------------------------------------------------------------------------------


def template_of(setting: Setting) -> Template:
    """Return a cell's template, loaded for its modalities and turns, its parts paraphrased.

    Raises:
        TextualizeError: what `load_template` raises, or no such paraphrase.
    """
    loaded = load_template(
        setting.template, setting.modalities, turns=setting.turns, register=setting.wording
    )
    if setting.paraphrase == 1:
        return loaded
    again = _paraphrased(setting.template).get(setting.paraphrase)
    if again is None:
        raise TextualizeError(
            f"template '{setting.template}' has {paraphrases(setting.template)} wordings; given "
            f"{setting.paraphrase}"
        )
    return with_parts(loaded, f"{loaded.name}@{setting.paraphrase}", again)


def paraphrases(template: str) -> int:
    """Return in how many wordings a template is there, its own included."""
    return 1 + len(_paraphrased(template))


@lru_cache(maxsize=64)
def _paraphrased(template: str) -> dict[int, dict[str, str]]:
    """Return the texts of the parts that each paraphrase, numbered from 2 without a gap, changes.

    They are looked for where parts are: beside the template, then among the shipped ones.
    """
    beside = assets.find("prompts", template, ".jinja").parent
    found: dict[int, dict[str, str]] = {}
    for n in itertools.count(2):
        own = {}
        for part in load_template(template).parts:
            name = f"{part.removesuffix('.jinja')}@{n}.jinja"
            paths = [folder / name for folder in (beside, assets.folder("prompts"))]
            text = next((p.read_text("utf-8") for p in paths if p.is_file()), None)
            if text is not None:
                own[part] = text
        if not own:
            return found
        found[n] = own
    return found


@dataclass(frozen=True, slots=True, eq=False)
class CellAnswers:
    """One cell's answers in the order of its clips, and the tokens of each prompt."""

    predictions: tuple[Prediction, ...]
    tokens: tuple[int, ...]
