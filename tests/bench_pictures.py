"""Reading pieces of videos against decoding whole ones: `python tests/bench_pictures.py [VIDEO …]`.

A training step of the temporal stochastic softmax reads 16 pictures of each video. What that costs
against reading the whole video depends on where key frames are: the decoder begins at the last one
before the piece. Without videos of your own, one of 60 s at 25 a second is made, with a key frame
every second and every ten (x264's default).

First the reading alone; then epochs of training, where the peer decodes every picture of the video
that is asked for and cuts out and resizes those of the same piece alone; then what the networks of
pictures cost, counted and by closed formulas.
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
from torch import Tensor, nn

from textualize.baselines.dmsn import DEEP, DMSN, KINDS, SHALLOW, cost
from textualize.baselines.fusion import settings_of
from textualize.baselines.pictures import PictureSource
from textualize.baselines.reading import Reading, open_reels
from textualize.baselines.reels import FileReel, resized
from textualize.baselines.stochastic_softmax import StochasticSoftmax
from textualize.baselines.task import Task
from textualize.extract.face.images import patch
from textualize.finetune.recipe import load_recipe
from textualize.labels import LABEL_SETS
from textualize.types import Clip, Float32, Record

sys.path.insert(0, str(Path(__file__).parent))  # also when it is not run as a script
import analytic  # noqa: E402

FRAMES, READS, ROUNDS = 16, 8, 3
CLIPS, BATCH = 4, 2
CLASSES = len(LABEL_SETS["basic7"].labels)
TASK = Task("classes", False, CLASSES, LABEL_SETS["basic7"].labels)
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


class Decoded:
    """The pieces of a video that is decoded as a whole for each of them."""

    def __init__(self, reel: FileReel) -> None:
        self.reel, self.length = reel, reel.length

    def read(self, first: int, count: int) -> tuple[Tensor, Float32]:
        """See `Reel`."""
        kept = []
        for i, frame in enumerate(self.reel.media.frames()):
            if first <= i < first + count:
                square = self.reel._square(frame.rgb.shape, i)
                kept.append(resized(patch(frame.rgb, *square)[None], self.reel.size))
        return torch.cat(kept), np.full((len(kept), 478, 2), np.nan, np.float32)


def epoch(reels: list, seed: int) -> tuple[float, float]:
    """Return the CPU seconds of an epoch of training as the recipe ships, and of its reading."""
    recipe = load_recipe("stochastic-softmax")
    torch.manual_seed(seed)
    net = StochasticSoftmax(
        {}, TASK, steps=recipe.frames, **settings_of("stochastic-softmax", recipe)
    ).train()
    source = PictureSource(
        reels, torch.arange(len(reels)) % CLASSES, torch.ones(len(reels)), frames=recipe.frames
    )
    optimizer = torch.optim.AdamW(net.parameters())
    began, reading = time.process_time(), 0.0
    for rows in torch.arange(len(reels)).split(BATCH):
        before = time.process_time()
        batch = net.draw(source, rows)
        reading += time.process_time() - before
        loss = net.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.process_time() - began, reading


def train(path: Path, rate_hz: float) -> None:
    """Print clips a second of epochs of training, seeking and decoding whole videos in turn."""
    reading = Reading("file", "middle", 112, rate_hz)
    _, reels, _ = open_reels([Record(Clip(str(i), path)) for i in range(CLIPS)], reading)
    whole = [Decoded(reel) for reel in reels]
    epoch(reels, 0)  # warm
    pairs = [(epoch(reels, seed), epoch(whole, seed)) for seed in range(ROUNDS)]
    ratios = [theirs[0] / ours[0] for ours, theirs in pairs]
    ours, theirs = (statistics.median(pair[i][0] for pair in pairs) / CLIPS for i in (0, 1))
    read = [statistics.median(pair[i][1] / pair[i][0] for pair in pairs) for i in (0, 1)]
    print(
        f"training, {path.name}, {rate_hz:g} Hz: {1 / ours:.2f} clips a CPU second by seeking "
        f"({read[0]:.0%} of it reading), {1 / theirs:.2f} decoding whole videos ({read[1]:.0%}), "
        f"{statistics.median(ratios):.1f}x ({min(ratios):.1f}-{max(ratios):.1f}, {ROUNDS} rounds)",
        flush=True,
    )


def videos_of(given: list[str], folder: Path) -> list[Path]:
    """Return the videos given, or two that are made."""
    return [Path(v) for v in given] or [made(folder, k) for k in (RATE, 10 * RATE)]


def training(videos: list[str], rate_hz: float = 10.0) -> None:
    """Compare training on the videos given, or on two that are made."""
    with tempfile.TemporaryDirectory() as folder:
        for path in videos_of(videos, Path(folder)):
            train(path, rate_hz)


class Scores(nn.Module):
    """What a network of pictures does with a clip (1, 3, T, H, W), part after part."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, clips: Tensor) -> Tensor:
        """Return what comes out of the last part."""
        for part in self.parts:
            clips = part(clips)
        return clips


def costs(frames: int = FRAMES, size: int = 112) -> None:
    """Print parameters and multiply-adds of one clip, counted, and that they are the formulas'."""
    recipe = load_recipe("stochastic-softmax")
    own = settings_of("stochastic-softmax", recipe)
    net = StochasticSoftmax({}, TASK, steps=frames, **own)
    _told(
        f"stochastic-softmax small at {frames}x{size}x{size}",
        cost(Scores(net.reader, net.head), frames, size),
        analytic.stochastic_softmax(own["width"], size, frames, own["hidden"], CLASSES),
    )
    for blocks in (SHALLOW, DEEP):
        for kind in KINDS:
            with torch.device("meta"):
                found = cost(DMSN(kind, blocks), frames, size)
            expected = analytic.dmsn(kind, blocks, 64, frames, size)
            name = f"dmsn {kind} {list(blocks)} (a reconstruction), without head"
            _told(f"{name}, at {frames}x{size}x{size}", found, expected)
    _single(size)


def _single(size: int) -> None:
    """Print what one face costs by au-guided, and one clip's functionals by subject-msda."""
    from textualize.baselines.au_guided import AuGuided
    from textualize.baselines.fusion import network_class

    own = settings_of("au-guided", load_recipe("au-guided"))
    net = AuGuided({}, TASK, steps=1, **own)
    found = cost(_Face(net), 1, size)
    _told(f"au-guided small, a face of {size}x{size}", found, analytic.au_guided(16, size, CLASSES))
    width = 228  # 17 action units and 21 columns of voice, as in bench_features.py
    own = settings_of("subject-msda", load_recipe("subject-msda"))
    linear = network_class("subject-msda")({"functionals": width}, TASK, **own)
    found = cost(_Functionals(linear, width), 1, 8)
    expected = analytic.subject_msda(width, own["hidden"], CLASSES)
    _told(f"subject-msda of {width} functionals", found, expected)


class _Face(nn.Module):
    """The class scores of the one picture of a clip."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, clips: Tensor) -> Tensor:
        return self.net.scores(clips[:, :, 0])


class _Functionals(nn.Module):
    """The outputs for functionals that take the place of a clip."""

    def __init__(self, net: nn.Module, width: int) -> None:
        super().__init__()
        self.net, self.width = net, width

    def forward(self, clips: Tensor) -> Tensor:
        self.functionals = clips.new_zeros(len(clips), self.width)
        return self.net.parts(self)[1]


def _told(name: str, found: object, expected: analytic.Cost) -> None:
    counted = (found.parameters, found.macs)
    formula = (expected.parameters, expected.macs)
    said = "as by formula" if counted == formula else f"BY FORMULA {formula}"
    print(f"{name}: {counted[0]:,} parameters, {counted[1]:,} MACs, {said}", flush=True)


def main(videos: list[str]) -> None:
    """Compare reading on the videos given, or on two that are made."""
    with tempfile.TemporaryDirectory() as folder:
        for path in videos_of(videos, Path(folder)):
            for rate_hz in (5.0, 25.0):
                compare(path, rate_hz)


if __name__ == "__main__":
    main(sys.argv[1:])
    training(sys.argv[1:])
    costs()
