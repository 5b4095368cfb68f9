"""Records into the very texts a text method was trained on.

The template travels with the run, so a changed `prompts/` folder never changes a trained method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    """How records become texts: the template with its modalities, the turns, the options.

    `options` are the answers named in the prompt; empty for methods that have a head.
    """

    template: Template
    turns: int
    options: tuple[str, ...] = ()

    @classmethod
    def of(cls, recipe: Prompted, options: tuple[str, ...] = ()) -> PromptReader:
        """Return the reader a recipe asks for, with the shipped or the user's own template."""
        return cls(load_template(recipe.template, recipe.modalities), recipe.turns, options)

    @classmethod
    def of_run(cls, run: Path, recipe: Prompted, options: tuple[str, ...] = ()) -> PromptReader:
        """Return the reader of a run folder, with the template stored in it."""
        return cls(load_template_from(run), recipe.turns, options)

    def save(self, run: Path) -> None:
        """Store the template in the run folder."""
        save_template(self.template, run)

    def texts(self, records: Sequence[Record]) -> list[str]:
        """Return one prompt a record, in the same order; at most `turns` turns of context."""
        return [self._text(record) for record in records]

    def _text(self, record: Record) -> str:
        context = record.clip.context[-self.turns :] if self.turns else ()
        seen = replace(record, clip=replace(record.clip, context=context))
        return render_with(self.template, seen, labels=self.options).text
