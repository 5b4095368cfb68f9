"""The cells of a matrix that were asked, kept by what was asked: none is asked again.

Cells of one template are asked together, so that what their prompts share is computed once.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from textualize.evaluate.prompted import Asked, Seen
from textualize.evaluate.settings import CellAnswers, PromptSuite, Setting
from textualize.files import read_json, write_json_atomic
from textualize.finetune.recipe import Shots
from textualize.predictions import prediction_json
from textualize.types import Prediction, Record

Say = Callable[[str], None]
TELL_EVERY_S = 20.0


class Model(Protocol):
    """What a matrix asks of a model, here or behind a server."""

    name: str
    notes: list[str]

    def ask(self, setting: Setting, records: Sequence[Record], shots: Shots | None) -> Asked:
        """Return the prompts of a cell."""

    def answer(self, asked: Sequence[Asked], seen: Seen) -> list[CellAnswers]:
        """Return the answers of cells that are asked together."""


@dataclass(slots=True)
class Desk:
    """Where cells are kept, and how many were asked since."""

    suite: PromptSuite
    model: Model
    where: Path
    say: Say
    asked: int = 0
    kept: int = 0

    def answers(
        self, settings: Iterable[Setting], records: Sequence[Record]
    ) -> dict[Setting, CellAnswers]:
        """Return every cell's answers about these records, a template's cells asked together."""
        found: dict[Setting, CellAnswers] = {}
        for template, own in itertools.groupby(settings, key=lambda s: s.template):
            cells = [self.model.ask(s, records, self._shots(s)) for s in own]
            stored = {cell.digest: _stored(self._file(cell)) for cell in cells}
            new = [cell for cell in cells if stored[cell.digest] is None]
            begun = time.monotonic()
            if new:
                made = self.model.answer(new, self._seen(template))
                for cell, answers in zip(new, made, strict=True):
                    _store(self._file(cell), cell, answers)
                    stored[cell.digest] = answers
            self.asked, self.kept = self.asked + len(new), self.kept + len(cells) - len(new)
            self.say(
                f"{template}: {len(new)} cells asked about {len(records)} clips in "
                f"{time.monotonic() - begun:.1f} s, {len(cells) - len(new)} kept"
            )
            for cell in cells:
                known = stored[cell.digest]
                if known is not None:
                    found[cell.setting] = known
        return found

    def _shots(self, setting: Setting) -> Shots | None:
        return Shots(count=setting.shots, by=self.suite.shots_by) if setting.shots else None

    def _file(self, cell: Asked) -> Path:
        return self.where / "cells" / f"{cell.digest[:32]}.json"

    def _seen(self, template: str) -> Seen:
        last = time.monotonic()

        def seen(done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last > TELL_EVERY_S:
                last = time.monotonic()
                self.say(f"{template}: {done} of {total}")

        return seen


def _stored(path: Path) -> CellAnswers | None:
    if not path.is_file():
        return None
    value = read_json(path, "answers of a cell")
    made = tuple(Prediction(**p) for p in value["predictions"])
    return CellAnswers(made, tuple(value["tokens"]))


def _store(path: Path, cell: Asked, answers: CellAnswers) -> None:
    told = {
        "digest": cell.digest,
        "setting": asdict(cell.setting),
        "template": cell.template_digest,
        "tokens": answers.tokens,
        "predictions": [prediction_json(p) for p in answers.predictions],
    }
    write_json_atomic(path, told)
