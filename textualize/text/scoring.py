"""Exact class probabilities of a causal model: every label's log-probability, in one forward.

The prompt is read once. Behind it stands the tree of all labels' tokens, shared beginnings
merged; a 4-D mask lets each node see the prompt, its ancestors and itself, and positions count
depth. So one forward of N + K tokens gives what C forwards of whole sequences give. Prompts of a
batch that begin alike are read together as far as they do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from textualize.errors import TextualizeError

WORTHWHILE = 32  # tokens; a shorter common beginning does not pay for a forward of its own


@dataclass(frozen=True, slots=True)
class LabelTree:
    """All answers as one tree of tokens.

    Node k has token `tokens[k]`, parent `parents[k]` (-1: the prompt's end) and depth
    `depths[k]` from 0. `steps[c]` lists answer c as (node whose output is read, next token);
    node -1 is the prompt's last token. The last token of an answer is never a node.
    """

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    depths: tuple[int, ...]
    steps: tuple[tuple[tuple[int, int], ...], ...]

    def visible(self) -> Tensor:
        """Return which nodes each node sees, see `ancestors`."""
        return ancestors(self.parents)


def ancestors(parents: Sequence[int]) -> Tensor:
    """Return the (K, K) boolean matrix of a tree: row k sees column j, an ancestor or itself.

    >>> ancestors([-1, 0]).tolist()
    [[True, False], [True, True]]
    """
    seen = torch.eye(len(parents), dtype=torch.bool)
    for k, parent in enumerate(parents):
        if parent >= 0:
            seen[k] |= seen[parent]
    return seen


def label_tree(answers: Sequence[Sequence[int]]) -> LabelTree:
    """Return the tree of answers, each a sequence of token ids: a label and the end token.

    Raises:
        TextualizeError: two answers have the same tokens.

    >>> tree = label_tree([[5, 6, 2], [5, 7, 2]])
    >>> tree.tokens, tree.parents, tree.depths
    ((5, 6, 7), (-1, 0, 0), (0, 1, 1))
    >>> tree.steps[1]
    ((-1, 5), (0, 7), (2, 2))
    """
    if len({tuple(a) for a in answers}) < len(answers):
        raise TextualizeError("two labels have the same tokens under this tokenizer: rename one")
    node_of: dict[tuple[int, ...], int] = {(): -1}
    tokens: list[int] = []
    parents: list[int] = []
    depths: list[int] = []
    steps = []
    for answer in answers:
        walk = []
        for depth, token in enumerate(answer):
            parent = node_of[tuple(answer[:depth])]
            walk.append((parent, int(token)))
            path = tuple(answer[: depth + 1])
            if depth + 1 < len(answer) and path not in node_of:
                node_of[path] = len(tokens)
                tokens.append(int(token))
                parents.append(parent)
                depths.append(depth)
        steps.append(tuple(walk))
    return LabelTree(tuple(tokens), tuple(parents), tuple(depths), tuple(steps))


def left_pad(prompts: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Return ids and mask, both (B, N) integers, every prompt ending in the last column."""
    width = max(len(p) for p in prompts)
    ids = torch.full((len(prompts), width), pad, dtype=torch.long)
    mask = torch.zeros((len(prompts), width), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        if len(prompt):
            ids[row, width - len(prompt) :] = torch.tensor(list(prompt))
            mask[row, width - len(prompt) :] = 1
    return ids, mask


def positions(mask: Tensor) -> Tensor:
    """Return the position of every token, counted over the unmasked ones, (B, N)."""
    return (mask.cumsum(1) - 1).clamp(min=0)


def shared_tokens(prompts: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all prompts begin with, never the whole of one.

    >>> shared_tokens([[1, 2, 3], [1, 2, 4, 5]]), shared_tokens([[1, 2], [1, 2]])
    (2, 1)
    """
    least = min(len(p) for p in prompts) - 1
    one, other = (choose(list(p) for p in prompts) for choose in (min, max))  # the least alike
    return next((i for i in range(least) if one[i] != other[i]), least)


@torch.inference_mode()
def label_log_probs(
    model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], tree: LabelTree
) -> Tensor:
    """Return log P(label | prompt), summed over the label's tokens, (B, C) float64.

    What all prompts begin with, demonstrations above all, is read once for the whole batch.

    Args:
        model: a causal network of transformers with eager or sdpa attention.
        tokenizer: its tokenizer; only the padding id is read, and padding is masked.
        prompts: B sequences of token ids, none empty, without an end token.
        tree: the C labels' tokens.
    """
    shared, begun = _begun(model, prompts)
    ids, mask = left_pad([p[shared:] for p in prompts], int(tokenizer.pad_token_id))
    k = len(tree.tokens)
    nodes = torch.tensor(tree.tokens, dtype=torch.long).expand(len(prompts), k)
    depths = torch.tensor(tree.depths, dtype=torch.long)
    place = torch.cat([positions(mask), mask.sum(1, keepdim=True) + depths], 1) + shared
    read = torch.cat([mask.new_ones(len(prompts), shared), mask], 1)
    # answers of one token each, as letters are: no tree, and the plain mask is the faster one
    seen = _tree_mask(read, shared, tree, model.dtype) if k else read
    logits = model(
        input_ids=torch.cat([ids, nodes], 1).to(model.device),
        attention_mask=seen.to(model.device),
        position_ids=place.to(model.device),
        past_key_values=begun,
        use_cache=begun is not None,
        logits_to_keep=k + 1,
    ).logits
    return summed(logits[:, -(k + 1) :], tree)


def _begun(model: Any, prompts: Sequence[Sequence[int]]) -> tuple[int, Any]:
    """Return how many tokens were read once for all prompts, and their cache; 0 and None if few."""
    shared = shared_tokens(prompts) if len(prompts) > 1 else 0
    if shared < WORTHWHILE:
        return 0, None
    ids = torch.tensor([list(prompts[0][:shared])]).to(model.device)
    cache = model(input_ids=ids, use_cache=True, logits_to_keep=1).past_key_values
    cache.batch_repeat_interleave(len(prompts))
    return shared, cache


def summed(logits: Tensor, tree: LabelTree) -> Tensor:
    """Return the answers' log-probabilities, (B, C), of logits (B, 1 + K, V), the prompt's first.

    Of the whole vocabulary only the sum is needed, one prompt after the other: B copies of the
    logits would take more memory than all else.
    """
    steps = [(node + 1, token, c) for c, walk in enumerate(tree.steps) for node, token in walk]
    read, tokens, answer = torch.tensor(steps, device=logits.device).T
    each = [row[read, tokens] - row.logsumexp(-1)[read] for row in map(Tensor.float, logits)]
    found = torch.stack(each).double().cpu()
    return found.new_zeros(len(found), len(tree.steps)).index_add(1, answer.cpu(), found)


def _tree_mask(read: Tensor, shared: int, tree: LabelTree, dtype: torch.dtype) -> Tensor:
    """Return what is added to attention scores, (B, 1, N-S+K, N+K), for a prompt mask (B, N).

    The first `shared` (S) tokens have been read already: they are seen and see nothing more.
    """
    b, n = read.shape
    k = len(tree.tokens)
    allowed = torch.zeros((b, n - shared + k, n + k), dtype=torch.bool)
    allowed[:, :-k, :n] = torch.ones((n, n), dtype=torch.bool).tril()[shared:]
    allowed[:, -k:, :n] = True
    allowed[:, :, :n] &= read.bool()[:, None, :]
    allowed[:, -k:, n:] = tree.visible()
    bias = torch.zeros(allowed.shape, dtype=dtype).masked_fill(~allowed, torch.finfo(dtype).min)
    return bias[:, None]


@torch.inference_mode()
def sequence_log_probs(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
) -> Tensor:
    """Return what `label_log_probs` returns, by one whole sequence per prompt and answer, (B, C).

    The slow reference the tree is checked against, here and before every training.
    """
    columns = []
    for answer in answers:
        ids, mask = left_pad([[*p, *answer] for p in prompts], int(tokenizer.pad_token_id))
        keep = len(answer) + 1
        logits = model(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            position_ids=positions(mask).to(model.device),
            use_cache=False,
            logits_to_keep=keep,
        ).logits
        log_p = logits[:, -keep:-1].float().log_softmax(-1).double().cpu()
        token = torch.tensor(list(answer)).expand(len(prompts), -1)
        columns.append(log_p.gather(2, token[..., None]).squeeze(2).sum(1))
    return torch.stack(columns, 1)
