"""Whole groups into parts whose label counts are as near the ideal as the groups allow.

scikit-learn's StratifiedGroupKFold places one group after the other and never looks back. Its
assignment is the start here; groups are then moved and exchanged between parts as long as that
brings the counts nearer to the ideal.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SIZE_WEIGHT = 0.1  # of a part's size beside its label counts: it only decides between equals
_FEW = 2000  # groups a greedy start is worth its time for, and kinds of group compared at once
_RESTARTS = 12  # other starts tried while a label is a clip or more from its ideal
_STRATA = 5  # quantiles that continuous scores are stratified by
_LEVELS = 12  # more distinct numbers than this are not classes


def strata(labels: Sequence[str | float | None]) -> list[str]:
    """Return what folds are balanced over: the labels, or the quantile of a continuous score.

    >>> strata(["a", "b"]), strata([0.1 * i for i in range(20)])[::7]
    (['a', 'b'], ['quantile 1', 'quantile 2', 'quantile 4'])
    """
    numbers = [x for x in labels if isinstance(x, int | float)]
    if len(numbers) < len(labels) or len(set(numbers)) <= _LEVELS:
        return [str(x) for x in labels]
    edges = np.quantile(numbers, np.arange(1, _STRATA) / _STRATA)
    return [f"quantile {i + 1}" for i in np.searchsorted(edges, numbers)]


def equal_parts(labels: Sequence[str], groups: Sequence[str], parts: int, seed: int = 0) -> Ints:
    """Return the part of every item, (N,) of 0 to parts - 1, each part with at least one group.

    Args:
        labels: what the parts are balanced over, (N,).
        groups: what stays whole, (N,); at least as many different ones as parts.
        parts: how many parts of equal share.
        seed: another seed gives another assignment.
    """
    group, counts = _counted(labels, groups)
    start = _start(labels, group, parts, seed)
    return _best(start, counts, np.full(parts, 1 / parts), seed)[group]


def held_out(
    labels: Sequence[str], groups: Sequence[str], parts: int, seed: int = 0
) -> NDArray[np.bool_]:
    """Return which items are held out, (N,): one of `parts` equal parts; see `equal_parts`."""
    group, counts = _counted(labels, groups)
    start = (_start(labels, group, parts, seed) == 0).astype(np.int64)
    part = _best(start, counts, np.asarray([1 - 1 / parts, 1 / parts]), seed)
    return np.asarray(part[group] == 1)


def _counted(labels: Sequence[str], groups: Sequence[str]) -> tuple[Ints, Floats]:
    """Return every item's group number, (N,), and each group's label counts and size, (G, C+1)."""
    kinds, label = np.unique(np.asarray(labels), return_inverse=True)
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    counts = np.zeros((len(names), len(kinds) + 1))
    np.add.at(counts, (group, label), 1.0)
    counts[:, -1] = counts.sum(1) * _SIZE_WEIGHT
    return group.astype(np.int64), counts


def _start(labels: Sequence[str], group: Ints, parts: int, seed: int) -> Ints:
    """Return a first part for every group, (G,), none of them empty."""
    many = int(group.max()) + 1
    part = np.zeros(many, np.int64)
    if many > _FEW or not _greedy(labels, group, parts, seed, part):
        return np.random.default_rng(seed).permutation(many) % parts
    for empty in sorted(set(range(parts)) - set(part.tolist())):
        largest = int(np.bincount(part, minlength=parts).argmax())
        part[np.flatnonzero(part == largest)[-1]] = empty
    return part


def _greedy(labels: Sequence[str], group: Ints, parts: int, seed: int, part: Ints) -> bool:
    """Write scikit-learn's assignment into `part`, (G,); False where it refuses to make one."""
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # rare classes are seen to afterwards
            for index, (_, held) in enumerate(splitter.split(labels, labels, group)):
                part[group[held]] = index
    except ValueError:  # every class is smaller than the number of parts, or one part took all
        return False
    return True


def _best(start: Ints, counts: Floats, shares: Floats, seed: int) -> Ints:
    """Return the start if no label is a clip from its ideal, else the best of some improved."""
    ideal = shares[:, None] * counts.sum(0)

    def distance(part: Ints) -> tuple[float, float]:
        off = np.stack([counts[part == p].sum(0) for p in range(len(shares))]) - ideal
        return round(float(np.abs(off[:, :-1]).max()), 6), round(float((off**2).sum()), 6)

    if distance(start)[0] < 1:
        return start
    best = _improved(start, counts, shares)
    rng = np.random.default_rng(seed)
    for _ in range(_RESTARTS):
        if distance(best)[0] < 1:
            break
        other = _improved(rng.permutation(start), counts, shares)
        best = min(best, other, key=distance)
    return best


def _improved(part: Ints, counts: Floats, shares: Floats) -> Ints:
    """Return the parts, (G,), after every exchange that lowers the squared distance from ideal.

    Minimises the sum over parts and labels of (count - share * total)^2. Groups with the same
    counts are one kind; exchanging kind u of part p for kind v of part q, or for nothing, changes
    the sum by 2(|w|^2 - w.d) with w = u - v and d the difference of the parts' distances.
    """
    kinds, kind = np.unique(counts, axis=0, return_inverse=True)
    order = np.argsort((kinds**2).sum(1), kind="stable")  # small groups adjust finest
    members = [
        {int(k): np.flatnonzero((part == p) & (kind == k)).tolist() for k in order}
        for p in range(len(shares))
    ]
    off = np.stack([counts[part == p].sum(0) for p in range(len(shares))])
    off -= shares[:, None] * counts.sum(0)
    part, changed = part.copy(), True
    while changed:
        changed = False
        for p, q in combinations(range(len(shares)), 2):
            while found := _exchange(kinds, members[p], members[q], off[p] - off[q]):
                changed = True
                for k, source, target in ((found[0], p, q), (found[1], q, p)):
                    if k is not None:
                        group = members[source][k].pop()
                        members[target].setdefault(k, []).append(group)
                        part[group] = target
                        off[source] -= kinds[k]
                        off[target] += kinds[k]
    return part


def _exchange(
    kinds: Floats, ours: dict[int, list[int]], theirs: dict[int, list[int]], apart: Floats
) -> tuple[int | None, int | None] | None:
    """Return the kinds to exchange between two parts (None: nothing in return), or None."""
    here, there = _offers(ours, theirs), _offers(theirs, ours)
    nothing = np.zeros((1, kinds.shape[1]))
    u = np.vstack([kinds[[k for k in here if k is not None]], nothing])[: len(here)]
    v = np.vstack([kinds[[k for k in there if k is not None]], nothing])[: len(there)]
    change = ((u**2).sum(1) - u @ apart)[:, None] + ((v**2).sum(1) + v @ apart) - 2 * u @ v.T
    best = np.unravel_index(int(change.argmin()), change.shape)
    if change[best] > -1e-6:
        return None
    return here[best[0]], there[best[1]]


def _offers(ours: dict[int, list[int]], theirs: dict[int, list[int]]) -> list[int | None]:
    """Return the kinds a part has, and None if it may take and give nothing: not the last group."""
    found = [k for k, groups in ours.items() if groups][:_FEW]
    last = sum(map(len, theirs.values())) == 1
    return list(found) if last else [*found, None]
