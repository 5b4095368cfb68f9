"""Recompute a report from its folder: every score, interval, difference, leak and cost.

Beside that a changed byte of any of its files is found, by their digests, and report.md has to be
what report.json says. What cannot be recomputed without the corpus is told by name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from textualize.errors import TextualizeError
from textualize.evaluate.digests import changed_files
from textualize.evaluate.findings import Report
from textualize.evaluate.matrix_findings import KIND
from textualize.evaluate.matrix_page import rebuilt_matrix
from textualize.evaluate.rebuild import kept_in, rebuilt_report
from textualize.evaluate.report_files import FILES
from textualize.evaluate.steps_rebuild import rebuilt_steps
from textualize.evaluate.steps_report import KIND as STEPS
from textualize.evaluate.tables import report_markdown
from textualize.files import read_json

_PARTS = (
    "rows", "differences", "clips", "groups", "noise", "constant", "class_counts", "strata",
    "agreement", "combined", "headline", "speaker", "weakened", "leaks", "videos",
)  # fmt: skip
Leaf = str | float | bool | None


@dataclass(frozen=True, slots=True)
class Verified:
    """How many numbers were recomputed, and the first that differs ("" when all agree).

    `changed` are files that are not as they were written, or not there; `taken` is what was not
    recomputed, and why.
    """

    folder: str
    numbers: int
    different: int
    first: str
    changed: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """True when every number agrees and every file is as it was written."""
        return self.different == 0 and not self.changed

    def line(self) -> str:
        """Return the result as one line."""
        said = f"{self.folder}: {self.numbers} numbers recomputed from the predictions, all equal"
        if self.different:
            said = (
                f"{self.folder}: {self.different} of {self.numbers} numbers differ from the "
                f"predictions (first: {self.first})"
            )
        if self.changed:
            said += f"; changed since it was written: {', '.join(self.changed)}"
        if self.taken:
            said += f"; not recomputed: {'; '.join(self.taken)}"
        return said

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**asdict(self), "equal": self.equal}


def verify_report(folder: Path) -> Verified:
    """Return whether report.json agrees with the predictions and the evidence beside it.

    Raises:
        TextualizeError: no report there, or its predictions are missing or damaged.
    """
    value = read_json(folder / "report.json", "report")
    if value.get("kind") == KIND:
        return _verified(folder, *rebuilt_matrix(folder))
    if value.get("kind") == STEPS:
        *both, files = rebuilt_steps(folder)
        return replace(_verified(folder, *both), changed=tuple(files))
    try:
        stored = Report.from_json(value)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise TextualizeError(f"{folder / 'report.json'} is damaged: {error}") from None
    changed = changed_files(folder, FILES)
    table = folder / "report.md"
    if table.name not in changed and report_markdown(stored) != table.read_text("utf-8"):
        changed = sorted([*changed, table.name])
    kept = kept_in(folder)
    then, now = stored.to_json(), rebuilt_report(stored, kept).to_json()
    found = _verified(folder, {p: then[p] for p in _PARTS}, {p: now[p] for p in _PARTS})
    return replace(found, changed=tuple(changed), taken=kept.taken(stored))


def _verified(folder: Path, then: dict[str, Any], now: dict[str, Any]) -> Verified:
    old, new = dict(_leaves(then)), dict(_leaves(now))
    wrong = [k for k in sorted(old.keys() | new.keys()) if not _same(old, new, k)]
    numbers = sum(isinstance(x, int | float) and not isinstance(x, bool) for x in old.values())
    return Verified(str(folder), numbers, len(wrong), wrong[0] if wrong else "")


def _leaves(value: Any, at: str = "") -> Iterator[tuple[str, Leaf]]:
    """Yield (path, value) for everything inside a JSON value that is no list and no object."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(inner, f"{at}/{key}")
    else:
        yield at, value


def _same(old: dict[str, Leaf], new: dict[str, Leaf], key: str) -> bool:
    if key not in old or key not in new:
        return False
    one, other = old[key], new[key]
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    return one == other
