"""Clips of people who show the same class in different ways, made from a seed: no one is in them.

Tracks of 16 columns of a clip that is "same" or "different":

    people           x = R z + b: z tells the class in its first four columns, R turns and b moves
                     it in a way of the person's own
    people_aligned   the same z as if all were one person

z has a spread of 1 and class means 1.5 apart in each of four columns: who knows R and b is right in
93 of 100. To a model of other people the place of a new one is a guess.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

from textualize.types import Track

Floats = NDArray[np.float64]

CLIPS, TESTED = 30, 150  # of a person who is learned from, of one who is tested
COLUMNS, TOLD = 16, 4
APART = 1.5  # class means, in each column that tells the class, in spreads
ANGLE = 0.6  # radians of the largest of a person's turns
SHIFT = 1.5  # deviation of a person's place, in each column
ROWS, RATE_HZ = 2, 1.0


def people_tracks(
    label: str, person: int, seed: int, rng: np.random.Generator, source: str
) -> dict[str, Track]:
    """Return the tracks of a clip that is "same" or "different", of a person with a number."""
    z = rng.standard_normal(COLUMNS)
    z[:TOLD] += (0.5 if label == "same" else -0.5) * APART
    turn, place = _way(person, seed)
    return {
        name: Track(np.tile(x, (ROWS, 1)).astype(np.float32), RATE_HZ, 0.0, (), "embedding", source)
        for name, x in (("people", turn @ z + place), ("people_aligned", z))
    }


def _way(person: int, seed: int) -> tuple[Floats, Floats]:
    """Return a person's rotation (D, D) and place (D,)."""
    rng = np.random.default_rng([seed, 2, person])
    square = rng.standard_normal((COLUMNS, COLUMNS))
    turning = square - square.T
    turn = np.asarray(expm(ANGLE * turning / np.linalg.norm(turning, 2)))
    return turn, SHIFT * rng.standard_normal(COLUMNS)
