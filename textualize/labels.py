"""Label sets, and how each corpus writes its labels; a compound is a pair of basic emotions.

A label has one spelling and one place in one label set. What a corpus or a published system writes
in its place (a class id, a capitalised name, a dashed folder name) is a `Coding`: looked up in both
directions, never guessed from an order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from textualize.errors import TextualizeError, unknown

BASIC = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")


@dataclass(frozen=True, slots=True)
class LabelSet:
    """An ordered set of class names; the order is the order of every score vector.

    `pairs` maps a compound label to its two basic emotions.
    """

    name: str
    labels: tuple[str, ...]
    pairs: Mapping[str, tuple[str, str]]

    def index(self, label: str | float | None) -> int:
        """Return the class id of `label`; raises TextualizeError if it is not in the set."""
        if not isinstance(label, str) or label not in self.labels:
            raise TextualizeError(
                f"label {label!r} is not in label set '{self.name}' ({', '.join(self.labels)})"
            )
        return self.labels.index(label)

    def __len__(self) -> int:
        return len(self.labels)


def _set(name: str, labels: Sequence[str], **pairs: tuple[str, str]) -> LabelSet:
    return LabelSet(name, tuple(labels), pairs)


_COMPOUND: Mapping[str, tuple[str, str]] = {
    "fearfully surprised": ("fear", "surprise"),
    "happily surprised": ("happiness", "surprise"),
    "sadly surprised": ("sadness", "surprise"),
    "disgustedly surprised": ("disgust", "surprise"),
    "angrily surprised": ("anger", "surprise"),
    "sadly fearful": ("fear", "sadness"),
    "sadly angry": ("anger", "sadness"),
}

LABEL_SETS: Mapping[str, LabelSet] = {
    s.name: s
    for s in (
        # The seven compounds of the ABAW challenge on C-EXPR-DB, in its class order.
        LabelSet("compound7", tuple(_COMPOUND), _COMPOUND),
        LabelSet("compound8", (*_COMPOUND, "other"), _COMPOUND),
        _set("basic7", ("neutral", *BASIC)),
        _set("meld7", ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")),
        _set(
            "ravdess8",
            ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"),
        ),
        _set("emory7", ("neutral", "joyful", "peaceful", "powerful", "scared", "mad", "sad")),
        _set("polarity2", ("negative", "positive")),
    )
}

# What other corpora call the basic emotions and neutral.
_SAME_AS: Mapping[str, str] = {
    "joy": "happiness", "joyful": "happiness", "happy": "happiness",
    "sad": "sadness",
    "angry": "anger", "mad": "anger",
    "fearful": "fear", "scared": "fear",
    "surprised": "surprise",
}  # fmt: skip


def to_basic(label: str) -> str | None:
    """Return the `basic7` name of a corpus' label, or None for one that is no basic emotion.

    >>> to_basic("joy"), to_basic("mad"), to_basic("neutral"), to_basic("peaceful")
    ('happiness', 'anger', 'neutral', None)
    """
    name = _SAME_AS.get(label, label)
    return name if name in LABEL_SETS["basic7"].labels else None


@dataclass(frozen=True, slots=True)
class Coding:
    """How one corpus or system writes the labels of a label set.

    `codes` maps what it writes, as text, to the label. Every code stands for one label and every
    label has one code.
    """

    name: str
    labels: LabelSet
    codes: Mapping[str, str]

    def label(self, code: str | int) -> str:
        """Return the label of a code; raises TextualizeError for one that is not in the table."""
        found = self.codes.get(str(code).strip())
        if found is None:
            raise TextualizeError(
                f"{self.name} has no label '{code}' (labels: {', '.join(self.codes)})"
            )
        return found

    def code(self, label: str) -> str:
        """Return what the corpus writes for a label; raises TextualizeError for another one."""
        self.labels.index(label)
        return next(code for code, known in self.codes.items() if known == label)


def _coding(name: str, labels: str, codes: Iterable[tuple[str | int, str]]) -> Coding:
    return Coding(name, LABEL_SETS[labels], {str(code): label for code, label in codes})


# Neutral 0, Happiness 1, … : the order of RAF-DB and of the published feature models on MELD.
_FEATURE_ORDER = ("neutral", "happiness", "surprise", "fear", "anger", "disgust", "sadness")

CODINGS: Mapping[str, Coding] = {
    c.name: c
    for c in (
        _coding("c-expr-db", "compound8", enumerate(LABEL_SETS["compound8"].labels)),
        _coding(  # folders and clip ids: Fearfully-Surprised
            "c-expr-db-names",
            "compound8",
            ((x.title().replace(" ", "-"), x) for x in LABEL_SETS["compound8"].labels),
        ),
        _coding("meld", "meld7", ((x, x) for x in LABEL_SETS["meld7"].labels)),
        # The two published systems on MELD number its labels differently.
        _coding("meld-text-models", "meld7", enumerate(sorted(LABEL_SETS["meld7"].labels))),
        _coding(
            "meld-feature-models",
            "meld7",
            enumerate("joy" if x == "happiness" else x for x in _FEATURE_ORDER),
        ),
        _coding("raf-db", "basic7", enumerate(_FEATURE_ORDER)),
        _coding(
            "ravdess",
            "ravdess8",
            ((f"{n:02d}", x) for n, x in enumerate(LABEL_SETS["ravdess8"].labels, 1)),
        ),
        _coding("emorynlp", "emory7", ((x.title(), x) for x in LABEL_SETS["emory7"].labels)),
        _coding("mosi", "polarity2", enumerate(LABEL_SETS["polarity2"].labels)),
    )
}


def label_set(name: str) -> LabelSet:
    """Return a shipped label set by name; raises TextualizeError for an unknown one."""
    if name not in LABEL_SETS:
        raise unknown("label set", name, LABEL_SETS)
    return LABEL_SETS[name]


def coding(name: str) -> Coding:
    """Return how a corpus or system writes its labels; raises TextualizeError for an unknown."""
    if name not in CODINGS:
        raise unknown("coding of labels", name, CODINGS)
    return CODINGS[name]


def labels_of(values: Iterable[str | float | None]) -> LabelSet:
    """Return the shipped set with exactly these labels, else the labels in sorted order.

    >>> labels_of(["fear", *BASIC, "neutral"]).name
    'basic7'
    >>> labels_of(["b", "a"]).labels
    ('a', 'b')
    """
    seen = {v for v in values if isinstance(v, str)}
    for known in LABEL_SETS.values():
        if seen == set(known.labels):
            return known
    return LabelSet("own", tuple(sorted(seen)), {})
