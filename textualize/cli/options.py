"""What the commands share: the two consoles, and options that several take."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

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
