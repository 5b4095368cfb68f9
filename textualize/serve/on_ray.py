"""Prediction on a Ray cluster: prompts read here, scored by actors, decided on here.

The batches are those of local prediction, so an actor with the run's weights gives the same
numbers to the last digit (on like machines: kernels differ between kinds of CPU and GPU). With
`vllm` each actor starts a vLLM of its own and asks it as `serve` does. Run folder, base weights and
vLLM's environment must lie on a file system that every node sees under the same path.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from textualize.errors import TextualizeError
from textualize.extract.on_ray import cluster, results
from textualize.files import Json, add_line, digest_of, read_jsonl, whole_lines
from textualize.finetune.run_folder import RunFolder
from textualize.serve.engine import Item
from textualize.serve.scorers import Job, ScorePrompts, opened
from textualize.serve.vllm import AT_ONCE
from textualize.text.causal import TextLLM
from textualize.text.predict import by_length, decided, prediction, prepared
from textualize.types import Prediction, Record
from textualize.windows import ByWindow, window_of_run

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class RayWork:
    """Where and how a run's prompts are scored, and where what is scored is kept meanwhile."""

    address: str
    vllm: Path | None = None
    keep: Path | None = None
    progress: Progress | None = None


def predict_on_ray(run: Path, records: Sequence[Record], work: RayWork) -> list[Prediction]:
    """Return one prediction a record, in order, scored on the cluster at `work.address`.

    A clip whose prompt cannot be scored has label None and the reason as its text. With `keep`, a
    try that was stopped goes on where it was; the file is gone once all is answered.

    Raises:
        TextualizeError: the run is of no text method, there is no such cluster or no `ray`, or an
            actor cannot open the run or start vLLM.
    """
    method = ByActors(run, work)
    window = window_of_run(run)
    answers = (ByWindow(method, window) if window else method).predict(records)
    if work.keep is not None and all(a.label is not None for a in answers):
        work.keep.unlink(missing_ok=True)
    return answers


class ByActors:
    """A text run that reads here and is scored on a cluster; a `Method`."""

    def __init__(self, run: Path, work: RayWork) -> None:
        """Open the run without its weights."""
        self.method = opened(run, weights=False)
        if work.vllm and not isinstance(self.method, TextLLM):
            raise TextualizeError(f"{run} has a head; vLLM scores text-llm: leave --vllm out")
        self.labels = self.method.labels
        self._run, self._work = run, work

    def predict(self, records: Sequence[Record]) -> list[Prediction]:
        """Return one prediction per record, in the same order."""
        if not records:
            return []
        items, losses = prepared(self.method, records)
        scores = np.full((len(items), len(self.labels)), np.nan)
        why = ["not scored"] * len(items)
        for rows, found in self._scored(items):
            for i, row, reason in zip(rows, found["rows"], found["why"], strict=True):
                why[i] = reason
                if not reason:
                    scores[i] = row
        good = [i for i, reason in enumerate(why) if not reason]
        shares: NDArray[np.float64] = scores.copy()
        shares[good] = decided(self.method, scores[good])
        return [
            Prediction(record.clip.id, self.method.method, None, {}, why[i])
            if why[i]
            else prediction(self.method, record, shares[i], losses[i])
            for i, record in enumerate(records)
        ]

    def _scored(self, items: Sequence[Item]) -> Iterator[tuple[list[int], Json]]:
        """Yield which items were scored together, and what came of it, as it is ready."""
        size = max(AT_ONCE, self.method.batch_size) if self._work.vllm else self.method.batch_size
        batches = by_length(items, size)
        kept = Kept(self._work.keep, [self._mark(), size])
        done, left = 0, []
        for number, rows in enumerate(batches):
            found = kept.of([items[i] for i in rows])
            if found is None:
                left.append(number)
                continue
            done += len(rows)
            yield rows, found
        for number, found in self._from_actors(items, batches, left):
            rows = batches[number]
            kept.add([items[i] for i in rows], found)
            done += len(rows)
            if self._work.progress:
                self._work.progress(done, len(items), "")
            yield rows, found

    def _from_actors(
        self, items: Sequence[Item], batches: Sequence[Sequence[int]], left: Sequence[int]
    ) -> Iterator[tuple[int, Json]]:
        if not left:
            return
        tasks = [json.dumps({"batch": n, "items": [items[i] for i in batches[n]]}) for n in left]
        vllm = str(self._work.vllm.absolute()) if self._work.vllm else None
        job = asdict(Job(str(self._run.absolute()), torch.get_num_threads(), vllm))
        with cluster(self._work.address) as ray:
            actors, asked = _share(ray, torch.get_num_threads(), alone=vllm is not None)
            for result in results(ray, tasks, ScorePrompts, job, actors, **asked):
                found = json.loads(result)
                if "stop" in found:
                    raise TextualizeError(found["stop"])
                yield found["batch"], found

    def _mark(self) -> str:
        """Return what other scores would come from: another training, or the other engine."""
        folder = RunFolder(self._run)
        return digest_of([folder.environment, folder.metrics(), str(self._work.vllm)])


def _share(ray: Any, threads: int, *, alone: bool) -> tuple[int, Json]:
    """Return how many actors there are and what each takes of a cluster.

    One a GPU; without any, as many as have `threads` CPUs each, or one a machine (`alone`).
    """
    cpus = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    cpus = [own for own in cpus if own]  # a head node may give none
    gpus = int(ray.cluster_resources().get("GPU", 0))
    if gpus:
        return gpus, {"num_cpus": 1, "num_gpus": 1}
    if not cpus:
        raise TextualizeError("the Ray cluster has neither a CPU nor a GPU to give")
    each = min(threads, *cpus)
    count = len(cpus) if alone else sum(own // each for own in cpus)
    return count, {"num_cpus": each}


class Kept:
    """Scores on disk by what was asked: lines of JSON that are added to."""

    def __init__(self, path: Path | None, mark: Sequence[object]) -> None:
        """Read what an earlier try has kept; `mark` is all that scores depend on beside prompts."""
        self._path, self._mark = path, list(mark)
        self._found: dict[str, Json] = {}
        if path is not None and whole_lines(path):
            kept = read_jsonl(path, "kept scores", lambda line: (line["asked"], line["scored"]))
            self._found = dict(kept)

    def of(self, items: Sequence[Item]) -> Json | None:
        """Return what came of these items in an earlier try, None where they were not asked."""
        return self._found.get(self._key(items)) if self._found else None

    def add(self, items: Sequence[Item], scored: Json) -> None:
        """Keep what came of some items, unless one of them could not be scored."""
        if self._path is None or any(scored["why"]):
            return
        line = {"asked": self._key(items), "scored": {k: scored[k] for k in ("rows", "why")}}
        add_line(self._path, json.dumps(line))

    def _key(self, items: Sequence[Item]) -> str:
        return digest_of([*self._mark, list(items)])
