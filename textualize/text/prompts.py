"""Records into the very texts a text method was trained on.

The template travels with the run, so a changed `prompts/` folder never changes a trained method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textualize.finetune.recipe import Prompted
from textualize.prompt import (
    Template,
    load_template,
    load_template_from,
    render_with,
    save_template,
)
from textualize.types import Record


@dataclass(frozen=True, slots=True)
class PromptReader:
    """How records become texts: the template with its modalities and turns, the options.

    `options` are the answers named in the prompt; empty for methods that have a head.
    """

    template: Template
    options: tuple[str, ...] = ()

    @classmethod
    def of(cls, recipe: Prompted, options: tuple[str, ...] = ()) -> PromptReader:
        """Return the reader a recipe asks for, with the shipped or the user's own template."""
        loaded = load_template(
            recipe.template, recipe.modalities, turns=recipe.turns, register=recipe.wording
        )
        return cls(loaded, options)

    @classmethod
    def of_run(cls, run: Path, options: tuple[str, ...] = ()) -> PromptReader:
        """Return the reader of a run folder, with the template stored in it."""
        return cls(load_template_from(run), options)

    def save(self, run: Path) -> None:
        """Store the template in the run folder."""
        save_template(self.template, run)

    def texts(self, records: Sequence[Record]) -> list[str]:
        """Return one prompt a record, in the same order."""
        return [render_with(self.template, r, labels=self.options).text for r in records]
