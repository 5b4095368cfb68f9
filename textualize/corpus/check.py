"""`textualize corpus check`: what would make a comparison on these clips wrong or weak.

It works before extraction (a manifest, a dataset's root, a folder) and on an extracted corpus,
whose clips stream by: what is kept of each is a line of hashes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from textualize.corpus.findings import CheckReport, Finding, SplitFacts, about
from textualize.corpus.measures import (
    Row,
    counts_by,
    design_effect,
    found_in,
    is_latin,
    majority_scores,
    noise,
    oddities,
    repeated,
    row_of,
    splits_sharing,
)
from textualize.corpus.media import (
    Progress,
    check_copies,
    check_files,
    check_times,
    with_digests,
)
from textualize.corpus.opening import Source
from textualize.corpus.spelling import published_texts
from textualize.errors import TextualizeError
from textualize.store import Corpus, Entry, Failure, item_path

SPLITS = ("train", "validation", "test", "")
SHOWN = 20  # lines of a section before "and N more"


def check_source(
    source: Source,
    *,
    max_seconds: float = 60.0,
    accuracy: float = 0.68,
    read_media: bool = True,
    progress: Progress = lambda done, total, name: None,
) -> CheckReport:
    """Return what is wrong with a source and its splits.

    Args:
        source: from `open_source`.
        max_seconds: longer clips are reported.
        accuracy: what the sampling noise is told for; a majority rate above it is used instead.
        read_media: open files and compare their content, where there is no extraction yet.
        progress: called with (done, total, name) while files are opened.
    """
    rows, findings = _streamed(source)
    findings += [Finding("files", "note", note) for note in source.notes]
    findings += _quarantine(source.failures)
    findings += check_times(rows, max_seconds)
    if source.corpus is None:
        findings += check_files(source.listed, max_seconds, read_media, progress)
        rows = with_digests(rows) if read_media else rows
    findings += check_copies(rows)
    findings += _labels(rows)
    facts = _facts(rows, source, accuracy)
    findings += [*_splits(rows, facts), *_overlaps(rows), *_texts(rows, facts, source)]
    findings += _published(source)
    names = source.labels.labels if source.labels else ()
    return CheckReport(str(source.path), len(rows), names, tuple(facts), tuple(findings))


def _streamed(source: Source) -> tuple[list[Row], list[Finding]]:
    """Return a row per clip, and what can be seen of a clip only while it is there."""
    rows: list[Row] = []
    odd: dict[str, list[str]] = {}
    gone: list[str] = []
    failed: list[str] = []
    latin: dict[bool, list[str]] = {True: [], False: []}
    ids: Counter[str] = Counter()
    for entry in source.entries():
        clip = entry.clip
        rows.append(row_of(clip, entry.media))
        ids[clip.id] += 1
        for what in oddities(clip.transcript or ""):
            odd.setdefault(what, []).append(clip.id)
        script = is_latin(clip.transcript or "")
        if script is not None:
            latin[script].append(clip.id)
        if source.corpus is not None:
            failed += [clip.id] if entry.failed else []
            gone += [clip.id] if _items_gone(source.corpus, entry) else []
    found = about("clips", "error", [i for i, n in ids.items() if n > 1], "have an id given twice")
    found += about("clips", "error", gone, "lack a stored item: run textualize extract again")
    found += about("clips", "warning", failed, "have a modality whose sensor failed")
    for what, clips in odd.items():
        found += about("text", "warning", clips, f"have {what} in their transcript")
    if latin[True] and latin[False]:
        fewer = min(latin.values(), key=len)
        found += about("text", "note", fewer, "are written in another script than the rest")
    return rows, found


def _items_gone(corpus: Corpus, entry: Entry) -> bool:
    return any(not item_path(corpus.folder, key).is_file() for key in entry.items.values())


def _quarantine(failures: Sequence[Failure]) -> list[Finding]:
    stages: dict[str, list[str]] = {}
    for failure in failures:
        stages.setdefault(failure.stage, []).append(failure.clip)
    found = []
    for stage, clips in stages.items():
        found += about("quarantine", "warning", clips, f"could not be used ({stage})")
    lines = [f"{f.clip}: {f.error}" for f in failures[:SHOWN]]
    return found + [Finding("quarantine", "note", line) for line in lines]


def _labels(rows: Sequence[Row]) -> list[Finding]:
    without = [r.name for r in rows if r.label is None]
    if len(without) == len(rows):
        return [Finding("labels", "note", "no clip has a label: for prediction only", len(rows))]
    return about("labels", "warning", without, "have no label and are left out of folds")


def _facts(rows: Sequence[Row], source: Source, accuracy: float) -> list[SplitFacts]:
    by_split = {name: [r for r in rows if r.split == name] for name in {r.split for r in rows}}
    train = by_split.get("train", list(rows))
    classes = Counter(str(r.label) for r in train if isinstance(r.label, str))
    majority = classes.most_common(1)[0][0] if classes else None
    count = len(source.labels.labels) if source.labels else len(classes)
    order = sorted(by_split, key=lambda s: (SPLITS.index(s) if s in SPLITS else 9, s))
    return [
        _split_facts(name, by_split[name], train if "train" in by_split else [], majority, count,
                     accuracy)
        for name in order
    ]  # fmt: skip


def _split_facts(
    name: str,
    rows: Sequence[Row],
    train: Sequence[Row],
    majority: str | None,
    classes: int,
    accuracy: float,
) -> SplitFacts:
    labelled = [r for r in rows if r.label is not None]
    hits = [float(r.label == majority) for r in labelled]
    share = sum(hits) / len(hits) if hits else 0.0
    rate = max(accuracy, share) if share < 1 else accuracy
    alone = noise(len(labelled), rate) if labelled else 0.0
    effect = design_effect(hits, [r.group for r in labelled])
    others = train if name not in ("train", "") else []
    return SplitFacts(
        name=name,
        clips=len(rows),
        groups=len({r.group for r in rows}),
        subjects=len({r.subject for r in rows if r.subject}),
        labels=dict(sorted(counts_by(rows)[name].items())) if majority else {},
        repeats=repeated(r.text for r in rows),
        repeats_words=repeated(r.words for r in rows),
        in_train=found_in((r.text for r in rows), {r.text for r in others}),
        in_train_words=found_in((r.words for r in rows), {r.words for r in others}),
        majority=majority_scores(share, classes) if majority else {},
        rate=rate,
        noise=alone,
        noise_grouped=alone * max(1.0, effect) ** 0.5,
    )


def _splits(rows: Sequence[Row], facts: Sequence[SplitFacts]) -> Iterator[Finding]:
    names = {f.name for f in facts} - {""}
    if not names:
        said = "the clips name no split: folds are made of whole groups"
        yield Finding("splits", "note", said)
    else:
        for name in sorted({"train", "validation", "test"} - names):
            yield Finding("splits", "warning", f"there is no split named {name}")
        for name in sorted(names - set(SPLITS)):
            said = f"split '{name}' is not train, validation or test: nothing reads it"
            yield Finding("splits", "warning", said)
        yield from about(
            "splits", "warning", [r.name for r in rows if not r.split], "have no split"
        )
    known = {r.label for r in rows if r.split == "train"}
    for fact in facts if "train" in names else ():
        for label in sorted(set(fact.labels) - {str(k) for k in known} - {"unlabelled"}):
            said = f"{fact.name or 'no split'}: label '{label}' never occurs in train"
            yield Finding("splits", "warning", said, fact.labels[label])
    if "train" in names and len(known) == 1:
        yield Finding("splits", "error", "train has one label only: there is nothing to learn")
    groups = {r.group for r in rows}
    if not names and len(groups) < 3:
        said = f"the clips form {len(groups)} groups: three are needed for train, validation, test"
        yield Finding("splits", "error", said)
    reported = next((f for n in ("test", "validation", "") for f in facts if f.name == n), None)
    if reported is not None and reported.noise:
        yield Finding("noise", "note", _noise(reported))


def _noise(fact: SplitFacts) -> str:
    where = f"on {fact.name} " if fact.name else "over all folds "
    wide = ""
    if fact.noise_grouped > 1.005 * fact.noise:
        wide = f"; ±{100 * fact.noise_grouped:.1f} when whole groups are drawn"
    return (
        f"{where}({fact.clips} clips, {fact.groups} groups) differences under "
        f"±{100 * fact.noise:.1f} points are noise{wide} (95 %, at accuracy "
        f"{fact.rate:.2f}; paired tests see smaller ones)"
    )


def _published(source: Source) -> Iterator[Finding]:
    """Yield what leaks in the folds a dataset was published with."""
    try:
        made = source.published()
    except TextualizeError as error:
        yield Finding("published folds", "note", f"not read: {error}")
        return
    for fold in made or ():
        sizes = f"{len(fold.train)}/{len(fold.validation)}/{len(fold.test)} clips"
        yield Finding("published folds", "note", f"{fold.name}: {sizes}")
        for leak in fold.leaks:
            yield Finding("published folds", "warning", f"{fold.name}: {leak}")


def _overlaps(rows: Sequence[Row]) -> Iterator[Finding]:
    groups = splits_sharing(rows, "group")
    if groups:
        clips = [r.name for r in rows if r.group in groups]
        said = f"{len(groups)} groups ({len(clips)} clips) are in more than one split"
        yield Finding("overlap", "error", said, len(clips), tuple(sorted(groups)[:3]))
    subjects = {s: w for s, w in splits_sharing(rows, "subject").items() if s not in groups}
    if subjects:
        clips = [r.name for r in rows if r.subject in subjects]
        said = (
            f"{len(subjects)} subjects ({len(clips)} of {len(rows)} clips) are in more than one "
            "split: the splits are not independent of who speaks"
        )
        yield Finding("overlap", "warning", said, len(clips), tuple(sorted(subjects)[:3]))


def _texts(rows: Sequence[Row], facts: Sequence[SplitFacts], source: Source) -> Iterator[Finding]:
    for fact in facts:
        where = fact.name or "all clips"
        for count, loose, said in (
            (fact.repeats, fact.repeats_words, "have a text that another has too"),
            (fact.in_train, fact.in_train_words, "have a text that train has too"),
        ):
            if loose:
                text = f"{where}: {count} of {fact.clips} clips {said}"
                yield Finding("text", "warning", f"{text} ({loose} but for case and punctuation)",
                              count)  # fmt: skip
    published = published_texts(source.dataset, Path(source.path))
    train = published.get("train", [])
    for name, texts in published.items():
        text = f"{name}: as the file spells them, {repeated(texts)} of {len(texts)} rows repeat"
        text += " another row's text"
        if name != "train" and train:
            text += f", {found_in(texts, train)} have a text of train"
        yield Finding("text", "note", text, repeated(texts))


def print_report(report: CheckReport, out: Console) -> None:
    """Print a report in sections, errors first within each."""
    out.print(f"{report.source}: {report.clips} clips", markup=False)
    out.print(_split_table(report))
    if any(s.labels for s in report.splits):
        out.print(_label_table(report))
    marks = {"error": "[red]error[/]", "warning": "[yellow]warning[/]", "note": "[dim]note[/]"}
    for section in dict.fromkeys(f.section for f in report.findings):
        found = [f for f in report.findings if f.section == section]
        found.sort(key=lambda f: list(marks).index(f.severity))
        out.rule(section, align="left", style="dim")
        for finding in found[:SHOWN]:
            first = f" [dim]({escape(', '.join(finding.clips))})[/]" if finding.clips else ""
            out.print(f"{marks[finding.severity]}  {escape(finding.text)}{first}")
        if len(found) > SHOWN:
            out.print(f"and {len(found) - SHOWN} more: --json has them all", markup=False)
    warnings = sum(f.severity == "warning" for f in report.findings)
    out.print(f"{len(report.errors)} errors, {warnings} warnings", markup=False)


def _split_table(report: CheckReport) -> Table:
    table = Table(box=None, header_style="dim")
    table.add_column("split")
    for column in ("clips", "groups", "subjects", "majority acc", "w-F1", "macro F1", "noise"):
        table.add_column(column, justify="right")
    for s in report.splits:
        scores = [f"{s.majority[k]:.3f}" if s.majority else "" for k in
                  ("accuracy", "weighted_f1", "macro_f1")]  # fmt: skip
        cells = (s.name or "(none)", s.clips, s.groups, s.subjects, *scores,
                 f"±{100 * s.noise:.1f}" if s.noise else "")  # fmt: skip
        table.add_row(*(escape(str(c)) for c in cells))
    return table


def _label_table(report: CheckReport) -> Table:
    names = [*report.labels]
    names += sorted({n for s in report.splits for n in s.labels} - set(names))
    table = Table(box=None, header_style="dim")
    table.add_column("label")
    for s in report.splits:
        table.add_column(s.name or "(none)", justify="right")
    for name in names:
        table.add_row(escape(name), *(str(s.labels.get(name, 0)) for s in report.splits))
    return table
