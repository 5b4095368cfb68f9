"""Against a stub server of the chat protocol on this machine (`stub`, see conftest.py)."""

import math
import time

import pytest

from textualize.errors import TextualizeError
from textualize.evaluate.endpoint import Endpoint, ask_all, body, read_reply
from textualize.text.answers import Shot, messages

LABELS = ("sad", "glad")


def said(text, top=()):
    choice = {"message": {"role": "assistant", "content": text}}
    if top:
        listed = [{"token": t, "logprob": p} for t, p in top]
        choice["logprobs"] = {"content": [{"token": text, "top_logprobs": listed}]}
    return {"choices": [choice], "usage": {"prompt_tokens": 7}}


def test_letters_are_read_from_the_log_probabilities_spellings_added_up():
    top = [(" B", math.log(0.3)), ("A", math.log(0.4)), ("B)", math.log(0.2)), ("The", -2.0)]
    reply = read_reply(said("A", top), ("A", "B"), "letters")
    assert reply.place == 1
    assert reply.scores == pytest.approx({0: math.log(0.4), 1: math.log(0.5)})
    assert reply.tokens == 7


@pytest.mark.parametrize(
    ("text", "kind", "place"),
    [
        ("B", "letters", 1),
        (" b) ", "letters", 1),
        ("Glad.", "words", 1),
        ('{"answer": "sad"}', "words", 0),
        ("I feel that the person is sad", "words", None),
        ("angry", "words", None),
        ('{"answer": 3', "words", None),
        ("", "letters", None),
        ("AB", "letters", None),
    ],
)
def test_text_is_an_option_or_nothing(text, kind, place):
    texts = ("A", "B") if kind == "letters" else LABELS
    assert read_reply(said(text), texts, kind).place == place


@pytest.mark.parametrize("reply", [{}, {"choices": []}, {"choices": [{}]}])
def test_another_protocol_is_an_error(reply):
    with pytest.raises(TextualizeError, match="OpenAI's protocol"):
        read_reply(reply, LABELS, "words")


def test_demonstrations_are_turns_and_constraints_are_asked_for_as_each_server_takes_them():
    prompt = messages("now?", (Shot("then?", "sad"),))
    assert [m["role"] for m in prompt] == ["user", "assistant", "user"]

    def asked(constrain, kind="words"):
        where = Endpoint(url="http://x/v1", model="m", constrain=constrain)
        return body(where, prompt, LABELS, kind)

    assert asked("structured_outputs")["structured_outputs"] == {"choice": list(LABELS)}
    assert asked("guided_choice")["guided_choice"] == list(LABELS)
    schema = asked("json_schema")["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["answer"]["enum"] == list(LABELS)
    assert "response_format" not in asked("json_schema", "letters")
    assert asked("none", "letters")["logprobs"] is True
    assert asked("none", "letters")["max_tokens"] == 1


def test_replies_keep_their_order_and_no_more_than_allowed_are_under_way(stub, monkeypatch):
    def reply(asked, number):
        time.sleep(0.02)
        return 200, said(asked["messages"][-1]["content"])

    server = stub(reply)
    monkeypatch.setenv("LAB_KEY", "secret")
    where = Endpoint(url=server.url, model="m", key_env="LAB_KEY", concurrency=3)
    wanted = [LABELS[i % 2] for i in range(20)]
    found = ask_all(where, [messages(w) for w in wanted], LABELS, "words")
    assert [LABELS[r.place] for r in found] == wanted
    assert 1 < server.most <= 3
    assert {path for path, _ in server.bodies} == {"/v1/chat/completions"}
    assert set(server.keys) == {"Bearer secret"}
    monkeypatch.delenv("LAB_KEY")
    with pytest.raises(TextualizeError, match="LAB_KEY holds no key"):
        ask_all(where, [messages("sad")], LABELS, "words")


def test_a_busy_server_is_asked_again_and_a_refusal_is_not(stub, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    busy = stub(lambda asked, number: (503, b"busy") if number < 3 else (200, said("sad")))
    where = Endpoint(url=busy.url, model="m", concurrency=1)
    assert ask_all(where, [messages("?")], LABELS, "words")[0].place == 0
    assert len(busy.bodies) == 3
    wrong = stub(lambda asked, number: (404, b"no such model"))
    with pytest.raises(TextualizeError, match="answers 404: no such model"):
        ask_all(Endpoint(url=wrong.url, model="m"), [messages("?")], LABELS, "words")
    assert len(wrong.bodies) == 1


def test_nobody_there_is_one_line(stub, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    where = Endpoint(url="http://127.0.0.1:9/v1", model="m", retries=1)
    with pytest.raises(TextualizeError, match="no answer from") as caught:
        ask_all(where, [messages("?")], LABELS, "words")
    assert "\n" not in str(caught.value)
