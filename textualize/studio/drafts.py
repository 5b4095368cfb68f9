"""Templates on the desk: opened, edited, checked, and saved into the user's own folder.

A draft is a template's text as it stands in the editor with the settings that a recipe would give
it. What it includes is looked up beside where it was opened.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from textualize import assets
from textualize.errors import TextualizeError, unknown
from textualize.files import write_text_atomic
from textualize.prompt import Template, load_template, load_template_from, template_of
from textualize.sandbox import MAX_TEMPLATE
from textualize.serve.schemas import Taken
from textualize.wording.scales import Register

EDITED = "edited"  # what stands in the editor
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_PLACE = re.compile(r"^(?P<file>[^\n:]*\.jinja):(?P<line>\d+): ")


class TakenNameError(TextualizeError):
    """The user's folder holds a template of that name already."""


class Draft(Taken):
    """A template as it is being edited.

    `origin` is what it was opened from, "shipped:NAME", "own:NAME" or "run:NAME".
    """

    text: str = Field(max_length=MAX_TEMPLATE)
    origin: str = Field("shipped:compound", max_length=200)
    modalities: str = Field("TVA", max_length=3)
    register_: Register = Field("terse", alias="register")
    turns: int = Field(0, ge=0, le=50)
    context_s: float = Field(0.0, ge=0, le=3600)
    future_turns: int = Field(0, ge=0, le=50)


class Desk:
    """The templates there are: shipped ones, those of the runs, and the user's."""

    def __init__(self, folder: Path, runs: Mapping[str, Path]) -> None:
        """Take the user's folder, the only place written to, and run folders that read words."""
        shipped = assets.folder("prompts").resolve()
        if folder.resolve().is_relative_to(shipped):
            raise TextualizeError(
                f"{folder} is where the shipped templates are: give another with --templates"
            )
        self.folder, self._runs = folder, dict(runs)

    def names(self) -> dict[str, list[str]]:
        """Return the templates that can be opened, by where they are from."""
        own = sorted(p.stem for p in self.folder.glob("*.jinja") if _NAME.fullmatch(p.stem))
        return {
            "run": list(self._runs),
            "own": own,
            "shipped": list(assets.names("prompts", ".jinja")),
        }

    def opened(self, origin: str) -> Draft:
        """Return a template to be edited; raises TextualizeError where it is not there."""
        found = self._loaded(origin)
        return Draft(
            text=found.text,
            origin=origin,
            modalities=found.modalities,
            register=found.register,
            turns=found.turns,
            context_s=found.context_s,
            future_turns=found.future_turns,
        )

    def _loaded(self, origin: str) -> Template:
        kind, _, name = origin.partition(":")
        if name not in self.names().get(kind, ()):
            raise unknown(
                "template", origin, [f"{k}:{n}" for k, v in self.names().items() for n in v]
            )
        if kind == "run":
            return load_template_from(self._runs[name])
        return load_template(self._path(name) if kind == "own" else name)

    def template(self, draft: Draft) -> Template:
        """Return a draft as a template; raises TextualizeError, with its line, if it is none."""
        kind, _, name = draft.origin.partition(":")
        of_run = kind == "run" and name in self._runs
        beside = self._runs[name] / "prompt" if of_run else self.folder
        return template_of(
            draft.text,
            EDITED,
            draft.modalities,
            beside=beside,
            register=draft.register_,
            turns=draft.turns,
            context_s=draft.context_s,
            future_turns=draft.future_turns,
        )

    def save(self, name: str, draft: Draft, *, replace: bool) -> Path:
        """Write a draft's text into the user's folder and return where.

        Raises:
            TextualizeError: the name is none or a shipped template's, the draft does not parse, or
                what it includes would be another text there.
            TakenNameError: there is one of that name, and it shall not be replaced.
        """
        if not _NAME.fullmatch(name):
            raise TextualizeError(
                f"'{name[:64]}' cannot be a template's name: give up to 64 letters, digits, - and _"
            )
        if name in assets.names("prompts", ".jinja"):
            raise TextualizeError(f"'{name}' is a shipped template: give another name")
        path = self._path(name)
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise TextualizeError(f"{path} is not a plain file: give another name")
        if path.is_file() and not replace:
            raise TakenNameError(f"{path} is there already: replace it?")
        there = self.template(draft.model_copy(update={"origin": f"own:{name}"}))
        if there.digest != self.template(draft).digest:
            raise TextualizeError(
                f"what {draft.origin} includes is not what {self.folder} or the shipped parts "
                f"hold: copy the run's prompt/parts into {self.folder} first"
            )
        write_text_atomic(path, draft.text)
        return path

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.jinja"


def named(origin: str) -> str:
    """Return what a reader calls a template by where it is from.

    >>> named("run:enc"), named("own:mine"), named("shipped:compound"), named("edited")
    ('that of enc', 'your mine', 'compound', 'edited')
    """
    kind, _, name = origin.partition(":")
    return {"run": f"that of {name}", "own": f"your {name}", "shipped": name}.get(kind, kind)


def wanted_settings(draft: Draft) -> str:
    """Return what a recipe has to say besides the template, as --set takes it; "" for nothing."""
    usual = Draft(text="")
    values = {
        "modalities": (draft.modalities, usual.modalities),
        "wording": (draft.register_, usual.register_),
        "turns": (draft.turns, usual.turns),
        "context_s": (draft.context_s, usual.context_s),
        "future_turns": (draft.future_turns, usual.future_turns),
    }
    return " ".join(f"--set {key}={v}" for key, (v, default) in values.items() if v != default)


def line_of(message: str) -> int | None:
    """Return the line of the draft an error is at, None where it is elsewhere.

    >>> line_of("edited.jinja:3: 'fac' is undefined"), line_of("parts/face.jinja:1: no")
    (3, None)
    """
    found = _PLACE.match(message)
    return int(found["line"]) if found and found["file"] == f"{EDITED}.jinja" else None
