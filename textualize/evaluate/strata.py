"""Where words and features differ: by how much was said, by missing cues, and clip by clip.

Strata are scored by accuracy, or by the mean absolute error of numbers: an average over classes
means little where most classes have no clip. What a clip is sorted by is written beside the
predictions, so that every number can be recomputed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from textualize.evaluate.answers import Answers
from textualize.evaluate.combine import Combined, combined_table
from textualize.evaluate.compare import Interval, interval
from textualize.evaluate.spoken import interval_text, score_text
from textualize.types import MODALITIES, Record

_WORDS = ((0, "none"), (5, "1 to 5"), (10, "6 to 10"), (20, "11 to 20"))
_MORE_WORDS = "more than 20"
_SURE = ((0.5, "below 0.5"), (0.8, "0.5 to 0.8"))
_SURER = "0.8 and more"
Table = tuple[str, list[str], list[list[str]]]  # title, head, rows
SHOWN = 5  # clips named of each kind of disagreement


@dataclass(frozen=True, slots=True)
class Condition:
    """What a clip is sorted by: words said, the recogniser's confidence, every sensor's state.

    The confidence is None where nothing says it, as of a given transcript. `speaker` says whether
    unlabelled statistics of its speaker stand beside the clip, None in older reports.
    """

    clip_id: str
    words: int
    confidence: float | None
    states: Mapping[str, str] = field(default_factory=dict, hash=False)
    speaker: bool | None = None


@dataclass(frozen=True, slots=True)
class Stratum:
    """Clips that go alike in one respect (`by`), and every method's `score` on them."""

    by: str
    name: str
    clips: int
    score: str
    scores: Mapping[str, Interval] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the answers of two methods, of their first seeds, lie to one another.

    Clips both have right, only one, neither with the same answer, neither with two; Cohen's
    `kappa` of the answers; `oracle` is the accuracy of always taking the right one of the two.
    `by_class` are (class, only a right, only b right); the examples are clips.
    """

    a: str
    b: str
    both: int
    only_a: int
    only_b: int
    neither_same: int
    neither_apart: int
    kappa: float | None
    oracle: Interval
    by_class: tuple[tuple[str, int, int], ...]
    a_right: tuple[str, ...]
    b_right: tuple[str, ...]


def condition_of(record: Record) -> Condition:
    """Return what a record is sorted by; confidence is the mean over its words' utterances."""
    told = [(u.confidence, len(u.text.split())) for u in record.utterances]
    sure = [(c, n) for c, n in told if c is not None and n]
    total = sum(n for _, n in sure)
    states: dict[str, str] = {
        m: record.status[m].state if m in record.status else "not_run" for m in MODALITIES
    }
    return Condition(
        record.clip.id,
        sum(n for _, n in told),
        sum(c * n for c, n in sure) / total if total else None,
        states,
        record.speaker is not None,
    )


def strata_of(
    conditions: Sequence[Condition], methods: Sequence[Answers], *, draws: int, seed: int
) -> tuple[Stratum, ...]:
    """Return every method's score in every stratum; what sorts all clips alike is left out."""
    ways: list[tuple[str, Callable[[Condition], str]]] = [
        ("words per clip", lambda c: _bin(c.words, _WORDS, _MORE_WORDS)),
        ("confidence of the transcript", _confidence),
        *((f"{m} sensor", _state(m)) for m in MODALITIES),
    ]
    wanted = set(methods[0].ids)
    own = [c for c in conditions if c.clip_id in wanted]
    found = []
    for by, sort in ways:
        sorted_clips: dict[str, list[str]] = {}
        for condition in own:
            sorted_clips.setdefault(sort(condition), []).append(condition.clip_id)
        if len(sorted_clips) < 2:
            continue
        order = [name for _, name in (*_WORDS, *_SURE)] + [_MORE_WORDS, _SURER]
        for name in sorted(
            sorted_clips, key=lambda n: (n not in order, order.index(n) if n in order else 0, n)
        ):
            clips = sorted_clips[name]
            found.append(_stratum(by, name, clips, methods, draws, seed))
    return tuple(found)


def _bin(value: float, bins: Sequence[tuple[float, str]], rest: str) -> str:
    return next((name for last, name in bins if value <= last), rest)


def _confidence(condition: Condition) -> str:
    if condition.confidence is None:
        return "unknown"
    return next((name for end, name in _SURE if condition.confidence < end), _SURER)


def _state(modality: str) -> Callable[[Condition], str]:
    return lambda condition: condition.states.get(modality, "not_run").replace("_", " ")


def _stratum(
    by: str, name: str, clips: Sequence[str], methods: Sequence[Answers], draws: int, seed: int
) -> Stratum:
    statistic = "accuracy" if methods[0].n_classes else "mae"
    scores = {m.method: interval(m.only(clips), statistic, draws=draws, seed=seed) for m in methods}
    return Stratum(by, name, len(clips), score_text(statistic), scores)


def agreement_of(
    a: Answers, b: Answers, labels: Sequence[str], *, draws: int, seed: int
) -> Agreement | None:
    """Return how two methods' answers for the same clips agree; None for numbers."""
    if not a.n_classes:
        return None
    one, other = a.seeds[0], b.seeds[0]
    right, right_b = one == a.true, other == a.true
    only_a, only_b = right & ~right_b, right_b & ~right
    neither = ~right & ~right_b
    best = np.where(right_b, other, one)
    oracle = Answers("the better of the two", a.ids, a.true, best, a.groups, a.n_classes)
    return Agreement(
        a=a.method,
        b=b.method,
        both=int((right & right_b).sum()),
        only_a=int(only_a.sum()),
        only_b=int(only_b.sum()),
        neither_same=int((neither & (one == other)).sum()),
        neither_apart=int((neither & (one != other)).sum()),
        kappa=_kappa(one, other),
        oracle=interval(oracle, "accuracy", draws=draws, seed=seed),
        by_class=tuple(
            (label, int(only_a[a.true == i].sum()), int(only_b[a.true == i].sum()))
            for i, label in enumerate(labels)
        ),
        a_right=_named(a.ids, only_a),
        b_right=_named(a.ids, only_b),
    )


def _kappa(one: Any, other: Any) -> float | None:
    """Cohen's kappa of two methods' answers; None where both always give the same one."""
    from sklearn.metrics import cohen_kappa_score

    if len(set(one.tolist()) | set(other.tolist())) < 2:
        return None
    return float(cohen_kappa_score(one, other))


def _named(ids: Sequence[str], chosen: Any) -> tuple[str, ...]:
    return tuple(clip for clip, yes in zip(ids, chosen.tolist(), strict=True) if yes)[:SHOWN]


# --- tables -------------------------------------------------------------------------------------


def strata_table(strata: Sequence[Stratum]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the strata; a column a method."""
    names = list(dict.fromkeys(n for s in strata for n in s.scores))
    rows = [
        [f"{s.by}: {s.name}", str(s.clips), *(interval_text(s.scores.get(n)) for n in names)]
        for s in strata
    ]
    return ["clips", "number", *names], rows


def agreement_table(found: Agreement) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of how two methods agree."""
    total = found.both + found.only_a + found.only_b + found.neither_same + found.neither_apart
    counts = {
        "both right": found.both,
        f"only {found.a} right": found.only_a,
        f"only {found.b} right": found.only_b,
        "both wrong, the same answer": found.neither_same,
        "both wrong, two answers": found.neither_apart,
    }
    rows = [[what, str(n), f"{n / total:.1%}"] for what, n in counts.items()]
    rows += [
        ["kappa of the answers", "-" if found.kappa is None else f"{found.kappa:.3f}", ""],
        ["accuracy of always taking the right one (oracle)", interval_text(found.oracle), ""],
    ]
    return ["", "clips", "share"], rows


def class_table(found: Agreement) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of who is right where two methods disagree, by true class."""
    rows = [[label, str(a), str(b)] for label, a, b in found.by_class]
    return ["class", f"only {found.a} right", f"only {found.b} right"], rows


def against_tables(
    combined: Combined | None, agreement: Agreement | None, strata: Sequence[Stratum]
) -> list[Table]:
    """Return title, head and rows of what there is."""
    found: list[Table] = []
    if combined:
        found.append(("Words and features combined", *combined_table(combined)))
    if agreement:
        found.append(("Who is right", *agreement_table(agreement)))
        found.append(("Who is right, by class", *class_table(agreement)))
    if strata:
        found.append((f"By what was said and seen ({strata[0].score})", *strata_table(strata)))
    return found


# --- JSON ---------------------------------------------------------------------------------------


def stratum_from_json(value: Mapping[str, Any]) -> Stratum:
    """Return the stratum whose `asdict` this is."""
    return Stratum(**{**value, "scores": {k: Interval(**v) for k, v in value["scores"].items()}})


def agreement_from_json(value: Mapping[str, Any] | None) -> Agreement | None:
    """Return the agreement whose `asdict` this is."""
    if value is None:
        return None
    tuples = {k: tuple(value[k]) for k in ("a_right", "b_right")}
    by_class = tuple((str(x), int(n), int(m)) for x, n, m in value["by_class"])
    return Agreement(
        **{**value, **tuples, "oracle": Interval(**value["oracle"]), "by_class": by_class}
    )
