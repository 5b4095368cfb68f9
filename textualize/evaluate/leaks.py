"""What could make a score better than the method: sought in folds, prompts and run folders.

What a leak is, and what a note, stands in `material.py`; what folds share in `fold_leaks.py`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from textualize.datasets.given import Fold
from textualize.evaluate.fold_leaks import material_leaks
from textualize.evaluate.label_words import Named, forms_of, named_in, words_of
from textualize.evaluate.material import Kind, Leak, Material, Severity, in_order, leak
from textualize.finetune.run_folder import RunFolder
from textualize.labels import LabelSet
from textualize.prompt import Template, load_template_from, render_with
from textualize.text.demonstrations import FILE as DEMONSTRATIONS
from textualize.text.demonstrations import load_solved
from textualize.types import Prompt, Record
from textualize.windows import clip_of

_TELLING = 4  # characters from which a name in a prompt is hardly chance


def find_leaks(
    material: Material,
    folds: Sequence[Fold],
    tested: Sequence[Record],
    labels: LabelSet,
    runs: Mapping[str, Sequence[Path]],
) -> tuple[Leak, ...]:
    """Return all that was found, leaks before notes.

    Args:
        material: the clips of all parts.
        folds: the parts; ids without a clip in `material` are left out of what needs one.
        tested: the records that are scored.
        labels: their label set.
        runs: name of a method -> its run folders. Each method that reads words is read with the
            template that is stored in its run.
    """
    compared = [r.clip.id for r in tested if r.speaker is not None]
    found = list(material_leaks(material, folds, [r.clip for r in tested], compared))
    for name, template in _templates(runs):
        prompts = [render_with(template, r) for r in tested]  # without the list of options
        found += prompt_leaks(f"prompts of {name}", prompts, tested, labels)
    found += [one for name, own in runs.items() for run in own for one in run_leaks(name, run)]
    return in_order(found)


def run_folds(runs: Mapping[str, Sequence[Path]], tested: Sequence[Record]) -> list[Fold]:
    """Return what runs learned from and are tested on now as folds, one for each that differs.

    Where runs are asked about their validation part, the test part is that of their fold.
    """
    asked = tuple(r.clip.id for r in tested)
    found: dict[str, Fold] = {}
    names: dict[str, dict[str, None]] = defaultdict(dict)
    for name, own in runs.items():
        for run in own:
            parts = RunFolder(run).parts
            on_validation = set(asked) <= set(parts["validation"]) - set(parts["test"])
            test = tuple(parts["test"]) if on_validation else asked
            fold = Fold("", tuple(parts["train"]), tuple(parts["validation"]), test)
            found[fold.digest] = fold
            names[fold.digest][name] = None
    return [replace(fold, name=f"of {', '.join(names[key])}") for key, fold in found.items()]


# --- prompts ------------------------------------------------------------------------------------


def prompt_leaks(
    where: str, prompts: Sequence[Prompt], records: Sequence[Record], labels: LabelSet
) -> Iterator[Leak]:
    """Yield which prompts name a label, by where the word comes from, or name their clip."""
    words = words_of(labels)
    named = [named_in(p, r, words) for p, r in zip(prompts, records, strict=True)]
    always = frozenset.intersection(*(n.template for n in named)) if named else frozenset()
    sources: tuple[tuple[Kind, Severity, str, Callable[[Named], frozenset[str]]], ...] = (
        ("label in cue", "leak", "name a label in a cue", lambda n: n.cue),
        ("label in cue", "note", "give a sensor's guess at the emotion by name", lambda n: n.guess),
        ("label in prompt", "leak", "name a label where others do not", lambda n: (
            n.template - always)),
        ("label said", "note", "name a label in what is said aloud", lambda n: n.said),
    )  # fmt: skip
    for kind, severity, text, chosen in sources:
        hits = [(r, chosen(n)) for r, n in zip(records, named, strict=True) if chosen(n)]
        own = sum(bool(words & forms_of(str(r.clip.label))) for r, words in hits)
        said = sorted(frozenset[str]().union(*(words for _, words in hits)))
        told = f"prompts {text}, {own} of them their own ({', '.join(said[:6])})"
        yield from leak(kind, where, [r.clip.id for r, _ in hits], len(records), told, severity)
    if always:
        text = f"prompts name the same labels in the template ({', '.join(sorted(always)[:6])}, …)"
        yield from leak("label in prompt", where, [p.clip_id for p in prompts], len(prompts),
                         text, "note")  # fmt: skip
    shown = [p.clip_id for p, r in zip(prompts, records, strict=True) if _names_clip(p, r)]
    yield from leak("clip named in prompt", where, shown, len(records),
                     "prompts hold their clip's id or file name")  # fmt: skip


def _names_clip(prompt: Prompt, record: Record) -> bool:
    """A name of letters alone may be a word of the clip and is not sought."""
    clip = record.clip
    names = {clip.id, *((clip.video.name, clip.video.stem) if clip.video else ())}
    sought = (n for n in names if len(n) >= _TELLING and not n.isalpha())
    return any(re.search(rf"(?<!\w){re.escape(n)}(?!\w)", prompt.text) for n in sought)


def _templates(runs: Mapping[str, Sequence[Path]]) -> Iterator[tuple[str, Template]]:
    """Yield every template once, with the names of the methods that read it."""
    readers: dict[Template, dict[str, None]] = defaultdict(dict)
    for name, own in runs.items():
        for run in own:
            if (run / "prompt/prompt.json").is_file():
                readers[load_template_from(run)].setdefault(name)
    unique: dict[tuple[object, ...], tuple[Template, dict[str, None]]] = {}
    for template, names in readers.items():  # the same text is stored at another place by each run
        key = (template.digest, template.modalities, template.turns, template.register,
               template.levels, template.context_s, template.future_turns)  # fmt: skip
        unique.setdefault(key, (template, {}))[1].update(names)
    for template, names in unique.values():
        yield ", ".join(names), template


# --- run folders --------------------------------------------------------------------------------


def run_leaks(name: str, path: Path) -> Iterator[Leak]:
    """Yield what a run learned from beyond its training part: demonstrations, statistics."""
    run = RunFolder(path)
    parts = run.parts
    if (path / DEMONSTRATIONS).is_file():
        shown = sorted({clip_of(one.clip) for one in load_solved(path)})
        for part in ("test", "validation"):
            own = sorted(set(shown) & (set(parts[part]) - set(parts["train"])))
            text = f"clips that prompts may show with their answer are {part} clips"
            yield from leak("demonstration", name, own, len(shown), text)
    if not run.fitted:
        text = "runs do not say what was fitted on which clips: trained before that was written"
        yield from leak("statistics", name, [path.name], 1, text, "note")
    for what, (ids, allowed) in run.fitted.items():
        for part in ("validation", "test"):
            if part not in allowed:
                own = sorted(set(ids) & (set(parts[part]) - set(parts["train"])))
                text = f"clips that {what} were fitted on are {part} clips"
                yield from leak("statistics", name, own, len(ids), text)
