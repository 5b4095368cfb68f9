"""From prompts to predictions: what both text methods share once they are trained."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from textualize.errors import TextualizeError
from textualize.text import budget
from textualize.text.answers import Shot
from textualize.text.decision import Decision
from textualize.text.demonstrations import Demonstrations
from textualize.text.prompts import PromptReader
from textualize.types import PROMPT_CUT, Prediction, Record

logger = logging.getLogger(__name__)

Item = dict[str, Any]


class TextMethod(Protocol):
    """What training and prediction ask of TextEncoder and TextLLM."""

    method: str
    batch_size: int  # prompts that `predict` scores at once unless told otherwise
    net: Any
    tokenizer: Any
    reader: PromptReader
    limit: int
    truncated: int
    notes: list[str]
    decision: Decision
    demonstrations: Demonstrations | None

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of every score vector."""

    def length(self, text: str, shots: Sequence[Shot]) -> int:
        """Return how many tokens a prompt with its demonstrations takes."""

    def items(self, texts: Sequence[str], shots: Sequence[Sequence[Shot]] = ()) -> list[Item]:
        """Return one item of token ids a text, cut to `limit`; the cut ones are counted."""

    def answered(self, items: Sequence[Item], classes: Sequence[int]) -> list[Item]:
        """Return training items: each with its class."""

    def collate(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """Return training items as one batch."""

    def losses(self, net: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Return the loss of every item of a training batch, (B,)."""

    def log_scores(self, items: Sequence[Item]) -> Tensor:
        """Return class log-probabilities of one batch, (B, C) float64 on the CPU."""


def read(method: TextMethod, records: Sequence[Record]) -> tuple[list[Item], list[budget.Lost]]:
    """Return one item a record and what its prompt lost, nothing where it was short enough.

    Prompts longer than the method's `limit` are cut by the rule of `budget.py`; `truncated`
    counts them.
    """
    texts, shots, losses = fitted_texts(method, records)
    before = method.truncated
    items = method.items(texts, shots)
    method.truncated = before + sum(bool(lost) for lost in losses)
    return items, losses


def fitted_texts(
    method: TextMethod, records: Sequence[Record]
) -> tuple[list[str], list[tuple[Shot, ...]], list[budget.Lost]]:
    """Return each record's prompt within the method's `limit`, its demonstrations, what it lost."""
    texts = method.reader.texts(records)
    shots: list[tuple[Shot, ...]] = [()] * len(records)
    if method.demonstrations is not None:
        shots = method.demonstrations.of(records, texts)
    losses: list[budget.Lost] = []
    for i, record in enumerate(records):
        over = method.length(texts[i], shots[i]) - method.limit
        if over <= 0:
            losses.append({})
            continue
        short = budget.fitted(method.reader, record, shots[i], method.limit, method.length)
        texts[i], shots[i] = short.text, short.shots
        over = method.length(texts[i], shots[i]) - method.limit
        losses.append({**short.lost, **({"tokens": over} if over > 0 else {})})
    return texts, shots, losses


def by_length(items: Sequence[Item], batch_size: int) -> list[list[int]]:
    """Return which items are scored together: those of like length, so little is padding.

    >>> by_length([{"input_ids": [1, 2]}, {"input_ids": [1]}, {"input_ids": [1, 2, 3]}], 2)
    [[1, 0], [2]]
    """
    order = sorted(range(len(items)), key=lambda i: (len(items[i]["input_ids"]), i))
    return [order[at : at + batch_size] for at in range(0, len(order), batch_size)]


def probabilities(
    method: TextMethod, items: Sequence[Item], batch_size: int
) -> NDArray[np.float64]:
    """Return class probabilities (N, C) in the items' order; dropout is off meanwhile.

    They are the method's decision on its log scores, see `decision.py`.
    """
    scores = np.zeros((len(items), len(method.labels)))
    training = method.net.training
    method.net.eval()
    try:
        for rows in by_length(items, batch_size):
            scores[rows] = method.log_scores([items[i] for i in rows]).numpy()
            _refuse_unfinite(method, scores[rows])
    finally:
        method.net.train(training)
    return decided(method, scores)


def decided(method: TextMethod, log_scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return class probabilities (N, C) of log scores (N, C), as the method decides.

    Raises:
        TextualizeError: a score is not finite.
    """
    _refuse_unfinite(method, log_scores)
    return method.decision.probabilities(log_scores)


def _refuse_unfinite(method: TextMethod, log_scores: NDArray[np.float64]) -> None:
    if not np.isfinite(log_scores).all():
        raise TextualizeError(
            f"{method.method} gives scores that are not finite: lower lr, or use float32"
        )


def prepared(method: TextMethod, records: Sequence[Record]) -> tuple[list[Item], list[budget.Lost]]:
    """Return what `read` returns; what the records lack and the prompts lost is logged."""
    for key, none in method.reader.lacking(records).items():
        if none:
            logger.warning("%d of %d clips have nothing for %s", none, len(records), key)
    items, losses = read(method, records)
    cut = sum(bool(lost) for lost in losses)
    if cut:
        logger.warning(
            "%d of %d prompts were cut to %d tokens: %s lost",
            cut, len(records), method.limit, budget.told(budget.total(losses)),
        )  # fmt: skip
    return items, losses


def prediction(
    method: TextMethod, record: Record, row: NDArray[np.float64], lost: budget.Lost
) -> Prediction:
    """Return the answer of a record's probabilities (C,); `text` says what its prompt lost."""
    return Prediction(
        record.clip.id,
        method.method,
        method.labels[int(row.argmax())],
        dict(zip(method.labels, row.tolist(), strict=True)),
        f"{PROMPT_CUT}{budget.told(lost)}" if lost else "",
    )


def predictions(method: TextMethod, records: Sequence[Record], batch_size: int) -> list[Prediction]:
    """Return one prediction a record, in the same order; `text` says what a prompt lost."""
    if not records:
        return []
    items, losses = prepared(method, records)
    scores = probabilities(method, items, batch_size)
    return [
        prediction(method, record, row, lost)
        for record, row, lost in zip(records, scores, losses, strict=True)
    ]
