"""Compound emotions: scores beside the usual ones, and answers from basics to compounds and back.

without Other, dropped      clips labelled Other are left out; who answers Other is wrong
without Other, restricted   as well, the answer is the most probable of the other classes, which
                            is how Richet et al. 2024 score C-EXPR-DB
two-hot                     macro F1 over basics: half a compound right is half right
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from textualize.evaluate.answers import Answers, Given, by_seed
from textualize.evaluate.compare import Interval, Statistic, interval
from textualize.evaluate.metrics import SCORES, UNPARSED, Float64, Int64, two_hot_f1, without
from textualize.labels import (
    BASIC,
    LabelSet,
    Rule,
    basics_from_compounds,
    compounds_from_basics,
    pairs_of,
    to_basic,
)
from textualize.types import Prediction

OTHER = "other"
DROPPED = "macro F1 without Other, dropped"
RESTRICTED = "macro F1 without Other, restricted"
TWO_HOT = "two-hot macro F1 over basics"


def compound_scores(
    method: Answers, given: Given, labels: LabelSet, *, draws: int, seed: int
) -> dict[str, Interval]:
    """Return what is scored beside the usual, with intervals; empty where labels ask for none.

    Without Other is there where labels have it and other clips are scored, restricted where the
    method gives probabilities; two-hot where at least two labels are compounds.
    """
    asked: dict[str, tuple[Answers, Statistic]] = {}
    kept = _without_other(method, labels)
    if kept is not None:
        other = labels.index(OTHER)
        asked[DROPPED] = (kept, lambda t: SCORES["macro_f1"](without(t, other)))
        restricted = _restricted(kept, given, labels, other)
        if restricted is not None:
            asked[RESTRICTED] = (restricted, asked[DROPPED][1])
    if len(pairs_of(labels)) > 1:
        members = member_matrix(labels)
        asked[TWO_HOT] = (method, lambda t: two_hot_f1(t, members))
    return {
        name: interval(own, statistic, draws=draws, seed=seed)
        for name, (own, statistic) in asked.items()
    }


def member_matrix(labels: LabelSet) -> Float64:
    """Return (C, K) of the basics that occur in the labels, 1 where class c is made of basic k."""
    pairs = pairs_of(labels)
    used = [b for b in BASIC if any(b in pair for pair in pairs.values())]
    rows = [[float(b in pairs.get(label, ())) for b in used] for label in labels.labels]
    return np.array(rows, dtype=np.float64)


def _without_other(method: Answers, labels: LabelSet) -> Answers | None:
    """The answers for clips that are not labelled Other; None where there is no such label."""
    if OTHER not in labels.labels:
        return None
    kept = [c for c, t in zip(method.ids, method.true, strict=True) if t != labels.index(OTHER)]
    return method.only(kept) if kept else None


def _restricted(kept: Answers, given: Given, labels: LabelSet, other: int) -> Answers | None:
    """The answers that would have been given without the class Other; None without scores."""
    rows = [_most_probable(kept, own, labels, other) for own in by_seed(given).values()]
    found = [r for r in rows if r is not None]
    return replace(kept, predicted=np.stack(found)) if len(found) == len(rows) else None


def _most_probable(
    kept: Answers, predictions: Sequence[Prediction], labels: LabelSet, other: int
) -> Int64 | None:
    scores = {p.clip_id: p.scores for p in predictions if p.label is not None}
    if not all(scores.values()):
        return None
    found = np.full(len(kept.ids), UNPARSED, dtype=np.int64)
    for i, clip in enumerate(kept.ids):
        if clip in scores:
            own = np.array([scores[clip].get(label, 0.0) for label in labels.labels])
            own[other] = -1.0
            found[i] = own.argmax()
    return found


# --- from basics to compounds and back ----------------------------------------------------------


def translation(source: LabelSet, target: LabelSet) -> str:
    """Return how answers in one label set can be read in another, in words; "" for not at all.

    >>> from textualize.labels import LABEL_SETS as sets
    >>> translation(sets["meld7"], sets["compound7"]), translation(sets["meld7"], sets["meld7"])
    ('compounds from basics', '')
    >>> translation(sets["compound8"], sets["basic7"])
    'basics from compounds'
    """
    here, there = pairs_of(source), pairs_of(target)
    if there and not here and _basics(there) <= {to_basic(x) for x in source.labels}:
        return "compounds from basics"
    if here and not there and _basics(here) <= {to_basic(x) for x in target.labels}:
        return "basics from compounds"
    return ""


def _basics(pairs: Mapping[str, tuple[str, str]]) -> set[str | None]:
    return {b for pair in pairs.values() for b in pair}


def translated(
    predictions: Sequence[Prediction], source: LabelSet, target: LabelSet, rule: Rule = "product"
) -> list[Prediction]:
    """Return answers given in one label set as answers in another; see `labels`.

    An answer without scores, or of which nothing is left, is one that could not be read.

    Raises:
        TextualizeError: another rule.
    """
    found = []
    for p in predictions:
        scores: dict[str, float] = {}
        if p.scores and pairs_of(target):
            scores = compounds_from_basics(p.scores, target, rule)
        elif p.scores:
            scores = basics_from_compounds(p.scores, source, target)
        label = max(scores, key=lambda x: scores[x]) if scores else None
        found.append(replace(p, label=label, scores=scores))
    return found
