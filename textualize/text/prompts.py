"""Records into the very texts a text method was trained on.

The template travels with the run, so a changed `prompts/` folder never changes a trained method;
so do the tokenizer and its chat template, whose reading is checked against a digest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textualize.errors import TextualizeError
from textualize.files import digest_of, read_json, write_json_atomic
from textualize.finetune.recipe import Prompted
from textualize.prompt import (
    Template,
    load_template,
    load_template_from,
    render_with,
    said_around,
    save_template,
)
from textualize.types import Record

READING = "prompt/reading.json"
_PROBE = "Ana: “I can't believe it!” Face: brow lowerer (AU4) strong, 12 %\nEmotion: é 愛"
_NEEDS = {
    "context_s": "it takes a corpus that has several spans, or windows, of each video file",
    "future_turns": "it takes a corpus of dialogues, whose clips bring the turns before them",
}


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
            recipe.template,
            recipe.modalities,
            turns=recipe.turns,
            register=recipe.wording,
            context_s=recipe.context_s,
            future_turns=recipe.future_turns,
        )
        return cls(loaded, options)

    @classmethod
    def of_run(cls, run: Path, options: tuple[str, ...] = ()) -> PromptReader:
        """Return the reader of a run folder, with the template stored in it.

        Raises:
            TextualizeError: the stored template is not the one the run was trained with.
        """
        template = load_template_from(run)
        path = run / "environment.json"
        trained = None
        if path.is_file():  # written last, so not yet there while training saves its weights
            trained = read_json(path, "run environment")["summary"].get("prompt digest")
        if trained and not template.digest.startswith(str(trained)):
            raise TextualizeError(
                f"the prompt in {run / 'prompt'} has digest {template.digest[:12]}, the run was "
                f"trained with {str(trained)[:12]}; restore the files the model was trained with"
            )
        return cls(template, options)

    @property
    def lists_options(self) -> bool:
        """Whether the template, or a part of it, names the labels at all."""
        return self.template.mentions("labels")

    def lacking(self, records: Sequence[Record]) -> dict[str, int]:
        """Return how many records have none of the context asked for, by the recipe's key.

        Previous turns are not counted: a dialogue's first clip has none.
        """
        said = [said_around(self.template, record) for record in records]
        asked = {"context_s": self.template.context_s, "future_turns": self.template.future_turns}
        return {
            key: sum(not turns[i] for turns in said)
            for i, (key, given) in enumerate(asked.items())
            if given
        }

    def around(self, records: Sequence[Record], part: str) -> list[str]:
        """Return notes on the context read beyond the clips; `part` is what the records are called.

        Raises:
            TextualizeError: context was asked for and no record has any.
        """
        template, notes = self.template, []
        told = {
            "context_s": f"words of their video file in the {template.context_s:g} s before them",
            "future_turns": f"turns after them (reads the future, up to {template.future_turns})",
        }
        for key, none in self.lacking(records).items():
            if none == len(records):
                raise TextualizeError(
                    f"{key}: none of the {none} {part} clips has {told[key]}; {_NEEDS[key]}"
                )
            notes.append(f"{part}: {len(records) - none} of {len(records)} clips with {told[key]}")
        return notes

    def save(self, run: Path) -> None:
        """Store the template in the run folder."""
        save_template(self.template, run)

    def texts(self, records: Sequence[Record]) -> list[str]:
        """Return one prompt a record, in the same order."""
        return [render_with(self.template, r, labels=self.options).text for r in records]


# --- the tokenizer's part -----------------------------------------------------------------------


def save_reading(run: Path, tokenizer: Any, answers: Sequence[Sequence[int]] = ()) -> None:
    """Write the chat template and the digest of how prompts and answers become tokens."""
    about = {"chat_template": tokenizer.chat_template, "digest": _reading(tokenizer, answers)}
    write_json_atomic(run / READING, about)


def check_reading(run: Path, tokenizer: Any, answers: Sequence[Sequence[int]] = ()) -> None:
    """Raise TextualizeError where a run's tokenizer reads otherwise than it did in training."""
    path = run / READING
    if not path.is_file():  # runs from before readings were kept
        return
    if read_json(path, "reading of the run").get("digest") != _reading(tokenizer, answers):
        raise TextualizeError(
            f"the tokenizer or chat template of {run} is not the one it was trained with; restore "
            "its files, or train again with this version of transformers"
        )


def _reading(tokenizer: Any, answers: Sequence[Sequence[int]]) -> str:
    return digest_of(
        {
            "chat_template": tokenizer.chat_template,
            "answers": [list(answer) for answer in answers],
            "probe": list(tokenizer(_PROBE)["input_ids"]),
        }
    )
