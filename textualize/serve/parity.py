"""Whether a server reads and answers as the run does here: prompts token by token, labels, scores.

A clip goes three ways. In training its prompt stands in a padded batch, the answer behind it; local
prediction scores the prompt alone; the server is told the clip in words and makes the prompt
itself. All three should read the same tokens, and then answer alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from textualize.errors import TextualizeError
from textualize.serve.client import Client, Told
from textualize.serve.runs import open_runs
from textualize.text.causal import IGNORED, TextLLM
from textualize.text.predict import Item, TextMethod, prediction, prepared, probabilities
from textualize.types import Prediction, Record

TOLERATED = 0.01  # share of clips whose labels may differ: sums in another order end otherwise


@dataclass(frozen=True, slots=True)
class Count:
    """How many of the clips that could be compared were alike."""

    alike: int
    of: int


@dataclass(frozen=True, slots=True)
class Differing:
    """A clip whose label differs; `server` None where it did not answer, and `why`."""

    clip: str
    local: str
    server: str | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Parity:
    """What was compared over some clips; None for what the server does not tell."""

    url: str
    run: str
    clips: int
    labels: Count
    trainer_ids: Count
    """clips whose token ids in a training batch are those of local prediction"""
    server_ids: Count | None
    """clips whose token ids on the server are those of local prediction"""
    prompt_tokens: Count | None
    """clips with as many prompt tokens on the server, which is told more often than ids"""
    largest_difference: float | None
    """the largest difference of any label's probability"""
    template: str
    server_templates: tuple[str, ...]
    """the templates' digests that the server tells, each once"""
    differing: tuple[Differing, ...]

    @property
    def agrees(self) -> bool:
        """Whether labels differ, or are missing, on no more than TOLERATED of the clips."""
        return self.labels.of - self.labels.alike <= TOLERATED * self.labels.of

    @property
    def not_compared(self) -> tuple[str, ...]:
        """What the server did not tell."""
        told = {
            "token ids": self.server_ids,
            "number of prompt tokens": self.prompt_tokens,
            "probabilities": self.largest_difference,
            "template digest": self.server_templates or None,
        }
        return tuple(what for what, found in told.items() if found is None)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        found = {"not_compared": list(self.not_compared), "agrees": self.agrees}
        return asdict(self) | found


def server_parity(
    client: Client,
    run: Path,
    records: Sequence[Record],
    progress: Callable[[int, int, str], None] | None = None,
) -> Parity:
    """Return how a server's answers compare with those of the run folder it serves.

    `progress` is called with (answered by the server, total, clip id).

    Raises:
        TextualizeError: no clips, a run that cannot be served, or a server that cannot be asked.
    """
    if not records:
        raise TextualizeError("no clips to compare")
    (served,) = open_runs([run], weights=True).values()
    method = served.method
    told = client.told(records, progress)
    items, losses = prepared(method, records)
    local = [
        prediction(method, record, row, lost)
        for record, row, lost in zip(
            records, probabilities(method, items, method.batch_size), losses, strict=True
        )
    ]
    ids = [list(item["input_ids"]) for item in items]
    differing = [_differing(a, b.answer) for a, b in zip(local, told, strict=True)]
    return Parity(
        url=client.url,
        run=served.name,
        clips=len(records),
        labels=Count(sum(d is None for d in differing), len(records)),
        trainer_ids=_alike(trained_ids(method, items), ids),
        server_ids=_told_alike([t.token_ids and list(t.token_ids) for t in told], ids),
        prompt_tokens=_told_alike([t.prompt_tokens for t in told], [len(i) for i in ids]),
        largest_difference=_largest(local, told),
        template=served.digest,
        server_templates=tuple(sorted({t.template_digest for t in told if t.template_digest})),
        differing=tuple(d for d in differing if d is not None),
    )


def trained_ids(method: TextMethod, items: Sequence[Item]) -> list[list[int]]:
    """Return the prompts' token ids as they stand in training batches: unpadded, unanswered."""
    found: list[list[int]] = []
    for at in range(0, len(items), method.batch_size):
        some = items[at : at + method.batch_size]
        classes = [(at + i) % len(method.labels) for i in range(len(some))]
        batch = method.collate(method.answered(some, classes))
        read = batch["attention_mask"].bool()
        if isinstance(method, TextLLM):  # answers follow the prompts, and are what is learned
            read &= batch["labels"] == IGNORED
        found += [row[own].tolist() for row, own in zip(batch["input_ids"], read, strict=True)]
    return found


def _differing(local: Prediction, told: Prediction) -> Differing | None:
    if told.label == local.label:
        return None
    server = None if told.label is None else str(told.label)
    return Differing(local.clip_id, str(local.label), server, "" if server else told.text)


def _alike(some: Sequence[object], others: Sequence[object]) -> Count:
    same = sum(a == b for a, b in zip(some, others, strict=True))
    return Count(same, len(some))


def _told_alike(told: Sequence[object], own: Sequence[object]) -> Count | None:
    """Return the count over the clips for which the server told something; None without any."""
    pairs = [(a, b) for a, b in zip(told, own, strict=True) if a is not None]
    return _alike(*zip(*pairs, strict=True)) if pairs else None


def _largest(local: Sequence[Prediction], told: Sequence[Told]) -> float | None:
    """Return the largest difference of a probability; None where only the label was told."""
    gaps = [
        abs(a.scores[label] - b.answer.scores[label])
        for a, b in zip(local, told, strict=True)
        if set(b.answer.scores) == set(a.scores)
        for label in a.scores
    ]
    return max(gaps, default=None)
