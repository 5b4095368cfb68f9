"""What the command line prints: tables, progress, one-line summaries."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from textualize.errors import TextualizeError
from textualize.types import Cue, Prediction, Record

if TYPE_CHECKING:
    from textualize.doctor import Finding
    from textualize.evaluate.matrix import Prompted
    from textualize.evaluate.report_files import Evaluated
    from textualize.explain import Explanation
    from textualize.extract.pipeline import Outcome
    from textualize.finetune.run_folder import RunFolder
    from textualize.store import Corpus
    from textualize.weights.cache import Found
    from textualize.weights.table import Weights

LOG_EVERY_S = 60.0
SHOWN = 20  # lines of one kind before "and N more"


@contextmanager
def progress_bar(what: str, *, quiet: bool = False) -> Iterator[Callable[[int, int, str], None]]:
    """Yield a function (done, total, name) that shows progress on standard error.

    On a terminal a bar with the rate and the time left; in a log a line a minute.
    """
    terminal = Console(stderr=True)
    if quiet:
        yield lambda done, total, name: None
        return
    if not terminal.is_terminal:
        yield _log_line(what, terminal)
        return
    from rich.progress import (  # fmt: skip
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    begun = time.monotonic()
    with Progress(*columns, console=terminal, transient=True) as bar:
        task = bar.add_task(what, total=None, rate="")

        def step(done: int, total: int, name: str) -> None:
            bar.update(
                task,
                completed=done,
                total=total,
                description=f"{what} {escape(name)[:24]}",
                rate=f"{done / max(1e-6, time.monotonic() - begun):.1f}/s",
            )

        yield step


def _log_line(what: str, console: Console) -> Callable[[int, int, str], None]:
    begun = told = time.monotonic()

    def step(done: int, total: int, name: str) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told < LOG_EVERY_S:
            return
        told = now
        rate = done / (now - begun)
        left = (total - done) / rate / 60
        line = f"{what}: {done} of {total}, {rate:.2f}/s, about {left:.0f} min left"
        console.print(line, markup=False, highlight=False)

    return step


def options_of(given: Sequence[str] | None) -> dict[str, str]:
    """Return key=value arguments as a mapping; raises TextualizeError for one without "="."""
    options = {}
    for one in given or ():
        key, equals, value = one.partition("=")
        if not (key and equals):
            raise TextualizeError(f"an option should be key=value; given '{one}'")
        options[key] = value
    return options


def chosen_records(corpus: Path, clip: str | None) -> list[Record]:
    """Return a corpus' records, or the one named; raises TextualizeError if it is not there."""
    from textualize.store import Corpus

    records = Corpus(corpus).records()
    if clip is None:
        if not records:
            raise TextualizeError(f"corpus {corpus} has no records")
        return records
    found = [r for r in records if r.clip.id == clip]
    if not found:
        some = ", ".join(r.clip.id for r in records[:3])
        raise TextualizeError(f"no clip '{clip}' in {corpus} (there are {some}, …)")
    return found


def extraction_summary(outcome: Outcome, out: Console, err: Console, *, as_json: bool) -> int:
    """Print what an extraction came to and return its exit code.

    0 when everything was read; 2 when something is in quarantine, or when a modality that was
    asked for was found in none of the clips.
    """
    nowhere = [
        m
        for m, states in outcome.states.items()
        if not states.get("observed") and states.get("absent")
    ]
    code = 2 if outcome.failures or nowhere else 0
    if as_json:
        value = {
            "corpus": str(outcome.corpus.folder),
            "clips": outcome.clips,
            "read": outcome.read,
            "reused": outcome.reused,
            "seconds": round(outcome.seconds, 2),
            "states": outcome.states,
            "failures": [
                {"clip": f.clip, "stage": f.stage, "error": f.error} for f in outcome.failures
            ],
            "earlier_failures": outcome.earlier,
            "unseen": outcome.unseen,
        }
        print(json.dumps(value, ensure_ascii=False))
        return code
    for what, lines in (
        ("", outcome.unseen),
        ("quarantine: ", [f"{f.clip}: {f.error}" for f in outcome.failures]),
    ):
        for line in lines[:SHOWN]:
            err.print(f"{what}{line}".replace("\n", "\\n"), markup=False)  # file names may hold one
        if len(lines) > SHOWN:
            err.print(f"{what}and {len(lines) - SHOWN} more", markup=False)
    states = "; ".join(
        f"{m} {', '.join(f'{s} {n}' for s, n in counts.items())}"
        for m, counts in outcome.states.items()
    )
    for modality in nowhere:
        err.print(f"textualize: {modality} was found in none of the clips", markup=False)
    if outcome.earlier:
        err.print(
            f"{outcome.earlier} failed before and were not tried again: --retry-failed does",
            markup=False,
        )
    rate = outcome.clips / max(1e-6, outcome.seconds)
    out.print(
        f"{outcome.corpus.folder}: {outcome.read} read, {outcome.reused} reused, "
        f"{len(outcome.failures)} in quarantine  ({states})  "
        f"{outcome.seconds:.1f} s, {rate:.1f} clips/s",
        markup=False,
    )
    return code


def cue_table(clip_id: str, cues: Sequence[Cue]) -> Table:
    """Return a clip's cues as a table."""
    table = Table(title=escape(clip_id), title_justify="left", box=None, header_style="dim")
    for column in ("modality", "state", "seconds", "cue", "source"):
        table.add_column(column)
    for cue in cues:
        when = f"{cue.span.start:.1f}-{cue.span.end:.1f}" if cue.span else ""
        table.add_row(cue.modality, cue.state, when, escape(cue.text), escape(cue.source))
    return table


def prediction_table(answers: Sequence[Prediction]) -> Table:
    """Return predictions as a table, with the three most probable labels, or the mean of a series.

    A series of class probabilities is told by the labels alone.
    """
    table = Table(box=None, header_style="dim")
    for column in ("clip", "label", "probabilities"):
        table.add_column(column)
    for answer in answers:
        best = sorted(answer.scores.items(), key=lambda x: -x[1])[:3]
        scores = "  ".join(f"{label} {p:.2f}" for label, p in best)
        table.add_row(escape(answer.clip_id), escape(_said(answer)), escape(scores))
    return table


def _said(answer: Prediction) -> str:
    """Return an answer's label, or number, or how many steps it has and their mean."""
    if isinstance(answer.label, str):
        return answer.label
    if answer.label is not None:
        return f"{answer.label:.3f}"
    if answer.series is None:
        return "unparsed"
    means = zip(answer.series.names, answer.series.values.mean(0), strict=True)
    said = ", ".join(f"{name} {value:.3f}" for name, value in means)
    return f"{len(answer.series.values)} steps, mean {said}"


def training_summary(runs: Sequence[RunFolder], select: str, out: Console) -> None:
    """Print what the trainings of one recipe came to; of several processes, the first does."""
    from textualize.finetune.train import first_process, spread

    if not first_process():
        return
    for run in runs:
        about = run.environment
        facts = ", ".join(f"{k} {v}" for k, v in about["summary"].items())
        out.print(f"{run.path}: {facts}; {about['minutes']} min", markup=False)
        for note in about["notes"]:
            out.print(f"  {note}", markup=False)
    if len(runs) > 1:
        found = spread(runs, select)
        out.print(
            f"{found['score']} over {len(runs)} seeds: {found['mean']} ± {found['sd']}",
            markup=False,
        )


def series_summary(
    runs: Sequence[Path],
    corpus: Corpus,
    split: str | None,
    folder: Path,
    out: Console,
    *,
    as_json: bool,
    open_test: bool = False,
) -> int:
    """Score runs that answer per step, write the report on them, and print the scores."""
    from textualize.evaluate.steps_report import evaluate_steps

    report = evaluate_steps(runs, corpus, split, folder, open_test=open_test)
    table = Table(box=None, header_style="dim")
    for column in ("run", "what", "rows", "scores, 95 % interval over groups"):
        table.add_column(column)
    told = []
    for run, own in zip(runs, report.runs, strict=True):
        for found in own.scores:
            told.append({"run": str(run), **asdict(found)})
            scores = "  ".join(
                f"{name} {x.value:.3f} [{x.low:.3f}, {x.high:.3f}]"
                for name, x in found.scores.items()
            )
            rows = f"{found.count}" + (f" ({found.beyond} beyond)" if found.beyond else "")
            table.add_row(escape(str(run)), escape(found.what), rows, scores)
    if as_json:
        print(json.dumps(told, ensure_ascii=False))
        return 0
    out.print(table)
    out.print(f"report: {folder / 'report.html'}", markup=False)
    return 0


def evaluation_summary(done: Evaluated, out: Console, *, as_json: bool) -> int:
    """Print the table of a report and where it lies."""
    from textualize.evaluate.spoken import difference_text

    report = done.report
    if as_json:
        print(json.dumps({"report": str(done.folder), **report.to_json()}, ensure_ascii=False))
        return 0
    out.print(score_table(done))
    claims = [
        f"claimed: {claim.says}: {difference_text(found)}: {said}"
        for claim, found, said in report.claim_rows()
    ]
    for line in (report.finding(), *claims, *report.warnings):
        out.print(line, markup=False)
    leaks = sum(x.severity == "leak" for x in report.leaks)
    out.print(f"{leaks} leaks, {len(report.leaks) - leaks} notes: each stands in the report")
    out.print(f"report: {done.folder / 'report.html'}", markup=False)
    return 0


def prompts_summary(done: Prompted, out: Console, *, as_json: bool) -> int:
    """Print what each level of a matrix of prompts gains and where the report lies."""
    matrix = done.matrix
    if as_json:
        told = {"report": str(done.folder), **matrix.to_json()}
        print(json.dumps(told, ensure_ascii=False))
        return 0
    head, rows = matrix.gain_table()
    table = Table(*head, header_style="dim", box=None)
    for cells in rows:
        table.add_row(*map(escape, cells))
    out.print(table)
    for line in (matrix.finding(), *matrix.header.warnings):
        out.print(line, markup=False)
    out.print(f"{done.asked} cells asked, {done.kept} kept from before", markup=False)
    out.print(f"report: {done.folder / 'report.html'}", markup=False)
    return 0


def score_table(done: Evaluated) -> Table:
    """Return the methods' scores with their 95 % intervals."""
    from textualize.evaluate.spoken import interval_text, score_text

    report = done.report
    title = f"{escape(report.title)}: {report.clips} clips, {report.groups} groups"
    table = Table(title=title, title_justify="left", header_style="dim", box=None)
    table.add_column("method")
    shown = report.score_names[:3] if report.labels else ("ccc", "pcc", "mae")
    for score in shown:
        table.add_column(score_text(score), justify="right")
    table.add_column("seeds", justify="right")
    table.add_column("unparsed", justify="right")
    for row in report.rows:
        cells = [escape(interval_text(row.scores.get(score))) for score in shown]
        seeds = str(len(row.seeds) or 1)
        table.add_row(escape(row.name), *cells, seeds, str(row.unparsed))
    return table


def explanation_table(found: Explanation, top: int) -> Table:
    """Return what a prediction rests on, strongest first."""
    title = f"{found.clip_id}: {found.label} {found.probability:.2f} ({found.method})"
    table = Table(title=escape(title), title_justify="left", box=None, header_style="dim")
    table.add_column("taken away")
    worded = any(effect.cue for effect in found.effects)
    if worded:
        table.add_column("in the prompt")
    table.add_column("fall of probability", justify="right")
    table.add_column("of its logarithm", justify="right")
    for effect in found.effects[:top]:
        cue = [escape(effect.cue)] if worded else []
        table.add_row(
            escape(effect.what), *cue, f"{effect.change:+.3f}", f"{effect.log_change:+.3f}"
        )
    said = {
        "weaker pieces are not shown (--top)": max(0, len(found.effects) - top),
        "measured pieces are not told by the prompt": found.unread,
    }
    if any(said.values()):
        table.caption = "; ".join(f"{n} {what}" for what, n in said.items() if n)
        table.caption_justify = "left"
    return table


def doctor_report(sections: Mapping[str, Sequence[Finding]], out: Console) -> None:
    """Print what is there, what is missing, and how to get it."""
    for name, findings in sections.items():
        table = Table(title=name, title_justify="left", box=None, show_header=False)
        for f in findings:
            mark = "[green]yes[/]" if f.there else "[yellow]no[/]"
            remedy = f"[dim]→[/] {escape(f.remedy)}" if f.remedy else ""
            table.add_row(escape(f.name), mark, escape(f.found), remedy)
        out.print(table)


def weights_shown(found: Sequence[Found], out: Console, *, as_json: bool) -> int:
    """Print what can be fetched and what of it is here; 0."""
    from textualize.weights.cache import size_text

    if as_json:
        print(json.dumps([f.to_json() for f in found], ensure_ascii=False))
        return 0
    if not found:
        out.print("nothing to fetch: what this needs is inside the installed packages")
        return 0
    table = Table(box=None, header_style="dim")
    for column in ("name", "size", "", "content", "licence", "for"):
        table.add_column(column, justify="right" if column == "size" else "left")
    for f in found:
        row = f.row
        gate = " (gated)" if row.gated else " (non-commercial)" if row.noncommercial else ""
        content = "pinned" if row.pinned else "recorded when first fetched"
        cells = (row.name, size_text(row.size), f.state, content, row.licence + gate, row.use)
        table.add_row(*(escape(cell) for cell in cells))
    out.print(table)
    missing = [f.row for f in found if f.state != "here"]
    total = size_text(sum(row.size for row in missing))
    out.print(f"not here: {len(missing)} of {len(found)}, {total}", markup=False)
    return 0


def accept_licences(rows: Sequence[Weights], err: Console, *, yes: bool, ask: bool) -> None:
    """Print every licence; what is not free for any use must be accepted before it is fetched.

    Raises TextualizeError when it is not accepted. What is here already was.
    """
    from textualize.weights.cache import look

    for row in rows:
        notice = f"; {row.notice}" if row.notice else ""
        err.print(f"{row.name}: {row.licence}{notice} ({row.page})", markup=False)
    asked = [r.name for r in rows if r.noncommercial and look(r).state != "here"]
    if not asked or yes:
        return
    names = ", ".join(asked)
    if not ask:
        raise TextualizeError(f"{names}: for non-commercial use only; give --yes to accept that")
    err.print(f"{names}: for non-commercial use only. Accept? [y/N] ", markup=False, end="")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise TextualizeError(f"{names}: licence not accepted; nothing was fetched")


def weights_fetched(rows: Sequence[Weights], out: Console, err: Console, *, as_json: bool) -> int:
    """Fetch, print a line for each, and return 0, or 2 when something was not to be had."""
    from textualize.weights.fetch import Fetched, fetch_all

    quiet = as_json or not err.is_terminal
    done: list[Fetched] = []
    failures: dict[str, list[str]] = {}
    for row, outcome in fetch_all(rows, lambda name: _bytes_bar(name, quiet), quiet=quiet):
        if not isinstance(outcome, Fetched):
            failures.setdefault(str(outcome), []).append(row.name)
            continue
        done.append(outcome)
        if not as_json:
            at = f" @ {outcome.revision[:12]}" if outcome.revision else ""
            out.print(
                f"{row.name}: {outcome.outcome}, {outcome.how}{at}, {outcome.folder}\n"
                f"  {outcome.use}",
                markup=False,
            )
    if as_json:
        told = [{"names": names, "reason": why} for why, names in failures.items()]
        content = {"fetched": [f.to_json() for f in done], "failures": told}
        print(json.dumps(content, ensure_ascii=False))
    elif not rows:
        out.print("nothing to fetch: what this needs is inside the installed packages")
    for why, names in failures.items():
        err.print(f"textualize: {', '.join(names)}: {why}", markup=False)
    return 2 if failures else 0


@contextmanager
def _bytes_bar(name: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    if quiet:
        yield lambda there, total: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn())
    terminal = Console(stderr=True)
    with Progress(*columns, console=terminal, transient=True) as bar:
        task = bar.add_task(escape(name), total=None, visible=False)
        # shown from the first byte on: the hub's client has bars of its own
        yield lambda there, total: bar.update(
            task, completed=there, total=total or None, visible=True
        )
