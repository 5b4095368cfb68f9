"""A causal model's two ends in tokens: the framed prompt it reads, the answers it may give."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from textualize.errors import TextualizeError

Kind = Literal["words", "letters"]
Messages = tuple[Mapping[str, str], ...]  # turns of a chat: role and content

# chat templates that print a date print this one: a run would read otherwise tomorrow
TEMPLATE_DATE = "26 Jul 2024"


@dataclass(frozen=True, slots=True)
class Shot:
    """A solved example: a prompt and the answer as the model should have written it."""

    text: str
    answer: str


def answer_texts(labels: Sequence[str], kind: Kind) -> tuple[str, ...]:
    """Return what the model writes for each label.

    >>> answer_texts(["sad", "glad"], "letters")
    ('A', 'B')

    Raises:
        TextualizeError: more labels than letters.
    """
    if kind == "words":
        return tuple(labels)
    if len(labels) > len(string.ascii_uppercase):
        raise TextualizeError(
            f"letters answer for at most 26 labels, given {len(labels)}: set answers to words"
        )
    return tuple(string.ascii_uppercase[: len(labels)])


def options(labels: Sequence[str], kind: Kind) -> tuple[str, ...]:
    """Return the labels as the prompt lists them.

    >>> options(["sad", "glad"], "letters")
    ('A) sad', 'B) glad')
    """
    texts = answer_texts(labels, kind)
    if kind == "words":
        return texts
    return tuple(f"{letter}) {label}" for letter, label in zip(texts, labels, strict=True))


def messages(text: str, shots: Sequence[Shot] = ()) -> Messages:
    """Return a prompt behind its solved examples as the turns of a chat.

    >>> [turn["role"] for turn in messages("now?", [Shot("then?", "sad")])]
    ['user', 'assistant', 'user']
    """
    turns: list[Mapping[str, str]] = []
    for shot in shots:
        turns.append({"role": "user", "content": shot.text})
        turns.append({"role": "assistant", "content": shot.answer})
    return (*turns, {"role": "user", "content": text})


def framed(tokenizer: Any, text: str, shots: Sequence[Shot] = ()) -> str:
    """Return the prompt as the model gets it: its chat template, else plain text ending in a colon.

    A plain text that does not end in a question's colon gets a line "Answer:". Shots stand before
    it, as earlier turns or with an empty line behind each. Templates that would open a block of
    reasoning are asked not to: the answer comes at once.
    """
    if tokenizer.chat_template is None:
        solved = "".join(f"{_asked(shot.text)} {shot.answer}\n\n" for shot in shots)
        return solved + _asked(text)
    framed_text: str = tokenizer.apply_chat_template(
        list(messages(text, shots)),
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=False,
        date_string=TEMPLATE_DATE,
    )
    return framed_text


def _asked(text: str) -> str:
    asked = text.rstrip()
    return asked if asked.endswith(":") else f"{asked}\nAnswer:"


def prompt_ids(tokenizer: Any, text: str, shots: Sequence[Shot] = ()) -> list[int]:
    """Return a framed prompt's token ids, without an end token behind it."""
    plain = tokenizer.chat_template is None
    whole = framed(tokenizer, text, shots)
    # not verbose: that a prompt is too long is found out and said here, not by the library
    ids = list(tokenizer(whole, add_special_tokens=plain, verbose=False)["input_ids"])
    if plain and len(ids) > 1 and ids[-1] == tokenizer.eos_token_id:
        ids.pop()
    return ids


def fitted_ids(tokenizer: Any, text: str, limit: int) -> tuple[list[int], bool]:
    """Return the ids of a prompt of at most `limit` tokens, and whether the text had to be cut.

    The last resort, after `budget.py`: the beginning of the text is dropped, at a token's edge;
    the question at its end and the frame stay whole. The cut is made in the text, so a server that
    is given the text does the same.

    Raises:
        TextualizeError: the frame alone is longer than `limit`.
    """
    ids = prompt_ids(tokenizer, text)
    if len(ids) <= limit:
        return ids, False
    edges = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    starts = [start for start, _ in edges["offset_mapping"]]
    drop = len(ids) - limit
    while drop < len(starts):
        ids = prompt_ids(tokenizer, text[starts[drop] :])
        if len(ids) <= limit:
            return ids, True
        drop += len(ids) - limit
    raise TextualizeError(f"max_tokens {limit} leaves no room for a prompt: raise it")


def answer_ids(tokenizer: Any, label: str, kind: Kind = "words") -> list[int]:
    """Return the tokens of an answer where it follows a prompt; behind words, the end token.

    They are what the tokenizer adds to a framed prompt when the answer is written behind it. No
    letter begins another, so letters need no end; a tokenizer that spells them in two tokens (the
    blank apart) is scored exactly all the same.

    Raises:
        TextualizeError: words under a tokenizer without end token, or an answer it cannot spell.
    """
    if kind == "words" and tokenizer.eos_token_id is None:
        raise TextualizeError(
            "the tokenizer has no end token, so no label can end: set answers to letters"
        )
    head = framed(tokenizer, "?")
    joined = head + ("" if head[-1:].isspace() else " ") + label
    before = tokenizer(head, add_special_tokens=False)["input_ids"]
    both = tokenizer(joined, add_special_tokens=False)["input_ids"]
    same = both[: len(before)] == before
    ids = both[len(before) :] if same else tokenizer(label, add_special_tokens=False)["input_ids"]
    if not ids or (tokenizer.unk_token_id in ids and tokenizer.unk_token_id is not None):
        raise TextualizeError(f"the tokenizer cannot spell label '{label}': choose another model")
    return [*ids, tokenizer.eos_token_id] if kind == "words" else ids
