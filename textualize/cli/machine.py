"""This machine: fetch, doctor, demo."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from textualize.cli.options import JsonOption, err, out
from textualize.errors import TextualizeError

app = typer.Typer()


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


@app.command(
    epilog="Example: textualize doctor   ·   textualize doctor --server http://127.0.0.1:8000 "
    "--run runs/llm --corpus corpora/mine"
)
def doctor(
    server: Annotated[
        str | None,
        typer.Option(help="Compare this server with --run; the key is in TEXTUALIZE_API_KEY."),
    ] = None,
    run: Annotated[Path | None, typer.Option(help="The run folder the server has.")] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="Clips to compare over; by default the demo's.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N clips.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Tell what is installed, which sensors, presets and recipes run, and how to get the rest.

    With --server and --run: whether a server reads and answers as the run does here; the exit code
    is 1 where the labels of more than 1 % of the clips differ.
    """
    if server is not None or run is not None:
        if server is None or run is None:
            raise TextualizeError("give --server and --run together")
        from textualize.cli.serving import compare_with_server

        return compare_with_server(server, run, corpus, limit, as_json=as_json)
    if corpus is not None or limit is not None:
        raise TextualizeError("--corpus and --limit go with --server and --run")
    from textualize.console import doctor_report
    from textualize.doctor import examine

    sections = examine()
    if as_json:
        found = {name: [f.to_json() for f in part] for name, part in sections.items()}
        print(json.dumps({"schema": 1, **found}, ensure_ascii=False))
    else:
        doctor_report(sections, out)
    return 0


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
