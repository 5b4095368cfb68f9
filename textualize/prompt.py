"""Cues to a prompt: a Jinja template orders and frames, Python has chosen every word.

A template is loaded with the parts it includes, so that it can be stored in a run folder and
rendered there, years later, to the same text. It is rendered in a sandbox (`sandbox.py`) and is
given cues and words only: no clip id, no file name, no label.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from traceback import walk_tb
from typing import Any

import numpy as np
from jinja2 import TemplateNotFound, TemplateSyntaxError, UndefinedError, meta

from textualize import assets
from textualize.describe import clean_transcript, describe
from textualize.errors import TextualizeError, unknown
from textualize.files import write_text_atomic
from textualize.sandbox import Sandbox, render_guarded
from textualize.types import Cue, Modality, Prompt, Record, Track
from textualize.wording import AU_NAMES, REGISTERS, Register
from textualize.wording.face import au_scale

LETTERS: Mapping[str, Modality] = {"T": "speech", "V": "face", "A": "prosody"}
VARIABLES = (
    "face speech prosody transcript context labels modalities levels aus_active visual_emotions "
    "prosody_words arousal valence dominance face_state speech_state prosody_state register"
).split()
_MAIN = "template.jinja"
_PART = re.compile(r"(parts/)?[\w-]+\.jinja")


@dataclass(frozen=True, slots=True)
class Template:
    """A template's text with the parts it uses, and how to render it.

    `source` is the file for error messages; `parts` maps an included name to its text; `digest`
    is over text and parts. `modalities` and `levels` are the defaults of `render_with`; `turns` is
    how many previous dialogue turns the template is given as context; `register` is how cues are
    worded (see `describe`).
    """

    name: str
    source: str
    text: str
    parts: Mapping[str, str] = field(hash=False)
    digest: str
    modalities: str = "TVA"
    levels: bool = False
    turns: int = 0
    register: Register = "terse"


def render(
    record: Record,
    template: str | Path = "compound",
    *,
    labels: Sequence[str] = (),
    modalities: str = "TVA",
    levels: bool = False,
    turns: int = 0,
    register: Register = "terse",
) -> Prompt:
    """Return what a model reads about a record.

    `template` is a shipped name or a path ending in .jinja; `modalities` are letters of T (words
    spoken), V (face), A (voice); `labels` are listed by templates that ask a question; `levels`
    lets `richet2024` say High and Low instead of numbers; `turns` previous dialogue turns are given
    as context; `register` words face and voice as a list ("terse") or as sentences. Raises
    TextualizeError for an unknown template or register, or a template that fails, with file, line
    and variable.
    """
    loaded = load_template(template, modalities, levels=levels, turns=turns, register=register)
    return render_with(loaded, record, labels=labels)


def render_with(
    template: Template,
    record: Record,
    *,
    labels: Sequence[str] = (),
    modalities: str | None = None,
    cues: Sequence[Cue] | None = None,
) -> Prompt:
    """Return the record rendered by a loaded template, with its own modalities by default.

    `cues` are said in place of all that `describe` has to say, as where a prompt must be shorter.
    """
    letters = _checked_letters(template.modalities if modalities is None else modalities)
    if cues is None:
        cues = describe(record, [LETTERS[letter] for letter in letters], template.register)
    values = _variables(record, cues, letters, template.turns) | {
        "labels": tuple(labels),
        "levels": template.levels,
        "register": template.register,
    }
    try:
        text = render_guarded(lambda: _sandbox(template).get_template(_MAIN).render(values))
    except Exception as error:  # a foreign template may raise anything
        raise _template_error(template, error) from None
    # Newlines at either end belong to the file, not to the prompt; blanks may be the paper's.
    return Prompt(record.clip.id, text.strip("\n"), tuple(cues), template.name, template.digest)


def load_template(
    name: str | Path,
    modalities: str = "TVA",
    *,
    levels: bool = False,
    turns: int = 0,
    register: Register = "terse",
) -> Template:
    """Return a shipped template by name, or the user's own by path, with the parts it includes.

    Parts are looked up beside the template, then among the shipped ones, nowhere else. Raises
    TextualizeError if a file is missing or does not parse, or the register is unknown.
    """
    letters = _checked_letters(modalities)
    _checked_register(register)
    path = assets.find("prompts", name, ".jinja")
    shipped = assets.folder("prompts")
    source = str(name) if str(name).endswith(".jinja") else f"prompts/{path.name}"
    text = _read(path, path.parent)
    parts: dict[str, str] = {}
    waiting = _included(text, source)
    while waiting:
        part = waiting.pop()
        if part not in parts:
            parts[part] = _read_part(part, source, (path.parent, shipped))
            waiting += _included(parts[part], f"{Path(source).parent}/{part}")
    digest = _digest(text, parts)
    return Template(path.stem, source, text, parts, digest, letters, levels, turns, register)


def save_template(template: Template, folder: str | Path) -> None:
    """Write a template into `folder`/prompt, so that the run renders what it was trained on."""
    out = Path(folder) / "prompt"
    for name, text in {_MAIN: template.text, **template.parts}.items():
        write_text_atomic(out / name, text)
    described = {
        "name": template.name,
        "digest": template.digest,
        "modalities": template.modalities,
        "levels": template.levels,
        "turns": template.turns,
        "register": template.register,
        "parts": sorted(template.parts),
    }
    write_text_atomic(out / "prompt.json", json.dumps(described, indent=2) + "\n")


def load_template_from(folder: str | Path) -> Template:
    """Return the template stored in a run folder.

    Raises TextualizeError if there is none or if a file was changed after it was written.
    """
    stored = Path(folder) / "prompt"
    if not (stored / "prompt.json").is_file():
        raise TextualizeError(f"{folder} holds no prompt: expected {stored / 'prompt.json'}")
    described = json.loads((stored / "prompt.json").read_text("utf-8"))
    source = str(stored / _MAIN)
    text = _read(stored / _MAIN, stored)
    parts = {name: _read_part(name, source, (stored,)) for name in described["parts"]}
    digest = _digest(text, parts)
    if digest != described["digest"]:
        raise TextualizeError(
            f"the prompt in {stored} has digest {digest[:12]}, its prompt.json says "
            f"{described['digest'][:12]}; restore the files the model was trained with"
        )
    letters = _checked_letters(described["modalities"])
    return Template(
        described["name"],
        source,
        text,
        parts,
        digest,
        letters,
        bool(described["levels"]),
        int(described["turns"]),
        _checked_register(described.get("register", "terse")),  # runs from before registers
    )


def _checked_letters(modalities: str) -> str:
    """Return the letters in the order T, V, A; raises TextualizeError for any other."""
    if not modalities or set(modalities) - set(LETTERS) or len(set(modalities)) < len(modalities):
        raise TextualizeError(
            f"modalities '{modalities}' are not understood; give some of T (words spoken), "
            "V (face), A (voice), each once, as in TVA"
        )
    return "".join(letter for letter in LETTERS if letter in modalities)


def _checked_register(register: str) -> Register:
    for known in REGISTERS:
        if register == known:
            return known
    raise unknown("register", register, REGISTERS)


# --- files ----------------------------------------------------------------------------------------


def _read(path: Path, inside: Path) -> str:
    resolved = path.resolve()
    if not path.is_file() or not resolved.is_relative_to(inside.resolve()):
        raise TextualizeError(f"no template at {path}, or it is a link that leaves its folder")
    return resolved.read_text("utf-8")


def _read_part(name: str, source: str, folders: Sequence[Path]) -> str:
    if not _PART.fullmatch(name) or name == _MAIN:
        raise TextualizeError(
            f"{source} includes '{name}'; a part is a .jinja file beside the template or in parts/"
        )
    for folder in folders:
        if (folder / name).is_file():
            return _read(folder / name, folder)
    raise TextualizeError(
        f"{source} includes '{name}', which is neither beside it nor shipped; add the file"
    )


def _included(text: str, source: str) -> list[str]:
    """Return the names a template includes, imports or extends; all must be literal."""
    try:
        tree = Sandbox({}).parse(text, source, source)
    except Exception as error:  # the parser of a foreign text may run out of anything
        raise _syntax_error(source, error) from None
    names = list(meta.find_referenced_templates(tree))
    if None in names:
        raise TextualizeError(f"{source} computes the name of an include; write it out")
    return [name for name in names if name is not None]


def _digest(text: str, parts: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps([text, sorted(parts.items())]).encode()).hexdigest()


@lru_cache(maxsize=16)
def _sandbox(template: Template) -> Sandbox:
    folder = Path(template.source).parent
    texts = {name: (text, f"{folder}/{name}") for name, text in template.parts.items()}
    return Sandbox(texts | {_MAIN: (template.text, template.source)})


# --- errors ---------------------------------------------------------------------------------------


def _syntax_error(source: str, error: Exception) -> TextualizeError:
    if isinstance(error, TemplateSyntaxError):
        return TextualizeError(f"{error.filename or source}:{error.lineno}: {error.message}")
    return TextualizeError(f"{source}: {_reason(error)}")


def _template_error(template: Template, error: Exception) -> TextualizeError:
    """Return the error with file and line, which Jinja puts into the traceback."""
    if isinstance(error, (TextualizeError, TemplateSyntaxError)):
        return _syntax_error(template.source, error)
    folder = Path(template.source).parent
    files = {template.source} | {f"{folder}/{name}" for name in template.parts}
    where = [
        f"{frame.f_code.co_filename}:{line}"
        for frame, line in walk_tb(error.__traceback__)
        if frame.f_code.co_filename in files
    ]
    place = where[-1] if where else template.source
    hint = ""
    if isinstance(error, UndefinedError) and str(error).endswith("is undefined"):
        hint = f"; a template may use {', '.join(VARIABLES)}"
    return TextualizeError(f"{place}: {_reason(error)}{hint}")


def _reason(error: Exception) -> str:
    if isinstance(error, TemplateNotFound):
        return f"no part named '{error.name}'"
    if isinstance(error, (RecursionError, MemoryError)):
        return "the template is nested too deeply"
    return " ".join(str(error).split()) or type(error).__name__


# --- what a template may read ---------------------------------------------------------------------


def _variables(record: Record, cues: Sequence[Cue], letters: str, n_turns: int) -> dict[str, Any]:
    by: dict[str, tuple[Cue, ...]] = {
        m: tuple(c for c in cues if c.modality == m) for m in LETTERS.values()
    }
    spoken = [cue.text for cue in by["speech"] if cue.state in ("observed", "uncertain")]
    turns = record.clip.context[-n_turns:] if "T" in letters and n_turns else ()
    context = ((clean_transcript(t.speaker or ""), clean_transcript(t.text)) for t in turns)
    states = {
        f"{name}_state": cues_of[0].state if cues_of else "not_run" for name, cues_of in by.items()
    }
    values: dict[str, Any] = {
        **by,
        "transcript": " ".join(spoken),
        "context": tuple((speaker or "Someone", text) for speaker, text in context if text),
        "modalities": letters,
        **states,
    }
    return values | _published_values(record, letters)


# Richet et al. 2024 list these action units, in this order.
_PUBLISHED_AUS = tuple(
    f"AU{n:02d}" for n in (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 20, 23, 24, 25, 26, 28, 43)
)
_PUBLISHED_NAMES = {"AU25": "Lip Part", "AU43": "Eyes Closed"}  # where they are not those of FACS


def _published_values(record: Record, letters: str) -> dict[str, Any]:
    """Return what the template `richet2024` needs beyond cues; None where it was not measured."""
    tracks = record.tracks
    aus = tracks.get("aus") if "V" in letters else None
    emotions = tracks.get("emotions") if "V" in letters else None
    named = tracks.get("prosody_emotions") if "A" in letters else None
    affect = tracks.get("affect") if "A" in letters else None
    values: dict[str, Any] = {
        "aus_active": None if aus is None else _active_names(aus),
        "visual_emotions": None if emotions is None else _top_three(emotions),
        "prosody_words": None if named is None else _prosody_pairs(named),
    }
    for name in ("arousal", "valence", "dominance"):
        values[name] = None if affect is None else _affect(affect, name)
    return values


def _window_max(track: Track) -> dict[str, float]:
    """Return each column's maximum over time; columns never seen are left out."""
    seen = np.isfinite(track.values)
    highest = np.where(seen, track.values, -np.inf).max(axis=0, initial=-np.inf)
    return {n: float(v) for n, v in zip(track.names, highest, strict=True) if np.isfinite(v)}


def _active_names(track: Track) -> tuple[str, ...]:
    """Return the action units whose maximum is strictly above active (0.5 for probabilities)."""
    highest = _window_max(track)
    active = au_scale(track).active
    shown = [au for au in _PUBLISHED_AUS if highest.get(au, 0.0) > active]
    return tuple(_PUBLISHED_NAMES.get(au, AU_NAMES[au].title()) for au in shown)


def _top_three(track: Track) -> tuple[str, ...] | None:
    """Return the three most probable names; ties in column order; () when all are zero."""
    highest = _window_max(track)
    if not highest:
        return None
    ranked = sorted(highest, key=lambda name: -highest[name])
    return tuple(ranked[:3]) if highest[ranked[0]] > 0 else ()


def _prosody_pairs(track: Track) -> tuple[str, ...] | None:
    """Return "High Joy" or "Low Joy" for the ten highest (utterance, name) scores; High > 0.3."""
    pairs = [
        (float(score), name)
        for row in track.values
        for score, name in zip(row, track.names, strict=True)
        if np.isfinite(score)
    ]
    top = sorted(pairs, key=lambda pair: -pair[0])[:10]
    high = float(np.float32(0.3))  # a stored 0.3 is a little above 0.3; it must stay Low
    return tuple(f"{'High' if score > high else 'Low'} {name}" for score, name in top) or None


def _affect(track: Track, name: str) -> float | None:
    """Return a dimension's mean over the clip, 0-1, rounded to two decimals as published."""
    if name not in track.names:
        return None
    column = track.column(name)
    seen = column[np.isfinite(column)]
    return round(float(seen.mean()), 2) if len(seen) else None
