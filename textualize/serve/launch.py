"""The vLLM process: its command from the run folders, started, watched, stopped.

vLLM is never imported: it lives in an environment of its own, with its own torch. What it is told
comes from the runs alone: base, adapters and their rank, dtype, length.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from textualize.errors import TextualizeError
from textualize.finetune.recipe import TextRecipe
from textualize.finetune.run_folder import RunFolder
from textualize.serve import leash
from textualize.serve.runs import ServedRun
from textualize.text.causal import TextLLM
from textualize.text.models import save_network, stored_recipe
from textualize.weights.models import find_model

MODULE = "vllm.entrypoints.openai.api_server"
STOP_S = 20.0  # a child that is asked to end and does not is killed after this
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # what vLLM takes as --max-lora-rank
_CUDA = "import sys, torch; sys.exit(0 if torch.cuda.is_available() else 3)"


@dataclass(frozen=True, slots=True)
class Plan:
    """What vLLM is to serve: `model`, adapters by name, and where the tokenizer is."""

    model: str
    tokenizer: str
    adapters: Mapping[str, Path]
    dtype: str
    length: int
    rank: int
    names: tuple[str, ...]
    """what the model itself answers to: the run's name where no adapter does"""


def python_of(given: Path | None) -> Path:
    """Return the Python of the environment that has vLLM.

    `given` is that Python, the environment's folder, or its `vllm` command.

    Raises:
        TextualizeError: there is none.
    """
    if given is None:
        if importlib.util.find_spec("vllm") is not None:
            return Path(sys.executable)
        raise TextualizeError(
            "vLLM is not installed here: give --vllm with the Python of an environment that has "
            "it, or --engine transformers"
        )
    folder = given / "bin" if given.is_dir() else given.parent
    found = given if given.name.startswith("python") and given.is_file() else folder / "python"
    if not found.is_file():
        raise TextualizeError(f"--vllm {given}: expected an environment's folder, Python or vllm")
    return found.absolute()  # not resolved: the link's place is what makes the environment


def has_gpu(python: Path) -> bool:
    """Return whether torch of that environment sees a GPU; raises where it has no torch."""
    done = subprocess.run([str(python), "-c", _CUDA], capture_output=True, text=True)
    if done.returncode not in (0, 3):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise TextualizeError(f"{python} cannot run vLLM: {last}")
    return done.returncode == 0


def plan_of(runs: Mapping[str, ServedRun], merged: Path | None) -> Plan:
    """Return what to serve; adapters are merged into `merged` where it is given.

    Raises:
        TextualizeError: the runs are of different bases, quantised, or cannot be adapters.
    """
    recipes = {name: stored_recipe(RunFolder(run.folder)) for name, run in runs.items()}
    for name, recipe in recipes.items():
        if recipe.quantization != "none":
            raise TextualizeError(
                f"run '{name}' reads {recipe.quantization} weights: give --engine transformers"
            )
    first = next(iter(runs.values()))
    recipe = recipes[first.name]
    length = max(_length(run) for run in runs.values())
    whole = first.folder / "model"
    if len(runs) == 1 and (whole.is_dir() or recipe.epochs == 0):
        model = str(whole) if whole.is_dir() else str(find_model(recipe.model).folder)
        tokenizer = model if whole.is_dir() else str(first.folder / "tokenizer")
        return Plan(model, tokenizer, {}, recipe.dtype, length, 0, (first.name,))
    if len(runs) == 1 and (merged is not None or not _plain(recipe)):
        if merged is None:
            raise TextualizeError(f"run '{first.name}' has an adapter vLLM does not take unmerged")
        method = TextLLM.load(first.folder)
        save_network(method.net.merge_and_unload(), method.tokenizer, merged / "model")
        return Plan(
            str(merged / "model"), str(merged / "model"), {}, recipe.dtype, length, 0, (first.name,)
        )
    return _adapters(runs, recipes, length)


def _adapters(
    runs: Mapping[str, ServedRun], recipes: Mapping[str, TextRecipe], length: int
) -> Plan:
    for name, run in runs.items():
        if not (run.folder / "adapter").is_dir() or not _plain(recipes[name]):
            raise TextualizeError(f"run '{name}' is no plain LoRA adapter: serve it alone")
    bases = {_base(run) for run in runs.values()}
    if len(bases) > 1:
        raise TextualizeError("the runs have different base models: start a server for each")
    recipe = next(iter(recipes.values()))
    rank = max(r.lora.r for r in recipes.values() if r.lora)
    if rank > _RANKS[-1]:
        raise TextualizeError(f"an adapter has rank {rank}, vLLM takes up to {_RANKS[-1]}")
    adapters = {name: (run.folder / "adapter").absolute() for name, run in runs.items()}
    model = str(find_model(recipe.model, recipe.revision).folder)
    room = next(r for r in _RANKS if r >= rank)
    return Plan(
        model, str(next(iter(adapters.values()))), adapters, recipe.dtype, length, room, ("base",)
    )


def _plain(recipe: TextRecipe) -> bool:
    return recipe.lora is not None and not recipe.lora.dora and not recipe.lora.modules_to_save


def _base(run: ServedRun) -> str:
    return str(RunFolder(run.folder).environment["summary"].get("weights sha256"))


def _length(run: ServedRun) -> int:
    assert isinstance(run.method, TextLLM)
    return run.method.limit + max(len(answer) for answer in run.answers)


def command_of(python: Path, plan: Plan, port: int, *, gpu: bool) -> list[str]:
    """Return vLLM's command line: on this machine only, in the module form.

    The command `vllm` of its CPU build does not start.
    """
    command = [str(python), "-m", MODULE, "--model", plan.model, "--tokenizer", plan.tokenizer]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", plan.dtype]
    command += ["--max-model-len", str(plan.length), "--generation-config", "vllm"]
    command += ["--served-model-name", *plan.names]
    if not gpu:  # it would take nine tenths of the memory
        command += ["--gpu-memory-utilization", "0.3", "--enforce-eager"]
    if plan.adapters:
        command += ["--enable-lora", "--max-lora-rank", str(plan.rank)]
        command += ["--max-loras", str(len(plan.adapters)), "--lora-modules"]
        command += [f"{name}={folder}" for name, folder in plan.adapters.items()]
    return command


class Child:
    """A vLLM process in a process group of its own; Ctrl-C in a terminal does not reach it.

    It ends with this process, even where that is killed: see `leash.py`.
    """

    def __init__(self, command: Sequence[str], log: Path, scratch: Path | None = None) -> None:
        """Take its command; output goes to `log`.

        Where this process is killed, nobody else is left to delete `scratch`: then the leash does.
        """
        self._command, self.log = list(command), log
        self._leash = [sys.executable, "-I", "-S", str(leash.__file__), str(STOP_S)]
        self._leash.append(str(scratch.absolute()) if scratch else "")
        self.key = secrets.token_urlsafe(24)
        self._process: asyncio.subprocess.Process | None = None
        self._held: int | None = None

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start the process; it loads for a minute before it answers."""
        held, self._held = os.pipe()  # our end is closed by the kernel, should we be killed
        own = {"VLLM_API_KEY": self.key, "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        env = {"VLLM_CPU_KVCACHE_SPACE": "1", **os.environ, **own}
        env.pop("TEXTUALIZE_API_KEY", None)
        try:
            with self.log.open("ab") as output:
                self._process = await asyncio.create_subprocess_exec(
                    *self._leash,
                    *self._command,
                    stdin=held,
                    stdout=output,
                    stderr=output,
                    env=env,
                    start_new_session=True,
                )
        finally:
            os.close(held)

    async def wait(self) -> int:
        """Return its exit code once it has ended; -1 where it was never started."""
        return await self._process.wait() if self._process is not None else -1

    async def stop(self) -> None:
        """End the process and all it started: asked first, killed if it does not."""
        process, self._process = self._process, None
        if process is None:
            self._let_go()
            return
        for sign, patience in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, STOP_S)):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, sign)
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), patience)
                break
        with suppress(ProcessLookupError):  # its own children may outlive it
            os.killpg(process.pid, signal.SIGKILL)
        self._let_go()

    def _let_go(self) -> None:
        """Close our end of the pipe: who watches it, if still there, ends what it watches."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def last_words(self) -> str:
        """Return the last line of its log that tells of an error."""
        lines = self.log.read_text("utf-8", "replace").splitlines() if self.log.is_file() else []
        told = [x for x in lines if "Error" in x] or lines
        return told[-1].strip()[:300] if told else "it said nothing"


def free_port() -> int:
    """Return a port nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
