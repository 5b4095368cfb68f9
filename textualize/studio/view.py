"""The pieces of the page as HTML: everything that comes from a clip or a person is escaped."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment

from textualize.describe import describe
from textualize.evaluate import charts
from textualize.evaluate.clip_page import (
    aus_note,
    extent,
    label_text,
    over_time,
    pieces_of,
    single_values,
)
from textualize.evaluate.html import TEMPLATES, environment
from textualize.files import Json
from textualize.studio.shelf import IMAGES
from textualize.studio.trying import Compared, Read, Told
from textualize.types import Record
from textualize.variables import VARIABLES

PAGE = Path(__file__).parent / "page"
SOUNDS = frozenset((".wav", ".mp3", ".flac", ".ogg", ".m4a"))
DIFFERING = 40  # clips listed on which two templates disagree
_drawing = threading.Lock()  # matplotlib's settings are those of the whole process


@cache
def _pages() -> Environment:
    made = environment(PAGE, TEMPLATES)
    made.filters["label"] = label_text
    return made


def page(about: Mapping[str, Any]) -> str:
    """Return the whole page, without a clip."""
    return _pages().get_template("studio.html").render(about, variables=VARIABLES)


def style() -> str:
    """Return the page's style: that of reports, and what is the studio's own."""
    return (TEMPLATES / "report.css").read_text("utf-8") + (PAGE / "studio.css").read_text("utf-8")


def clip_list(records: Sequence[Record], total: int, uploads: Sequence[str]) -> str:
    """Return the clips to choose from; `total` counts those that are not listed as well."""
    return (
        _pages()
        .get_template("clips.html")
        .render(records=records, total=total, uploads=set(uploads))
    )


def clip(record: Record, *, every_unit: bool) -> Json:
    """Return a clip as a piece of the page, and what the page has to know of its time."""
    start, end = extent(record)
    video = record.clip.video
    ending = video.suffix.lower() if video else ""
    kind = "image" if ending in IMAGES else "sound" if ending in SOUNDS else "video"
    with _drawing:
        timeline = over_time(record, quiet=every_unit)
    html = (
        _pages()
        .get_template("clip_view.html")
        .render(
            record=record,
            timeline=timeline,
            every_unit=every_unit,
            aus_note=aus_note(record),
            values=single_values(record),
            cues=describe(record),
            start=start,
            end=end,
        )
    )
    return {
        "id": record.clip.id,
        "html": html,
        "media": kind if video else "",
        "start": start,
        "end": end,
        "left": charts.LEFT,
        "share": charts.SHARE,
    }


def prompt(record: Record, read: Read) -> str:
    """Return a rendered prompt; its sentences know when what they tell of was."""
    pieces = list(pieces_of(read.prompt, *extent(record)))
    return _pages().get_template("prompt.html").render(pieces=pieces)


def answer(told: Told, record: Record) -> str:
    """Return one run's answer on a clip."""
    label = None if record.clip.label is None else label_text(record.clip.label)
    return _pages().get_template("answer.html").render(told=told, annotated=label)


def comparison(found: Compared) -> str:
    """Return what two templates came to, and the clips on which they differ."""
    return (
        _pages()
        .get_template("compared.html")
        .render(found=found, shown=found.differing[:DIFFERING])
    )
