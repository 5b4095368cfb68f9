"""Which methods are compared: the best words with the best tracks, and all pairs with one another.

The headline's pair is chosen by validation scores, never by the scores that are reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from textualize.errors import TextualizeError
from textualize.evaluate import compare
from textualize.evaluate.answers import Answers
from textualize.evaluate.compare import Difference
from textualize.evaluate.lines import Claim, Row
from textualize.evaluate.rows import Drawing
from textualize.evaluate.tallies import LOWER_IS_BETTER

Pairs = Sequence[tuple[str, str]]


def headline_of(rows: Sequence[Row], pairs: Pairs | None) -> tuple[tuple[str, str] | None, str]:
    """Return the words and the tracks method best on validation, or None and why not."""
    if pairs is not None:
        return (pairs[0], "") if len(pairs) == 1 else (None, "")
    chosen = []
    for reads in ("words", "tracks"):
        side = [r for r in rows if r.reads == reads]
        scores = {r.name: r.trained.validation if r.trained else None for r in side}
        if not side:
            return None, f"no method reads {reads}: words and features are not compared"
        if len(side) > 1 and any(score is None for score in scores.values()):
            lack = ", ".join(name for name, score in scores.items() if score is None)
            return None, f"no best method that reads {reads}: no validation score of {lack}"
        if len({r.trained.select for r in side if r.trained}) > 1:
            return None, f"methods that read {reads} were selected by different scores"
        select = next((r.trained.select for r in side if r.trained), "")
        sign = 1 if select in LOWER_IS_BETTER else -1
        chosen.append(min(side, key=lambda r: (sign * (scores[r.name] or 0.0), r.name)).name)
    return (chosen[0], chosen[1]), ""


def differences_of(
    rows: Sequence[Row],
    methods: Mapping[str, Answers],
    pairs: Pairs | None,
    claims: Sequence[Claim],
    drawing: Drawing,
) -> tuple[Difference, ...]:
    """Return the differences of these pairs, p corrected for their number.

    Without `pairs`: each method that reads words with each that reads tracks, and what `claims`
    are of.

    Raises:
        TextualizeError: one of a pair has no predictions.
    """
    if pairs is None:
        sides = {k: [r.name for r in rows if r.reads == k] for k in ("words", "tracks")}
        pairs = [(a, b) for a in sides["words"] for b in sides["tracks"]]
        pairs += [(c.better, c.than) for c in claims if (c.better, c.than) not in pairs]
    absent = sorted({name for pair in pairs for name in pair} - methods.keys())
    if absent:
        raise TextualizeError(
            f"no predictions of {', '.join(absent)} to compare; known: {', '.join(methods)}"
        )
    found = [
        compare.paired_difference(
            methods[a], methods[b], drawing.statistic, draws=drawing.draws, seed=drawing.seed
        )
        for a, b in pairs
    ]
    corrected = compare.holm([d.p for d in found])
    return tuple(replace(d, p_holm=p) for d, p in zip(found, corrected, strict=True))
