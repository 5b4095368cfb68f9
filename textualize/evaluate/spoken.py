"""A report's numbers as a reader writes them, and tables of them in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from textualize.evaluate.compare import Difference, Interval

_INITIALS = ("uar", "ccc", "pcc", "mae", "rmse")


def score_text(name: str) -> str:
    """Return a score's name as a reader writes it.

    >>> score_text("macro_f1"), score_text("accuracy")
    ('macro F1', 'accuracy')
    """
    known = {"macro_f1": "macro F1", "weighted_f1": "weighted F1", "icc": "ICC(3,1)"}
    return known.get(name, name.upper() if name in _INITIALS else name)


def interval_text(interval: Interval | None) -> str:
    """Return a score with its interval, or a dash where it is undefined.

    >>> interval_text(Interval(0.5, 0.4, 0.6, 12, False))
    '0.500 [0.400, 0.600]'
    """
    if interval is None:
        return "-"
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def difference_text(found: Difference) -> str:
    """Return a difference with its sign and interval."""
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def number_text(value: float | None, form: str) -> str:
    """Return a number in a format, or a dash when it is not known.

    >>> number_text(1234, ",.0f"), number_text(None, ".1f")
    ('1,234', '-')
    """
    return "-" if value is None else format(value, form)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"

    return "\n".join([line(head), line(["---"] * len(head)), *(line(r) for r in rows)])
