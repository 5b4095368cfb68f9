"""`textualize corpus export`: a corpus as other tools read it, in words.

An export is a folder that is there whole or not: it is written beside its place and renamed. It
holds the format's files, README.md and export.json (what was asked for, what was left out and
why, sha256 of every file). The same corpus and options give the same bytes.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from textualize.corpus.card import card
from textualize.corpus.examples import Example, Plan, examples, plan
from textualize.corpus.export_formats import EXPORT_FORMATS
from textualize.corpus.share import Disguise, Share, by_hash
from textualize.corpus.verify import verify_share
from textualize.corpus.writing import Options, Style, Writer
from textualize.errors import TextualizeError, unknown
from textualize.files import StorageError, file_digest, write_json_atomic, write_text_atomic
from textualize.predictions import read_predictions
from textualize.prompt import Template, load_template
from textualize.store import Corpus
from textualize.types import Prediction
from textualize.wording import Register

Progress = Callable[[int, int, str], None]
ABOUT = "export.json"


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be exported, and how.

    `template`, `modalities`, `turns` and `wording` are the recipe's words for the prompt; `folds`
    and `fold` choose the splits (None: the corpus' own); `share` makes it fit to publish.
    """

    format: str
    template: str | Path = "compound"
    modalities: str = "TVA"
    turns: int = 0
    wording: Register = "terse"
    system: str = ""
    style: Style = "messages"
    folds: str | None = None
    fold: int = 1
    test: str = "test"
    seed: int = 0
    predictions: Path | None = None
    escape_formulas: bool = False
    share: Share | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export came to. `written` counts rows a split, `left_out` clips by reason."""

    folder: Path
    format: str
    clips: int
    written: Mapping[str, int]
    left_out: Mapping[str, int]
    notes: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, `files` with their sha256."""
        return {"folder": str(self.folder), **self.content()}

    def content(self) -> dict[str, Any]:
        """Return what export.json holds: all but where the folder lies."""
        return {
            "format": self.format,
            **self.about,
            "clips": self.clips,
            "written": dict(self.written),
            "left_out": dict(self.left_out),
            "notes": list(self.notes),
            "files": dict(self.files),
        }


def export_corpus(
    corpus: Corpus, out: str | Path, request: Request, progress: Progress = lambda *_: None
) -> Exported:
    """Write an export and return what it came to; an earlier export in its place is replaced.

    Records are read one at a time: memory holds an id a clip at most.

    Args:
        corpus: an opened corpus.
        out: the folder to write.
        request: what and how.
        progress: called with done, total, name.

    Raises:
        TextualizeError: an unknown format, options it does not take, nothing to export, a folder
            that holds something else, or, for `share`, something of the corpus found in the export.
    """
    folder = Path(out)
    chosen = EXPORT_FORMATS.get(request.format)
    if chosen is None:
        raise unknown("format", request.format, EXPORT_FORMATS)
    request = _checked(request, folder)
    what = plan(
        corpus,
        every_clip=chosen.every_clip,
        folds=request.folds,
        fold=request.fold,
        test=request.test,
        seed=request.seed,
    )
    template = load_template(
        request.template, request.modalities, turns=request.turns, register=request.wording
    )
    options = _options(request)
    with _replacing(folder) as partial:
        rows = _Rows(corpus, request, what, template, progress)
        writer = chosen.writer(partial, what, options)
        written = _write(rows, writer, partial)
        made = _concluded(folder, request, what, template, rows, writer, written)
        write_text_atomic(partial / "README.md", card(made, what, options, request.share))
        made = replace(made, files=_digests(partial))
        write_json_atomic(partial / ABOUT, made.content())
        if request.share is not None:
            made = _verified(made, partial, corpus, request.share)
            write_json_atomic(partial / ABOUT, made.content())
    return made


def _checked(request: Request, out: Path) -> Request:
    """Return the request with what sharing leaves out; raises TextualizeError for what is odd."""
    chosen = EXPORT_FORMATS[request.format]
    refused = {
        "--predictions": bool(request.predictions) and not chosen.predictions,
        "--system": bool(request.system) and not chosen.asks,
        "--style": request.style != "messages" and request.format != "trl",
        "--escape-formulas": request.escape_formulas and request.format != "csv",
    }
    for option, odd in refused.items():
        if odd:
            raise TextualizeError(f"format {request.format} takes no {option}: leave it out")
    share = request.share
    if share is None:
        return request
    if chosen.tracks:
        raise TextualizeError(
            f"format {request.format} holds the sensors' numbers, which are not made fit to "
            "publish: leave out --share"
        )
    if share.key.resolve().is_relative_to(out.resolve()):
        raise TextualizeError(f"the key {share.key} lies in the export: it must stay private")
    if share.transcript:
        return request
    kept = request.modalities.replace("T", "")
    if chosen.words or not kept:
        raise TextualizeError("--no-transcript leaves nothing: choose another format or modality")
    return replace(request, modalities=kept)


def _options(request: Request) -> Options:
    return Options(
        request.system, request.style, request.escape_formulas, request.predictions is not None
    )


@dataclass(slots=True)
class _Rows:
    """The examples of one export, one at a time, in their order; counts while it is read."""

    corpus: Corpus
    request: Request
    what: Plan
    template: Template
    progress: Progress
    notes: list[str] = field(default_factory=list)

    def read(self, beside: Path) -> Iterator[Example]:
        """Yield every example; those of a shared export by hash, waiting in `beside`."""
        share = self.request.share
        if share is None:
            yield from self._read(None)
            return
        disguise = Disguise(self.corpus, share)
        yield from by_hash(self._read(disguise), beside)

    def _read(self, disguise: Disguise | None) -> Iterator[Example]:
        answers = _answers(self.request.predictions, self.what)
        ask = EXPORT_FORMATS[self.request.format].asks
        missing = 0
        for done, record in enumerate(self.corpus.stream(), 1):
            self.progress(done, self.what.clips, record.clip.id)
            if not self.what.splits(record.clip):
                continue
            answer = answers.pop(record.clip.id, None)
            missing += answer is None
            told = record if disguise is None else disguise.record(record)
            for example in examples(told, self.template, self.what, ask=ask, prediction=answer):
                if EXPORT_FORMATS[self.request.format].tracks:
                    example = replace(example, tracks=record.tracks)
                yield example if disguise is None else disguise.example(example)
        if self.request.predictions is not None:
            self._count(missing, len(answers))

    def _count(self, missing: int, unused: int) -> None:
        if missing:
            self.notes.append(f"{missing} clips have no prediction")
        if unused:
            self.notes.append(f"{unused} predictions are of no exported clip")


def _answers(path: Path | None, what: Plan) -> dict[str, Prediction]:
    if path is None:
        return {}
    found: dict[str, Prediction] = {}
    for prediction in read_predictions(path):
        if prediction.clip_id in found:
            raise TextualizeError(f"{path} predicts '{prediction.clip_id}' twice: give one method")
        odd = {*prediction.scores, prediction.label} - {*what.labels, None}
        if odd and what.labels:
            raise TextualizeError(f"{path}: label '{min(map(str, odd))}' is none of this corpus")
        found[prediction.clip_id] = prediction
    return found


def _write(rows: _Rows, writer: Writer, partial: Path) -> Counter[str]:
    written: Counter[str] = Counter()
    try:
        for example in rows.read(partial.parent):
            written[example.split] += 1
            writer.write(example)
    finally:
        writer.close()
    return written


def _concluded(
    folder: Path,
    request: Request,
    what: Plan,
    template: Template,
    rows: _Rows,
    writer: Writer,
    written: Mapping[str, int],
) -> Exported:
    about: dict[str, Any] = {
        "template": template.name,
        "template_digest": template.digest,
        "modalities": template.modalities,
        "turns": template.turns,
        "wording": template.register,
        "labels": list(what.labels),
        "fold": what.fold,
        "shared": request.share is not None,
    }
    planned = what.notes
    if request.share is not None:  # a fold may be called like its subject, a leak name a clip
        about["fold"] = f"number {request.fold}" if what.fold else ""
        planned = tuple(re.sub(r"fold .*? leaks: | \(first: .*\)", "", n) for n in planned)
    notes = (*planned, *rows.notes, *writer.notes)
    counts = dict(sorted(written.items()))
    return Exported(folder, request.format, what.clips, counts, what.left_out, notes, about)


def _verified(made: Exported, partial: Path, corpus: Corpus, share: Share) -> Exported:
    """Return the export with what is spoken in it counted; raises for anything else found."""
    found = verify_share(partial, corpus, share.names)
    spoken = [f for f in found if f.kind == "spoken name"]
    refused = found if share.mask_names else [f for f in found if f.kind != "spoken name"]
    if refused:
        first = refused[0]
        raise TextualizeError(
            f"not written: {len(refused)} places of the export give the corpus away (first: the "
            f"{first.kind} '{first.what}' in {first.file}, {first.where}); leave out what holds it"
        )
    if not spoken:
        return made
    note = f"{len(spoken)} texts hold a name of the speakers list: --mask-names masks them"
    return replace(made, notes=(*made.notes, note))


def _digests(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        found[path.relative_to(folder).as_posix()] = file_digest(path)
    return found


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """Give a folder to write into; it takes `folder`'s place when all went well.

    Raises:
        TextualizeError: `folder` holds anything but an export, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not (folder / ABOUT).is_file():
            raise TextualizeError(f"{folder} holds something else: give a new folder")
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        if folder.exists():
            folder.replace(old)
        partial.replace(folder)
    except OSError as error:
        raise StorageError(
            f"cannot write {folder}: {(error.strerror or str(error)).lower()}"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def print_export(made: Exported, out: Console) -> None:
    """Print what was written, left out and noted."""
    rows = ", ".join(f"{split or 'no split'} {n}" for split, n in made.written.items())
    out.print(f"{made.folder}: {made.format}, {rows}", markup=False)
    for reason, count in made.left_out.items():
        out.print(f"left out: {count} clips {reason}", markup=False)
    for note in made.notes:
        out.print(f"note: {note}", markup=False)
