"""Predictions to a report: metrics, intervals, paired comparison, pages to read.

The package itself can be called, `textualize.evaluate(runs, records)`: the verb and the folder
share a name, and an attribute of `textualize` can only be one object.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Verb(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from textualize.evaluate.finished import evaluate

        return evaluate(*args, **kwargs)


sys.modules[__name__].__class__ = _Verb
