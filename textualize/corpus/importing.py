"""What a lab already extracted, brought into a corpus: one file, or row of a table, per clip.

The files are attached to the clips as sidecars and read by the sensor of their format
(`extract/face/openface.py`, `extract/speech/transcripts.py`, `extract/imports/`) through the
ordinary pipeline, so that keys, quarantine and resuming are those of an extraction.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from textualize.console import extraction_summary
from textualize.corpus.formats import FORMATS, Format
from textualize.datasets import Listing
from textualize.errors import TextualizeError, unknown
from textualize.extract.pipeline import Outcome, Progress, extract_corpus
from textualize.extract.sensor import make_sensor, modality_of
from textualize.store import Corpus, Entry, read_item
from textualize.types import Clip

_MANY = 3  # names quoted in a message


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import came to.

    `unused` are files or rows that belong to no clip, `without` clips that have none, `replaced`
    how many clips had that modality from elsewhere before; `kept` are clips whose recognised
    words speakers' turns would have replaced.
    """

    outcome: Outcome
    unused: tuple[str, ...]
    without: tuple[str, ...]
    replaced: int
    kept: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """A file, or a part of one: what it may be called, and the sidecar that names it."""

    names: tuple[str, ...]
    given: str


def import_files(
    format_name: str,
    path: Path,
    folder: Path,
    *,
    listing: Listing | None = None,
    match: str = "",
    options: Mapping[str, str] | None = None,
    workers: int | None = 0,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> Imported:
    """Read files of a format into the corpus at `folder`, whose other modalities stay.

    Args:
        format_name: one of FORMATS.
        path: a folder with one file a clip, or one file for a clip or, by its rows or parts, many.
        folder: the corpus; created, or completed if it exists.
        listing: the clips; by default the corpus' own, and where it has none one a file.
        match: what a clip's file or row is called: "{id}.csv", "take-{id:3:}" (the id from its
            third character on), "{stem}" (of its video), "{subject}", "{group}". By default the
            clip's id or its video's name.
        options: options of the format's sensor ("fps": "25").
        workers: processes; 0 reads in this one, None takes one per core.
        retry_failed: try again what failed before and has not changed since.
        progress: called with (done, total, clip id).

    Raises:
        TextualizeError: unknown format or option, nothing to import, no file that belongs to a
            clip, two files for one clip.
    """
    if format_name not in FORMATS:
        raise unknown("import format", format_name, FORMATS)
    chosen = FORMATS[format_name]
    specs = _specs(chosen, options or {})
    found = _found(path, chosen)
    existing = Corpus(folder) if (folder / "corpus.json").exists() else None
    known = {e.clip.id: e for e in existing.iter_entries()} if existing else {}
    clips = _clips(listing, known)
    if clips:
        matched, unused, without = _matched(clips, found, chosen.key, match)
    else:
        matched, unused, without = _clips_of(found, chosen.key), (), ()
    modality = modality_of(chosen.sensors[0])
    before = {name: e.items.get(modality) for name, e in known.items()}
    kept = _recognised(existing, matched, before) if format_name == "rttm" and existing else ()
    matched = _without_words(matched, set(kept))
    outcome = extract_corpus(
        matched,
        folder,
        sensors=specs,
        labels=(listing.labels if listing else None) or (existing.labels if existing else None),
        workers=workers,
        retry_failed=retry_failed,
        earlier_failures=listing.failures if listing else (),
        progress=progress,
    )
    mine = {c.id for c in matched}
    now = outcome.corpus.iter_entries(lambda e: e.clip.id in mine)
    replaced = sum(before.get(e.clip.id) not in (None, e.items.get(modality)) for e in now)
    return Imported(outcome, unused, without, replaced, kept)


def print_import(made: Imported, out: Console, err: Console, *, as_json: bool = False) -> int:
    """Print what an import came to and return its exit code, 2 with anything in quarantine."""
    if as_json:
        with redirect_stdout(io.StringIO()) as held:
            code = extraction_summary(made.outcome, out, err, as_json=True)
        more = {n: getattr(made, n) for n in ("unused", "without", "replaced", "kept")}
        print(json.dumps({**json.loads(held.getvalue()), **more}, ensure_ascii=False))
        return code
    lines = (
        (made.unused, "files or rows belong to no clip"),
        (made.without, "clips have no file or row"),
        (made.kept, "clips keep their recogniser's words: turns would replace them"),
    )
    for names, what in lines:
        if names:
            err.print(f"{len(names)} {what}: {_some(names)}", markup=False)
    if made.replaced:
        err.print(f"{made.replaced} clips had this modality from elsewhere: replaced", markup=False)
    return extraction_summary(made.outcome, out, err, as_json=False)


def _specs(chosen: Format, options: Mapping[str, str]) -> list[str]:
    """Return the sensors' specs; options are the last one's. Raises for one it does not take."""
    *first, last = chosen.sensors
    specs = [*first, ":".join([last, *(f"{k}={v}" for k, v in options.items())])]
    for spec in specs:
        make_sensor(spec)
    return specs


def _found(path: Path, chosen: Format) -> list[_Found]:
    """Return the files under a folder, or the parts of one file."""
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in chosen.endings)
        if not files:
            raise TextualizeError(f"no file under {path} ends in {', '.join(chosen.endings)}")
        return [_Found(_file_names(p.relative_to(path)), str(p.absolute())) for p in files]
    if not path.is_file():
        raise TextualizeError(f"no file or folder at {path}")
    parts = list(dict.fromkeys(part for part in chosen.parts(path) if part))
    whole = path.absolute()
    if len(parts) > 1:
        from textualize.extract.imports.table import names_of

        return [_Found(names_of(part), f"{whole}#{part}") for part in parts]
    return [_Found(_file_names(Path(path.name)), str(whole))]


def _file_names(path: Path) -> tuple[str, ...]:
    named = (path.as_posix(), path.with_suffix("").as_posix(), path.name, path.stem)
    return tuple(dict.fromkeys(named))


def _matched(
    clips: Sequence[Clip], found: Sequence[_Found], key: str, match: str
) -> tuple[list[Clip], tuple[str, ...], tuple[str, ...]]:
    """Return the clips with their file, what belongs to no clip, and the clips without any."""
    called: dict[str, list[_Found]] = {}
    for one in found:
        for name in one.names:
            called.setdefault(name, []).append(one)
    matched: list[Clip] = []
    without: list[str] = []
    used: set[str] = set()
    for clip in clips:
        its = _of_clip(clip, called, match)
        if its is None:
            without.append(clip.id)
            continue
        used.add(its.given)
        matched.append(replace(clip, sidecars={**clip.sidecars, key: its.given}))
    if not matched:
        raise TextualizeError(
            f"none of {len(found)} files or rows ({_some(f.names[-1] for f in found)}) belongs to "
            f"one of {len(clips)} clips ({_some(c.id for c in clips)}): give --match, "
            "e.g. 'take-{id}.csv'"
        )
    unused = tuple(f.given for f in found if f.given not in used)
    return matched, unused, tuple(without)


def _of_clip(clip: Clip, called: Mapping[str, list[_Found]], match: str) -> _Found | None:
    for name in [_pattern(match, clip)] if match else _clip_names(clip):
        candidates = called.get(name, [])
        if len(candidates) > 1:
            raise TextualizeError(
                f"clip '{clip.id}' has {len(candidates)} files or rows called '{name}' "
                f"({_some(c.given for c in candidates)}): give --match"
            )
        if candidates:
            return candidates[0]
    return None


def _clip_names(clip: Clip) -> tuple[str, ...]:
    video = (clip.video.stem,) if clip.video else ()
    return tuple(dict.fromkeys((clip.id, *video, clip.id.rpartition("/")[2])))


class _Cut(str):
    """A text of which a format takes a part: "{id:3:}" is the id from its third character on."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        if not spec:
            return str(self)
        part = re.fullmatch(r"(-?\d*):(-?\d*)", spec)
        if part is None:
            raise ValueError(f"'{spec}' is not like 3: or 0:5")
        return str(self)[slice(*(int(n) if n else None for n in part.groups()))]


def _pattern(match: str, clip: Clip) -> str:
    values: dict[str, Any] = {
        "id": _Cut(clip.id),
        "stem": _Cut(clip.video.stem if clip.video else clip.id),
        "subject": _Cut(clip.subject or ""),
        "group": _Cut(clip.group or ""),
    }
    try:
        return match.format(**values)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise TextualizeError(
            f"--match '{match}' should be like '{{id}}.csv', of {', '.join(values)}: {error}"
        ) from None


def _clips_of(found: Sequence[_Found], key: str) -> list[Clip]:
    """Return a clip per file or part, called like it."""
    count = Counter(one.names[-1] for one in found)
    clips = []
    for one in found:
        # two files called alike lie in different folders, which are then part of the name
        name = one.names[-1] if count[one.names[-1]] == 1 else one.names[min(1, len(one.names) - 1)]
        clips.append(Clip(name, None, sidecars={key: one.given}))
    return clips


def _clips(listing: Listing | None, known: Mapping[str, Entry]) -> list[Clip]:
    """Return the listed clips with what their entries name beside them, or the corpus' own."""
    if listing is None:
        return [e.clip for e in known.values()]
    return [_with_sidecars(c, known[c.id].clip) if c.id in known else c for c in listing.clips]


def _without_words(clips: Sequence[Clip], kept: Set[str]) -> list[Clip]:
    left = [c for c in clips if c.id not in kept]
    if not left:
        raise TextualizeError(
            f"all {len(kept)} clips have words of a recogniser, which turns without words would "
            "replace: import the words as transcript first"
        )
    return left


def _with_sidecars(clip: Clip, earlier: Clip) -> Clip:
    return replace(clip, sidecars={**earlier.sidecars, **clip.sidecars})


def _recognised(
    corpus: Corpus, clips: Sequence[Clip], keys: Mapping[str, str | None]
) -> tuple[str, ...]:
    """Return the clips that have words which no file beside the media brings."""
    found = []
    for clip in clips:
        key = keys.get(clip.id)
        brought = clip.transcript is not None or "transcript" in clip.sidecars
        item = read_item(corpus.folder, key) if key and not brought else None
        if item is not None and any(u.text for u in item.utterances):
            found.append(clip.id)
    return tuple(found)


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_MANY]) + (", …" if len(listed) > _MANY else "")
