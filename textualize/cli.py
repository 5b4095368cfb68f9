"""The command line: the verbs of the pipeline in their order.

Exit code 0: everything done. 2: something was refused, quarantined or not seen; one line says
what. Anything heavy is imported by the command that needs it.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from textualize.corpus.cli import app as corpus_commands
from textualize.errors import TextualizeError

app = typer.Typer(
    name="textualize",
    help="Videos of people into words, words into emotions, and an honest comparison with "
    "features.\n\nWhat is predicted is the emotion expressed as annotated in a corpus, not what "
    "a person feels. Film people only with their consent; faces and voices stay on this machine.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(corpus_commands, name="corpus")
# a pipe has no width: tables must not wrap at 80 columns there
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 140)
err = Console(stderr=True, highlight=False, soft_wrap=True)

CorpusOption = Annotated[Path, typer.Option("--corpus", help="Corpus folder.")]
NewCorpusOption = Annotated[Path, typer.Option("--corpus", "-o", help="Corpus folder to fill.")]
DatasetOptions = Annotated[
    list[str] | None, typer.Option("--dataset-option", help="key=value for the dataset's loader.")
]
ColumnsOption = Annotated[
    Path | None, typer.Option("--columns", help="YAML that maps a manifest's columns to ours.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


def main() -> None:
    """Run the command line; user errors are one line and exit code 2."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names need not be text
            stream.reconfigure(errors="backslashreplace")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # kernels it looks for, CPU or not
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    try:
        code = app(list(arguments), standalone_mode=False)
        return code if isinstance(code, int) else 0
    except TextualizeError as error:
        err.print(f"textualize: {error}", markup=False)
        return 2
    except typer.Exit as stop:
        return int(stop.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        err.print("textualize: stopped; run the same command again to go on", markup=False)
        return 130
    except ModuleNotFoundError as error:
        if (error.name or "textualize").startswith("textualize"):
            raise
        what = f"this command needs {error.name}: pip install 'textualize[extract,finetune]'"
        err.print(f"textualize: {what}", markup=False)
        return 2
    except Exception as error:
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        err.print(f"textualize: {' '.join(str(message()).split())}", markup=False)
        return 2


@app.command(
    epilog="Example: textualize extract media/ -o corpora/mine   ·   textualize extract "
    "clips.csv -o corpora/mine --sensors embedded,speech=whisper=/models/base"
)
def extract(
    source: Annotated[
        list[Path],
        typer.Argument(help="Media files, folders, one manifest (.csv .tsv .jsonl), or a root."),
    ],
    corpus: NewCorpusOption,
    dataset: Annotated[
        str | None, typer.Option(help="Read SOURCE as a known corpus: meld, ravdess, c-expr-db, …")
    ] = None,
    dataset_options: DatasetOptions = None,
    columns: ColumnsOption = None,
    sensors: Annotated[
        str,
        typer.Option(
            help="'embedded', 'full', or sensors by comma; face=…, speech=… replace a preset's. "
            "Per modality the first that finds something is kept."
        ),
    ] = "embedded",
    labels: Annotated[
        str | None, typer.Option(help="Label set every label must belong to, e.g. compound7.")
    ] = None,
    fps: Annotated[float, typer.Option(help="Video frames read per second.")] = 12.5,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes (default: one per core).")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N clips.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what is in quarantine.")
    ] = False,
    max_failures: Annotated[
        int | None, typer.Option(min=0, help="Stop when more clips than this have failed.")
    ] = None,
    hwaccel: Annotated[
        str, typer.Option(help="Decode pictures on a device of FFmpeg's, e.g. cuda.")
    ] = "",
    ray: Annotated[
        str | None, typer.Option(help="Work on a Ray cluster: its address, or 'auto'.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Read videos, recordings and images into a corpus of tracks and transcripts."""
    from textualize.console import extraction_summary, options_of, progress_bar
    from textualize.datasets.published import keep_published
    from textualize.datasets.sources import listing_of
    from textualize.extract.pipeline import extract_corpus

    listing = listing_of(source, dataset, labels, columns, options_of(dataset_options))
    for note in listing.notes if not as_json else ():
        err.print(note, markup=False)
    with progress_bar("extract", quiet=as_json) as step:
        outcome = extract_corpus(
            listing.clips[:limit],
            corpus,
            sensors=sensors,
            labels=listing.labels,
            fps=fps,
            workers=workers,
            hwaccel=hwaccel,
            ray=ray,
            retry_failed=retry_failed,
            max_failures=max_failures,
            earlier_failures=listing.failures,
            progress=step,
        )
    if dataset:
        keep_published(dataset, source[0], listing.clips, corpus)
    return extraction_summary(outcome, out, err, as_json=as_json)


@app.command(epilog="Example: textualize describe corpora/mine --clip a01")
def describe(
    corpus: Annotated[Path, typer.Argument(help="Corpus folder.")],
    clip: Annotated[str | None, typer.Option(help="One clip; by default all.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Print a clip's cues: one sentence each, with state, time and source."""
    from textualize.console import chosen_records, cue_table
    from textualize.describe import describe as cues_of

    for record in chosen_records(corpus, clip):
        cues = cues_of(record)
        if as_json:
            from dataclasses import asdict

            line = {"clip": record.clip.id, "cues": [asdict(c) for c in cues]}
            print(json.dumps(line, ensure_ascii=False))
        else:
            out.print(cue_table(record.clip.id, cues))
    return 0


@app.command(epilog="Example: textualize render corpora/mine --template compound --clip a01")
def render(
    corpus: Annotated[Path, typer.Argument(help="Corpus folder.")],
    template: Annotated[str, typer.Option(help="Shipped name or a .jinja file.")] = "compound",
    clip: Annotated[str | None, typer.Option(help="One clip; by default all.")] = None,
    modalities: Annotated[
        str, typer.Option(help="Letters of T (transcript), V (face), A (voice).")
    ] = "TVA",
    with_labels: Annotated[bool, typer.Option(help="List the labels, as causal models read.")] = (
        False
    ),
    wording: Annotated[
        Literal["terse", "sentences"], typer.Option(help="Face and voice as a list or sentences.")
    ] = "terse",
    as_json: JsonOption = False,
) -> int:
    """Print exactly what a language model will read."""
    from textualize.console import chosen_records
    from textualize.prompt import load_template, render_with
    from textualize.store import Corpus

    labels = Corpus(corpus).labels if with_labels else None
    loaded = load_template(template, modalities, register=wording)
    for record in chosen_records(corpus, clip):
        prompt = render_with(loaded, record, labels=labels.labels if labels else ())
        if as_json:
            value = {"clip": prompt.clip_id, "text": prompt.text, "digest": prompt.digest}
            print(json.dumps(value, ensure_ascii=False))
        else:
            out.rule(prompt.clip_id, align="left", style="dim")
            out.print(prompt.text, markup=False)
    return 0


@app.command(
    epilog="Example: textualize train text-encoder --corpus corpora/mine --out runs/enc "
    "--set lora.r=16"
)
def train(
    recipe: Annotated[str, typer.Argument(help="Shipped recipe or a .yaml file.")],
    corpus: CorpusOption,
    out_folder: Annotated[Path, typer.Option("--out", help="Run folder.")],
    folds: Annotated[
        str | None,
        typer.Option(
            help="A number of grouped folds, 'loso', 'published', or a file of `corpus split`; "
            "by default the corpus' own splits."
        ),
    ] = None,
    fold: Annotated[int, typer.Option(min=1, help="Which of the folds, from 1.")] = 1,
    test: Annotated[str, typer.Option(help="With own splits: the split never read.")] = "test",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value on top of the recipe.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed on top of the recipe.")] = None,
) -> int:
    """Train one method on a corpus; every choice is made on validation clips."""
    from textualize.console import training_summary
    from textualize.datasets.folds import chosen_fold
    from textualize.datasets.published import PUBLISHED
    from textualize.finetune.recipe import load_recipe
    from textualize.finetune.train import train_seeds
    from textualize.store import Corpus

    extra = [*(settings or ()), *([f"seed={seed}"] if seed is not None else [])]
    loaded = load_recipe(recipe, extra)
    opened = Corpus(corpus)
    records = {r.clip.id: r for r in opened.records() if r.clip.label is not None}
    part = chosen_fold(
        [r.clip for r in records.values()], folds, fold, test, published=opened.folder / PUBLISHED
    )
    runs = train_seeds(
        loaded,
        [records[i] for i in part.train],
        [records[i] for i in part.validation],
        out_folder,
        labels=opened.labels,
        test=part.test,
        leaks=part.leaks,
        corpus=opened.folder.resolve().name,
    )
    training_summary(runs, loaded.select, out)
    return 0


@app.command(
    epilog="Example: textualize predict runs/enc --corpus corpora/mine --out answers.jsonl"
)
def predict(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    corpus: CorpusOption,
    clip: Annotated[str | None, typer.Option(help="One clip; by default all.")] = None,
    out_file: Annotated[Path | None, typer.Option("--out", help="Write JSONL there.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Predict a corpus' clips with a trained run; no label is needed or read."""
    from dataclasses import asdict

    from textualize.console import chosen_records, prediction_table
    from textualize.methods import load
    from textualize.predictions import write_predictions

    answers = load(run_folder).predict(chosen_records(corpus, clip))
    if out_file:
        write_predictions(out_file, answers)
        err.print(f"{len(answers)} predictions in {out_file}", markup=False)
    elif as_json:
        for answer in answers:
            print(json.dumps(asdict(answer), ensure_ascii=False))
    else:
        out.print(prediction_table(answers))
    return 0


@app.command(
    epilog="Example: textualize evaluate demo --corpus corpora/demo   ·   textualize evaluate "
    "runs/enc runs/jca --corpus corpora/mine --out reports/mine"
)
def evaluate(
    what: Annotated[
        list[str], typer.Argument(help="One suite (shipped name or .yaml), or run folders.")
    ],
    corpus: CorpusOption,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Report folder (default reports/NAME).")
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Where a suite's runs go (default runs/NAME).")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="With run folders: 'test' (their own test part) or a split.")
    ] = None,
    intersect: Annotated[
        bool, typer.Option(help="Allow different clip sets; compare what they share.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Compare text with features on the same clips; opens the test part and writes a report."""
    from textualize.console import evaluation_summary
    from textualize.evaluate.suite import evaluate as compare_runs
    from textualize.evaluate.suite import evaluation_records, load_suite, run_suite
    from textualize.store import Corpus

    opened = Corpus(corpus)
    folders = [Path(w) for w in what]
    if all((f / "labels.json").is_file() for f in folders):
        name = "-".join(f.name for f in folders)
        done = compare_runs(
            folders,
            evaluation_records(opened, folders, split),
            out=out_folder or Path("reports") / name,
            labels=opened.labels,
            intersect=intersect,
        )
    elif len(what) == 1:
        name = Path(what[0]).stem
        done = run_suite(
            load_suite(what[0]),
            opened,
            runs or Path("runs") / name,
            out_folder or Path("reports") / name,
            say=lambda line: err.print(line, markup=False),
        )
    else:
        missing = [str(f) for f in folders if not (f / "labels.json").is_file()]
        raise TextualizeError(f"not a run folder: {missing[0]}")
    return evaluation_summary(done, out, as_json=as_json)


@app.command(epilog="Example: textualize explain runs/enc --corpus corpora/mine --clip a01")
def explain(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    corpus: CorpusOption,
    clip: Annotated[str, typer.Option(help="The clip.")],
    top: Annotated[int, typer.Option(min=1, help="How many to show.")] = 12,
    as_json: JsonOption = False,
) -> int:
    """Show what a prediction rests on: each cue is taken away in turn."""
    from textualize.console import chosen_records, explanation_table
    from textualize.explain import explain as explain_record
    from textualize.methods import load

    found = explain_record(load(run_folder), chosen_records(corpus, clip)[0])
    if as_json:
        print(json.dumps(found.to_json(), ensure_ascii=False))
    else:
        out.print(explanation_table(found, top))
    return 0


@app.command(
    epilog="Example: textualize fetch full   ·   textualize fetch whisper-small bert-base   ·   "
    "textualize fetch --list"
)
def fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME|PRESET]...", help="Weights, presets, sensors or recipes."),
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="What can be fetched.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = (
        False
    ),
    yes: Annotated[bool, typer.Option("--yes", help="Accept non-commercial licences.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Download the weights that a preset, a sensor or a recipe needs; tell each licence."""
    from textualize import console
    from textualize.weights.cache import look
    from textualize.weights.fetch import chosen
    from textualize.weights.table import WEIGHTS

    rows = chosen(names) if names else list(WEIGHTS.values())
    if list_all or dry_run or not names:
        return console.weights_shown([look(row) for row in rows], out, as_json=as_json)
    console.accept_licences(rows, err, yes=yes, ask=not as_json and sys.stdin.isatty())
    return console.weights_fetched(rows, out, err, as_json=as_json)


@app.command(epilog="Example: textualize doctor")
def doctor(as_json: JsonOption = False) -> int:
    """Tell what is installed, which sensors, presets and recipes run, and how to get the rest."""
    from textualize.console import doctor_report
    from textualize.doctor import examine

    sections = examine()
    if as_json:
        found = {name: [f.to_json() for f in part] for name, part in sections.items()}
        print(json.dumps({"schema": 1, **found}, ensure_ascii=False))
    else:
        doctor_report(sections, out)
    return 0


@app.command(epilog="Example: textualize verify reports/demo")
def verify(
    report: Annotated[Path, typer.Argument(help="Report folder.")],
    as_json: JsonOption = False,
) -> int:
    """Recompute every number of a report from its predictions."""
    from textualize.evaluate.verify import verify_report

    checked = verify_report(report)
    if as_json:
        print(json.dumps(checked.to_json()))
    else:
        out.print(checked.line(), markup=False)
    return 0 if checked.equal else 2


@app.command(epilog="Example: textualize demo   ·   textualize demo --quick")
def demo(
    folder: Annotated[Path, typer.Option("--out", help="Where corpus, runs and report go.")] = (
        Path("demo")
    ),
    quick: Annotated[
        bool,
        typer.Option(help="Start from the shipped extracted clips; methods that are installed."),
    ] = False,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes for extraction.")] = None,
) -> int:
    """Run the whole path on the shipped synthetic clips: extract, train, compare, report."""
    from textualize.demo.run import run_demo

    return run_demo(folder, quick=quick, workers=workers, out=out, err=err)


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> Any:
    if version:
        from textualize import __version__

        print(__version__)
        raise typer.Exit(0)


if __name__ == "__main__":
    main()
