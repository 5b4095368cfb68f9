"""Killed at any moment and started again, an extraction ends in the corpus of an unbroken one."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from textualize.extract.timings import TIMINGS
from textualize.store import Corpus, read_item

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # pytest's importlib mode leaves it out

from damage import encode  # noqa: E402

SENSORS = ["count", "slow"]  # of `drill.py`
Job = dict[str, object]


def films(folder: Path, count: int) -> list[tuple[str, str]]:
    """Ids and paths of small films with pictures and sound; every seventh is broken."""
    folder.mkdir()
    clips = []
    for n in range(count):
        path = folder / f"{n:03}.mkv"
        pictures = np.full((5, 32, 32, 3), n, np.uint8)
        t = np.arange(16000) / 16000
        sound = (np.sin(2 * np.pi * (90 + 5 * n) * t) * np.hanning(16000)).astype(np.float32)
        encode(path, pictures, sound, audio="flac")
        if n % 7 == 3:
            path.write_bytes(path.read_bytes()[:200])
        clips.append((f"clip {n:03}", str(path)))
    return clips


def contents(corpus: Path) -> dict[str, object]:
    """Every file of a corpus by name, but for what the clock says: timings and quarantine times."""
    found: dict[str, object] = {
        str(p.relative_to(corpus)): p.read_bytes() for p in corpus.rglob("*") if p.is_file()
    }
    found.pop(TIMINGS, None)  # by the clock: no two runs take as long
    lines = (corpus / "failures.jsonl").read_text().splitlines()
    found["failures.jsonl"] = [{**json.loads(line), "when": ""} for line in lines]
    return found


def is_whole(corpus: Path) -> None:
    """A corpus may be incomplete after a kill, but never torn."""
    for path in corpus.rglob("[!.]*.safetensors"):
        assert read_item(corpus, path.stem), f"{path} is torn"
    if (corpus / "corpus.json").exists():
        opened = Corpus(corpus)
        opened.records()
        opened.failures()


def start(folder: Path, job: Job) -> subprocess.Popen:
    """Start `drill.py` in a session of its own."""
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    return subprocess.Popen(
        [sys.executable, str(HERE / "drill.py"), str(path)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def completed(folder: Path, job: Job) -> dict:
    """Run to the end and return what is printed."""
    said, _ = start(folder, job).communicate(timeout=200)
    return json.loads(said)


def alive(session: int, *, readers: bool = False) -> list[int]:
    """Return the processes of a session, or only its reading workers."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            line = (stat.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if (
            int(fields[3]) == session
            and fields[0] != "Z"
            and (not readers or b"spawn_main" in line)
        ):
            found.append(int(stat.parent.name))
    return found


def wait_until(condition, seconds: float) -> bool:
    """Return whether something came true within a time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.002)
    return False


def items(corpus: Path) -> int:
    """Return how many results there are."""
    return len(list(corpus.glob("tracks/*/[!.]*.safetensors")))


def killed(process: subprocess.Popen, victim: str, corpus: Path, chance: random.Random) -> bool:
    """Kill a run at a random moment; whether there was anything to kill.

    Victims are the "group" of its processes, the "parent" alone, a "worker" and shortly after it
    the group, or a "worker only": then the run goes on to its end.
    """
    goal = items(corpus) + chance.randrange(6)
    if goal == items(corpus):
        time.sleep(chance.uniform(0.0, 1.5))
    wait_until(lambda: items(corpus) >= goal or process.poll() is not None, 60)
    time.sleep(chance.uniform(0.0, 0.03))
    running = process.poll() is None
    if victim.startswith("worker"):
        kill(alive(process.pid, readers=True)[:1])
        time.sleep(chance.uniform(0.0, 0.1))
    if victim != "worker only":
        kill([process.pid] if victim == "parent" else alive(process.pid))
    process.wait(120)
    return running


def kill(processes: list[int]) -> None:
    for one in processes:
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def kill_and_compare(folder: Path, moments: int, count: int) -> None:
    chance = random.Random(7)
    job: Job = {"clips": films(folder / "m", count), "sensors": SENSORS, "workers": 2}
    broken, unbroken = folder / "broken", folder / "unbroken"
    hit = 0
    for moment in range(moments):
        victim = ("group", "parent", "worker")[moment % 3]
        if moment == moments - 1:
            victim = "worker only"
        process = start(folder, job | {"corpus": str(broken)})
        hit += killed(process, victim, broken, chance)
        assert wait_until(lambda p=process: not alive(p.pid), 30), "a reader outlived its parent"
        is_whole(broken)
    assert hit > moments * 2 / 3
    completed(folder, job | {"corpus": str(broken)})
    completed(folder, job | {"corpus": str(unbroken)})
    assert contents(broken) == contents(unbroken)
    records = Corpus(broken).records()
    failed = [f.clip for f in Corpus(broken).failures()]
    assert sorted([r.clip.id for r in records] + failed) == [f"clip {n:03}" for n in range(count)]


def test_killed_at_eight_moments(tmp_path):
    kill_and_compare(tmp_path, moments=8, count=40)


@pytest.mark.slow
def test_killed_at_thirty_moments(tmp_path):
    kill_and_compare(tmp_path, moments=30, count=150)


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 3))])
def test_killed_before_any_change_to_any_file(tmp_path, seed):
    chance = random.Random(seed)
    once = [
        (str(tmp_path / f"corpus{n:02}"), n / 30 + chance.uniform(0, 1 / 30)) for n in range(30)
    ]
    often = [(str(tmp_path / "often"), chance.uniform(0, 0.3)) for _ in range(20)]
    job: Job = {"clips": films(tmp_path / "m", 4), "sensors": ["count", "deadly"], "workers": 0}
    said = completed(tmp_path, job | {"corpus": str(tmp_path / "whole"), "deaths": once + often})
    assert said["steps"] > 40
    assert said["signals"][:30].count(-signal.SIGKILL) >= 29
    assert said["signals"][30:].count(-signal.SIGKILL) >= 5 and set(said["completed"]) == {0}
    for corpus in dict(once + often):
        assert contents(Path(corpus)) == contents(tmp_path / "whole")
