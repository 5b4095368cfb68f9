"""`doctor --server` finds what differs between a server and the run it should have."""

from __future__ import annotations

import json
from dataclasses import replace

import httpx
import pytest

from textualize import console
from textualize.cli import run as command
from textualize.demo.run import SHIPPED
from textualize.errors import TextualizeError
from textualize.methods import load
from textualize.serve import parity as module
from textualize.serve.engine import LabelScores
from textualize.serve.parity import Count, Differing, server_parity, trained_ids
from textualize.serve.runs import ServedRun

from .conftest import LABELS, Plain, Server, Started, app_of, record

RECORDS = [
    *(record(f"short{i}", words) for i, words in enumerate(("she is gone", "", "get out"))),
    *(record(f"long{i}", "how dare you " * (40 + i)) for i in range(3)),  # cut to the budget
]


def test_a_server_of_the_run_is_found_alike_in_everything(runs, asked_of, words_run):
    client, steps = asked_of(Server(app_of(runs)), run=words_run), []
    found = server_parity(client, words_run, RECORDS, lambda done, *_: steps.append(done))
    assert steps == [*range(1, len(RECORDS) + 1)]
    everything = Count(len(RECORDS), len(RECORDS))
    assert (
        found.labels == found.trainer_ids == found.server_ids == found.prompt_tokens == everything
    )
    assert found.largest_difference < 1e-5 and found.server_templates == (found.template,)
    assert found.agrees and not found.differing and not found.not_compared


class Wrong(Started):
    """Turns every prompt's scores round by one label."""

    async def scores(self, items, run):
        found = await super().scores(items, run)
        return [LabelScores((*f.log_probs[1:], f.log_probs[0]), f.token_ids) for f in found]


def test_other_answers_to_the_same_prompts_are_told_clip_by_clip(runs, asked_of, words_run):
    app = app_of(runs, Wrong({name: run.method for name, run in runs.items()}))
    found = server_parity(asked_of(Server(app), run=words_run), words_run, RECORDS)
    assert found.labels == Count(0, len(RECORDS)) and not found.agrees
    assert found.server_ids == Count(len(RECORDS), len(RECORDS))
    assert found.largest_difference > 0.01
    assert {d.clip for d in found.differing} == {r.clip.id for r in RECORDS}
    assert all(d.local != d.server and d.server in LABELS.labels for d in found.differing)


def test_another_run_under_the_name_reads_other_tokens(runs, asked_of, words_run):
    served = {"words": ServedRun("words", runs["letters"].folder, runs["letters"].method)}
    found = server_parity(asked_of(Server(app_of(served)), run=words_run), words_run, RECORDS)
    assert found.server_ids.alike < len(RECORDS)  # it lists its labels by letters


class OtherTemplate(Server):
    async def __call__(self, request):
        response = await super().__call__(request)
        await response.aread()
        told = response.json()
        if "template_digest" in told:
            told["template_digest"] = "another"
        return httpx.Response(response.status_code, json=told)


def test_another_template_and_a_clip_without_answer_are_told(runs, asked_of, words_run):
    server = OtherTemplate(app_of(runs), [422])
    client = asked_of(server, run=words_run, concurrency=1)
    found = server_parity(client, words_run, RECORDS)
    assert found.server_templates == ("another",) and found.template != "another"
    (lost,) = found.differing
    assert lost.server is None and "422" in lost.why and lost.clip == RECORDS[0].clip.id
    others = len(RECORDS) - 1
    assert found.labels == Count(others, len(RECORDS)) and found.server_ids == Count(others, others)


def test_what_another_server_does_not_tell_is_not_compared(runs, asked_of, words_run):
    found = server_parity(asked_of(Plain(app_of(runs)), run=words_run), words_run, RECORDS)
    assert found.not_compared == ("token ids", "probabilities", "template digest")
    assert found.labels.alike == found.prompt_tokens.alike == len(RECORDS)
    with pytest.raises(TextualizeError, match="no clips"):
        server_parity(asked_of(Plain(app_of(runs)), run=words_run), words_run, [])


# --- the trainer's tokens -------------------------------------------------------------------------


def test_training_reads_the_prompts_of_prediction_and_nothing_else(runs):
    for run in runs.values():
        items = [asked.item for asked in run.asked(RECORDS)] * 7  # several batches
        assert trained_ids(run.method, items) == [item["input_ids"] for item in items]


def test_training_an_encoder_reads_the_prompts_of_prediction(encoder_run):
    method = load(encoder_run)
    for pooling in ("mean", "last_line"):
        method.net.pooling = pooling
        items = method.items(method.reader.texts(RECORDS))
        assert max(len(item["input_ids"]) for item in items) == 60
        assert trained_ids(method, items) == [list(item["input_ids"]) for item in items]


def test_a_trainer_that_reads_other_tokens_is_found(runs, asked_of, words_run, monkeypatch):
    collate = module.TextLLM.collate

    def shifted(method, items):
        batch = collate(method, items)
        batch["attention_mask"][:, :-20] = 0  # the prompts' beginnings
        return batch

    monkeypatch.setattr(module.TextLLM, "collate", shifted)
    found = server_parity(asked_of(Server(app_of(runs)), run=words_run), words_run, RECORDS)
    assert found.trainer_ids == Count(0, len(RECORDS)) and found.server_ids.alike == len(RECORDS)


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def found(monkeypatch):
    """Let the command find a comparison that a test can change, over no real clips."""
    whole = Count(200, 200)
    made = {
        "parity": module.Parity(
            "http://server", "llm", 200, whole, whole, whole, whole, 1e-7, "ab" * 32,
            ("ab" * 32,), (),
        )
    }  # fmt: skip
    monkeypatch.setattr(module, "server_parity", lambda *_: made["parity"])
    monkeypatch.setattr(console, "chosen_records", lambda corpus, clip: {SHIPPED: RECORDS}[corpus])
    return made


ASKED = ["doctor", "--server", "http://server", "--run", "llm", "--limit", "3"]


@pytest.mark.parametrize(("differ", "code"), [(0, 0), (2, 0), (3, 1), (200, 1)])
def test_more_than_one_in_a_hundred_is_exit_code_1(found, differ, code, capsys):
    different = tuple(Differing(f"clip{i}", "glad", "mad") for i in range(differ))
    found["parity"] = replace(found["parity"], labels=Count(200 - differ, 200), differing=different)
    assert command(ASKED) == code
    said = capsys.readouterr().out
    assert f"{200 - differ} of 200" in said and "1e-07" in said and "abababababab, the same" in said
    assert ("clip0: glad here, mad there" in said) == (differ > 0)
    assert ("and 180 more" in said) == (differ == 200)
    assert command([*ASKED, "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == 1 and told["corpus"] == "demo" and told["agrees"] == (code == 0)
    assert told["labels"] == {"alike": 200 - differ, "of": 200}


def test_the_table_says_what_was_not_compared(found, capsys):
    found["parity"] = replace(
        found["parity"], server_ids=None, largest_difference=None, server_templates=()
    )
    assert command(ASKED) == 0
    assert capsys.readouterr().out.count("not compared: this server does not tell it") == 3
    found["parity"] = replace(found["parity"], server_templates=("cd" * 32,))
    command(ASKED)
    assert "abababababab, the server's cdcdcdcdcdcd" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--server", "http://x"], "--server and --run together"),
        (["--run", "x"], "--server and --run together"),
        (["--corpus", "x"], "go with --server"),
        (["--server", "http://127.0.0.1:9", "--run", "x", "--corpus", "nowhere"], "nowhere"),
        (["--server", "http://127.0.0.1:9", "--run", "nowhere"], "not a run folder"),
    ],
)
def test_bad_input_is_exit_code_2(arguments, said, capsys):
    assert command(["doctor", *arguments]) == 2
    assert said in capsys.readouterr().err
