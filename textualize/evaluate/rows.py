"""One method's line of a report, and the line of always giving one answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from textualize.errors import TextualizeError
from textualize.evaluate import metrics
from textualize.evaluate.answers import Answers, Given, by_seed
from textualize.evaluate.compare import Interval, UndefinedScoreError, interval
from textualize.evaluate.compounds import compound_scores
from textualize.evaluate.findings import Family, Row, Trained
from textualize.evaluate.metrics import ClassScore, Float64
from textualize.evaluate.tallies import score_names, score_tallies
from textualize.labels import LabelSet
from textualize.methods import METHODS, entry
from textualize.types import Prediction

# Shown apart; bag-of-words and linear still compete for the words and the features.
_FLOOR = ("majority", "bag-of-words", "linear")
SIDES: Mapping[str, Family] = {  # by what is read
    "words": "text", "tracks": "features", "pictures": "features", "nothing": "floor",
    "labels": "oracle",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Drawing:
    """The report's statistic, how many draws its intervals are of, and the seed of these."""

    statistic: str
    draws: int
    seed: int


def row_of(
    method: Answers, given: Given, labels: LabelSet, trained: Trained | None, drawing: Drawing
) -> Row:
    """Return a method's line.

    Raises:
        TextualizeError: the method is unknown and has no run, or it gives probabilities that are
            not numbers.
    """
    known = trained.method if trained else method.method
    if trained is None and known not in METHODS:
        raise TextualizeError(f"'{known}' is no known method and has no run: pass its run in runs=")
    reads = (trained.reads if trained else None) or entry(known).reads
    chances = None if labels.numeric else _all_probabilities(method, given, labels)
    true = np.tile(method.true, len(method.seeds))
    each = score_tallies(drawing.statistic, method.tallies().sum(axis=1), method.n_classes)
    seeds = tuple(s for s in by_seed(given) if s is not None)
    return Row(
        name=method.method,
        family="floor" if known in _FLOOR else SIDES[reads],
        reads=reads,
        scores=_scores(method, drawing),
        clips=len(method.ids),
        groups=len(set(method.groups)),
        unparsed=0 if labels.numeric else int((method.predicted == metrics.UNPARSED).sum()),
        ece=None if chances is None else metrics.ece(true, chances),
        brier=None if chances is None else metrics.brier(true, chances),
        per_class=_per_class(method),
        confusion=_confusion(method),
        beside={}
        if labels.numeric
        else compound_scores(method, given, labels, draws=drawing.draws, seed=drawing.seed),
        reliability=() if chances is None else tuple(metrics.reliability(true, chances)),
        trained=trained,
        seeds=seeds,
        by_seed=tuple(each.tolist()) if seeds else (),
    )


def _scores(method: Answers, drawing: Drawing) -> dict[str, Interval]:
    """Every score that is defined: a correlation is not where all answers are the same."""
    found = {}
    for name in score_names(method.n_classes):
        with suppress(UndefinedScoreError):  # the report tells which are missing
            found[name] = interval(method, name, draws=drawing.draws, seed=drawing.seed)
    return found


def _per_class(method: Answers) -> tuple[ClassScore, ...]:
    if not method.n_classes:
        return ()
    seeds = [metrics.per_class(method.true, row, method.n_classes) for row in method.seeds]
    return tuple(
        ClassScore(
            float(np.mean([s.precision for s in own])),
            float(np.mean([s.recall for s in own])),
            float(np.mean([s.f1 for s in own])),
            own[0].support,
        )
        for own in zip(*seeds, strict=True)
    )


def _confusion(method: Answers) -> tuple[tuple[int, ...], ...]:
    if not method.n_classes:
        return ()
    counts = sum(metrics.confusion(method.true, row, method.n_classes) for row in method.seeds)
    return tuple(tuple(row) for row in np.asarray(counts).tolist())


def _all_probabilities(method: Answers, given: Given, labels: LabelSet) -> Float64 | None:
    """Class probabilities of all seeds, (S * B, C), or None if a seed gives none."""
    own = [
        _probabilities(method, row, predictions, labels)
        for row, predictions in zip(method.seeds, by_seed(given).values(), strict=True)
    ]
    found = [p for p in own if p is not None]
    return np.concatenate(found) if len(found) == len(own) else None


def _probabilities(
    method: Answers, predicted: Sequence[int], predictions: Sequence[Prediction], labels: LabelSet
) -> Float64 | None:
    """Class probabilities (B, C) in the order of clip ids, zeros where unparsed, None if none."""
    scores = {p.clip_id: p.scores for p in predictions}
    told = [bool(scores[c]) or p < 0 for c, p in zip(method.ids, predicted, strict=True)]
    if not all(told) or not any(scores[c] for c in method.ids):
        return None
    rows = [[float(scores[c].get(label, 0.0)) for label in labels.labels] for c in method.ids]
    chances = np.array(rows, dtype=np.float64)
    broken = int((~np.isfinite(chances)).any(axis=1).sum())
    if broken:
        raise TextualizeError(
            f"method '{method.method}' gives class probabilities that are not numbers for {broken} "
            "clips: its training diverged, train it with a lower lr"
        )
    return chances


def constant(method: Answers, labels: LabelSet) -> dict[str, float | str]:
    """Return what one answer for all clips scores: their most frequent label, or their mean.

    Of numbers only the errors and CCC are there, a correlation with a constant is undefined.
    """
    if labels.numeric:
        mean = float(method.true.mean())
        always = np.full_like(method.true, mean)
        errors = {n: f(always, method.true) for n, f in _ERRORS.items()}
        return {"label": f"{mean:.3f}", **errors}
    most = int(np.bincount(method.true, minlength=len(labels)).argmax())
    always = np.full_like(method.true, most)
    return {
        "label": labels.labels[most],
        **{
            s: metrics.score(s, method.true, always, len(labels))
            for s in score_names(method.n_classes)
        },
    }


_ERRORS = {"ccc": metrics.ccc, "mae": metrics.mae, "rmse": metrics.rmse}
