"""Recipes: typed, checked, and written out resolved beside every result.

A recipe is a YAML file in `finetune/`, or the user's own. Unknown keys are refused with the
nearest known one; `--set key=value` overrides one field, dots reach inside (`lora.r=16`).
"""

from __future__ import annotations

import difflib
from collections.abc import Container, Sequence
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from textualize import assets
from textualize.errors import TextualizeError, unknown
from textualize.files import read_yaml
from textualize.finetune.feature_recipes import NetworkRecipe, TrackRecipe
from textualize.finetune.options import ClassSelection, Options, Recipe, WindowOptions
from textualize.finetune.picture_recipes import AugmentOptions, PictureAnyRecipe, PictureRecipe
from textualize.methods import METHODS
from textualize.wording import Register


class Lora(Options):
    """Low-rank adaptation; effective scale is alpha / r, or alpha / sqrt(r) with rslora."""

    r: int = Field(8, ge=1)
    alpha: float = Field(16, gt=0)
    dropout: float = Field(0.05, ge=0, lt=1)
    rslora: bool = False
    dora: bool = False
    targets: str | list[str] = "all-linear"
    modules_to_save: list[str] = []
    """names of modules trained in full beside it, as lm_head; they grow the adapter's file"""


class Scratch(Options):
    """A small LLaMA built from a config, its tokenizer trained on the training prompts."""

    hidden: int = Field(128, ge=8)
    layers: int = Field(3, ge=1)
    heads: int = Field(4, ge=1)
    vocabulary: int = Field(2048, ge=300)


class Shots(Options):
    """Solved training examples before each prompt, never of the clip itself or its fold group."""

    count: int = Field(4, ge=1, le=64)
    by: Literal["similar", "balanced"] = "similar"
    """those whose prompts are most alike (TF-IDF), or as many of each class, drawn by the seed"""


class Prompted(Recipe):
    """A recipe whose method reads words."""

    template: str = "compound"
    modalities: str = Field("TVA", pattern="^T?V?A?$", min_length=1)
    """T transcript, V face, A prosody"""
    turns: int = Field(0, ge=0)
    """previous dialogue turns given to the template as context"""
    context_s: float = Field(0.0, ge=0, allow_inf_nan=False)
    """instead of turns: what the clip's video file says in this many seconds before its span"""
    future_turns: int = Field(0, ge=0)
    """later dialogue turns given to the template: reads the future, which the model card says"""
    wording: Register = "terse"
    """the register face and voice are worded in: a list, sentences, or rungs from the usual"""

    @model_validator(mode="after")
    def _chosen_by_classes(self) -> Prompted:
        if self.select not in get_args(ClassSelection):
            raise ValueError(f"select {self.select} is of values; {self.method} answers classes")
        return self

    @model_validator(mode="after")
    def _one_context(self) -> Prompted:
        if self.turns and self.context_s:
            raise ValueError("context is counted in turns or in context_s, not in both")
        return self


class FloorRecipe(Prompted):
    """majority and bag-of-words."""

    method: Literal["majority", "bag-of-words"]
    strengths: list[float] = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0]
    """inverse regularisation C, chosen on validation"""
    ngrams: int = Field(3, ge=1, le=4)


class TextRecipe(Prompted):
    """text-encoder and text-llm."""

    method: Literal["text-encoder", "text-llm"]
    model: str = "minilm"
    """"minilm" (shipped with an ordinary package), "scratch", a hub id or a local folder"""
    revision: str | None = None
    lora: Lora | None = Lora()
    """null: every weight is trained"""
    scratch: Scratch = Scratch()
    pooling: Literal["mean", "cls", "last", "last_line"] = "mean"
    """how hidden states become one vector; last_line: the mean over the prompt's last line"""
    quantization: Literal["none", "nf4", "int8"] = "none"
    dtype: Literal["float32", "bfloat16"] = "float32"
    prior_correction: bool = False
    """take a share of the training prior off the class scores, fitted on validation"""
    temperature: bool = False
    """divide the class scores by a temperature fitted on validation: calibrated probabilities"""
    answers: Literal["words", "letters"] = "words"
    """what a causal model answers with: a label's words, or the letter of its option"""
    shots: Shots | None = None
    """demonstrations for a causal model; with epochs 0 it is prompted and never trained"""
    max_tokens: int | None = Field(256, ge=16)
    """longest prompt, cut by the rule of `text/budget.py`; null: all the model takes"""
    length_grouped: bool = False
    """batch prompts of like length: less padding, but batches of like content"""
    packing: bool = False
    """put several prompts of a causal model's batch into one row: the same loss, less padding"""
    gradient_checkpointing: bool = False
    """keep each layer's input only and compute the rest again: less memory, a third slower"""
    epochs: int = Field(8, ge=0)
    """0 uses a pretrained causal model as it is"""
    batch_size: int = Field(16, ge=1)
    """clips a step, of each process where a launcher starts several"""
    lr: float = Field(1e-3, gt=0)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """sgd is without momentum"""
    matmul: Literal["float32", "bfloat16"] = "float32"
    """what float32 matrices are rounded to where training multiplies them; prediction never does"""
    weight_decay: float = Field(0.01, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    """longer gradients are shortened to this"""
    warmup: float = Field(0.1, ge=0, lt=1)
    """share of the steps"""
    halve_every: int | None = Field(None, ge=1)
    """epochs after which the rate halves, in steps; without it, it falls to 0 along a line"""
    patience: int = Field(3, ge=1)
    """epochs without a better validation score before training stops"""

    @model_validator(mode="after")
    def _possible(self) -> TextRecipe:
        if self.method == "text-encoder":
            asked = {
                "answers": self.answers != "words",
                "shots": self.shots,
                "packing": self.packing,
                "epochs": not self.epochs,
            }
            for key in (key for key, given in asked.items() if given):
                raise ValueError(
                    f"{key} {getattr(self, key)!r} is for text-llm: a head has to be trained"
                )
        if self.dtype == "bfloat16" and self.epochs:
            # steps of less than 1/256 of a weight are rounded away
            if self.lora is None:
                raise ValueError(
                    "bfloat16 weights are too coarse to be trained in full: set lora, or dtype "
                    "float32"
                )
            if self.lora.modules_to_save:
                raise ValueError("lora.modules_to_save are trained in full: set dtype float32")
        if self.epochs == 0 and (self.model == "scratch" or self.lora is not None):
            raise ValueError("epochs 0 trains nothing: give a pretrained model and lora: null")
        return self


AnyRecipe = FloorRecipe | TextRecipe | TrackRecipe | PictureAnyRecipe


def parse(values: dict[str, Any], where: str) -> FloorRecipe | TextRecipe | NetworkRecipe:
    """Return the checked recipe.

    Raises:
        TextualizeError: one line naming the file, the key, what was given and what is accepted.
    """
    method = str(values.get("method", ""))
    if method not in METHODS:
        raise unknown(f"method ({where})", method, METHODS)
    kind, other = _kinds(method, values)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = [str(p) for p in first["loc"]]
        if first["type"] == "extra_forbidden":
            known = _known_keys(kind, path[:-1])
            close = difflib.get_close_matches(path[-1], known, n=1)
            guess = f" (did you mean {close[0]}?)" if close else ""
            if other is not None and path[0] in other.model_fields:
                guess = f" {'beside' if 'pictures' in values else 'without'} 'pictures'"
            raise TextualizeError(
                f"{where}: unknown key '{'.'.join(path)}'{guess}; known: {', '.join(known)}"
            ) from None
        message = (first["msg"][0].lower() + first["msg"][1:]).removeprefix("value error, ")
        given = f"; given {first.get('input')!r}" if path else ""  # else it is the whole recipe
        raise TextualizeError(f"{where}: {'.'.join(path) or 'recipe'}: {message}{given}") from None


def _known_keys(kind: type[BaseModel], path: Sequence[str]) -> list[str]:
    groups: dict[str, type[BaseModel]] = {
        "lora": Lora, "scratch": Scratch, "window": WindowOptions, "shots": Shots,
        "augment": AugmentOptions,
    }  # fmt: skip
    for name in path:
        kind = groups.get(name, kind)
    return sorted(kind.model_fields)


def _kinds(method: str, keys: Container[str]) -> tuple[type[AnyRecipe], type[AnyRecipe] | None]:
    """Return the class of a method's recipes with these keys, and the other where there are two.

    A method of both kinds reads pictures where the key `pictures` is given, else tracks.
    """
    every = get_args(AnyRecipe)
    own = [k for k in every if method in get_args(k.model_fields["method"].annotation)]
    own.sort(key=lambda k: issubclass(k, PictureRecipe) != ("pictures" in keys))
    return own[0], own[1] if len(own) > 1 else None


def load_recipe(
    name: str, overrides: Sequence[str] = ()
) -> FloorRecipe | TextRecipe | NetworkRecipe:
    """Return a shipped recipe by name, or the one in a `.yaml` file, with overrides applied."""
    path = assets.find("finetune", name, ".yaml")
    return parse(_overridden(read_yaml(path), overrides), path.name)


def _overridden(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise TextualizeError(f"--set takes key=value; given '{text}'")
        *path, last = key.split(".")
        at = values
        for part in path:
            at = at.setdefault(part, {})
            if not isinstance(at, dict):
                raise TextualizeError(f"--set {text}: '{part}' is not a group of keys")
        try:
            at[last] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            said = " ".join(str(error).split())
            raise TextualizeError(f"--set {text}: the value is not YAML: {said}") from None
    return values
