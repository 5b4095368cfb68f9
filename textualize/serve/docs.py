"""The page that tells what can be asked: the OpenAPI schema as one file, no script, no network."""

from __future__ import annotations

from typing import Any

from jinja2 import ChainableUndefined, Environment

CSP = "default-src 'none'; style-src 'unsafe-inline'"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ schema.info.title }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem }
code { font-size: .9em } td, th { text-align: left; padding: .15rem .8rem .15rem 0 }
td { vertical-align: top } h2 { margin-top: 2rem } .wide { overflow-x: auto }
</style></head><body>
<h1>{{ schema.info.title }} {{ schema.info.version }}</h1>
<p>{{ schema.info.summary }} Every request needs the header
<code>Authorization: Bearer KEY</code>. The schema for programs is at
<a href="/openapi.json">/openapi.json</a>.</p>
{% for path, methods in schema.paths.items() %}{% for method, route in methods.items() %}
<h2><code>{{ method | upper }} {{ path }}</code></h2>
<p>{{ route.description }}</p>
{% for kind, body in (route.requestBody.content or {}).items() %}
<p>takes <code>{{ kind }}</code> {{ named(body.schema) }}</p>
{% endfor %}
<p>gives {{ named(((route.responses["200"].content or {}).values() | list | first).schema) }}</p>
{% endfor %}{% endfor %}
{% for name, part in schema.components.schemas.items() %}
<h2 id="{{ name }}">{{ name }}</h2><p>{{ part.description }}</p>
<div class="wide"><table><tr><th>field</th><th>kind</th><th></th></tr>
{% for field, about in (part.properties or {}).items() %}
<tr><td><code>{{ field }}</code>{{ " *" if field in (part.required or []) }}</td>
<td>{{ named(about) }}</td><td>{{ about.description }}</td></tr>
{% endfor %}</table></div>
{% endfor %}
<p>* must be given</p></body></html>"""


def page_of(schema: dict[str, Any]) -> str:
    """Return the page of an OpenAPI schema."""
    page = Environment(autoescape=True, undefined=ChainableUndefined).from_string(_PAGE)
    return page.render(schema=schema, named=named)


def named(part: Any) -> str:
    """Return what kind of value a schema's part is.

    >>> named({"anyOf": [{"type": "array", "items": {"$ref": "#/x/Cue"}}, {"type": "null"}]})
    'list of Cue or null'
    """
    if not isinstance(part, dict):
        return ""
    if "$ref" in part:
        return str(part["$ref"]).rpartition("/")[2]
    if "anyOf" in part:
        return " or ".join(named(one) for one in part["anyOf"])
    if "enum" in part or "const" in part:
        return " | ".join(str(value) for value in part.get("enum", [part.get("const")]))
    if part.get("type") == "array":
        return f"list of {named(part.get('items')) or 'anything'}"
    return str(part.get("type", "anything"))
