"""Which action units an expression has, and where on a face's 68 landmarks each of them is.

After Belharbi et al., "Guided Interpretable Facial Expression Recognition via Spatial Action Unit
Cues", 2024, arXiv 2402.00281. An action unit is one ellipse or two beside landmarks in the order
of iBUG (36-41 the eye on the left of the picture, 48-67 the mouth).

The release slips in places: AU 17 and AU 20 are lopsided, the eyes are read from points that do
not mirror each other, an extent that is small but not 0 makes a sliver, and disgust raises the
upper lid of the eye (AU 5) in place of the upper lip (AU 10). "as_released" does all that, "facs"
does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from textualize.errors import TextualizeError, unknown
from textualize.labels import LabelSet, pairs_of, to_basic

Codebook = Literal["facs", "as_released"]

_FACS: Mapping[str, tuple[int, ...]] = {
    "happiness": (6, 12, 25),
    "surprise": (1, 2, 5, 26, 27),
    "fear": (1, 2, 4, 5, 20, 25, 26, 27),
    "anger": (4, 5, 7, 10, 17, 23, 24, 25, 26),
    "disgust": (9, 10, 16, 17, 25, 26),
    "sadness": (1, 4, 6, 15, 17),
    "neutral": (),
}
CODEBOOKS: Mapping[Codebook, Mapping[str, tuple[int, ...]]] = {
    "facs": _FACS,
    "as_released": {**_FACS, "disgust": (5, 9, 16, 17, 25, 26)},
}


@dataclass(frozen=True, slots=True)
class Ellipse:
    """One ellipse beside landmarks; lengths in pixels of a picture of 256.

    x, y: landmarks whose mean is the centre. shift: added to it. axes: half axes, added to half of
    the extent of `x` and of `y` where `spans`, which is `least` where there is next to none. The
    shift is of a face seen as it is, and the other way in a mirror image.
    """

    x: tuple[int, ...]
    y: tuple[int, ...]
    axes: tuple[float, float] = (0.0, 0.0)
    shift: tuple[float, float] = (0.0, 0.0)
    spans: bool = False
    least: float = 0.0


def _at(point: int, radius: float = 20.0) -> Ellipse:
    return Ellipse((point,), (point,), (radius, radius))


def _eyes(left: tuple[int, int], right: tuple[int, int], taller: float) -> tuple[Ellipse, ...]:
    return tuple(
        Ellipse(corners, lids, (0.0, taller), spans=True, least=5.0)
        for corners, lids in (((36, 39), left), ((42, 45), right))
    )


_MOUTH = (Ellipse((48, 54), (51, 57), spans=True, least=5.0),)
_CHEEK, _ROUND = 256 / 6, (25.6, 25.6)

_SHAPES: Mapping[int, tuple[Ellipse, ...]] = {
    1: (Ellipse((20,), (20,), (32, 25.6)), Ellipse((23,), (23,), (32, 25.6))),
    2: (Ellipse((18,), (18,), (32, 25.6)), Ellipse((25,), (25,), (32, 25.6))),
    4: (Ellipse((19, 24), (19, 24), spans=True, least=10.0),),
    5: _eyes((38, 41), (43, 46), 0.0),
    6: tuple(Ellipse((p,), (p,), _ROUND, (0.0, _CHEEK)) for p in (41, 46)),
    7: _eyes((38, 41), (43, 46), 10.0),
    9: (Ellipse((31,), (29,), (20, 20)), Ellipse((35,), (29,), (20, 20))),
    10: (Ellipse((48,), (50,), (20, 20)), Ellipse((54,), (52,), (20, 20))),
    12: (_at(48), _at(54)),
    14: (
        Ellipse((48,), (48,), (20, 20), (-20.0, 0.0)),
        Ellipse((54,), (54,), (20, 20), (20.0, 0.0)),
    ),
    15: (_at(48), _at(54)),
    16: (_at(59), _at(55)),
    17: (Ellipse((59, 55), (57, 8), spans=True, least=5.0),),
    20: (Ellipse((48, 6), (48, 6), (20, 20)), Ellipse((54, 10), (54, 10), (20, 20))),
    23: _MOUTH,
    24: _MOUTH,
    25: (Ellipse((51,), (51,), (25, 10)), Ellipse((57,), (57,), (25, 10))),
    26: _MOUTH,
    27: _MOUTH,
    43: _eyes((38, 41), (43, 46), 10.0),
}
_RELEASED: Mapping[int, tuple[Ellipse, ...]] = {
    **_SHAPES,
    5: _eyes((38, 41), (44, 47), 0.0),
    7: _eyes((38, 41), (44, 47), 10.0),
    17: (Ellipse((59, 8), (59, 8), spans=True, least=5.0),),
    20: (Ellipse((48, 6), (48, 6), (20, 20)), Ellipse((50, 10), (50, 10), (20, 20))),
    43: _eyes((38, 41), (44, 47), 10.0),
}
SHAPES: Mapping[Codebook, Mapping[int, tuple[Ellipse, ...]]] = {
    "facs": _SHAPES,
    "as_released": _RELEASED,
}
ACTIONS = tuple(_SHAPES)


def expression_actions(
    label: str, labels: LabelSet, codebook: Codebook = "facs"
) -> tuple[int, ...]:
    """Return the action units of a label, of a compound those of both its emotions, ascending.

    Empty for neutral and for what is no basic emotion ("other", "contempt").

    >>> from textualize.labels import LABEL_SETS
    >>> expression_actions("happily surprised", LABEL_SETS["compound7"])
    (1, 2, 5, 6, 12, 25, 26, 27)
    """
    if codebook not in CODEBOOKS:
        raise unknown("codebook", codebook, CODEBOOKS)
    book = CODEBOOKS[codebook]
    basics = pairs_of(labels).get(label, (to_basic(label),))
    return tuple(sorted({au for name in basics for au in book.get(name or "", ())}))


def selected(actions: Iterable[int]) -> Tensor:
    """Return (A,) bool, True at these of `ACTIONS`; raises TextualizeError for another one."""
    chosen = torch.zeros(len(ACTIONS), dtype=torch.bool)
    for au in actions:
        if au not in ACTIONS:
            raise TextualizeError(
                f"AU {au} has no place on the map; those that have: {', '.join(map(str, ACTIONS))}"
            )
        chosen[ACTIONS.index(au)] = True
    return chosen
