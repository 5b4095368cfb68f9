"""Label sets, and how each corpus writes its labels; a compound is a pair of basic emotions.

A label has one spelling and one place in one label set. What a corpus or a published system writes
in its place (a class id, a capitalised name, a dashed folder name) is a `Coding`: looked up in both
directions, never guessed from an order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

from textualize.errors import TextualizeError, unknown

Rule = Literal["product", "min"]  # how a compound is scored from its two basics
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

    @property
    def numeric(self) -> bool:
        """True where clips are labelled with numbers: there are no classes."""
        return not self.labels


NUMBERS = LabelSet("numbers", (), {})  # stands where a label set does, for clips that have none


def is_number(label: str | float | None) -> bool:
    """Return whether a clip's label is a finite number.

    >>> is_number(0.5), is_number("0.5"), is_number(float("nan")), is_number(None)
    (True, False, False, False)
    """
    return isinstance(label, int | float) and math.isfinite(label)


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
        _set("afew7", ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")),
        _set(
            "affectnet8",
            ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt"),
        ),
        _set("biovid2", ("no pain", "pain 4")),
        _set("biovid5", ("no pain", "pain 1", "pain 2", "pain 3", "pain 4")),
    )
}

# What other corpora call the basic emotions and neutral.
_SAME_AS: Mapping[str, str] = {
    "joy": "happiness", "joyful": "happiness", "happy": "happiness",
    "sad": "sadness",
    "angry": "anger", "mad": "anger",
    "fearful": "fear", "scared": "fear",
    "surprised": "surprise",
    "disgusted": "disgust",
}  # fmt: skip
_ADVERBS: Mapping[str, str] = {
    "angrily": "anger", "disgustedly": "disgust", "fearfully": "fear", "happily": "happiness",
    "joyfully": "happiness", "sadly": "sadness", "surprisedly": "surprise",
}  # fmt: skip


def to_basic(label: str) -> str | None:
    """Return the `basic7` name of a corpus' label, or None for one that is no basic emotion.

    >>> to_basic("joy"), to_basic("mad"), to_basic("neutral"), to_basic("peaceful")
    ('happiness', 'anger', 'neutral', None)
    """
    name = _SAME_AS.get(label, label)
    return name if name in LABEL_SETS["basic7"].labels else None


# --- compounds ----------------------------------------------------------------------------------


def pairs_of(labels: LabelSet) -> Mapping[str, tuple[str, str]]:
    """Return the two basic emotions of every compound in a label set.

    They are those the set declares, else what the label's two words name.

    >>> pairs_of(LabelSet("own", ("happily disgusted", "other"), {}))
    {'happily disgusted': ('disgust', 'happiness')}
    """
    found = dict(labels.pairs)
    for label in labels.labels:
        words = label.casefold().replace("-", " ").split()
        named = sorted({b for w in words if (b := _ADVERBS.get(w) or to_basic(w)) in BASIC})
        if label not in found and len(words) == len(named) == 2:
            found[label] = (named[0], named[1])
    return found


def rule_named(name: str) -> Rule:
    """Return a rule by its name; raises TextualizeError for another."""
    for known in get_args(Rule):
        if name == known:
            return cast(Rule, known)
    raise unknown("rule", name, get_args(Rule))


def compounds_from_basics(
    scores: Mapping[str, float], compounds: LabelSet, rule: Rule = "product"
) -> dict[str, float]:
    """Return the probability of every compound by those of the two basics it is made of.

    Args:
        scores: probabilities of basic emotions, by any corpus' names for them.
        compounds: the label set to score; a label without a pair, as "other", gets 0.
        rule: of a pair's two probabilities their "product", as if independent, or the "min", what
            is there of both.

    Returns:
        Probabilities that sum to 1; an empty dict where no compound has any.

    Raises:
        TextualizeError: another rule, or a basic of a pair is not among the scores.

    >>> basics = {"fear": 0.5, "sad": 0.2, "angry": 0.2, "surprised": 0.1}
    >>> own = LabelSet("own", ("sadly fearful", "sadly angry"), {})
    >>> {k: round(v, 3) for k, v in compounds_from_basics(basics, own).items()}
    {'sadly fearful': 0.714, 'sadly angry': 0.286}
    """
    rule = rule_named(rule)
    basic = {to_basic(name): p for name, p in scores.items()}
    pairs = pairs_of(compounds)
    absent = sorted({b for pair in pairs.values() for b in pair} - basic.keys())
    if absent:
        raise TextualizeError(
            f"compounds need the score of '{absent[0]}'; given {', '.join(scores) or 'none'}"
        )
    found = dict.fromkeys(compounds.labels, 0.0)
    for label, (a, b) in pairs.items():
        found[label] = min(basic[a], basic[b]) if rule == "min" else basic[a] * basic[b]
    return _normalised(found)


def basics_from_compounds(
    scores: Mapping[str, float], compounds: LabelSet, basics: LabelSet
) -> dict[str, float]:
    """Return the share of every basic emotion in the probabilities of compounds.

    Each compound gives half of its probability to either basic; what has no pair, as "other", gives
    none. Returns probabilities that sum to 1 in the names of `basics`, an empty dict where nothing
    is left.

    >>> seven = LABEL_SETS["compound7"]
    >>> found = basics_from_compounds({"sadly angry": 0.8, "happily surprised": 0.2}, seven,
    ...                               LABEL_SETS["meld7"])
    >>> found["anger"], found["joy"], found["neutral"]
    (0.4, 0.1, 0.0)
    """
    share = dict.fromkeys(BASIC, 0.0)
    for label, pair in pairs_of(compounds).items():
        for basic in pair:
            share[basic] += scores.get(label, 0.0) / 2
    return _normalised({x: share.get(to_basic(x) or "", 0.0) for x in basics.labels})


def _normalised(scores: Mapping[str, float]) -> dict[str, float]:
    total = sum(scores.values())
    return {label: p / total for label, p in scores.items()} if total > 0 else {}


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


# Neutral 0, Happiness 1, … : the order of models on RAF-DB and of the published ones on MELD.
_FEATURE_ORDER = ("neutral", "happiness", "surprise", "fear", "anger", "disgust", "sadness")
# RAF-DB's own lists number from 1.
_RAF_DB_ORDER = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")

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
        _coding("raf-db-list", "basic7", enumerate(_RAF_DB_ORDER, 1)),
        _coding("affectnet", "affectnet8", enumerate(LABEL_SETS["affectnet8"].labels)),
        _coding("afew", "afew7", ((x.title(), x) for x in LABEL_SETS["afew7"].labels)),
        _coding(  # BL1 is the baseline, PA1 to PA4 the levels of pain
            "biovid",
            "biovid5",
            zip(("BL1", "PA1", "PA2", "PA3", "PA4"), LABEL_SETS["biovid5"].labels, strict=True),
        ),
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

    For numbers it is `NUMBERS`.

    >>> labels_of(["fear", *BASIC, "neutral"]).name
    'basic7'
    >>> labels_of(["b", "a"]).labels
    ('a', 'b')
    """
    given = {v for v in values if v is not None}
    seen = {v for v in given if isinstance(v, str)}
    if given and not seen:
        return NUMBERS
    for known in LABEL_SETS.values():
        if seen == set(known.labels):
            return known
    return LabelSet("own", tuple(sorted(seen)), {})
