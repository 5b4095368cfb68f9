"""What is wrong with the files behind clips: gone, empty, unreadable, too long, there twice."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from textualize.corpus.findings import Finding, about
from textualize.corpus.measures import Row, overlapping
from textualize.errors import TextualizeError
from textualize.files import file_digest
from textualize.types import Clip, Span

SHORTEST_S = 0.04  # a frame: nothing can be seen or heard in less
TAIL_S = 0.5  # a span may end this much after its file before it is said

Progress = Callable[[int, int, str], None]


def check_times(rows: Sequence[Row], max_seconds: float) -> Iterator[Finding]:
    """Yield what the annotated times themselves say; no file is opened."""
    spans = [(r.name, *r.span) for r in rows if r.span]
    yield from about(
        "times",
        "error",
        [n for n, start, end in spans if not start >= 0 or not end > start],
        "have a start below zero or an end that is not after it",
    )
    yield from about(
        "times",
        "warning",
        [n for n, start, end in spans if start >= 0 and 0 < end - start < SHORTEST_S],
        f"last less than a frame ({SHORTEST_S:g} s)",
    )
    yield from about(
        "times",
        "warning",
        [n for n, start, end in spans if math.isfinite(end) and end - start > max_seconds],
        f"last longer than {max_seconds:g} s by their annotation",
    )


def check_files(
    clips: Sequence[Clip], max_seconds: float, read: bool, progress: Progress
) -> Iterator[Finding]:
    """Yield what is wrong with files before extraction.

    Args:
        clips: the clips.
        max_seconds: longer ones are reported.
        read: open every file; otherwise only presence and size are looked at.
        progress: called with (done, total, name).
    """
    sizes = {c.id: _size(c.video) for c in clips if c.video is not None}
    yield from about(
        "media", "error", [n for n, size in sizes.items() if size is None], "have no file at all"
    )
    yield from about(
        "media", "error", [n for n, s in sizes.items() if s == 0], "have an empty file"
    )
    there = [c for c in clips if sizes.get(c.id)]
    if read and there:
        yield from _opened(there, max_seconds, progress)


def _opened(clips: Sequence[Clip], max_seconds: float, progress: Progress) -> Iterator[Finding]:
    try:
        from textualize.extract.video import open_media
    except ModuleNotFoundError as error:
        missing = f"no media file was opened: {error.name} is not installed"
        yield Finding("media", "warning", f"{missing} (pip install 'textualize[extract]')")
        return
    unreadable: list[tuple[str, str]] = []
    cut: list[str] = []
    long: list[str] = []
    for done, clip in enumerate(clips, 1):
        progress(done, len(clips), clip.id)
        try:
            media = open_media(clip)
        except TextualizeError as error:
            unreadable.append((clip.id, str(error)))
            continue
        if _past_end(clip.span, media.duration_s):
            cut.append(clip.id)
        if clip.span is None and media.duration_s > max_seconds:
            long.append(clip.id)
    for name, why in unreadable[:20]:
        yield Finding("media", "error", f"{name}: {why}", 1, (name,))
    if len(unreadable) > 20:
        yield Finding("media", "error", f"and {len(unreadable) - 20} more that cannot be read")
    yield from about("times", "warning", cut, "end after the end of their file")
    yield from about("media", "warning", long, f"are longer than {max_seconds:g} s")


def _past_end(span: Span | None, duration: float) -> bool:
    return span is not None and math.isfinite(span.end) and span.end > duration + TAIL_S


def _size(path: Path | None) -> int | None:
    try:
        return path.stat().st_size if path else None
    except (OSError, ValueError):
        return None


def with_digests(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with `media` filled in for files that may be the same.

    Files of one size are read; a file whose size no other has cannot be a copy.
    """
    by_size: dict[int, set[str]] = defaultdict(set)
    for path in {r.path for r in rows if r.path and not r.media}:
        size = _size(Path(path))
        if size:
            by_size[size].add(path)
    known = {p: _digest(Path(p)) for same in by_size.values() if len(same) > 1 for p in same}
    return [replace(r, media=known.get(r.path, r.path)) if not r.media else r for r in rows]


def _digest(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError:
        return str(path)


def check_copies(rows: Sequence[Row]) -> Iterator[Finding]:
    """Yield clips that show the same seconds of the same content, by `Row.media`."""
    by_content: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.media:
            by_content[row.media].append(row)
    pairs = [pair for same in by_content.values() if len(same) > 1 for pair in overlapping(same)]
    across = [b.name for a, b in pairs if a.split != b.split]
    within = [b.name for a, b in pairs if a.split == b.split]
    apart = [b.name for a, b in pairs if a.split == b.split and a.group != b.group]
    quarrel = [b.name for a, b in pairs if a.label != b.label]
    yield from about("copies", "error", across, "show the same seconds as a clip of another split")
    yield from about("copies", "warning", within, "show the same seconds as another clip")
    yield from about("copies", "warning", apart, "show the same seconds as one of another group")
    yield from about("copies", "warning", quarrel, "show the same seconds under another label")
