"""Reading pieces of videos against decoding whole ones: `python tests/bench_pictures.py [VIDEO …]`.

A training step of the temporal stochastic softmax reads 16 pictures of each video. What that costs
against reading the whole video depends on where key frames are: the decoder begins at the last one
before the piece. Without videos of your own, one of 60 s at 25 a second is made, with a key frame
every second and every ten (x264's default).
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

from textualize.baselines.pictures import PictureSource, Reading, open_reels
from textualize.types import Clip, Record

FRAMES, READS, ROUNDS = 16, 8, 3
SECONDS, RATE, WIDE, HIGH = 60, 25, 640, 480


def made(folder: Path, key_every: int) -> Path:
    """Return a video of drifting noise, H.264."""
    path = folder / f"key-frame-every-{key_every // RATE}-s.mp4"
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 255, (HIGH // 8, WIDE // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as out:
        options = {"g": str(key_every), "sc_threshold": "0", "preset": "veryfast"}
        stream = out.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDE, HIGH, "yuv420p"
        for i in range(SECONDS * RATE):
            frame = av.VideoFrame.from_ndarray(np.roll(texture, i, 1), "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def compare(path: Path, rate_hz: float) -> None:
    """Print pieces and whole videos a second, and the median of their ratios, CPU time."""
    reading = Reading("file", "middle", 112, rate_hz)
    _, reels, _ = open_reels([Record(Clip("a", path))], reading)
    row = torch.tensor([0])
    pieces, whole = (
        PictureSource(reels, torch.zeros(1), torch.ones(1), frames=t) for t in (FRAMES, 0)
    )
    torch.manual_seed(0)
    times: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        marks = [time.process_time()]
        for _ in range(READS):
            pieces.take(row)
        marks.append(time.process_time())
        whole.take(row)
        marks.append(time.process_time())
        times.append(((marks[1] - marks[0]) / READS, marks[2] - marks[1]))
    ratios = [w / p for p, w in times]
    one, all_of = (statistics.median(t[i] for t in times) for i in (0, 1))
    print(
        f"{path.name}, {int(whole.lengths[0])} pictures at {rate_hz:g} Hz: "
        f"{1 / one:.1f} pieces of {FRAMES} a CPU second, {1 / all_of:.2f} whole videos, "
        f"{statistics.median(ratios):.1f}x ({min(ratios):.1f}-{max(ratios):.1f}, {ROUNDS} rounds)",
        flush=True,
    )


def main(videos: list[str]) -> None:
    """Compare on the videos given, or on two that are made."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(v) for v in videos] or [made(Path(folder), k) for k in (RATE, 10 * RATE)]
        for path in paths:
            for rate_hz in (5.0, 25.0):
                compare(path, rate_hz)


if __name__ == "__main__":
    main(sys.argv[1:])
