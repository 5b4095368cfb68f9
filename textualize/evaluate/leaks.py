"""What could make a score better than the method: sought in folds, prompts and run folders.

A *leak* brings what is asked, or the clips it is asked of, to where a method learns or reads. A
*note* is no leak and yet something a reader of the scores should know: an emotion named aloud, a
label in a file's name that no prompt repeats, statistics of a tested speaker without labels.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from textualize.datasets.given import Fold, shared_groups
from textualize.evaluate.label_words import Named, forms_of, found_in, named_in, words_of
from textualize.finetune.run_folder import RunFolder
from textualize.labels import LabelSet
from textualize.prompt import Template, load_template_from, render_with
from textualize.store import Corpus
from textualize.types import Clip, Prompt, Record
from textualize.windows import clip_of

Kind = Literal[
    "label in cue", "label in prompt", "label said", "label in name", "clip named in prompt",
    "group across folds", "subject across folds", "clip across folds", "validation is test",
    "duplicate text", "duplicate media", "demonstration", "statistics", "test split",
    "unchecked",
]  # fmt: skip
Severity = Literal["leak", "note"]
SHOWN = 3  # examples of one finding
LONG = 4  # words from which a text said twice is hardly chance

_PAIRS = (("validation", "train"), ("test", "train"), ("test", "validation"))
_LEARNED = {"train": "training", "validation": "validation"}


@dataclass(frozen=True, slots=True)
class Leak:
    """One finding: `found` of `of` clips, a few of them named; `where` is a fold or a method."""

    kind: Kind
    severity: Severity
    where: str
    text: str
    found: int
    of: int
    examples: tuple[str, ...] = ()

    def line(self) -> str:
        """Return the finding as one line.

        >>> Leak("validation is test", "leak", "fold 1", "test clips are validation", 2, 3).line()
        'fold 1: 2 of 3 test clips are validation'
        """
        first = f" ({', '.join(self.examples)}{', …' if self.found > len(self.examples) else ''})"
        return f"{self.where}: {self.found} of {self.of} {self.text}{first * bool(self.examples)}"


@dataclass(frozen=True, slots=True)
class Material:
    """What is known of the clips: all labelled ones by id, what they say, their media's digests."""

    clips: Mapping[str, Clip]
    texts: Mapping[str, str] = field(default_factory=dict)
    media: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[Record], corpus: Corpus | None = None) -> Material:
        """Return the material of records, and of the labelled clips of a corpus beside them.

        What a sensor heard in a record counts before the text its clip brings.
        """
        entries = list(corpus.iter_entries()) if corpus else []
        clips = {e.clip.id: e.clip for e in entries if e.clip.label is not None}
        texts = {i: c.transcript or "" for i, c in clips.items()}
        for record in records:
            clips[record.clip.id] = record.clip
            texts[record.clip.id] = record.transcript or record.clip.transcript or ""
        return cls(clips, texts, {e.clip.id: e.media for e in entries if e.media})


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
    found = [leak for fold in folds for leak in fold_leaks(fold, material)]
    found += name_leaks([r.clip for r in tested])
    for name, template in _templates(runs):
        prompts = [render_with(template, r) for r in tested]  # without the list of options
        found += prompt_leaks(f"prompts of {name}", prompts, tested, labels)
    found += [leak for name, own in runs.items() for run in own for leak in run_leaks(name, run)]
    found += _speakers(tested)
    return tuple(sorted(_merged(found), key=lambda leak: leak.severity != "leak"))


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


def _merged(found: Sequence[Leak]) -> list[Leak]:
    """Each finding once: seeds of a method say the same."""
    return list(dict.fromkeys(found))


def _leak(
    kind: Kind, where: str, ids: Sequence[str], of: int, text: str, severity: Severity = "leak"
) -> Iterator[Leak]:
    """Yield the finding, where there is one."""
    if ids:
        yield Leak(kind, severity, where, text, len(ids), of, tuple(ids[:SHOWN]))


# --- folds --------------------------------------------------------------------------------------


def fold_leaks(fold: Fold, material: Material) -> Iterator[Leak]:
    """Yield what the parts of a fold share: clips, groups, subjects, texts, media."""
    where = f"fold {fold.name}"
    known = material.clips
    listed = sorted({*fold.train, *fold.validation, *fold.test})
    absent = [i for i in listed if i not in known]
    text = "clips are not at hand: their groups, texts and media were not compared"
    yield from _leak("unchecked", where, absent, len(listed), text, "note")
    for part, other in _PAIRS:
        ids, others = ([i for i in getattr(fold, p) if i in known] for p in (part, other))
        named = _LEARNED[other]
        there = set(getattr(fold, other))
        same = [i for i in getattr(fold, part) if i in there]
        kind: Kind = "validation is test" if other == "validation" else "clip across folds"
        yield from _leak(kind, where, same, len(getattr(fold, part)), f"{part} clips are {named} "
                         "clips")  # fmt: skip
        rest = [i for i in ids if i not in there]
        yield from _groups(where, part, rest, others, len(ids), known, named)
        yield from _texts(where, part, rest, others, material, named)
        yield from _media(where, part, rest, others, material, named)
    yield from _own_test(fold, known)


def _groups(
    where: str,
    part: str,
    ids: Sequence[str],
    others: Sequence[str],
    of: int,
    known: Mapping[str, Clip],
    named: str,
) -> Iterator[Leak]:
    groups = {known[i].fold_group for i in others}
    shared = [i for i in ids if known[i].fold_group in groups]
    _, labelled = shared_groups(ids, others, known)
    also = f", {labelled} of them the label too" if labelled else ""
    text = f"{part} clips share their group with {named}{also}"
    yield from _leak("group across folds", where, shared, of, text)
    subjects = {known[i].subject for i in others} - {None}
    people = [i for i in ids if known[i].subject in subjects and known[i].fold_group not in groups]
    text = f"{part} clips are of a subject of {named}, in another group"
    yield from _leak("subject across folds", where, people, of, text, "note")


def _texts(
    where: str,
    part: str,
    ids: Sequence[str],
    others: Sequence[str],
    material: Material,
    named: str,
) -> Iterator[Leak]:
    """A text that was learned with one label only gives that label away to who remembers it."""
    learned: dict[tuple[str, ...], set[str | float | None]] = defaultdict(set)
    for i in others:
        learned[_words(material.texts.get(i, ""))].add(material.clips[i].label)
    learned.pop((), None)
    twice = [i for i in ids if _words(material.texts.get(i, "")) in learned]
    telling = [
        i
        for i in twice
        if len(words := _words(material.texts[i])) >= LONG
        and learned[words] == {material.clips[i].label}
    ]
    text = f"{part} clips say, in {LONG} words or more, what {named} has under their label alone"
    yield from _leak("duplicate text", where, telling, len(ids), text)
    told = set(telling)
    rest = [i for i in twice if i not in told]
    text = f"{part} clips say what {named} says too, shortly or under other labels"
    yield from _leak("duplicate text", where, rest, len(ids), text, "note")


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", text.casefold()))


def _media(
    where: str,
    part: str,
    ids: Sequence[str],
    others: Sequence[str],
    material: Material,
    named: str,
) -> Iterator[Leak]:
    """Clips of other groups whose files have the same content, at the same time."""
    by_digest: dict[str, list[Clip]] = defaultdict(list)
    for i in others:
        by_digest[material.media.get(i, "")].append(material.clips[i])
    by_digest.pop("", None)
    copies = [
        i
        for i in ids
        if any(
            _at_once(material.clips[i], other)
            for other in by_digest.get(material.media.get(i, ""), ())
        )
    ]
    text = f"{part} clips are copies of {named} clips: the same bytes at the same time"
    yield from _leak("duplicate media", where, copies, len(ids), text)


def _at_once(one: Clip, other: Clip) -> bool:
    return one.span is None or other.span is None or bool(one.span & other.span)


def _own_test(fold: Fold, known: Mapping[str, Clip]) -> Iterator[Leak]:
    """The corpus' own test split is learned from, as where folds are made of all clips."""
    for part in ("train", "validation"):
        ids = getattr(fold, part)
        own = [i for i in ids if i in known and known[i].split == "test"]
        text = f"{part} clips are of the corpus' own split named test"
        yield from _leak("test split", f"fold {fold.name}", own, len(ids), text, "note")


# --- names and prompts --------------------------------------------------------------------------


def name_leaks(clips: Sequence[Clip]) -> Iterator[Leak]:
    """Yield how many clips have their own label in their id, file or folder: a note."""
    telling = [
        c.id
        for c in clips
        if isinstance(c.label, str)
        and (forms := forms_of(c.label))
        and found_in(re.sub(r"[\W\d_]+", " ", _name(c)), forms)
    ]
    text = "clips have their label in their id or file name; no method may be given it"
    yield from _leak("label in name", "clips", telling, len(clips), text, "note")


def _name(clip: Clip) -> str:
    return f"{clip.id} {'/'.join(clip.video.parts[-2:]) if clip.video else ''}"


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
        yield from _leak(kind, where, [r.clip.id for r, _ in hits], len(records), told, severity)
    if always:
        text = f"prompts name the same labels in the template ({', '.join(sorted(always)[:6])}, …)"
        yield from _leak("label in prompt", where, [p.clip_id for p in prompts], len(prompts),
                         text, "note")  # fmt: skip
    shown = [p.clip_id for p, r in zip(prompts, records, strict=True) if _names_clip(p, r)]
    yield from _leak("clip named in prompt", where, shown, len(records),
                     "prompts hold their clip's id or file name")  # fmt: skip


def _names_clip(prompt: Prompt, record: Record) -> bool:
    """A name of letters alone may be a word of the clip and is not sought."""
    clip = record.clip
    names = {clip.id, *((clip.video.name, clip.video.stem) if clip.video else ())}
    sought = (n for n in names if len(n) >= LONG and not n.isalpha())
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
    demonstrations = path / "prompt/demonstrations.jsonl"
    if demonstrations.is_file():
        lines = demonstrations.read_text("utf-8").splitlines()
        shown = sorted({clip_of(json.loads(line)["clip"]) for line in lines})
        for part in ("test", "validation"):
            own = sorted(set(shown) & (set(parts[part]) - set(parts["train"])))
            text = f"clips that prompts may show with their answer are {part} clips"
            yield from _leak("demonstration", name, own, len(shown), text)
    if not run.fitted:
        text = "runs do not say what was fitted on which clips: trained before that was written"
        yield from _leak("statistics", name, [path.name], 1, text, "note")
    for what, (ids, allowed) in run.fitted.items():
        for part in ("validation", "test"):
            if part not in allowed:
                own = sorted(set(ids) & (set(parts[part]) - set(parts["train"])))
                text = f"clips that {what} were fitted on are {part} clips"
                yield from _leak("statistics", name, own, len(ids), text)


def _speakers(tested: Sequence[Record]) -> Iterator[Leak]:
    known = [r.clip.id for r in tested if r.speaker is not None]
    text = "tested clips are read beside unlabelled statistics of all clips of their speaker"
    yield from _leak("statistics", "speakers", known, len(tested), text, "note")
