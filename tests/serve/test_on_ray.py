"""Prediction on a cluster gives local prediction's numbers, and one bad prompt spoils no other."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from textualize.cli import run as command
from textualize.errors import TextualizeError
from textualize.methods import load
from textualize.serve import on_ray, scorers
from textualize.serve.on_ray import ByActors, Kept, RayWork, predict_on_ray
from textualize.serve.scorers import (
    AskVllm,
    DiedError,
    Job,
    OwnProcess,
    UnusableError,
    opened,
    scored_apart,
)
from textualize.serve.scorers import ScorePrompts as Actor
from textualize.types import Span
from textualize.windows import ByWindow, Window

from . import test_vllm
from .conftest import record

RECORDS = [record(f"c{i}", "how dare you " * (i % 7) + f"number {i}") for i in range(50)]
RECORDS += [record("long", "she is gone " * 90), record("silent", "")]


class Here:
    """Scores in this process, and counts; its reading of a poisoned prompt is an error."""

    asked: int = 0
    poison: tuple[int, ...] = ()

    def __init__(self, job: Job):
        self._method = load(job.run)

    def __call__(self, items):
        type(self).asked += len(items)
        if any(tuple(item["input_ids"]) == self.poison for item in items):
            raise RuntimeError("out of memory\nand more")
        return self._method.log_scores(items).tolist()


@pytest.fixture
def here(monkeypatch):
    """Let actors work in this process, in the order their tasks are given, or the reverse."""

    class Nodes:
        @staticmethod
        def nodes():
            return [{"Alive": True, "Resources": {"CPU": 4.0}}]

        @staticmethod
        def cluster_resources():
            return {"CPU": 4.0}

    class Cluster:
        def __init__(self, address):
            assert address == "auto"

        def __enter__(self):
            return Nodes

        def __exit__(self, *_):
            pass

    made = type("Here", (Here,), {})

    def results(ray, tasks, actor, job, actors, **asked):
        scorer = actor(job)
        for task in reversed(tasks):  # a cluster promises no order
            yield scorer({"task": [task]})["result"][0]

    monkeypatch.setattr(on_ray, "cluster", Cluster)
    monkeypatch.setattr(on_ray, "results", results)
    monkeypatch.setattr(scorers, "OwnProcess", made)
    return made


def ids_of(run, one):
    (asked,) = on_ray.prepared(opened(run, weights=False), [one])[0]
    return tuple(asked["input_ids"])


def test_predictions_are_local_predictions_to_the_last_digit(here, words_run, letters_run):
    for run in (words_run, letters_run):
        steps = []
        work = RayWork("auto", progress=lambda done, total, _, to=steps: to.append((done, total)))
        assert predict_on_ray(run, RECORDS, work) == load(run).predict(RECORDS)
        assert steps[-1] == (len(RECORDS), len(RECORDS)) and steps == sorted(steps)
    assert predict_on_ray(words_run, [], RayWork("auto")) == []


def test_an_encoder_is_scored_alike_and_not_by_vllm(here, encoder_run):
    assert predict_on_ray(encoder_run, RECORDS, RayWork("auto")) == load(encoder_run).predict(
        RECORDS
    )
    assert here.asked == len(RECORDS)
    with pytest.raises(TextualizeError, match="leave --vllm out"):
        predict_on_ray(encoder_run, RECORDS, RayWork("auto", vllm=Path("/envs/vllm")))


def test_the_driver_reads_without_weights(words_run, encoder_run):
    for run in (words_run, encoder_run):
        net = ByActors(run, RayWork("auto")).method.net
        assert all(weight.is_meta for weight in net.parameters())


def test_a_poisoned_prompt_is_told_and_spoils_no_other(here, words_run):
    local = load(words_run).predict(RECORDS)
    here.poison = ids_of(words_run, RECORDS[7])
    found = predict_on_ray(words_run, RECORDS, RayWork("auto"))
    assert found[7].label is None and found[7].text == "RuntimeError('out of memory\\nand more')"
    for one, other in zip(local[:7] + local[8:], found[:7] + found[8:], strict=True):
        assert (one.clip_id, one.label) == (other.clip_id, other.label)
        assert dict(one.scores) == pytest.approx(dict(other.scores), abs=1e-6)


def test_a_stopped_try_goes_on_where_it_was(here, words_run, tmp_path, monkeypatch):
    local = load(words_run).predict(RECORDS)
    keep = tmp_path / "new" / ".out.partial"
    here.poison = ids_of(words_run, RECORDS[7])
    predict_on_ray(words_run, RECORDS, RayWork("auto", keep=keep))
    first = len(keep.read_text().splitlines())
    assert first == -(-len(RECORDS) // 16) - 1  # all batches but the poisoned one
    with keep.open("a") as stream:
        stream.write('{"asked": "cut o')  # as a killed process leaves it
    here.poison, here.asked = (), 0
    again = predict_on_ray(words_run, RECORDS, RayWork("auto", keep=keep))
    assert 0 < here.asked <= 16 and again == local and not keep.exists()


def test_scores_of_another_training_engine_or_prompt_are_not_taken(tmp_path):
    items = [{"input_ids": [1, 2]}, {"input_ids": [3]}]
    scored = {"rows": [[-1.0, -0.1], [-0.5, -0.25]], "why": ["", ""]}
    kept = Kept(tmp_path / "kept", ["training", 16])
    kept.add(items, scored)
    kept.add(items[:1], {"rows": [None], "why": ["no"]})
    again = Kept(tmp_path / "kept", ["training", 16])
    assert again.of(items) == scored and again.of(items[:1]) is None
    assert again.of(items[::-1]) is None
    assert Kept(tmp_path / "kept", ["another", 16]).of(items) is None
    assert Kept(None, []).of(items) is None


def test_a_run_of_windows_is_read_in_windows(here, words_run, monkeypatch):
    window = Window(2.0, 1.0)
    monkeypatch.setattr(on_ray, "window_of_run", lambda run: window)
    long = replace(RECORDS[0], clip=replace(RECORDS[0].clip, span=Span(0.0, 5.0)))
    records = [long, RECORDS[1]]
    local = ByWindow(load(words_run), window).predict(records)
    assert predict_on_ray(words_run, records, RayWork("auto")) == local
    assert here.asked > len(records)


def test_what_cannot_be_opened_stops_the_job(here, words_run, monkeypatch):
    def broken(self, job):
        raise UnusableError("the weights are gone")

    monkeypatch.setattr(here, "__init__", broken)
    with pytest.raises(TextualizeError, match="the weights are gone"):
        predict_on_ray(words_run, RECORDS, RayWork("auto"))


def test_every_prompt_of_a_failing_batch_is_tried_alone():
    calls = []

    def score(items):
        calls.append(len(items))
        if any(item["input_ids"] == [13] for item in items):
            raise ValueError("thirteen")
        return [[float(item["input_ids"][0])] for item in items]

    items = [{"input_ids": [i]} for i in (1, 13, 2)]
    found = scored_apart(score, items)
    assert found == {"rows": [[1.0], None, [2.0]], "why": ["", "ValueError('thirteen')", ""]}
    assert calls == [3, 1, 1, 1]
    assert scored_apart(score, items[:1]) == {"rows": [[1.0]], "why": [""]}


# --- the process that holds the weights -----------------------------------------------------------

# dies as native code does over a message with the token 13 in it
POISON = """
import os, signal
from multiprocessing.connection import Connection
recv = Connection.recv
def poisoned(self):
    found = recv(self)
    if isinstance(found, list) and any(13 == item["input_ids"][0] for item in found):
        os.kill(os.getpid(), signal.SIGSEGV)
    return found
Connection.recv = poisoned
"""


@pytest.mark.slow
def test_a_process_that_dies_over_a_prompt_is_started_again(words_run, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(POISON)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    method = load(words_run)
    items = [{"input_ids": [i, 5, 6]} for i in (1, 13, 2)]
    process = OwnProcess(Job(str(words_run), torch.get_num_threads()))
    try:
        with pytest.raises(DiedError, match="SIGSEGV"):
            process(items)
        assert process(items[:1]) == method.log_scores(items[:1]).tolist()
    finally:
        process.stop()


@pytest.mark.slow
def test_a_run_that_does_not_open_is_told_by_the_process_that_tried(tmp_path):
    (tmp_path / "labels.json").write_text('{"method": "jca"}')
    actor = Actor({"run": str(tmp_path), "threads": 1})
    (result,) = actor({"task": [json.dumps({"batch": 0, "items": []})]})["result"]
    assert "run of jca" in json.loads(result)["stop"]


class Mortal:
    """Makes the engine of `test_vllm` for a scorer: its vLLM dies over the token 13."""

    FAKE = test_vllm.FAKE.replace(
        'if body["model"] != "run"',
        'if any(p[0] == 13 for p in body["prompt"]):\n            os._exit(9)\n'
        '        if body["model"] != "run"',
    )

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, runs, environment, say):
        assert str(environment) == "/envs/vllm"
        made, _ = test_vllm.engine(self.folder)
        (self.folder / "fake.py").write_text(self.FAKE)
        return made


def test_a_vllm_that_dies_over_a_prompt_comes_back_and_the_prompt_is_told(
    tmp_path, monkeypatch, words_run
):
    monkeypatch.setattr(test_vllm.vllm, "_POLL_S", 0.05)
    monkeypatch.setattr(test_vllm.vllm, "_PAUSES", (0.05,))
    monkeypatch.setattr(scorers, "_POLL_S", 0.05)
    monkeypatch.setattr(scorers, "vllm_engine", Mortal(tmp_path))
    (tmp_path / "run").symlink_to(words_run)
    monkeypatch.setattr(scorers.Path, "resolve", lambda self: self)  # the fake serves "run"
    scorer = AskVllm(Job(str(tmp_path / "run"), 1, "/envs/vllm"))
    try:
        items = [{"input_ids": [i, 4]} for i in (1, 13, 2)]
        found = scored_apart(scorer, items)
    finally:
        scorer.stop()
    assert found["rows"][1] is None and "died over it 2 times" in found["why"][1]
    for row in (found["rows"][0], found["rows"][2]):
        assert row == pytest.approx(test_vllm.expected([1, 4]))


# --- a real cluster, and the command --------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_cluster_gives_local_predictions_to_the_last_digit(words_run):
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    found = predict_on_ray(words_run, RECORDS, RayWork("auto"))
    assert found == load(words_run).predict(RECORDS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ray", "auto", "--server", "http://x"], "give one of them"),
        (["--vllm", "/envs/vllm"], "--vllm goes with --ray"),
    ],
)
def test_ways_that_exclude_each_other_are_refused(arguments, said, capsys):
    assert command(["predict", "run", "--corpus", "nowhere", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_feature_run_is_refused(tmp_path):
    (tmp_path / "labels.json").write_text('{"method": "jca"}')
    with pytest.raises(TextualizeError, match="run of jca.*text-llm and text-encoder"):
        predict_on_ray(tmp_path, RECORDS, RayWork("auto"))


def test_without_ray_one_line_says_how_to_get_it(words_run, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(TextualizeError, match=r"pip install 'textualize\[ray\]'"):
        predict_on_ray(words_run, RECORDS[:1], RayWork("auto"))


@pytest.mark.parametrize(
    ("nodes", "gpus", "threads", "alone", "share"),
    [
        ([8], 0, 2, False, (4, {"num_cpus": 2})),
        ([8, 3], 0, 4, False, (3, {"num_cpus": 3})),
        ([8, 16], 0, 4, True, (2, {"num_cpus": 4})),
        ([8, 16], 3, 4, False, (3, {"num_cpus": 1, "num_gpus": 1})),
        ([8, 16], 3, 4, True, (3, {"num_cpus": 1, "num_gpus": 1})),
    ],
)
def test_a_cluster_is_shared_by_threads_or_gpus(nodes, gpus, threads, alone, share):
    class Ray:
        @staticmethod
        def nodes():
            head = [
                {"Alive": True, "Resources": {"CPU": 0.5}},
                {"Alive": False, "Resources": {"CPU": 1}},
            ]
            return head + [{"Alive": True, "Resources": {"CPU": float(n)}} for n in nodes]

        @staticmethod
        def cluster_resources():
            return {"CPU": sum(nodes), "GPU": gpus}

    assert on_ray._share(Ray, threads, alone=alone) == share
    nodes, gpus = [], 0
    with pytest.raises(TextualizeError, match="neither"):
        on_ray._share(Ray, threads, alone=alone)
