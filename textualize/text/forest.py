"""Many prompts as a forest: whatever several of them begin with is computed once.

Prompts of one clip that differ in what is left out, or in how the question is put, share most of
their tokens; prompts of one template share its instruction and its demonstrations. Sorted, they
are packed into rows in which every token stands once, sees those before it in its own prompt, and
carries the answers' tree behind each prompt's end. What a whole pack begins with is kept from one
pack to the next. The numbers are those of `scoring.label_log_probs`, to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from textualize.text.scoring import WORTHWHILE, LabelTree, ancestors, summed

ROOM = 512  # tokens a pack: every token is compared with every other, seen or not

Tokens = tuple[int, ...]


@dataclass(slots=True)
class _Row:
    """A pack's tokens with their parents (-1: the cached beginning) and places, (K,) each.

    `ends` are the tokens whose outputs are read: a prompt's last, then its answers' nodes.
    """

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def add(self, token: int, parent: int, place: int) -> int:
        """Append a token and return where it stands."""
        self.tokens.append(token)
        self.parents.append(parent)
        self.places.append(place)
        return len(self.tokens) - 1


@torch.inference_mode()
def forest_log_probs(
    model: Any,
    prompts: Sequence[Sequence[int]],
    tree: LabelTree,
    *,
    room: int = ROOM,
    seen: Callable[[int, int], None] = lambda done, total: None,
) -> Tensor:
    """Return log P(label | prompt), summed over the label's tokens, (N, C) float64 on the CPU.

    Args:
        model: a causal network of transformers with eager or sdpa attention.
        prompts: N sequences of token ids, none empty, without an end token; repeated ones are
            computed once.
        tree: the C labels' tokens.
        room: tokens a pack may hold beside its common beginning; more where one prompt does.
        seen: called with how many of the different prompts are done, and how many there are.
    """
    distinct = sorted({tuple(p) for p in prompts})
    stem = _Stem(model)
    found: dict[Tokens, Tensor] = {}
    for pack in packs(distinct, len(tree.tokens), room):
        shared = stem.read(pack[0][: _alike(pack[0][:-1], pack[-1][:-1])])
        row = _row(pack, tree, shared)
        logits = stem.behind(row).reshape(len(pack), 1 + len(tree.tokens), -1)
        found.update(zip(pack, summed(logits, tree), strict=True))
        seen(len(found), len(distinct))
    return torch.stack([found[tuple(p)] for p in prompts])


def packs(distinct: Sequence[Tokens], answers: int, room: int) -> Iterator[list[Tokens]]:
    """Yield sorted prompts in packs of at most `room` tokens, a common beginning not counted.

    `answers` is how many tokens stand behind each prompt.

    >>> [len(p) for p in packs([(1, 2), (1, 3), (2, 2)], 1, 5)]
    [2, 1]
    """
    pack: list[Tokens] = []
    size = common = 0
    for prompt in distinct:
        shared = _alike(pack[-1], prompt) if pack else 0
        new = len(prompt) - shared + answers
        begun = min(common, shared) if pack else len(prompt) - 1
        if pack and size + new - (begun if begun >= WORTHWHILE else 0) > room:
            yield pack
            pack, size, new, begun = [], 0, len(prompt) + answers, len(prompt) - 1
        pack.append(prompt)
        size, common = size + new, begun
    if pack:
        yield pack


def _row(pack: Sequence[Tokens], tree: LabelTree, shared: int) -> _Row:
    """Return sorted prompts as one row, without the first `shared` tokens that all begin with."""
    row = _Row()
    path: list[int] = []
    last: Tokens = ()
    for prompt in pack:
        path = path[: max(0, _alike(last, prompt) - shared)]
        for place in range(shared + len(path), len(prompt)):
            path.append(row.add(prompt[place], path[-1] if path else -1, place))
        first = len(row.tokens)
        for token, parent, depth in zip(tree.tokens, tree.parents, tree.depths, strict=True):
            above = first + parent if parent >= 0 else path[-1]
            row.add(token, above, len(prompt) + depth)
        row.ends += [path[-1], *range(first, len(row.tokens))]
        last = prompt
    return row


def _alike(one: Tokens, other: Tokens) -> int:
    """Return how many tokens two prompts begin with alike."""
    least = min(len(one), len(other))
    return next((i for i in range(least) if one[i] != other[i]), least)


class _Stem:
    """The beginning that packs share, read once and kept as the network's cache."""

    def __init__(self, model: Any):
        self._model = model
        self._tokens: Tokens = ()
        self._cache: Any = None
        # a sliding window drops what it has slid past, so nothing could be taken back
        self._kept = getattr(model.config, "sliding_window", None) is None

    def read(self, beginning: Tokens) -> int:
        """Return how many tokens of a pack's beginning are in the cache, reading worthwhile ones.

        At most all of `beginning`; what was kept of another beginning is taken back.
        """
        if not self._kept:
            return 0
        same = _alike(self._tokens, beginning)
        self._take_back(len(self._tokens) - same)
        if len(beginning) - same >= WORTHWHILE:
            self._forward(beginning[same:], range(same, len(beginning)))
            same = len(beginning)
        self._tokens = beginning[:same]
        return same

    def behind(self, row: _Row) -> Tensor:
        """Return the logits at a row's ends, (E, V), the row read behind the stem."""
        before = len(self._tokens)
        k = len(row.tokens)
        allowed = torch.cat([torch.ones((k, before), dtype=torch.bool), ancestors(row.parents)], 1)
        kind = self._model.dtype
        bias = torch.zeros(allowed.shape, dtype=kind).masked_fill(~allowed, torch.finfo(kind).min)
        logits = self._forward(row.tokens, row.places, bias[None, None], row.ends)
        self._take_back(k)
        return logits

    def _forward(
        self,
        tokens: Sequence[int],
        places: Sequence[int],
        bias: Tensor | None = None,
        ends: Sequence[int] = (-1,),
    ) -> Tensor:
        device = self._model.device
        out = self._model(
            input_ids=torch.tensor([list(tokens)], device=device),
            position_ids=torch.tensor([list(places)], device=device),
            attention_mask=None if bias is None else bias.to(device),
            past_key_values=self._cache,
            use_cache=bias is None or self._cache is not None,
            logits_to_keep=torch.tensor(list(ends), device=device),
        )
        self._cache = out.past_key_values if bias is None else self._cache
        logits: Tensor = out.logits[0]
        return logits

    def _take_back(self, tokens: int) -> None:
        if self._cache is None or not tokens:
            return
        if tokens >= self._cache.get_seq_length():
            self._cache = None
        else:
            self._cache.crop(-tokens)
