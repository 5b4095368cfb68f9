"""Speed of extraction: the whole pipeline against its slowest stage and against other ways."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

CLIPS = 24
LONG_S, SHORT_S = 7200, 60
SENSORS = ("mediapipe", "pocketsphinx", "prosody")


def demo_clips(count: int) -> list:
    """Return some of the shipped clips."""
    from textualize.datasets import load_dataset

    return list(load_dataset("demo", "").clips[:count])


def cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds of this process that a piece of work takes."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def pipeline() -> None:
    """One process: the whole against each stage alone, and against separate decodes."""
    from textualize.extract.sensor import make_sensor, read, read_all
    from textualize.extract.video import open_media

    clips = demo_clips(CLIPS)
    sensors = {spec: make_sensor(spec) for spec in SENSORS}
    seconds = sum(open_media(c).duration_s for c in clips)

    def whole() -> None:
        for clip in clips:
            read_all(list(sensors.values()), open_media(clip, 12.5))

    def stage(spec: str) -> Callable[[], None]:
        return lambda: [read(sensors[spec], open_media(c, 12.5)) for c in clips] and None

    def decode() -> None:
        for clip in clips:
            media = open_media(clip, 12.5)
            sum(1 for _ in media.frames()), sum(1 for _ in media.sound())

    whole()  # warm
    took = {"decode alone": cpu(decode), **{spec: cpu(stage(spec)) for spec in SENSORS}}
    total = cpu(whole)
    slowest = max(took, key=lambda k: took[k])
    for name, value in took.items():
        print(f"  {name}: {value:.1f} CPU-s, {len(clips) / value:.2f} clips/s")
    print(
        f"extraction of {len(clips)} clips ({seconds:.0f} s): {total:.1f} CPU-s, "
        f"{len(clips) / total:.2f} clips/s, {seconds / total:.1f} x real time a core; "
        f"bound by {slowest}, {took[slowest] / total:.0%} of its own speed reached"
    )
    apart = sum(took[spec] for spec in SENSORS)
    print(f"one decode for all against one for each sensor: {apart / total:.2f}x")


def processes() -> None:
    """One against two worker processes, start-up included."""
    from textualize.extract.pipeline import extract_corpus

    clips = demo_clips(4 * CLIPS)
    took = []
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            begun = time.monotonic()
            extract_corpus(clips, Path(folder) / "c", sensors=SENSORS, workers=workers)
            took.append(time.monotonic() - begun)
    print(
        f"{len(clips)} clips, 1 process {took[0]:.1f} s, 2 processes {took[1]:.1f} s: "
        f"{took[0] / took[1]:.2f}x on {os.cpu_count()} cores"
    )


def long_file() -> None:
    """Peak memory of a two-hour file against a one-minute one; needs ffmpeg to make them."""
    if shutil.which("ffmpeg") is None:
        print("a two-hour file: skipped, ffmpeg makes it")
        return
    with tempfile.TemporaryDirectory() as folder:
        peaks = []
        for seconds in (SHORT_S, LONG_S):
            video = Path(folder) / f"{seconds}.mp4"
            _looped(demo_clips(1)[0].video, video, seconds)
            code = f"from bench_extract import peak; peak({str(video)!r})"
            done = subprocess.run(
                [sys.executable, "-c", code], cwd=Path(__file__).parent,
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            peaks.append([float(x) for x in done.stdout.split()])
    (short, short_s), (long, long_s) = peaks
    print(
        f"peak memory: {SHORT_S} s file {short:.0f} MiB, {LONG_S} s file {long:.0f} MiB "
        f"({long / short:.2f}x), read in {long_s:.0f} s, {LONG_S / long_s:.0f} x real time "
        f"(face at 1 frame a second, prosody; no recogniser)"
    )


def peak(video: str) -> None:
    """Print this process's peak memory in MiB and the seconds taken to read one file."""
    from textualize.extract.pipeline import extract_corpus
    from textualize.types import Clip

    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        done = extract_corpus(
            [Clip("a", Path(video))], Path(folder) / "c", sensors=("mediapipe", "prosody"),
            fps=1.0, workers=0,
        )  # fmt: skip
        assert not done.failures, done.failures
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(used, time.monotonic() - begun)


def _looped(source: Path, target: Path, seconds: int) -> None:
    subprocess.run(
        ["ffmpeg", "-v", "error", "-stream_loop", "-1", "-i", str(source), "-t", str(seconds),
         "-c", "copy", str(target)],
        check=True,
    )  # fmt: skip


if __name__ == "__main__":
    pipeline()
    processes()
    long_file()
