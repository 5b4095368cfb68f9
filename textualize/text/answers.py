"""A causal model's two ends in tokens: the framed prompt it reads, the answers it may give."""

from __future__ import annotations

from typing import Any

from textualize.errors import TextualizeError


def framed(tokenizer: Any, text: str) -> str:
    """Return the prompt as the model gets it: its chat template, else plain text ending in a colon.

    A plain text that does not end in a question's colon gets a line "Answer:".
    Templates that would open a block of reasoning are asked not to: the answer comes at once.
    """
    if tokenizer.chat_template is None:
        asked = text.rstrip()
        return asked if asked.endswith(":") else f"{asked}\nAnswer:"
    turn = [{"role": "user", "content": text}]
    framed_text: str = tokenizer.apply_chat_template(
        turn, tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    return framed_text


def prompt_ids(tokenizer: Any, text: str) -> list[int]:
    """Return a framed prompt's token ids, without an end token behind it."""
    plain = tokenizer.chat_template is None
    ids = list(tokenizer(framed(tokenizer, text), add_special_tokens=plain)["input_ids"])
    if plain and len(ids) > 1 and ids[-1] == tokenizer.eos_token_id:
        ids.pop()
    return ids


def fitted_ids(tokenizer: Any, text: str, limit: int) -> tuple[list[int], bool]:
    """Return the ids of a prompt of at most `limit` tokens, and whether the text had to be cut.

    The beginning of the text is dropped, at a token's edge: the question at its end and the frame
    stay whole. The cut is made in the text, so a server that is given the text does the same.

    Raises:
        TextualizeError: the frame alone is longer than `limit`.
    """
    ids = prompt_ids(tokenizer, text)
    if len(ids) <= limit:
        return ids, False
    edges = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    starts = [start for start, _ in edges["offset_mapping"]]
    drop = len(ids) - limit
    while drop < len(starts):
        ids = prompt_ids(tokenizer, text[starts[drop] :])
        if len(ids) <= limit:
            return ids, True
        drop += len(ids) - limit
    raise TextualizeError(f"max_tokens {limit} leaves no room for a prompt: raise it")


def answer_ids(tokenizer: Any, label: str) -> list[int]:
    """Return the tokens of a label where it follows a prompt, then the end token.

    They are what the tokenizer adds to a framed prompt when the label is written behind it.

    Raises:
        TextualizeError: the tokenizer has no end token, or cannot spell the label.
    """
    if tokenizer.eos_token_id is None:
        raise TextualizeError("the tokenizer has no end token, so no answer can end")
    head = framed(tokenizer, "?")
    joined = head + ("" if head[-1:].isspace() else " ") + label
    before = tokenizer(head, add_special_tokens=False)["input_ids"]
    both = tokenizer(joined, add_special_tokens=False)["input_ids"]
    same = both[: len(before)] == before
    ids = both[len(before) :] if same else tokenizer(label, add_special_tokens=False)["input_ids"]
    if not ids or (tokenizer.unk_token_id in ids and tokenizer.unk_token_id is not None):
        raise TextualizeError(f"the tokenizer cannot spell label '{label}': choose another model")
    return [*ids, tokenizer.eos_token_id]
