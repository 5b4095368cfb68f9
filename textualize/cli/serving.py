"""A trained run behind an endpoint: serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from textualize.cli.options import err
from textualize.errors import missing_package

app = typer.Typer()

_OF_SERVE = ("fastapi", "httpx", "limits", "prometheus_client", "starlette", "uvicorn")


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
    try:
        from textualize.serve.run import Serving
        from textualize.serve.run import serve as serve_runs
    except ModuleNotFoundError as error:
        if error.name not in _OF_SERVE:
            raise
        raise missing_package("serve", error.name, "serve") from None

    how = Serving(engine, vllm, host, port, api_key_file, max_upload_mb, rate, sensors)
    serve_runs(runs, how, lambda line: err.print(line, markup=False))
    return 0
