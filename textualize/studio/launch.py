"""From a corpus and runs to a page on this machine: opened, told of, ended."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from textualize.errors import TextualizeError
from textualize.evaluate.named_runs import run_names
from textualize.serve.address import listen
from textualize.serve.guard import Limits
from textualize.serve.upload import Uploads
from textualize.store import Corpus
from textualize.studio.app import Studio, studio_app
from textualize.studio.drafts import Desk
from textualize.studio.shelf import Shelf
from textualize.studio.trying import TriedRun

HOST = "127.0.0.1"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Opening:
    """How the studio is opened; `templates` is the folder that templates are saved into."""

    templates: Path = Path("templates")
    port: int = 8001
    upload_mb: int = 200
    sensors: str = "embedded"


def studio(corpus: Path, runs: Sequence[Path], how: Opening, say: Say) -> None:
    """Serve the page until SIGINT or SIGTERM; `say` is told the address once it answers.

    Raises:
        TextualizeError: the corpus, a run, the folder or the port cannot be used.
    """
    listening = listen(HOST, how.port)
    with contextlib.closing(listening):
        made = opened(corpus, runs, how)
        token = secrets.token_urlsafe(24)
        app = studio_app(made, token, Limits(how.upload_mb << 20, 0))
        config = uvicorn.Config(
            app, log_level="warning", server_header=False, timeout_graceful_shutdown=2
        )
        say(f"studio at http://{HOST}:{listening.getsockname()[1]}/{token}/")
        say("the address is the key to it: whoever has it sees the clips; Ctrl-C ends it")
        try:
            with contextlib.suppress(KeyboardInterrupt):  # the way it is meant to end
                uvicorn.Server(config).run(sockets=[listening])
        finally:
            made.jobs.close()


def opened(corpus: Path, runs: Sequence[Path], how: Opening) -> Studio:
    """Return the studio of a corpus with its runs loaded.

    Raises:
        TextualizeError: one of them cannot be opened, or two runs have one name.
    """
    tried: dict[str, TriedRun] = {}
    for folder, name in run_names(runs):
        if name in tried:
            raise TextualizeError(f"two runs are called '{name}': rename one folder")
        tried[name] = TriedRun.opened(name, folder)
    words = {name: run.folder for name, run in tried.items() if run.template is not None}
    return Studio(
        Shelf(Corpus(corpus)),
        Desk(how.templates, words),
        tried,
        Uploads(how.sensors, asyncio.Semaphore(1)),
    )
