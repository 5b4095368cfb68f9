"""Figures about clips and splits: repeats, overlaps, balance, sampling noise. Pure functions."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from textualize.types import Clip

Z = 1.959964  # standard normal quantile of a 95 % interval
_WORD = re.compile(r"\w+")
_CONTROL = re.compile("[\x80-\x9f]")
_BROKEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffd]")
_TWICE = re.compile("Ã[\x80-\xbf©¨¢¤]|â€|Â[\xa0-\xbf]")


@dataclass(frozen=True, slots=True)
class Row:
    """What is kept of a clip while a corpus streams by. `text` and `words` are hashes, 0 if none.

    `words` ignores case and punctuation. `span` is None for a whole file.
    """

    name: str
    split: str
    label: str | float | None
    subject: str
    group: str
    text: int
    words: int
    media: str
    path: str
    span: tuple[float, float] | None


def row_of(clip: Clip, media: str = "") -> Row:
    """Return the row of a clip; `media` is its file's digest where it is known."""
    said = " ".join((clip.transcript or "").split())
    return Row(
        clip.id,
        clip.split or "",
        clip.label,
        clip.subject or "",
        clip.fold_group,
        _hash(said),
        _hash(" ".join(_WORD.findall(said.casefold()))),
        media,
        str(clip.video or ""),
        (clip.span.start, clip.span.end) if clip.span is not None else None,
    )


def _hash(text: str) -> int:
    if not text:
        return 0
    return int.from_bytes(blake2b(text.encode("utf-8", "backslashreplace"), digest_size=8).digest())


def repeated(keys: Iterable[object]) -> int:
    """Return how many items share their key with another item; false keys are left out.

    >>> repeated(["yeah", "yeah", "no", ""])
    2
    """
    return sum(n for key, n in Counter(k for k in keys if k).items() if n > 1)


def found_in(keys: Iterable[object], others: Iterable[object]) -> int:
    """Return how many keys occur among the others; false keys are left out.

    >>> found_in(["yeah", "no"], ["yeah", "well"])
    1
    """
    known = set(others)
    return sum(k in known for k in keys if k)


def splits_sharing(rows: Sequence[Row], attribute: str) -> dict[str, set[str]]:
    """Return the values of an attribute that occur in more than one split, and in which."""
    where: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        value = getattr(row, attribute)
        if value and row.split:
            where[value].add(row.split)
    return {value: splits for value, splits in where.items() if len(splits) > 1}


def noise(count: int, accuracy: float) -> float:
    """Return the 95 % half-width of an accuracy measured on `count` independent clips.

    >>> round(100 * noise(2610, 0.68), 1)
    1.8
    """
    return Z * math.sqrt(accuracy * (1 - accuracy) / count)


def design_effect(hits: Sequence[float], groups: Sequence[str]) -> float:
    """Return how many times larger the variance of a mean is when whole groups are drawn.

    The linearised variance of a ratio over clusters, G / (G - 1) * sum (y_g - p n_g)^2 / n^2,
    against p (1 - p) / n (Kish, Survey Sampling, 1965). 1.0 where it cannot be told.

    >>> design_effect([1, 1, 0, 0], ["a", "a", "b", "b"])
    4.0
    """
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    hit = np.asarray(hits, dtype=float)
    p, n = float(hit.mean()) if len(hit) else 0.0, len(hit)
    if len(names) < 2 or not 0 < p < 1:
        return 1.0
    size = np.bincount(group)
    off = np.bincount(group, weights=hit) - p * size
    variance = len(names) / (len(names) - 1) * float((off**2).sum()) / n**2
    return variance / (p * (1 - p) / n)


def majority_scores(share: float, classes: int) -> dict[str, float]:
    """Return what always answering one class scores on clips of which `share` have it.

    >>> {k: round(v, 3) for k, v in majority_scores(0.481, 7).items()}
    {'accuracy': 0.481, 'weighted_f1': 0.312, 'macro_f1': 0.093}
    """
    f1 = 2 * share / (1 + share)
    return {"accuracy": share, "weighted_f1": share * f1, "macro_f1": f1 / max(1, classes)}


def overlapping(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Return neighbours among clips of one content whose times overlap, in order of time."""
    pairs = []
    ordered = sorted(rows, key=lambda r: r.span or (0.0, math.inf))
    last: Row | None = None
    for row in ordered:
        if last is not None and (row.span or (0.0, math.inf))[0] < (last.span or (0, math.inf))[1]:
            pairs.append((last, row))
        if last is None or (row.span or (0, math.inf))[1] >= (last.span or (0, math.inf))[1]:
            last = row
    return pairs


def oddities(text: str) -> list[str]:
    r"""Return what is odd about a text's characters; empty for clean text.

    >>> oddities("It\x92s"), oddities("fine")
    (['C1 control characters (Windows-1252 read as Latin-1)'], [])
    """
    found = []
    if _CONTROL.search(text):
        found.append("C1 control characters (Windows-1252 read as Latin-1)")
    if _BROKEN.search(text):
        found.append("control or replacement characters")
    if _TWICE.search(text):
        found.append("UTF-8 decoded as Latin-1")
    return found


def is_latin(text: str) -> bool | None:
    """Return whether most letters are Latin; None for a text without letters."""
    letters = [c for c in text if c.isalpha()]
    return sum(ord(c) < 0x250 for c in letters) * 2 >= len(letters) if letters else None


def counts_by(rows: Iterable[Row]) -> Mapping[str, Counter[str]]:
    """Return label counts by split; "" is a clip without a split."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        found[row.split]["unlabelled" if row.label is None else str(row.label)] += 1
    return found
