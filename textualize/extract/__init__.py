"""Video to records: one file per sensor, by what is read; one pipeline over many clips.

The package itself can be called, `textualize.extract(clips, corpus=...)`: the verb and the folder
share a name, and an attribute of `textualize` can only be one object.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Verb(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from textualize.extract.pipeline import extract

        return extract(*args, **kwargs)


sys.modules[__name__].__class__ = _Verb
