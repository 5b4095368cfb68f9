"""How far a recogniser's words are from what was said."""

from __future__ import annotations

import re
import unicodedata

_NOT_WORD = re.compile(r"[^\w'\s]|_")


def normalised_words(text: str) -> list[str]:
    """Return the words of a text in lower case without punctuation; apostrophes stay inside.

    >>> normalised_words("Well, don't -- 'ask' me!")
    ['well', "don't", 'ask', 'me']
    """
    plain = unicodedata.normalize("NFKC", text).replace("\u2019", "'").lower()
    words = (word.strip("'") for word in _NOT_WORD.sub(" ", plain).split())
    return [word for word in words if word]


def word_errors(reference: str, hypothesis: str) -> tuple[int, int]:
    """Return (errors, reference words): substitutions + deletions + insertions at least cost.

    Sum both over clips before dividing, so that short clips do not weigh more than long ones.

    >>> word_errors("the door is open", "a door open")
    (2, 4)
    """
    said, heard = normalised_words(reference), normalised_words(hypothesis)
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, start=1):
        diagonal, row[0] = row[0], i
        for j, guess in enumerate(heard, start=1):
            substituted = diagonal + (word != guess)
            diagonal = row[j]
            row[j] = min(substituted, row[j] + 1, row[j - 1] + 1)
    return row[-1], len(said)


def word_error_rate(reference: str, hypothesis: str) -> float:
    """Return word errors per reference word; above 1 when more is invented than was said.

    An empty reference gives 0 for an empty hypothesis, else infinity.

    >>> word_error_rate("Kids are talking.", "kids are walking")
    0.3333333333333333
    """
    errors, words = word_errors(reference, hypothesis)
    if not words:
        return 0.0 if errors == 0 else float("inf")
    return errors / words
