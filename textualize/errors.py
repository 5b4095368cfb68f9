"""Errors a user can act on: what was given, what was expected, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TextualizeError(Exception):
    """One line for the user; the command line prints it and exits with code 2."""


def unknown(kind: str, given: str, known: Iterable[str], hint: str = "") -> TextualizeError:
    """Return the error for a name that is not in a table, with the nearest known names.

    >>> str(unknown("method", "jac", ["jca", "concat"]))
    "no method named 'jac' (did you mean jca?); known: concat, jca"
    """
    names = sorted(known)
    close = difflib.get_close_matches(given, names, n=1)
    guess = f" (did you mean {close[0]}?)" if close else ""
    tail = f"; {hint}" if hint else ""
    return TextualizeError(f"no {kind} named '{given}'{guess}; known: {', '.join(names)}{tail}")


def first_line(error: BaseException) -> str:
    """Return the first line of an error that says something.

    >>> first_line(ValueError("no such file.")), first_line(OSError())
    ('no such file', 'OSError')
    """
    lines = (line.strip() for line in str(error).splitlines())
    return next((line.rstrip(".:") for line in lines if line), type(error).__name__)


def missing_package(what: str, package: str, extra: str) -> TextualizeError:
    """Return the error for an optional package that is not installed.

    >>> str(missing_package("the py-feat sensor", "py-feat", "py-feat"))
    "the py-feat sensor needs py-feat: pip install 'textualize[py-feat]'"
    """
    return TextualizeError(f"{what} needs {package}: pip install 'textualize[{extra}]'")
