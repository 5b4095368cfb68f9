"""Cues to a prompt: a Jinja template orders and frames, Python has chosen every word.

A template is loaded with the parts it includes, so that it can be stored in a run folder and
rendered there, years later, to the same text. It is rendered in a sandbox (`sandbox.py`) and is
given cues and words only: no clip id, no file name, no label.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from traceback import walk_tb
from typing import TypedDict, Unpack, cast

from jinja2 import TemplateSyntaxError, UndefinedError

from textualize import assets, surroundings
from textualize.describe import describe
from textualize.errors import TextualizeError, unknown
from textualize.files import read_json, write_text_atomic
from textualize.sandbox import Sandbox, render_guarded
from textualize.template_files import (
    MAIN,
    included,
    read_part,
    read_template,
    reason_of,
    syntax_error,
    text_digest,
)
from textualize.types import Cue, Prompt, Record, Utterance
from textualize.variables import LETTERS, VARIABLES, variables
from textualize.wording import REGISTERS, Register
from textualize.wording.meanings import meanings


@dataclass(frozen=True, slots=True)
class Template:
    """A template's text with the parts it uses, and how to render it.

    `source` is the file for error messages; `parts` maps an included name to its text; `digest`
    is over text and parts. `modalities` and `levels` are the defaults of `render_with`; `register`
    is how cues are worded (see `describe`). As context the template is given the `turns` turns
    before the clip in its dialogue, or, with `context_s`, what its video file says in that many
    seconds before it; and the `future_turns` turns after it, which exist only once it is over.
    """

    name: str
    source: str
    text: str
    parts: Mapping[str, str] = field(hash=False)
    digest: str
    modalities: str = "TVA"
    levels: bool = False
    turns: int = 0
    register: Register = "terse"
    context_s: float = 0.0
    future_turns: int = 0

    def mentions(self, variable: str) -> bool:
        """Return whether the template, or a part of it, names a variable outside comments."""
        texts = (re.sub(r"{#.*?#}", "", t, flags=re.S) for t in (self.text, *self.parts.values()))
        return any(re.search(rf"\b{variable}\b", t) for t in texts)

    @property
    def reads(self) -> str:
        """What is read beyond the clip itself, in words; "" for nothing."""
        told = {
            f"the words of its video file in the {self.context_s:g} s before it": self.context_s,
            f"up to {self.turns} turns before it in its dialogue": self.turns,
            f"THE FUTURE: up to {self.future_turns} turns after it in its dialogue": (
                self.future_turns
            ),
        }
        return "; ".join(what for what, asked in told.items() if asked)


class Settings(TypedDict, total=False):
    """How a template is rendered beside its modalities; what each means stands at `Template`."""

    levels: bool
    turns: int
    register: Register
    context_s: float
    future_turns: int


def render(
    record: Record,
    template: str | Path = "compound",
    *,
    labels: Sequence[str] = (),
    modalities: str = "TVA",
    **how: Unpack[Settings],
) -> Prompt:
    """Return what a model reads about a record.

    `template` is a shipped name or a path ending in .jinja; `modalities` are letters of T (words
    spoken), V (face), A (voice); `labels` are listed by templates that ask a question; `levels`
    lets `richet2024` say High and Low instead of numbers; `register` words face and voice as a
    list ("terse") or as sentences; `turns`, `context_s` and `future_turns` give context, see
    `Template`. Raises TextualizeError for an unknown template or register, or a template that
    fails, with file, line and variable.
    """
    return render_with(load_template(template, modalities, **how), record, labels=labels)


def render_with(
    template: Template,
    record: Record,
    *,
    labels: Sequence[str] = (),
    modalities: str | None = None,
    cues: Sequence[Cue] | None = None,
) -> Prompt:
    """Return the record rendered by a loaded template, with its own modalities by default.

    `cues` are said in place of all that `describe` has to say, as where a prompt must be shorter.
    """
    letters = _checked_letters(template.modalities if modalities is None else modalities)
    if cues is None:
        cues = describe(record, [LETTERS[letter] for letter in letters], template.register)
    values = variables(record, cues, letters, said_around(template, record, letters)) | {
        "labels": tuple(labels),
        "meanings": meanings(labels),
        "levels": template.levels,
        "register": template.register,
    }
    try:
        text = render_guarded(lambda: _sandbox(template).get_template(MAIN).render(values))
    except Exception as error:  # a foreign template may raise anything
        raise _template_error(template, error) from None
    # Newlines at either end belong to the file, not to the prompt; blanks may be the paper's.
    return Prompt(record.clip.id, text.strip("\n"), tuple(cues), template.name, template.digest)


def said_around(
    template: Template, record: Record, modalities: str | None = None
) -> tuple[tuple[Utterance, ...], tuple[Utterance, ...]]:
    """Return the turns a template is given: before the clip, oldest first, and after it."""
    if "T" not in (template.modalities if modalities is None else modalities):
        return (), ()
    before = surroundings.earlier(record, template.turns, template.context_s)
    return before, record.around.following[: template.future_turns]


def load_template(name: str | Path, modalities: str = "TVA", **how: Unpack[Settings]) -> Template:
    """Return a shipped template by name, or the user's own by path, with the parts it includes.

    `how` see `Settings`. Parts are looked up beside the template, then among the shipped ones,
    nowhere else. Raises TextualizeError if a file is missing or does not parse, the register is
    unknown, or the template does not use the context it shall be given.
    """
    path = assets.find("prompts", name, ".jinja")
    return template_of(
        read_template(path, path.parent),
        path.stem,
        modalities,
        source=str(name) if str(name).endswith(".jinja") else f"prompts/{path.name}",
        beside=path.parent,
        **how,
    )


def template_of(
    text: str,
    name: str,
    modalities: str = "TVA",
    *,
    source: str = "",
    beside: Path | None = None,
    **how: Unpack[Settings],
) -> Template:
    """Return a text as a template; its parts are looked up in `beside`, then among the shipped.

    `source` is what errors call it, by default the name. Raises as `load_template` does.
    """
    source = source or f"{name}.jinja"
    folders = [folder for folder in (beside, assets.folder("prompts")) if folder is not None]
    parts: dict[str, str] = {}
    waiting = included(text, source)
    while waiting:
        part = waiting.pop()
        if part not in parts:
            parts[part] = read_part(part, source, folders)
            waiting += included(parts[part], f"{Path(source).parent}/{part}")
    _check_register(how.get("register", "terse"))
    letters = _checked_letters(modalities)
    return _checked_context(
        Template(name, source, text, parts, text_digest(text, parts), modalities=letters, **how)
    )


def with_parts(template: Template, name: str, parts: Mapping[str, str]) -> Template:
    """Return a template under another name, with these texts for parts of its own names."""
    own = {**template.parts, **parts}
    return replace(template, name=name, parts=own, digest=text_digest(template.text, own))


def save_template(template: Template, folder: str | Path) -> None:
    """Write a template into `folder`/prompt, so that the run renders what it was trained on."""
    out = Path(folder) / "prompt"
    for name, text in {MAIN: template.text, **template.parts}.items():
        write_text_atomic(out / name, text)
    described = {
        "name": template.name,
        "digest": template.digest,
        "modalities": template.modalities,
        **{name: getattr(template, name) for name in Settings.__annotations__},
        "reads beyond the clip": template.reads,
        "parts": sorted(template.parts),
    }
    write_text_atomic(out / "prompt.json", json.dumps(described, indent=2) + "\n")


def load_template_from(folder: str | Path) -> Template:
    """Return the template stored in a run folder.

    Raises TextualizeError if there is none or if a file was changed after it was written.
    """
    stored = Path(folder) / "prompt"
    if not (stored / "prompt.json").is_file():
        raise TextualizeError(f"{folder} holds no prompt: expected {stored / 'prompt.json'}")
    described = read_json(stored / "prompt.json", "prompt of the run")
    source = str(stored / MAIN)
    text = read_template(stored / MAIN, stored)
    parts = {name: read_part(name, source, (stored,)) for name in described["parts"]}
    digest = text_digest(text, parts)
    if digest != described["digest"]:
        raise TextualizeError(
            f"the prompt in {stored} has digest {digest[:12]}, its prompt.json says "
            f"{described['digest'][:12]}; restore the files the model was trained with"
        )
    # a run from before one of the settings has its default
    how = cast(Settings, {k: described[k] for k in Settings.__annotations__ if k in described})
    _check_register(how.get("register", "terse"))
    letters = _checked_letters(described["modalities"])
    return Template(described["name"], source, text, parts, digest, modalities=letters, **how)


def _checked_letters(modalities: str) -> str:
    """Return the letters in the order T, V, A; raises TextualizeError for any other."""
    if not modalities or set(modalities) - set(LETTERS) or len(set(modalities)) < len(modalities):
        raise TextualizeError(
            f"modalities '{modalities}' are not understood; give some of T (words spoken), "
            "V (face), A (voice), each once, as in TVA"
        )
    return "".join(letter for letter in LETTERS if letter in modalities)


def _check_register(register: str) -> None:
    if register not in REGISTERS:
        raise unknown("register", register, REGISTERS)


def _checked_context(template: Template) -> Template:
    """Return a template that uses all the context it shall be given; raises TextualizeError."""
    if template.turns and template.context_s:
        raise TextualizeError(
            f"context is counted in turns or in seconds; given turns {template.turns} and "
            f"context_s {template.context_s:g}"
        )
    asked = {
        "turns": (template.turns, "context"),
        "context_s": (template.context_s, "context"),
        "future_turns": (template.future_turns, "following"),
    }
    for key, (given, variable) in asked.items():
        if given and not template.mentions(variable):
            raise TextualizeError(
                f"{key} {given:g} would change nothing: {template.source} does not use "
                f"'{variable}'; give a template that does, as compound"
            )
    return template


@lru_cache(maxsize=16)
def _sandbox(template: Template) -> Sandbox:
    folder = Path(template.source).parent
    texts = {name: (text, f"{folder}/{name}") for name, text in template.parts.items()}
    return Sandbox(texts | {MAIN: (template.text, template.source)})


def _template_error(template: Template, error: Exception) -> TextualizeError:
    """Return the error with file and line, which Jinja puts into the traceback."""
    if isinstance(error, (TextualizeError, TemplateSyntaxError)):
        return syntax_error(template.source, error)
    folder = Path(template.source).parent
    files = {template.source} | {f"{folder}/{name}" for name in template.parts}
    where = [
        f"{frame.f_code.co_filename}:{line}"
        for frame, line in walk_tb(error.__traceback__)
        if frame.f_code.co_filename in files
    ]
    place = where[-1] if where else template.source
    hint = ""
    if isinstance(error, UndefinedError) and str(error).endswith("is undefined"):
        hint = f"; a template may use {', '.join(VARIABLES)}"
    return TextualizeError(f"{place}: {reason_of(error)}{hint}")
