from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from textualize.errors import TextualizeError
from textualize.methods import load
from textualize.predictions import read_predictions
from textualize.types import Cue, Span, Utterance

from .conftest import LABELS, Plain, Server, app_of, record

RECORDS = [
    record("a", "she is gone"),
    record("b", "how dare you " * 60),  # cut to the run's budget
    record("c", ""),
    replace(record("d", "no"), clip=replace(record("d", "").clip, context=(
        Utterance(Span(0, 1), "first"), Utterance(Span(1, 2), "then this", speaker="Ana"),
    ))),
]  # fmt: skip


def test_a_server_answers_as_local_prediction_does(runs, asked_of, words_run):
    local = load(words_run).predict(RECORDS)
    remote = asked_of(Server(app_of(runs))).predict(RECORDS)
    for one, other in zip(local, remote, strict=True):
        assert (one.clip_id, one.label, one.text) == (other.clip_id, other.label, other.text)
        assert dict(one.scores) == pytest.approx(dict(other.scores), abs=1e-5)
    assert remote[1].text.startswith("prompt cut")


def test_requests_at_once_are_bounded(runs, asked_of):
    server = Server(app_of(runs))
    many = [record(str(i), f"number {i}") for i in range(20)]
    assert len(asked_of(server, concurrency=3).predict(many)) == 20
    assert server.most == 3


def test_what_may_pass_is_asked_again_and_what_may_not_is_told(runs, asked_of):
    passing = [503, 429, httpx.ConnectError("refused"), 502]
    found = asked_of(Server(app_of(runs), passing), concurrency=1).predict(RECORDS)
    assert all(p.label in LABELS.labels for p in found)
    server = Server(app_of(runs), [422])
    found = asked_of(server, concurrency=1).predict(RECORDS)
    assert found[0].label is None and "422" in found[0].text
    assert all(p.label for p in found[1:]) and len(server.asked) == 1 + len(RECORDS)
    found = asked_of(Server(app_of(runs), [503] * 3), concurrency=1, attempts=3).predict(RECORDS)
    assert found[0].label is None and "3 times" in found[0].text


def test_answers_are_kept_at_once_and_not_asked_for_again(runs, asked_of, tmp_path):
    keep = tmp_path / "answers.jsonl"
    first = asked_of(Server(app_of(runs), [422]), concurrency=1).predict(RECORDS, keep)
    assert {p.clip_id for p in read_predictions(keep)} == {"b", "c", "d"}
    with keep.open("a") as stream:
        stream.write('{"clip_id": "a", "lab')  # as a killed process leaves it
    server = Server(app_of(runs))
    again = asked_of(server).predict(RECORDS, keep)
    assert server.asked == ["/v1/models", "/v1/emotions"]
    assert [p.label for p in again[1:]] == [p.label for p in first[1:]] and again[0].label


def test_a_wrong_key_or_model_stops_at_once(runs, asked_of):
    with pytest.raises(TextualizeError, match="nobody.*words, letters"):
        asked_of(Server(app_of(runs)), model="nobody").predict(RECORDS)
    client = asked_of(Server(app_of(runs)))
    client._key = "wrong"
    with pytest.raises(TextualizeError, match="401"):
        client.predict(RECORDS)


@pytest.mark.parametrize("name", ["words", "letters"])
def test_any_compatible_server_is_asked_in_chats(runs, asked_of, name, words_run, letters_run):
    run = {"words": words_run, "letters": letters_run}[name]
    local = load(run).predict(RECORDS)
    server = Plain(app_of(runs))
    found = asked_of(server, run=run).predict(RECORDS)
    assert [p.label for p in found] == [p.label for p in local]
    assert "/v1/emotions" not in server.asked
    with pytest.raises(TextualizeError, match="run folder"):
        asked_of(Plain(app_of(runs))).predict(RECORDS)


def test_ready_cues_are_told_as_they_are(runs, asked_of):
    cues = (Cue("face", "observed", "brow lowerer (AU4) strong", None, "hand"),)
    given = replace(record("x", ""), cues=cues)
    assert asked_of(Server(app_of(runs))).predict([given])[0].label in LABELS.labels
