"""What the options of a question stand for: the basic emotions of a compound, the units of a face.

The only words about emotions here, and for options alone: no cue is worded from this table. Units
after Ekman & Friesen 1978 (FACS, table 11-1: the fullest prototype of each basic emotion); a
compound has those of its two emotions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from textualize.labels import LABEL_SETS, to_basic

UNITS: Mapping[str, tuple[int, ...]] = {
    "happiness": (6, 12, 25),
    "sadness": (1, 4, 15),
    "disgust": (4, 10, 17),
    "anger": (4, 5, 7, 24),
    "surprise": (1, 2, 5, 26),
    "fear": (1, 2, 4, 5, 20, 25),
}
_LETTER = re.compile(r"^[A-Z]\) ")  # as `text.answers.options` writes it


@dataclass(frozen=True, slots=True)
class Meaning:
    """An option as it is listed, its emotions ("fear and surprise") and units ("AU1+AU2").

    Both are empty where nothing is known of it; `mixture` also for what is no compound.
    """

    option: str
    mixture: str
    face: str


def meanings(options: Sequence[str]) -> tuple[Meaning, ...]:
    """Return what each option stands for, in their order.

    >>> meanings(["A) sadly angry", "joy", "other"])[0]
    Meaning(option='A) sadly angry', mixture='anger and sadness', face='AU1+AU4+AU5+AU7+AU15+AU24')
    """
    return tuple(_meaning(option) for option in options)


def _meaning(option: str) -> Meaning:
    label = _LETTER.sub("", option)
    pair = LABEL_SETS["compound8"].pairs.get(label, ())
    basics = pair or (to_basic(label) or "",)
    units = sorted({unit for basic in basics for unit in UNITS.get(basic, ())})
    return Meaning(option, " and ".join(pair), "+".join(f"AU{unit}" for unit in units))
