"""The command line: the verbs of the pipeline in their order.

Exit code 0: everything done. 1: a comparison was made and came out badly. 2: something was refused,
quarantined or not seen; one line says what. Anything heavy is imported by the command that needs
it.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from textualize.cli import machine, methods, reports, serving, words
from textualize.cli.options import err
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
for group in (words, methods, reports, serving, machine):
    app.add_typer(group.app)
app.add_typer(corpus_commands, name="corpus")


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
