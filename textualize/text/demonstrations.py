"""Solved examples for a prompt: from training clips only, never of the clip itself or its group.

The run keeps all training prompts with their labels, since each clip to be answered asks for its
own nearest ones; whoever shares a run of this kind shares its training transcripts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from textualize.errors import TextualizeError
from textualize.files import read_jsonl, write_jsonl_atomic
from textualize.finetune.recipe import Shots
from textualize.labels import LabelSet
from textualize.text.answers import Shot
from textualize.types import Record
from textualize.windows import clip_of

FILE = "prompt/demonstrations.jsonl"
_BLOCK = 256  # prompts compared with all training prompts at a time


@dataclass(frozen=True, slots=True)
class Solved:
    """A training clip's prompt with its label, and the group no answer may borrow from."""

    clip: str
    group: str
    text: str
    label: str


class Demonstrations:
    """Training prompts, and the choice among them for each clip."""

    def __init__(
        self, solved: Sequence[Solved], chosen: Shots, answers: Mapping[str, str], seed: int
    ):
        """Prepare the choice; `answers` maps a label to what the model writes for it.

        Raises:
            TextualizeError: too few training clips outside the largest group, or no words to
                compare prompts by.
        """
        largest = max(Counter(s.group for s in solved).values(), default=0)
        if len(solved) - largest < chosen.count:
            raise TextualizeError(
                f"shots.count {chosen.count} needs as many training clips outside the clip's own "
                f"group; there are {len(solved) - largest}"
            )
        self.solved = tuple(solved)
        self.chosen = chosen
        self.answers = dict(answers)
        if chosen.by == "similar":
            self._compare()
        else:
            self._fixed = _round_robin([s.label for s in solved], seed)

    def _compare(self) -> None:
        self._words = TfidfVectorizer(token_pattern=r"\w+", sublinear_tf=True)
        try:
            self._matrix = self._words.fit_transform([s.text for s in self.solved])
        except ValueError:
            raise TextualizeError(
                "no training prompt holds a word to compare by: set shots.by to balanced"
            ) from None

    def of(self, records: Sequence[Record], texts: Sequence[str]) -> list[tuple[Shot, ...]]:
        """Return each record's demonstrations, the most alike last; `texts` are its prompts."""
        found = []
        for at in range(0, len(records), _BLOCK):
            some = records[at : at + _BLOCK]
            orders = self._orders(texts[at : at + _BLOCK])
            found += [
                self._first(record, order) for record, order in zip(some, orders, strict=True)
            ]
        return found

    def _orders(self, texts: Sequence[str]) -> list[list[int]]:
        if self.chosen.by == "balanced":
            return [self._fixed] * len(texts)
        alike = (self._words.transform(texts) @ self._matrix.T).toarray()  # rows have length 1
        return [np.argsort(-row.round(9), kind="stable").tolist() for row in alike]

    def _first(self, record: Record, order: Sequence[int]) -> tuple[Shot, ...]:
        clip, group = clip_of(record.clip.id), record.clip.fold_group
        picked: list[Shot] = []
        for i in order:
            one = self.solved[i]
            if clip_of(one.clip) != clip and one.group != group:
                picked.append(Shot(one.text, self.answers[one.label]))
            if len(picked) == self.chosen.count:
                break
        return tuple(reversed(picked))

    def save(self, run: Path) -> None:
        """Write the training prompts into the run folder."""
        write_jsonl_atomic(run / FILE, map(asdict, self.solved))


def solved_of(records: Sequence[Record], texts: Sequence[str], labels: LabelSet) -> list[Solved]:
    """Return training records with their prompts as examples to choose from."""
    return [
        Solved(r.clip.id, r.clip.fold_group, text, labels.labels[labels.index(r.clip.label)])
        for r, text in zip(records, texts, strict=True)
    ]


def load_solved(run: Path) -> list[Solved]:
    """Return the training prompts of a run folder.

    Raises:
        TextualizeError: the file is missing or a line is damaged.
    """
    path = run / FILE
    if not path.is_file():
        raise TextualizeError(f"{run} was trained with demonstrations, but {FILE} is missing")
    return read_jsonl(path, "demonstrations", lambda line: Solved(**line))


def _round_robin(labels: Sequence[str], seed: int) -> list[int]:
    """Return all places, one of each class after the other, classes and members shuffled."""
    order = np.random.default_rng(seed).permutation(len(labels)).tolist()
    turn: Counter[str] = Counter()
    rounds: list[tuple[int, int, int]] = []
    for i in order:
        rounds.append((turn[labels[i]], len(rounds), i))
        turn[labels[i]] += 1
    return [i for _, _, i in sorted(rounds)]
