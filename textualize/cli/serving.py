"""A trained run behind an endpoint: serve, and whether it answers as the run does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from textualize.cli.options import err, out
from textualize.errors import missing_package

if TYPE_CHECKING:
    from textualize.serve.parity import Count, Parity

app = typer.Typer()

_OF_SERVE = ("fastapi", "httpx", "limits", "prometheus_client", "starlette", "uvicorn")


@contextmanager
def extra_serve(what: str) -> Iterator[None]:
    """Turn a package of the extra `serve` that is missing within into the line that gets it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in _OF_SERVE:
            raise
        raise missing_package(what, error.name, "serve") from None


@app.command(
    epilog="Example: textualize serve runs/llm --vllm /envs/vllm/bin/python   ·   "
    "textualize serve runs/enc --engine transformers"
)
def serve(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders of text methods.")
    ],
    engine: Annotated[
        Literal["vllm", "transformers"],
        typer.Option(help="vLLM, or this package's own label scoring where vLLM cannot run."),
    ] = "vllm",
    vllm: Annotated[
        Path | None, typer.Option(help="Python, or folder, of the environment that has vLLM.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    api_key_file: Annotated[
        Path | None,
        typer.Option(help="File with the key; else TEXTUALIZE_API_KEY, else one is made."),
    ] = None,
    max_upload_mb: Annotated[int, typer.Option(min=1, help="Largest uploaded clip.")] = 100,
    rate: Annotated[int, typer.Option(min=1, help="Requests a minute of one client.")] = 6000,
    sensors: Annotated[
        str, typer.Option(help="What reads uploaded clips, as `extract` takes it.")
    ] = "embedded",
) -> int:
    """Answer with emotions over HTTP: words or a clip in, a label and probabilities out."""
    with extra_serve("serve"):
        from textualize.serve.run import Serving
        from textualize.serve.run import serve as serve_runs

    how = Serving(engine, vllm, host, port, api_key_file, max_upload_mb, rate, sensors)
    serve_runs(runs, how, lambda line: err.print(line, markup=False))
    return 0


def compare_with_server(
    server: str, run: Path, corpus: Path | None, limit: int | None, *, as_json: bool
) -> int:
    """Print how a server's answers compare with a run's; 1 where too many labels differ.

    Without a corpus the clips of the shipped demo are compared.
    """
    from textualize.console import chosen_records, progress_bar
    from textualize.demo.run import SHIPPED

    with extra_serve("doctor --server"):
        from textualize.serve.client import Client
        from textualize.serve.parity import server_parity

    records = chosen_records(corpus or SHIPPED, None)[:limit]
    with progress_bar("ask", quiet=as_json) as step:
        found = server_parity(Client(server, run=run), run, records, step)
    if as_json:
        told = {"schema": 1, "corpus": str(corpus or "demo"), **found.to_json()}
        print(json.dumps(told, ensure_ascii=False))
    else:
        _parity_shown(found, str(corpus or "the demo"))
    return 0 if found.agrees else 1


def _parity_shown(found: Parity, corpus: str) -> None:
    from rich.markup import escape
    from rich.table import Table

    from textualize.console import SHOWN

    title = f"{found.run} here and at {found.url}: {found.clips} clips of {corpus}"
    table = Table(title=escape(title), title_justify="left", box=None, show_header=False)
    gap = found.largest_difference
    rows = {
        "same label": _share(found.labels),
        "same token ids, trainer and local": _share(found.trainer_ids),
        "same token ids, server and local": _share(found.server_ids),
        "as many prompt tokens": _share(found.prompt_tokens),
        "largest probability difference": _UNTOLD if gap is None else f"{gap:.2g}",
        "template digest": _templates(found),
    }
    for name, told in rows.items():
        table.add_row(name, escape(told))
    out.print(table)
    for one in found.differing[:SHOWN]:
        said = one.server if one.server is not None else f"no answer: {one.why}"
        out.print(f"{one.clip}: {one.local} here, {said} there", markup=False)
    if len(found.differing) > SHOWN:
        out.print(f"and {len(found.differing) - SHOWN} more", markup=False)


_UNTOLD = "not compared: this server does not tell it"


def _share(count: Count | None) -> str:
    return f"{count.alike} of {count.of}" if count else _UNTOLD


def _templates(found: Parity) -> str:
    own, told = found.template[:12], [digest[:12] for digest in found.server_templates]
    if not told:
        return _UNTOLD
    return f"{own}, the same" if told == [own] else f"{own}, the server's {', '.join(told)}"


@app.command(
    epilog="Example: textualize studio corpora/mine runs/llm runs/jca   ·   textualize studio "
    "demo/corpus --templates my-templates"
)
def studio(
    corpus: Annotated[Path, typer.Argument(help="Corpus folder.")],
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="[RUN]...", help="Run folders to ask.")
    ] = None,
    templates: Annotated[
        Path, typer.Option(help="Your folder of templates; the only one written to.")
    ] = Path("templates"),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 8001,
    max_upload_mb: Annotated[int, typer.Option(min=1, help="Largest clip to drop.")] = 200,
    sensors: Annotated[
        str, typer.Option(help="What reads dropped clips, as `extract` takes it.")
    ] = "embedded",
) -> int:
    """Look at clips, try prompts on them and see what runs make of it, in a browser."""
    try:
        from textualize.studio.launch import Opening
        from textualize.studio.launch import studio as open_studio
    except ModuleNotFoundError as error:
        if error.name not in _OF_SERVE:
            raise
        raise missing_package("studio", error.name, "serve") from None

    how = Opening(templates, port, max_upload_mb, sensors)
    open_studio(corpus, runs or [], how, lambda line: err.print(line, markup=False, soft_wrap=True))
    return 0
