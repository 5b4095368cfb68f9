"""From the answers of a matrix' cells to its report: scores, gains under shared draws, the winner.

All cells are scored under the same draws, so that a gain is a difference of the same groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from textualize.evaluate import compare
from textualize.evaluate.answers import Answers, answers
from textualize.evaluate.compare import Interval
from textualize.evaluate.matrix_findings import CellScore, Gain, Header, Matrix, Winner, rank_of
from textualize.evaluate.metrics import Float64
from textualize.evaluate.settings import AXES, CellAnswers, Setting
from textualize.evaluate.tallies import score_tallies
from textualize.labels import LabelSet
from textualize.types import PROMPT_CUT, Record


def build_matrix(
    header: Header,
    validation: Mapping[Setting, CellAnswers],
    test: Mapping[Setting, CellAnswers],
    records: Sequence[Record],
) -> Matrix:
    """Return the report of a matrix.

    Args:
        header: what was asked.
        validation: the answers of every cell.
        test: those of the winner and the reference, or nothing.
        records: the labelled records of both parts.

    Raises:
        TextualizeError: an answer is about another clip than the records.
    """
    labels = LabelSet("matrix", header.labels, {})
    read = {s: answers(str(s), a.predictions, records, labels) for s, a in validation.items()}
    one = next(iter(read.values()))
    values, drawn = compare.scores_under_draws(
        list(read.values()), header.statistic, draws=header.draws, seed=header.seed
    )
    under = _Scores(dict(zip(read, values.tolist(), strict=True)),
                    dict(zip(read, drawn, strict=True)), len(set(one.groups)))  # fmt: skip
    cells = tuple(_cell(s, read[s], a, under.interval(s)) for s, a in validation.items())
    best = min(cells, key=rank_of)
    return Matrix(
        header,
        clips=len(one.ids),
        groups=under.groups,
        tested=len(next(iter(test.values())).predictions) if test else 0,
        cells=cells,
        spread=spread_of(under.values, under.values),
        gains=tuple(_gains(under, header.reference)),
        winner=_winner(header, best, test, records, labels),
    )


def _cell(setting: Setting, read: Answers, given: CellAnswers, score: Interval) -> CellScore:
    tallies = read.tallies().sum(axis=1)
    return CellScore(
        setting,
        score,
        float(score_tallies("accuracy", tallies, read.n_classes).mean()),
        sum(p.label is None for p in given.predictions),
        fmean(given.tokens),
        sum(p.text.startswith(PROMPT_CUT) for p in given.predictions),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Scores:
    """Every cell's score, and its scores (draws,) under draws of `groups` that all cells share."""

    values: Mapping[Setting, float]
    drawn: Mapping[Setting, Float64]
    groups: int

    def interval(self, setting: Setting) -> Interval:
        return compare.interval_of(self.drawn[setting], self.values[setting], self.groups)

    def gain(self, pairs: Mapping[Setting, Setting]) -> Interval:
        """The mean difference of pairs of cells, with its interval."""
        changes = [self.drawn[one] - self.drawn[other] for one, other in pairs.items()]
        value = fmean([self.values[one] - self.values[other] for one, other in pairs.items()])
        return compare.interval_of(np.mean(changes, axis=0), value, self.groups)


def spread_of(scores: Mapping[Setting, float], cells: Mapping[Setting, Any]) -> float | None:
    """Return the mean distance between best and worst paraphrase of these cells; None of one each.

    >>> spread_of({Setting("a"): 0.2, Setting("a", paraphrase=2): 0.5}, {Setting("a"): 0})
    0.3
    """
    bases = {c.without("paraphrase") for c in cells}
    same: dict[Setting, list[float]] = {}
    for setting, value in scores.items():
        if (base := setting.without("paraphrase")) in bases:
            same.setdefault(base, []).append(value)
    apart = [max(own) - min(own) for own in same.values() if len(own) > 1]
    return fmean(apart) if apart else None


def _gains(under: _Scores, reference: Setting) -> list[Gain]:
    found = []
    for axis in AXES:
        against = getattr(reference, axis)
        levels = dict.fromkeys(getattr(s, axis) for s in under.values)
        for level in (x for x in levels if x != against):
            found += _gain(under, axis, level, against)
    return found


def _gain(under: _Scores, axis: str, level: Any, against: Any) -> list[Gain]:
    """Return the gain of a level, none where no two cells differ in it alone."""
    scores = under.values
    others = {s.without(axis): s for s in scores if getattr(s, axis) == against}
    pairs = {
        s: others[key]
        for s in scores
        if getattr(s, axis) == level and (key := s.without(axis)) in others
    }
    if not pairs:
        return []
    by_paraphrase: dict[int, list[float]] = {}
    for one, other in pairs.items():
        by_paraphrase.setdefault(one.paraphrase, []).append(scores[one] - scores[other])
    each = [fmean(own) for own in by_paraphrase.values()]
    spread = spread_of(scores, dict.fromkeys([*pairs, *pairs.values()]))
    found = under.gain(pairs)
    low, high = min(each), max(each)
    return [Gain(axis, str(level), str(against), len(pairs), found.value, low, high, spread, found)]


def _winner(
    header: Header,
    best: CellScore,
    test: Mapping[Setting, CellAnswers],
    records: Sequence[Record],
    labels: LabelSet,
) -> Winner:
    if best.setting not in test or header.reference not in test:
        return Winner(best.setting, best.score)
    won, other = (
        answers(str(s), test[s].predictions, records, labels)
        for s in (best.setting, header.reference)
    )
    draws, seed, score = header.draws, header.seed, header.statistic
    return Winner(
        best.setting,
        best.score,
        compare.interval(won, score, draws=draws, seed=seed),
        compare.interval(other, score, draws=draws, seed=seed),
        compare.paired_difference(won, other, score, draws=draws, seed=seed),
    )
