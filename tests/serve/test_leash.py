"""A child ends with its parent, also with one that is killed, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from textualize.serve import leash
from textualize.serve.launch import Child

# stands for vLLM: two processes, of which the second does not listen to SIGTERM
FAKE = """
import os, signal, subprocess, sys, time
inner = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
worker = subprocess.Popen([sys.executable, "-c", inner])
open(sys.argv[1] + ".new", "w").write(f"{os.getpid()} {worker.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
if sys.argv[2] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if sys.argv[2] == "ends":
    sys.exit(7)
time.sleep(600)
"""
# whatever starts the child; importing what `serve` does it with takes seconds
PLAIN = """
import subprocess, sys, time
leash, scratch, *command = sys.argv[1:]
command = [sys.executable, "-I", "-S", leash, "1", scratch, sys.executable, *command]
child = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
time.sleep(600)
"""
SERVING = """
import asyncio, sys
from pathlib import Path
from textualize.serve import launch
launch.STOP_S = 1.0
async def main(scratch, *command):
    child = launch.Child([sys.executable, *command], scratch / "log", scratch)
    await child.start()
    await asyncio.sleep(600)
asyncio.run(main(Path(sys.argv[2]), *sys.argv[3:]))
"""


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE  # whoever is process 1 reaps
    except psutil.NoSuchProcess:
        return True


def until(done, seconds=200.0) -> bool:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def of_group(leader: int) -> list[int]:
    """Return the living processes of a process group."""
    found = []
    for pid in psutil.pids():
        try:
            if os.getpgid(pid) == leader and not gone(pid):
                found.append(pid)
        except ProcessLookupError:
            continue
    return found


@pytest.mark.parametrize(
    ("parent_code", "how"),
    [
        (PLAIN, "listens"),
        (PLAIN, "deaf"),
        (PLAIN, "ends"),
        pytest.param(SERVING, "listens", marks=pytest.mark.slow),
    ],
)
def test_nothing_of_a_child_outlives_a_parent_that_was_killed(tmp_path, parent_code, how):
    scratch, told, fake = tmp_path / "scratch", tmp_path / "told", tmp_path / "fake.py"
    scratch.mkdir()
    fake.write_text(FAKE)
    command = [sys.executable, "-c", parent_code, str(leash.__file__), str(scratch)]
    command += [str(fake), str(told), how]
    with subprocess.Popen(command) as parent:
        try:
            assert until(told.exists)
            leader, worker = map(int, told.read_text().split())
            assert os.getpgid(worker) == leader != os.getpgid(parent.pid)
            assert len(of_group(leader)) == 3 or how == "ends"  # the two, and who watches
            assert until(lambda: how != "ends" or gone(leader))
        finally:
            parent.send_signal(signal.SIGKILL)
            parent.wait()
    assert until(lambda: not of_group(leader))
    assert gone(worker) and not scratch.exists()


@pytest.mark.parametrize("ended", ["stopped", "let go"])
def test_a_child_takes_its_watcher_with_it_and_the_scratch_only_if_nobody_else_can(tmp_path, ended):
    fake, told, scratch = tmp_path / "fake.py", tmp_path / "told", tmp_path / "scratch"
    fake.write_text(FAKE)
    scratch.mkdir()

    async def run() -> int:
        command = [sys.executable, str(fake), str(told), "listens"]
        child = Child(command, scratch / "log", scratch)
        await child.start()
        while not told.exists():
            await asyncio.sleep(0.02)
        if ended == "stopped":
            await child.stop()
        else:
            os.close(child._held)  # as the kernel does for a process that was killed
            child._held = None
            assert await child.wait() == -signal.SIGTERM
        return int(told.read_text().split()[0])

    leader = asyncio.run(run())
    assert until(lambda: not of_group(leader))
    assert (scratch / "log").exists() == (ended == "stopped")


def test_the_command_is_found_as_it_was_given_and_its_exit_code_is_its_own(tmp_path):
    async def run() -> tuple[int, str]:
        said = "import sys; print(repr(sys.stdin.read())); sys.exit('ValueError: no')"
        child = Child([sys.executable, "-c", said], tmp_path / "log")
        await child.start()
        code = await child.wait()
        await child.stop()
        return code, (tmp_path / "log").read_text()

    code, log = asyncio.run(run())
    assert code == 1 and log.splitlines() == ["''", "ValueError: no"]
