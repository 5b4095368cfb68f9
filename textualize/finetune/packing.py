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


def packed(items: Sequence[Item], width: int | None = None) -> dict[str, Tensor]:
    """Return training items in rows of `width` (the longest item's): ids and positions, (R, N).

    "tokens" (L,) are those of the answers, "reads" (L,) the places in the flattened rows that
    predict them, "clip" (L,) the item each belongs to; "class" is (B,). The rest of a row is
    token 0 as a prompt of its own, which nothing reads.
    """
    lengths = [len(item["input_ids"]) for item in items]
    width = width or max(lengths)
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
            first = row * width + at - answer - 1  # what stands before a token predicts it
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


def packed_losses(net: nn.Module, head: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Return -log P(answer | prompt) of every item of a packed batch, (B,), as TextLLM.losses.

    `head` is the module of `net` that gives logits; it computes only what is read.
    """

    def only_read(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return given[0].flatten(0, 1)[batch["reads"]][None], *given[1:]

    hook = head.register_forward_pre_hook(only_read)
    try:
        logits = net(
            input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False
        ).logits
    finally:
        hook.remove()
    each = nn.functional.cross_entropy(logits[0].float(), batch["tokens"], reduction="none")
    return each.new_zeros(len(batch["class"])).index_add(0, batch["clip"], each)


@torch.no_grad()
def check_packing(method: TextLLM, items: Sequence[Item], tolerance: float) -> float:
    """Return the largest difference in loss between four training items in one row and padded.

    Raises:
        TextualizeError: the model's attention lets packed prompts read each other.
    """
    training = method.net.training
    method.net.eval()
    chosen = items[:4]
    row = packed(chosen, sum(len(item["input_ids"]) for item in chosen))
    together = packed_losses(method.net, method.net.get_output_embeddings(), _moved(row, method))
    apart = method.losses(method.net, _moved(method.collate(chosen), method))
    method.net.train(training)
    error = float((together - apart).abs().max())
    if error > tolerance:
        raise TextualizeError(
            f"packed prompts read each other in model '{method.recipe.model}' (a loss differs by "
            f"{error:.2g}): set packing to false"
        )
    return error


def _moved(batch: dict[str, Any], method: TextLLM) -> dict[str, Tensor]:
    return {name: tensor.to(method.net.device) for name, tensor in batch.items()}
