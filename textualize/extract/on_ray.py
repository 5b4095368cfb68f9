"""Extraction on a Ray cluster: the same clips, the same code per clip, the same corpus.

`cluster` and `results` are how this package uses Ray, for other work as well.

Ray Data hands clips to actors; each actor holds one reader process with its models loaded
(`workers.py`), so that a clip that kills its reader costs that clip and not the actor. Media and
corpus must lie on a file system that every node sees under the same path.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from textualize.errors import TextualizeError, first_line, missing_package
from textualize.extract.reading import ClipResult, Job, SensorUnavailableError, Task
from textualize.extract.workers import Worker
from textualize.files import Json, StorageError
from textualize.store import Failure, clip_from_json, clip_json

_STOPS = {kind.__name__: kind for kind in (SensorUnavailableError, StorageError, TextualizeError)}


class ReadClips:
    """A Ray Data actor: reads the clips of a batch one after the other."""

    def __init__(self, job: Json) -> None:
        """Start the reader process."""
        self._worker = Worker(Job(**{**job, "sensors": tuple(job["sensors"])}))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return the results of a batch of tasks, both as JSON."""
        return {"result": [self._read(str(task)) for task in batch["task"]]}

    def _read(self, task: str) -> str:
        self._worker.give(task_from_json(json.loads(task)))
        try:
            return json.dumps(result_json(self._worker.take()))
        except TextualizeError as error:  # nothing can be read here: the driver stops the job
            return json.dumps({"stop": type(error).__name__, "why": str(error)})


def read_on_ray(
    tasks: Sequence[Task], job: Job, address: str, workers: int | None = None
) -> Iterator[ClipResult]:
    """Yield the result of every task, read on the cluster at `address`.

    "auto" is the cluster this machine belongs to, or one started on this machine for the
    purpose. `workers` is the number of actors; by default one per CPU of the cluster. Raises
    TextualizeError where there is no such cluster or no `ray`.
    """
    with cluster(address) as ray:
        actors = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        given = [json.dumps(task_json(task)) for task in tasks]
        for result in results(ray, given, ReadClips, asdict(job), actors, num_cpus=1):
            value = json.loads(result)
            if "stop" in value:
                raise _STOPS.get(value["stop"], TextualizeError)(value["why"])
            yield result_from_json(value)


@contextmanager
def cluster(address: str) -> Iterator[Any]:
    """Yield the package `ray`, connected to a cluster; "auto" is this machine's, or a new one.

    Raises:
        TextualizeError: there is no such cluster or no `ray`.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports home unless told not to
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise missing_package("--ray", "ray[data]", "ray") from error
    started = not ray.is_initialized()
    if started:
        _connect(ray, address)
    try:
        yield ray
    finally:
        if started:
            ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    for name in ("ray", "ray.data"):  # its progress is not ours to show
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        ray.init(
            address=None if address == "auto" else address,
            logging_level=logging.ERROR,
            log_to_driver=False,
            include_dashboard=None if address != "auto" else False,
        )
    except Exception as error:  # a node that does not come up is a bare Exception of Ray's
        raise TextualizeError(f"no Ray cluster at '{address}': {first_line(error)}") from error


def results(
    ray: Any, tasks: Sequence[str], actor: type, job: Json, actors: int, **asked: Any
) -> Iterator[str]:
    """Yield what actors make of every task, as it is ready; tasks and results are JSON.

    Args:
        ray: as `cluster` yields it.
        tasks: each a batch of its own for an actor.
        actor: made with `job`, called with {"task": [...]}, returns {"result": [...]}.
        job: what every actor is told, JSON values.
        actors: how many at most.
        asked: what each needs, as `map_batches` takes it (num_cpus, …).
    """
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    rows = [{"task": task} for task in tasks]
    # one task a block: results come as they are ready, and a lost actor costs one task's work
    found = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        actor,
        fn_constructor_args=(job,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(actors, len(rows))),
        **asked,
    )
    for row in found.iter_rows():
        yield str(row["result"])


def task_json(task: Task) -> Json:
    """Return a task as JSON values."""
    failed = {key: asdict(one) for key, one in task.failed.items()}
    return {"clip": clip_json(task.clip), "media": task.media, "failed": failed}


def task_from_json(value: Json) -> Task:
    """Return the task `task_json` wrote."""
    failed = {key: Failure(**one) for key, one in value["failed"].items()}
    return Task(clip_from_json(value["clip"]), value["media"], failed)


def result_json(result: ClipResult) -> Json:
    """Return a result as JSON values."""
    return {
        "clip": clip_json(result.clip),
        "media": result.media,
        "items": dict(result.items),
        "states": {m: list(state) for m, state in result.states.items()},
        "failures": [asdict(f) for f in result.failures],
        "sensors": {spec: dict(about) for spec, about in result.sensors.items()},
        "fresh": result.fresh,
    }


def result_from_json(value: Json) -> ClipResult:
    """Return the result `result_json` wrote."""
    return ClipResult(
        clip_from_json(value["clip"]),
        value["media"],
        value["items"],
        {m: (state[0], state[1]) for m, state in value["states"].items()},
        tuple(Failure(**f) for f in value["failures"]),
        value["sensors"],
        value["fresh"],
    )
