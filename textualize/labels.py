"""Label sets; a compound emotion is an unordered pair of basic ones."""

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
        _set("basic7", ("neutral", *BASIC)),
        _set("meld7", ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")),
        _set(
            "ravdess8",
            ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"),
        ),
    )
}


def label_set(name: str) -> LabelSet:
    """Return a shipped label set by name; raises TextualizeError for an unknown one."""
    if name not in LABEL_SETS:
        raise unknown("label set", name, LABEL_SETS)
    return LABEL_SETS[name]


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
