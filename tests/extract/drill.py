"""Run as a script: an extraction with sensors that cost little, and die over clips on command.

    python drill.py JOB.json

JOB holds "clips" ([id, path] pairs), "corpus", "sensors", "workers" and, if asked, "stall_s", after
which a reader is given up. Prints, as JSON, what came of it and the most memory one of its
processes has had. With "deaths" ([corpus, part] pairs) it
extracts, in this process, and dies when that part of all changes to files has been made; in the
end every corpus is completed. Prints how many changes a whole run makes.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import sys
import time
from pathlib import Path

import numpy as np

from textualize.extract import sensor as sensors
from textualize.extract import workers
from textualize.extract.pipeline import extract_corpus
from textualize.extract.sensor import Reader, Reading
from textualize.types import Clip, Status, Track

HERE = Path(__file__).parent


class Count:
    """How many frames there are, and how large the largest is; a fake sensor."""

    name, version, modality, weights, reads = "count", "1", "face", "", ("frames",)
    options: dict[str, float] = {}

    def begin(self, media):
        return _Counted(media)


class _Counted(Reader):
    def __init__(self, media):
        self.media, self.frames, self.pixels = media, 0, 0

    def frame(self, frame):
        assert frame.rgb.ndim == 3 and frame.rgb.dtype == np.uint8
        self.frames, self.pixels = self.frames + 1, max(self.pixels, frame.rgb.size // 3)

    def finish(self):
        if not self.frames:
            return Reading(Status("absent", "count", "no video stream"))
        values = np.array([[self.frames, self.pixels]], np.float32)
        track = Track(values, 1.0, 0.0, ("frames", "pixels"), "named", "count")
        return Reading(Status("observed", "count"), {"count": track})


class Deadly:
    """The largest sample; a clip called *SIGSEGV* has its reader's process die of that.

    One called *sleep* keeps it for a minute.
    """

    name, version, modality, weights, reads = "deadly", "1", "prosody", "", ("sound",)
    options: dict[str, float] = {}

    def begin(self, media):
        return _Dying(media.clip.id)


class Slow(Deadly):
    """As deadly, but not at once: a kill finds it at work; and it loads nothing."""

    name = "slow"

    def begin(self, media):
        return _Dying(media.clip.id, "slow", 0.12)


class _Dying(Reader):
    def __init__(self, clip, name="deadly", pause_s=0.0):
        self.clip, self.name, self.pause_s, self.peak = clip, name, pause_s, 0.0

    def sound(self, stretch):
        self.peak = max(self.peak, float(np.abs(stretch.samples).max()))
        for name in ("SIGSEGV", "SIGKILL", "SIGABRT"):
            if name in self.clip:
                os.kill(os.getpid(), getattr(signal, name))
        if "exit" in self.clip:
            sys.exit(3)

    def finish(self):
        time.sleep(60 if "sleep" in self.clip else self.pause_s)
        track = Track(np.array([[self.peak]], np.float32), 1.0, 0.0, ("peak",), "named", self.name)
        return Reading(Status("observed", self.name), {"peak": track})


class Hasty(workers.Worker):
    """Gives a clip called *sleep* up after two seconds, the others after as many as asked."""

    def give(self, task):
        super().give(task)
        if "sleep" in task.clip.id:
            self.since -= workers.read_clips.__defaults__[0] - 2


def register() -> None:
    """Add the sensors above to the table; done in every worker, which imports this file too."""
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))
    sensors.SENSORS["count"] = ("face", "drill:Count")  # type: ignore[index]
    sensors.SENSORS["deadly"] = ("prosody", "drill:Deadly")  # type: ignore[index]
    sensors.SENSORS["slow"] = ("prosody", "drill:Slow")  # type: ignore[index]


def run(job) -> dict:
    """Extract, and return what came of it."""
    clips = [Clip(name, Path(path)) for name, path in job["clips"]]
    if "stall_s" in job:
        workers.read_clips.__defaults__ = (job["stall_s"],)
        workers.Worker = Hasty  # type: ignore[misc]
    done = extract_corpus(
        clips,
        job["corpus"],
        sensors=job["sensors"],
        workers=job["workers"],
        retry_failed=True,
    )
    # not ru_maxrss for this process: it begins at what the process that started it had
    own = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {
        "clips": done.clips,
        "failures": [[f.clip, f.stage, f.error] for f in done.failures],
        "states": done.states,
        "peak_mb": max(int(own[1]) if own else 0, children) / 1024,
    }


CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.chmod", "tempfile.mkstemp"}


def died(job, corpus: str, step: int | None) -> int:
    """Extract in a forked process that kills itself before one of its changes; its signal."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = step

    def hook(event: str, given: tuple) -> None:
        nonlocal left
        if left is not None and event in CHANGES and corpus in str(given[0]):
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(hook)
    run(job | {"corpus": corpus})
    os._exit(0)


def steps(job) -> int:
    """Extract in this process and return how many changes to files that took."""
    count = 0

    def hook(event: str, given: tuple) -> None:
        nonlocal count
        count += event in CHANGES and job["corpus"] in str(given[0])

    sys.addaudithook(hook)
    run(job)
    return count


def deaths(job) -> dict:
    """Die as asked, complete every corpus, and return the signals and the steps of a whole run."""
    whole = steps(job)
    signals = [died(job, corpus, round(part * whole)) for corpus, part in job["deaths"]]
    completed = [died(job, corpus, None) for corpus in dict(job["deaths"])]
    return {"steps": whole, "signals": signals, "completed": completed}


if __name__ in (
    "__main__",
    "__mp_main__",
):  # the script itself and, in a worker, the script imported again
    register()
if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text())
    print(json.dumps(deaths(asked) if "deaths" in asked else run(asked)))
