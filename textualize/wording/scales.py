"""Numbers to words: the thresholds and the grades of action units, each in one table.

Nothing here knows a record. What people do is worded in the terms of FACS and of phonetics,
never as an emotion: a cue must not answer the question it is evidence for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from textualize.types import Unit

Register = Literal["terse", "sentences", "graded"]
REGISTERS: tuple[Register, ...] = ("terse", "sentences", "graded")

_ROUNDING = 1e-6  # a float32 0.2 is a little above 0.2 and must not count as above it


@dataclass(frozen=True, slots=True)
class Scale:
    """When an action unit counts as active, and how strong, in one unit.

    `words` grade what is above `active`, then `clear`, then `strong`. `clip_mean` multiplies all
    three when a track has a single row: a mean over the clip is lower than its peak. `unworded`
    action units are left to methods that read numbers.
    """

    active: float
    clear: float
    strong: float
    words: tuple[str, str, str]
    clip_mean: float
    source: str
    unworded: frozenset[str] = frozenset()

    def grade(self, value: float, single_row: bool = False) -> str | None:
        """Return the word for `value`, or None when it is not strictly above `active`.

        >>> AU_SCALES["probability"].grade(0.5), AU_SCALES["probability"].grade(0.95)
        (None, 'strong')
        """
        level = self.level(value, single_row)
        return self.words[level - 1] if level else None

    def level(self, value: float, single_row: bool = False) -> int:
        """Return how many of the three limits `value` is strictly above, 0 to 3."""
        factor = self.clip_mean if single_row else 1.0
        edges = (self.active, self.clear, self.strong)
        return sum(value > factor * edge + _ROUNDING for edge in edges)

    @property
    def step(self) -> float:
        """What lies between two grades; a smaller change over a clip is not worded."""
        return self.clear - self.active


_STRENGTH = ("slight", "clear", "strong")
AU_SCALES: Mapping[Unit, Scale] = {
    # Listed iff above 0.5: Richet et al. 2024. The upper two split py-feat's crowded top third.
    "probability": Scale(0.5, 0.7, 0.9, _STRENGTH, 1.0, "Richet et al. 2024; upper two ours"),
    # OpenFace maps FACS A-E to 1-5. A is a trace, B slight, C marked: Ekman et al. 2002.
    "intensity": Scale(1.0, 2.0, 3.0, _STRENGTH, 0.5, "FACS A, B, C as 1, 2, 3"),
    # 0/1 says nothing about strength; the fraction of seen frames says how lasting it was.
    "presence": Scale(0.2, 0.5, 0.8, ("briefly", "often", "throughout"), 1.0, "ours"),
    # 0 is the clip's own neutral, 1 a full action.
    # The landmarks' AU 17 runs against py-feat's on real faces: a sentence about it would mislead
    # (see `extract/face/action_units.py`).
    "deviation": Scale(
        0.25,
        0.5,
        0.8,
        _STRENGTH,
        1.0,
        "ours; noise of resting frames is < 0.2",
        frozenset({"AU17"}),
    ),
}

# |z| among the same person's clips: below the first it is as usual (Cohen's medium effect).
Z_SLIGHT, Z_PLAIN, Z_MUCH = 0.5, 1.0, 1.7


def relative_words(z: float, less: str, more: str, slight: float = Z_SLIGHT) -> str | None:
    """Return how far a z-score is from usual, or None when it is within the usual.

    >>> relative_words(1.8, "lower", "higher"), relative_words(-0.7, "less", "more")
    ('much higher', 'slightly less')
    >>> relative_words(0.3, "less", "more") is None
    True
    """
    size = abs(z)
    if not size >= slight:  # NaN is not a difference
        return None
    word = more if z > 0 else less
    if size >= Z_MUCH:
        return f"much {word}"
    return word if size >= Z_PLAIN else f"slightly {word}"


def listed(items: Sequence[str]) -> str:
    """Return items as they are said one after the other.

    >>> listed(["high"]), listed(["high", "lively", "rising"])
    ('high', 'high, lively and rising')
    >>> listed(["softer and breathier", "darker"])
    'softer and breathier, and darker'
    """
    *most, last = items
    joint = ", and " if any(" and " in item for item in items) else " and "
    return f"{', '.join(most)}{joint}{last}" if most else last
