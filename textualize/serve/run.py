"""From run folders to a service that answers: opened, started, told of, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import uvicorn

from textualize.errors import TextualizeError
from textualize.serve.address import is_local, listen
from textualize.serve.app import Service, service_app
from textualize.serve.batching import TransformersEngine
from textualize.serve.engine import Engine
from textualize.serve.guard import Limits
from textualize.serve.runs import open_runs
from textualize.serve.upload import Uploads
from textualize.serve.vllm import vllm_engine

KEY_VARIABLE = "TEXTUALIZE_API_KEY"
SHORTEST_KEY = 16  # characters
UPLOADS_AT_ONCE = 2
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Serving:
    """How a service is started."""

    engine: Literal["vllm", "transformers"] = "transformers"
    vllm: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    key_file: Path | None = None
    upload_mb: int = 100
    per_minute: int = 6000
    sensors: str = "embedded"


def serve(runs: Sequence[Path], how: Serving, say: Say) -> None:
    """Serve the runs until SIGINT or SIGTERM; `say` is told the address once it answers.

    Raises:
        TextualizeError: a run or the key cannot be used, or the engine does not start.
    """
    key, given = key_of(how.key_file, os.environ.get(KEY_VARIABLE))
    if not given and not is_local(how.host):
        raise TextualizeError(
            f"{how.host} can be reached from elsewhere: give a key in {KEY_VARIABLE} or "
            "--api-key-file"
        )
    asyncio.run(_served(runs, how, key, given, say))


def key_of(file: Path | None, variable: str | None) -> tuple[str, bool]:
    """Return the key, and whether it was given; one is made where none is.

    Raises:
        TextualizeError: the key cannot be read or is too short.
    """
    if file is None and not variable:
        return secrets.token_urlsafe(24), False
    try:
        key = (file.read_text("utf-8") if file else variable or "").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise TextualizeError(f"the key file {file} cannot be read: {error}") from None
    if len(key) < SHORTEST_KEY or not key.isascii() or not key.isprintable():
        raise TextualizeError(f"the key should be {SHORTEST_KEY} or more printable characters")
    return key, True


async def _served(runs: Sequence[Path], how: Serving, key: str, given: bool, say: Say) -> None:
    listening = listen(how.host, how.port)
    weights = how.engine == "transformers"
    opened = open_runs(runs, weights=weights)
    engine: Engine
    if weights:
        engine = TransformersEngine({name: run.method for name, run in opened.items()})
    else:
        engine = vllm_engine(opened, how.vllm, say)
    uploads = Uploads(how.sensors, asyncio.Semaphore(UPLOADS_AT_ONCE))
    app = service_app(
        Service(engine, opened, uploads), key, Limits(how.upload_mb << 20, how.per_minute)
    )
    config = uvicorn.Config(
        app, log_level="warning", server_header=False, timeout_graceful_shutdown=10
    )
    server = _Server(config)
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, server.handle_exit, sign, None)
    try:
        await _until_stopped(engine, server)
        if not server.should_exit:
            _tell(how, key, given, list(opened), say)
            await server.serve([listening])
    finally:
        listening.close()
        await engine.stop()


class _Server(uvicorn.Server):
    """Leaves signals to `_served`, which has an engine to stop as well."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none."""
        yield


async def _until_stopped(engine: Engine, server: uvicorn.Server) -> None:
    """Start the engine, or give up when the user wants to stop."""
    starting = asyncio.create_task(engine.start())
    while not starting.done() and not server.should_exit:
        await asyncio.wait([starting], timeout=0.2)
    if server.should_exit:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return
    starting.result()


def _tell(how: Serving, key: str, given: bool, names: Sequence[str], say: Say) -> None:
    host = f"[{how.host}]" if ":" in how.host else how.host
    url = f"http://{host}:{how.port}"
    shown = f"${KEY_VARIABLE}" if given else key
    say(f"{', '.join(names)} at {url} (engine {how.engine}); Ctrl-C ends it")
    body = '{"transcript": "I cannot believe it"}'
    say(
        f'curl -H "Authorization: Bearer {shown}" -H "Content-Type: application/json" '
        f"-d '{body}' {url}/v1/emotions"
    )
