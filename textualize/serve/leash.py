"""What keeps a child from outliving its parent, however the parent ends.

python -I -S leash.py SECONDS SCRATCH COMMAND…   (standard input: a pipe from the parent)

The process becomes COMMAND. Before, it leaves a watcher in its process group that reads the pipe:
a parent that is killed cannot stop anything, but the kernel closes its end. Then the whole group is
asked to end, SCRATCH is deleted (unless it is empty), and what is left after SECONDS is killed.

The kernel's own way, PR_SET_PDEATHSIG, would not do: Linux alone has it, it follows the thread that
started the child instead of the process, and it does not reach the child's own children, which do
vLLM's work. This file imports nothing of the package: it starts in some milliseconds.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence

_POLL_S = 0.1


def main(seconds: float, scratch: str, command: Sequence[str]) -> None:
    """Become `command`; to be called by the leader of a process group."""
    between = os.fork()
    if between == 0:
        if os.fork() == 0:  # a grandchild: the command has no child it does not know
            _watch(seconds, scratch)
        os._exit(0)
    os.waitpid(between, 0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    os.execvp(command[0], list(command))


def _watch(seconds: float, scratch: str) -> None:
    """Wait for the parent's end, then end the group, this process last."""
    for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(sign, signal.SIG_IGN)  # of the group, only what it watches obeys
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.killpg(0, signal.SIGTERM)
    until = time.monotonic() + seconds
    while _alive(os.getpgrp()) and time.monotonic() < until:
        time.sleep(_POLL_S)
    if scratch:
        shutil.rmtree(scratch, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2], sys.argv[3:])
