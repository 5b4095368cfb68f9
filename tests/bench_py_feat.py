"""CPU of our face sensor against py-feat's networks on the same frames.

py-feat has an environment of its own (`make test-py-feat` builds it), so its part runs in a child.
Its weights are random: the cost does not depend on their values. It is shown one face a frame,
whatever its detector finds, for each face costs.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

SIZE = (480, 640)
FRAMES, ROUNDS = 4, 3


def py_feat() -> None:
    """Print how many times the CPU of our sensor py-feat takes, 640x480, one thread."""
    own = Path(os.environ.get("PY_FEAT_PYTHON", ".venv-py-feat/bin/python"))
    python = sys.executable if find_spec("feat") else str(own)
    if python != sys.executable and not own.exists():
        print("py-feat against ours: skipped, no py-feat here (make test-py-feat, PY_FEAT_PYTHON)")
        return
    frames = _frames(FRAMES * ROUNDS)
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "frames.npy", np.stack(frames))
        here = Path(__file__).parent
        for script in ("py_feat_weights.py", Path(__file__).name):
            done = subprocess.run(
                [python, str(here / script), folder], check=True, capture_output=True, text=True
            )
    theirs = json.loads(done.stdout.splitlines()[-1])
    ours = _mediapipe(frames)
    pairs = [b / a for a, b in zip(ours, theirs, strict=True)]
    print(
        f"CPU a frame, py-feat v2 against ours (mediapipe): {statistics.median(pairs):.0f}x  "
        f"({min(pairs):.0f}-{max(pairs):.0f}, {ROUNDS} pairs; "
        f"{statistics.median(theirs):.2f} s against {1000 * statistics.median(ours):.1f} ms)"
    )


def _frames(count: int) -> list[np.ndarray]:
    """Return frames of a shipped clip at 640x480."""
    import cv2

    from textualize.datasets import load_dataset
    from textualize.extract.video import open_media

    media = open_media(load_dataset("demo", "").clips[0], 12.5)
    frames = [f.rgb for f, _ in zip(media.frames(), range(count), strict=False)]
    return [cv2.resize(f, SIZE[::-1], interpolation=cv2.INTER_CUBIC) for f in frames]


def _seconds(sensor, frames: list[np.ndarray], repeats: int = 1) -> list[float]:
    """Return CPU seconds a frame of the sensor's reader, by round, after one to warm up."""
    from textualize.extract.video import Frame, Media
    from textualize.types import Clip, Span

    shown = FRAMES * repeats
    seconds = []
    for turn in range(ROUNDS + 1):
        start = FRAMES * max(0, turn - 1)
        reader = sensor.begin(
            Media(Clip("a", None), None, Span(0.0, shown / 10), shown / 10, 10.0, True, False)
        )
        begun = time.process_time()
        for i in range(shown):
            reader.frame(Frame(i / 10, frames[start + i % FRAMES]))
        assert reader.finish().status.state == "observed"
        seconds.append((time.process_time() - begun) / shown)
    return seconds[1:]


def _mediapipe(frames: list[np.ndarray]) -> list[float]:
    from textualize.extract.sensor import make_sensor

    return _seconds(make_sensor("mediapipe:policy=largest"), frames, repeats=10)


def _py_feat(folder: Path) -> list[float]:
    import torch

    from textualize.extract.face.py_feat import PyFeatFace

    torch.set_num_threads(1)
    sensor = PyFeatFace(str(folder), batch=FRAMES)
    networks = sensor._detector.face_detector

    class OneFace:
        def __call__(self, pictures):
            networks(pictures)
            return [[[200.0, 120.0, 440.0, 360.0, 0.99]] for _ in pictures]

    sensor._detector.face_detector = OneFace()
    return _seconds(sensor, list(np.load(folder / "frames.npy")))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if len(sys.argv) > 1:
        print(json.dumps(_py_feat(Path(sys.argv[1]))))
    else:
        py_feat()
