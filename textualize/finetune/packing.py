"""A causal model's training batch without padding: several prompts stand in one row.

A prompt never sees its neighbours: each counts its positions from 0, no mask and no cache are
given, and from the positions alone transformers makes attention that stays inside each prompt.
With a mask, or with a cache, the prompts would silently read each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from textualize.errors import TextualizeError
from textualize.text.causal import TextLLM
from textualize.text.predict import Item

TOLERANCE = 1e-3  # of the loss of a clip, in float32


def rows_of(lengths: Sequence[int], width: int) -> list[list[int]]:
    """Return which items share a row of at most `width` tokens: best fit, the longest first.

    >>> rows_of([5, 2, 3, 4], 5)
    [[0], [3], [2, 1]]
    """
    rows: list[list[int]] = []
    room: list[int] = []
    for item in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        fits = [row for row, free in enumerate(room) if free >= lengths[item]]
        if fits:
            row = min(fits, key=lambda row: (room[row], row))
            rows[row].append(item)
            room[row] -= lengths[item]
        else:
            rows.append([item])
            room.append(width - lengths[item])
    return rows


def packed(items: Sequence[Item]) -> dict[str, Tensor]:
    """Return training items as rows as wide as the longest: ids, positions (R, N), classes (B,).

    "reads" (L,) are the places, in the flattened rows, whose output is scored against "tokens"
    (L,), and "clip" (L,) is the item each belongs to: the answers' tokens alone. The end of a row
    repeats token 0 as a prompt of its own, which nothing reads.
    """
    lengths = [len(item["input_ids"]) for item in items]
    width = max(lengths)
    rows = rows_of(lengths, width)
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    positions = torch.zeros_like(ids)
    reads: list[int] = []
    tokens: list[int] = []
    clips: list[int] = []
    for row, members in enumerate(rows):
        at = 0
        for member in members:
            n, answer = lengths[member], items[member]["answer"]
            ids[row, at : at + n] = torch.tensor(items[member]["input_ids"])
            positions[row, at : at + n] = torch.arange(n)
            at += n
            first = row * width + at - answer - 1  # what stands before the answer predicts it
            reads += range(first, first + answer)
            tokens += items[member]["input_ids"][-answer:]
            clips += [member] * answer
        positions[row, at:] = torch.arange(width - at)
    return {
        "input_ids": ids,
        "position_ids": positions,
        "reads": torch.tensor(reads),
        "tokens": torch.tensor(tokens),
        "clip": torch.tensor(clips),
        "class": torch.tensor([item["class"] for item in items]),
    }


def packed_losses(net: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Return -log P(answer | prompt) of every item of a packed batch, (B,), as TextLLM.losses."""
    width = batch["input_ids"].shape[1]
    columns, where = (batch["reads"] % width).unique(return_inverse=True)
    logits = net(
        input_ids=batch["input_ids"],
        position_ids=batch["position_ids"],
        use_cache=False,
        logits_to_keep=columns,  # the head runs on the columns where some row has an answer
    ).logits
    scores = logits[batch["reads"] // width, where].float()
    each = nn.functional.cross_entropy(scores, batch["tokens"], reduction="none")
    return each.new_zeros(len(batch["class"])).index_add(0, batch["clip"], each)


@torch.no_grad()
def check_packing(method: TextLLM, items: Sequence[Item], tolerance: float = TOLERANCE) -> float:
    """Return the largest difference in loss of training items between packed rows and padded ones.

    Raises:
        TextualizeError: the model's attention lets packed prompts read each other.
    """
    device, training = method.net.device, method.net.training
    method.net.eval()
    chosen = sorted(items, key=lambda item: len(item["input_ids"]))[:: max(1, len(items) // 4)]

    def on_device(batch: dict[str, Any]) -> dict[str, Tensor]:
        return {name: t.to(device) for name, t in batch.items()}

    # one long row, so that they do share one
    row = packed([*chosen, {**chosen[-1], "input_ids": _joined(chosen), "answer": 1}])
    together = packed_losses(method.net, on_device(row))[: len(chosen)]
    apart = method.losses(method.net, on_device(method.collate(chosen)))
    method.net.train(training)
    error = float((together - apart).abs().max())
    if error > tolerance:
        raise TextualizeError(
            f"packed prompts read each other in model '{method.recipe.model}' (losses differ by "
            f"{error:.2g}): set packing to false"
        )
    return error


def _joined(items: Sequence[Item]) -> list[int]:
    return [token for item in items for token in item["input_ids"]]
