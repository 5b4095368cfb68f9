"""Rendering a template that nobody has read: Jinja's sandbox, with its doors closed.

A prompt template comes with a run folder or from a colleague, so it is foreign code. Jinja's
immutable sandbox keeps it away from Python's internals but not from time and memory: loops in
loops, repetition, padding filters, strings that double. Here every loop item, call, include and
piece of text looks at the clock and the size, and what can grow in one step is not offered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from jinja2 import BaseLoader, StrictUndefined, TemplateNotFound, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from textualize.describe import caption

MAX_CHARACTERS = 20_000
MAX_SECONDS = 2.0
MAX_TEMPLATE = 100_000  # characters of source, so that the parser is bounded too
MAX_NUMBER = 10**9

_FILTERS = (
    "capitalize count default d first float int last length list lower map max min reject "
    "rejectattr reverse round select selectattr sort title trim unique upper"
).split()
_STRING_METHODS = frozenset(
    {"capitalize", "endswith", "lower", "startswith", "strip", "title", "upper"}
)
_MAPPING_METHODS = frozenset({"get", "items", "keys", "values"})

_deadline: ContextVar[float] = ContextVar("deadline", default=float("inf"))


def render_guarded(render: Callable[[], str], seconds: float = MAX_SECONDS) -> str:
    """Return what `render` gives; inside it a Sandbox refuses to work past `seconds`."""
    token = _deadline.set(time.monotonic() + seconds)
    try:
        return render()
    finally:
        _deadline.reset(token)


def _tick() -> None:
    if time.monotonic() > _deadline.get():
        raise SecurityError(f"the template took longer than {MAX_SECONDS:g} s")


def _bounded(items: Iterable[Any]) -> Iterator[Any]:
    """Yield the items of a loop, looking at the clock at each."""
    for item in items:
        _tick()
        yield item


def _gathered(parts: Iterable[str]) -> str:
    """Join pieces of text, refusing before the result gets too long."""
    size = 0
    kept = []
    for part in parts:
        _tick()
        size += len(part)
        if size > MAX_CHARACTERS:
            raise SecurityError(f"the template wrote more than {MAX_CHARACTERS} characters")
        kept.append(part)
    return "".join(kept)


def _printable(value: Any) -> Any:
    """Return a value that may be written; lists and objects are a mistake, or an attack."""
    if isinstance(value, Undefined):
        return str(value)  # raises, with the variable's name
    if isinstance(value, (str, int, float)):
        return value
    raise SecurityError(f"cannot write a {type(value).__name__}; write its text, or use join")


def _joined(items: Iterable[Any], separator: str = "") -> str:
    def pieces() -> Iterator[str]:
        for i, item in enumerate(items):
            if i:
                yield str(separator)
            yield str(_printable(item))

    return _gathered(pieces())


def _concatenated(items: Iterable[Any]) -> str:
    return _gathered(str(_printable(item)) for item in items)


class _Guard(NodeTransformer):
    """Put the guards into a parsed template: around loops and around `~`.

    Lists are constants only: nesting a list in itself doubles what a comparison has to read,
    and no clock can look into that.
    """

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 (Jinja's naming)
        self.generic_visit(node)
        node.iter = nodes.Filter(node.iter, "_bounded", [], [], None, None, lineno=node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        values = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(values, "_concatenated", [], [], None, None, lineno=node.lineno)

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        return self._constants(node, node.items)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        return node if node.ctx == "store" else self._constants(node, node.items)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802
        raise SecurityError(f"line {node.lineno}: a template has no dictionaries")

    def visit_Name(self, node: nodes.Name) -> nodes.Node:  # noqa: N802
        if node.name in ("varargs", "kwargs"):
            raise SecurityError(f"line {node.lineno}: a macro names its arguments")
        return node

    def _constants(self, node: nodes.Node, items: list[nodes.Expr]) -> nodes.Node:
        if not all(isinstance(item, nodes.Const) for item in items):
            raise SecurityError(f"line {node.lineno}: a list in a template holds constants only")
        return node


class Texts(BaseLoader):
    """Loads templates from a mapping of exactly the texts that may be used; no file system."""

    def __init__(self, texts: Mapping[str, tuple[str, str]]) -> None:
        """Take name -> (text, file name for messages)."""
        self._texts = texts

    def get_source(self, environment: Any, template: str) -> tuple[str, str, Callable[[], bool]]:
        """Return a text by name; raises TemplateNotFound for any other name."""
        _tick()
        if template not in self._texts:
            raise TemplateNotFound(template)
        text, filename = self._texts[template]
        return text, filename, lambda: True


class Sandbox(ImmutableSandboxedEnvironment):
    """A Jinja environment for foreign templates: no arithmetic on text, no way out, no way up."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})
    concat = staticmethod(_gathered)

    def __init__(self, texts: Mapping[str, tuple[str, str]]) -> None:
        """Take the texts that may be loaded: name -> (text, file name for messages)."""
        super().__init__(
            loader=Texts(texts),
            undefined=StrictUndefined,
            autoescape=False,
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # the optimiser would run filters while compiling, unwatched
            finalize=_printable,
        )
        self.globals = {"range": self.globals["range"]}
        self.filters = {name: self.filters[name] for name in _FILTERS} | {
            "join": _joined,
            "caption": caption,
            "_bounded": _bounded,
            "_concatenated": _concatenated,
        }

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        if len(source) > MAX_TEMPLATE:
            raise SecurityError(f"the template is longer than {MAX_TEMPLATE} characters")
        tree = super()._parse(source, name, filename)
        _Guard().visit(tree)
        return tree

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Return the result of arithmetic on small numbers; refuse anything else."""
        _tick()
        numbers = all(isinstance(v, (int, float)) and abs(v) < MAX_NUMBER for v in (left, right))
        if operator == "**" or not numbers:
            raise SecurityError(f"'{operator}' is for small numbers; join text with ~")
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a macro, a loop or a permitted method, if there is time left."""
        _tick()
        return super().call(context, called, *args, **kwargs)

    def get_template(self, *args: Any, **kwargs: Any) -> Any:
        """Return a part, if there is time left: parts may include each other."""
        _tick()
        return super().get_template(*args, **kwargs)

    def wrap_str_format(self, value: Any) -> None:
        """Return None: `str.format`, which can pad to any length, gets no safe stand-in."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Tell whether a template may read `obj.attr`: fields yes, methods of text a few."""
        if isinstance(obj, str):
            return attr in _STRING_METHODS
        if isinstance(obj, Mapping):
            return attr in _MAPPING_METHODS
        if isinstance(obj, (int, float, bytes, list, tuple, range, type)):
            return False
        return super().is_safe_attribute(obj, attr, value)
