"""What the Facial Action Coding System calls an action, and how a person would say it.

Names after FACS (Ekman, Friesen & Hager 2002). AU7 is the LID tightener, AU23 the LIP tightener.
The clauses and the compounds are ours: they say what moved and never what it may mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

Side = Literal["", "left", "right"]


class Unit(NamedTuple):
    """One action: its FACS name, a clause, and the clause's end for one side alone.

    `one` follows "the left" or "the right"; it is empty for what has no sides.
    """

    name: str
    clause: str
    one: str = ""


UNITS: Mapping[str, Unit] = {
    "AU01": Unit("inner brow raiser", "the inner brows are raised", "inner brow is raised"),
    "AU02": Unit("outer brow raiser", "the outer brows are raised", "outer brow is raised"),
    "AU04": Unit("brow lowerer", "the brows are lowered", "brow is lowered"),
    "AU05": Unit("upper lid raiser", "the upper lids are raised", "upper lid is raised"),
    "AU06": Unit("cheek raiser", "the cheeks are raised", "cheek is raised"),
    "AU07": Unit("lid tightener", "the eyelids are tightened", "eyelid is tightened"),
    "AU09": Unit("nose wrinkler", "the nose is wrinkled", "side of the nose is wrinkled"),
    "AU10": Unit("upper lip raiser", "the upper lip is raised", "side of the upper lip is raised"),
    "AU11": Unit(
        "nasolabial deepener", "the nasolabial folds are deepened", "nasolabial fold is deepened"
    ),
    "AU12": Unit("lip corner puller", "the lip corners are pulled up", "lip corner is pulled up"),
    "AU13": Unit(
        "sharp lip puller",
        "the lip corners are pulled sharply up",
        "lip corner is pulled sharply up",
    ),
    "AU14": Unit("dimpler", "the lip corners are pressed inwards", "lip corner is pressed inwards"),
    "AU15": Unit(
        "lip corner depressor", "the lip corners are pulled down", "lip corner is pulled down"
    ),
    "AU16": Unit(
        "lower lip depressor",
        "the lower lip is pulled down",
        "side of the lower lip is pulled down",
    ),
    "AU17": Unit("chin raiser", "the chin is raised"),
    "AU18": Unit("lip pucker", "the lips are puckered"),
    "AU19": Unit("tongue show", "the tongue shows"),
    "AU20": Unit(
        "lip stretcher", "the lips are stretched sideways", "side of the lips is stretched"
    ),
    "AU21": Unit("neck tightener", "the neck is tightened"),
    "AU22": Unit("lip funneler", "the lips are funnelled"),
    "AU23": Unit("lip tightener", "the lips are tightened"),
    "AU24": Unit("lip pressor", "the lips are pressed together"),
    "AU25": Unit("lips part", "the lips are parted"),
    "AU26": Unit("jaw drop", "the jaw is dropped"),
    "AU27": Unit("mouth stretch", "the mouth is stretched open"),
    "AU28": Unit("lip suck", "the lips are sucked in"),
    "AU29": Unit("jaw thrust", "the jaw is thrust forward"),
    "AU30": Unit("jaw sideways", "the jaw is moved sideways"),
    "AU31": Unit("jaw clencher", "the jaw is clenched"),
    "AU32": Unit("lip bite", "the lip is bitten"),
    "AU33": Unit("cheek blow", "air is blown out of the cheeks"),
    "AU34": Unit("cheek puff", "the cheeks are puffed", "cheek is puffed"),
    "AU35": Unit("cheek suck", "the cheeks are sucked in", "cheek is sucked in"),
    "AU36": Unit("tongue bulge", "the tongue bulges under the skin"),
    "AU37": Unit("lip wipe", "the tongue wipes the lips"),
    "AU38": Unit("nostril dilator", "the nostrils are widened", "nostril is widened"),
    "AU39": Unit("nostril compressor", "the nostrils are narrowed", "nostril is narrowed"),
    "AU43": Unit("eye closure", "the eyes are closed", "eye is closed"),
    "AU45": Unit("blink", "the eyes blink"),
    "AU46": Unit("wink", "one eye winks", "eye winks"),
    "AU51": Unit("head turn left", "the head is turned left"),
    "AU52": Unit("head turn right", "the head is turned right"),
    "AU53": Unit("head up", "the head is raised"),
    "AU54": Unit("head down", "the head is lowered"),
    "AU55": Unit("head tilt left", "the head is tilted left"),
    "AU56": Unit("head tilt right", "the head is tilted right"),
    "AU57": Unit("head forward", "the head is moved forward"),
    "AU58": Unit("head back", "the head is moved back"),
    "AU61": Unit("eyes turn left", "the eyes are turned left"),
    "AU62": Unit("eyes turn right", "the eyes are turned right"),
    "AU63": Unit("eyes up", "the eyes are turned up"),
    "AU64": Unit("eyes down", "the eyes are turned down"),
}

AU_NAMES: Mapping[str, str] = {code: unit.name for code, unit in UNITS.items()}

# Actions worded as one when all of them are shown together, the first that fits first.
COMPOUNDS: Mapping[tuple[str, ...], Unit] = {
    ("AU01", "AU02", "AU04"): Unit(
        "brows raised and drawn together", "the brows are raised and drawn together"
    ),
    ("AU01", "AU02", "AU05"): Unit(
        "brows and upper lids raised", "the brows and upper lids are raised"
    ),
    ("AU06", "AU12"): Unit(
        "lip corners pulled up, cheeks raised",
        "the lip corners are pulled up and the cheeks raised",
    ),
    ("AU25", "AU26"): Unit("mouth open, jaw dropped", "the mouth is open"),
    ("AU25", "AU27"): Unit("mouth stretched open", "the mouth is stretched open"),
    ("AU15", "AU17"): Unit(
        "lip corners pulled down, chin raised",
        "the lip corners are pulled down and the chin raised",
    ),
    ("AU01", "AU02"): Unit("brows raised", "the brows are raised"),
    ("AU01", "AU04"): Unit(
        "inner brows raised and drawn together", "the inner brows are raised and drawn together"
    ),
    ("AU04", "AU07"): Unit(
        "brows lowered, eyelids tightened", "the brows are lowered and the eyelids tightened"
    ),
    ("AU12", "AU25"): Unit(
        "lip corners pulled up, lips parted", "the lip corners are pulled up and the lips parted"
    ),
    ("AU23", "AU24"): Unit(
        "lips tightened and pressed", "the lips are tightened and pressed together"
    ),
    ("AU17", "AU24"): Unit(
        "chin raised, lips pressed", "the chin is raised and the lips pressed together"
    ),
}

# The left one of each pair of blendshapes that shows one action on either side of the face (names
# of ARKit, which MediaPipe gives too); left is the person's own.
BLENDSHAPES: Mapping[str, str] = {
    "AU02": "browOuterUpLeft",
    "AU04": "browDownLeft",
    "AU05": "eyeWideLeft",
    "AU06": "cheekSquintLeft",
    "AU07": "eyeSquintLeft",
    "AU09": "noseSneerLeft",
    "AU10": "mouthUpperUpLeft",
    "AU12": "mouthSmileLeft",
    "AU14": "mouthDimpleLeft",
    "AU15": "mouthFrownLeft",
    "AU16": "mouthLowerDownLeft",
    "AU20": "mouthStretchLeft",
    "AU43": "eyeBlinkLeft",
}

_SIDES: Mapping[str, Side] = {"": "", "L": "left", "R": "right"}
_COLUMN = re.compile(r"AU0*(\d{1,2})_?([LR]?)|([LR])0*(\d{1,2})")


def read_column(column: str) -> tuple[str, Side]:
    """Return the action unit a column is about, and its side of the face.

    A column that is none of FACS is returned as it is. "AU12L", "AU12_L" and FACS' own "L12" are
    the person's left.

    >>> read_column("AU1"), read_column("L12"), read_column("AU12_R"), read_column("smile")
    (('AU01', ''), ('AU12', 'left'), ('AU12', 'right'), ('smile', ''))
    """
    found = _COLUMN.fullmatch(column)
    if not found:
        return column, ""
    number, after, before, late = found.groups()
    return f"AU{int(number or late):02d}", _SIDES[after or before or ""]


def number_of(code: str, side: Side = "") -> str:
    """Return how an action unit is cited: "AU1", or "L12" for the left side alone.

    >>> number_of("AU01"), number_of("AU12", "left")
    ('AU1', 'L12')
    """
    number = code.removeprefix("AU").lstrip("0")
    return f"{side[0].upper()}{number}" if side else f"AU{number}"


def phrase(codes: tuple[str, ...], side: Side = "") -> str:
    """Name an action unit, or a compound of COMPOUNDS, by words and numbers.

    >>> phrase(("AU12",), "left")
    'left lip corner puller (L12)'
    >>> phrase(("AU01", "AU02"))
    'brows raised (AU1+AU2)'
    """
    unit = _unit(codes)
    if unit is None:
        return " ".join(filter(None, (side, *codes)))
    numbers = "+".join(number_of(code, side) for code in codes)
    return f"{side} {unit.name} ({numbers})".lstrip()


def clause(codes: tuple[str, ...], side: Side = "") -> str:
    """Return what an action unit or a compound does, as a clause.

    >>> clause(("AU12",), "left"), clause(("AU25", "AU26"))
    ('the left lip corner is pulled up', 'the mouth is open')
    """
    unit = _unit(codes)
    if unit is None:
        return " ".join(filter(None, (side, *codes, "is active")))
    if not side:
        return unit.clause
    return f"the {side} {unit.one}" if unit.one else f"on the {side}, {unit.clause}"


def _unit(codes: tuple[str, ...]) -> Unit | None:
    return UNITS.get(codes[0]) if len(codes) == 1 else COMPOUNDS[codes]
