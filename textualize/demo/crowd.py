"""More drawn people than the twelve that ship, each drawn from a number: no one is in them.

Their looks and voices lie between those of the twelve, and light and pose vary from clip to clip:
what a method of pictures learns of these faces is to hold for a face, a lamp and a pose it never
saw.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from textualize.demo.head import Colour, Look
from textualize.demo.people import Subject, Voice, subjects
from textualize.demo.stage import Scene

FACTORS = tuple(f.name for f in fields(Look) if f.type == "float")
SWAY = (1.0, 1.7)  # how much further than the twelve a head turns, drawn for each clip
LAMP = (0.75, 0.45)  # furthest a clip's lamp stands to the side and, from its usual height, up
_PITCH_STEPS, _WPM, _LEVEL_DB = 4, 8, 1.0

Rng = np.random.Generator


def crowd(count: int, seed: int) -> tuple[Subject, ...]:
    """Return so many drawn people: the twelve, then others; a person depends on seed and number."""
    known = subjects()
    width = max(2, len(str(count)))
    others = (_person(f"s{i:0{width}d}", i, known, seed) for i in range(len(known) + 1, count + 1))
    named = (replace(s, id=f"s{int(s.id[1:]):0{width}d}") for s in known)
    return (*named, *others)[:count]


def lit(scene: Scene, rng: Rng) -> Scene:
    """Return a room with its lamp elsewhere, stronger or weaker, warmer or colder."""
    x = rng.uniform(-LAMP[0], LAMP[0])
    y = scene.light[1] + rng.uniform(-LAMP[1], LAMP[1])
    warm = 1 + rng.uniform(-0.06, 0.08)
    tint = (warm, 1.0 + 0.4 * (warm - 1), 2 - warm)
    return replace(scene, light=(x, y, scene.light[2]), ambient=rng.uniform(0.40, 0.75), tint=tint)


def _person(name: str, number: int, known: tuple[Subject, ...], seed: int) -> Subject:
    """Return one person whose every trait is between those of two of the twelve."""
    rng = np.random.default_rng([seed, 7, number])
    first, second = (known[i] for i in rng.choice(len(known), 2, replace=False))
    return Subject(
        name, _look(first.look, second.look, rng, number), _voice(first.voice, second.voice, rng),
        _scene(first.scene, second.scene, rng), varies=True,
    )  # fmt: skip


def _look(one: Look, other: Look, rng: Rng, number: int) -> Look:
    tone = rng.random()
    factors = {
        f: float(a + (b - a) * rng.uniform(-0.2, 1.2))
        for f, a, b in zip(FACTORS, _factors(one), _factors(other), strict=True)
    }
    return Look(
        skin=_between(one.skin, other.skin, tone),
        lip=_between(one.lip, other.lip, tone),
        hair=_between(one.hair, other.hair, rng.random()),
        iris=_between(one.iris, other.iris, rng.random()),
        style=(one, other)[int(rng.integers(2))].style,
        seed=number,
        **factors,
    )


def _factors(look: Look) -> tuple[float, ...]:
    return tuple(getattr(look, f) for f in FACTORS)


def _voice(one: Voice, other: Voice, rng: Rng) -> Voice:
    usual = (one, other)[int(rng.integers(2))]
    return replace(
        usual,
        pitch=usual.pitch + int(rng.integers(-_PITCH_STEPS, _PITCH_STEPS + 1)),
        wpm=usual.wpm + int(rng.integers(-_WPM, _WPM + 1)),
        level_db=usual.level_db + rng.uniform(-_LEVEL_DB, _LEVEL_DB),
    )


def _scene(one: Scene, other: Scene, rng: Rng) -> Scene:
    wall = _between(one.wall, other.wall, rng.random())
    return replace(one, wall=wall, cloth=_between(one.cloth, other.cloth, rng.random()))


def _between(one: Colour, other: Colour, share: float) -> Colour:
    mixed = [round(a + (b - a) * share) for a, b in zip(one, other, strict=True)]
    return mixed[0], mixed[1], mixed[2]
