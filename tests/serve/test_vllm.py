from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch

from textualize.errors import TextualizeError
from textualize.serve import vllm
from textualize.serve.engine import EngineDownError
from textualize.serve.launch import Child, Plan, command_of, free_port, plan_of, python_of
from textualize.serve.runs import open_runs
from textualize.serve.vllm import LabelQuestions, VllmEngine

# speaks as much of vLLM as is asked: the log-probability of token t after n tokens is -(n + t)/100
FAKE = """
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def log_message(self, *a): pass
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != "Bearer " + os.environ["VLLM_API_KEY"]:
            return self.send_error(401)
        if body["model"] != "run" or "TEXTUALIZE_API_KEY" in os.environ:
            return self.send_error(404)
        choices = [{"index": i, "logprobs": {"top_logprobs": [
            {f"token_id:{t}": -(len(p) + t) / 100 for t in body["logprob_token_ids"]}]}}
            for i, p in enumerate(body["prompt"])]
        data = json.dumps({"choices": choices}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

if sys.argv[2] == "fails":
    sys.exit("ValueError: head size 8 is not supported")
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
ANSWERS = [[5, 6, 2], [5, 7, 2], [9, 2]]


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(vllm, "_POLL_S", 0.05)
    monkeypatch.setattr(vllm, "_PAUSES", (0.05,))


def engine(tmp_path: Path, how: str = "works") -> tuple[VllmEngine, Child]:
    fake = tmp_path / "fake.py"
    fake.write_text(FAKE)
    port = free_port()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    child = Child([sys.executable, str(fake), str(port), how], scratch / "log")
    return VllmEngine(child, port, {"run": ANSWERS}, scratch), child


def expected(prompt: list[int]) -> list[float]:
    return [
        sum(-(len(prompt) + i + token) / 100 for i, token in enumerate(answer))
        for answer in ANSWERS
    ]


def test_labels_are_summed_over_their_path_in_the_tree(tmp_path, quick, monkeypatch):
    monkeypatch.setenv("TEXTUALIZE_API_KEY", "not for the child")

    async def run():
        served, _ = engine(tmp_path)
        await served.start()
        found = await served.scores([{"input_ids": [1, 2]}, {"input_ids": [3]}], "run")
        await served.stop()
        return found

    found = asyncio.run(run())
    assert list(found[0].log_probs) == pytest.approx(expected([1, 2]))
    assert list(found[1].log_probs) == pytest.approx(expected([3]))
    assert found[0].token_ids == (1, 2)
    assert not (tmp_path / "scratch").exists()


def test_a_killed_process_gives_unavailable_and_comes_back(tmp_path, quick):
    async def run():
        served, child = engine(tmp_path)
        await served.start()
        first = child._process.pid
        os.kill(first, signal.SIGKILL)
        answered, down = 0, 0
        for _ in range(200):
            try:
                await served.scores([{"input_ids": [1]}], "run")
                answered += 1
            except EngineDownError:
                down += 1
            if answered and down and await served.ready() and child._process.pid != first:
                break
            await asyncio.sleep(0.02)
        again = await served.scores([{"input_ids": [1]}], "run")
        last = child._process.pid
        await served.stop()
        return down, again, first, last

    down, again, first, last = asyncio.run(run())
    assert down and first != last
    assert list(again[0].log_probs) == pytest.approx(expected([1]))
    with pytest.raises(ProcessLookupError):
        os.kill(last, 0)


def test_a_process_that_does_not_start_is_told_of_in_its_own_words(tmp_path, quick):
    async def run():
        served, _ = engine(tmp_path, "fails")
        try:
            await served.start()
        finally:
            await served.stop()

    with pytest.raises(TextualizeError, match="head size 8 is not supported"):
        asyncio.run(run())


def test_missing_log_probabilities_are_an_old_vllm():
    questions = LabelQuestions(ANSWERS)
    bodies = [{"choices": [{"index": 0, "logprobs": {"top_logprobs": [{"token_id:5": -1.0}]}}]}]
    with pytest.raises(TextualizeError, match="0.32"):
        questions.summed(bodies)


def test_many_tokens_are_asked_for_in_parts():
    questions = LabelQuestions([[i] for i in range(300)])
    asked = questions.asked("run", [1])
    assert [len(body["logprob_token_ids"]) for body in asked] == [128, 128, 44]
    assert all(body["prompt"] == [[1]] for body in asked)


# --- the command ----------------------------------------------------------------------------------


def test_the_command_is_of_this_machine_alone_and_tells_adapters():
    adapters = {"a": Path("/runs/a/adapter"), "b": Path("/runs/b/adapter")}
    plan = Plan("/base", "/runs/a/adapter", adapters, "bfloat16", 300, 16, ("base",))
    command = " ".join(command_of(Path("/env/bin/python"), plan, 9, gpu=True))
    assert command.startswith("/env/bin/python -m vllm.entrypoints.openai.api_server")
    for part in (
        "--host 127.0.0.1 --port 9 --dtype bfloat16",
        "--max-model-len 300",
        "--enable-lora --max-lora-rank 16",
        "--lora-modules a=/runs/a/adapter b=/runs/b/adapter",
    ):
        assert part in command
    assert "--enforce-eager" not in command
    assert "--enforce-eager" in command_of(Path("python"), plan, 9, gpu=False)


def test_the_environment_is_found_by_folder_python_or_command(tmp_path):
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.symlink_to(sys.executable)
    (tmp_path / "bin" / "vllm").touch()
    for given in (tmp_path, python, tmp_path / "bin" / "vllm"):
        assert python_of(given) == python
    with pytest.raises(TextualizeError, match="--vllm"):
        python_of(tmp_path / "nowhere")


def test_a_run_without_weights_reads_as_the_one_with_them(words_run):
    whole = open_runs([words_run], weights=True)["words"]
    outline = open_runs([words_run], weights=False)["words"]
    assert outline.asked_texts(["get out"]) == whole.asked_texts(["get out"])
    assert outline.answers == whole.answers
    assert next(outline.method.net.parameters()).device == torch.device("meta")
    plan = plan_of({"words": outline}, None)
    assert plan.model == str(words_run / "model") and plan.names == ("words",)
    assert plan.length == whole.method.limit + max(map(len, whole.answers))


def test_runs_that_cannot_be_adapters_are_refused_together(words_run, letters_run):
    runs = open_runs([words_run, letters_run], weights=False)
    with pytest.raises(TextualizeError, match="serve it alone"):
        plan_of(runs, None)


def test_a_changed_template_is_refused(words_run, tmp_path):
    changed = tmp_path / "words"
    shutil.copytree(words_run, changed)
    (changed / "prompt" / "template.jinja").write_text("{{ transcript }}")
    with pytest.raises(TextualizeError, match="digest"):
        open_runs([changed], weights=False)


def test_two_runs_of_one_name_are_refused(words_run):
    with pytest.raises(TextualizeError, match="two runs"):
        open_runs([words_run, words_run], weights=False)


def test_methods_that_read_tracks_are_refused(tmp_path):
    (tmp_path / "labels.json").write_text('{"method": "jca"}')
    with pytest.raises(TextualizeError, match="text-llm"):
        open_runs([tmp_path], weights=True)
