"""Long work is told while it is done, one at a time, and ends when nobody waits."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from textualize.errors import TextualizeError
from textualize.studio.jobs import Jobs


@pytest.fixture
def jobs():
    found = Jobs()
    yield found
    found.close()


async def lines(jobs, work) -> list[dict]:
    return [json.loads(line) async for line in jobs.told(work).body_iterator]


def test_progress_then_the_answer(jobs):
    def work(progress):
        progress(1, 2)
        return "<p>done</p>"

    found = asyncio.run(lines(jobs, work))
    assert found[-2:] == [{"done": 1, "of": 2}, {"html": "<p>done</p>"}]


@pytest.mark.parametrize(
    ("error", "told"),
    [(TextualizeError("give less"), "give less"), (ZeroDivisionError("x"), "ZeroDivisionError")],
)
def test_errors_are_told_and_the_next_is_answered(jobs, error, told):
    def work(progress):
        raise error

    assert told in asyncio.run(lines(jobs, work))[-1]["error"]
    assert asyncio.run(lines(jobs, lambda progress: "next"))[-1] == {"html": "next"}


def test_one_works_at_a_time(jobs):
    most, inside, lock = [], [], threading.Lock()

    def work(progress):
        with lock:
            inside.append(1)
            most.append(len(inside))
        threading.Event().wait(0.02)
        with lock:
            inside.pop()
        return ""

    async def all_of_them():
        await asyncio.gather(*(lines(jobs, work) for _ in range(5)))

    asyncio.run(all_of_them())
    assert most == [1] * 5


def test_what_nobody_waits_for_is_given_up(jobs):
    steps, begun, go = [], threading.Event(), threading.Event()

    def long(progress):
        for step in range(1000):
            progress(step, 1000)
            steps.append(step)
            begun.set()
            go.wait(5)
        return "never"

    async def leave():
        body = jobs.told(long).body_iterator
        await anext(body)
        waiting = jobs.told(lambda progress: steps.append("ran") or "").body_iterator
        second = asyncio.ensure_future(anext(waiting))
        await asyncio.to_thread(begun.wait, 5)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        await body.aclose()
        go.set()
        return await lines(jobs, lambda progress: "next")

    assert asyncio.run(leave())[-1] == {"html": "next"}
    assert steps == [0]
