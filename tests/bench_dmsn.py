"""What the blocks of DMSN can tell apart: `python tests/bench_dmsn.py`.

What they cost is in `bench_pictures.py`.

Clips of random bits that repeat every 4 or every 6 frames (or pixels, in both directions): whatever
is within three frames (pixels) is as random in one class as in the other, so that a block with no
kernel above 3 in that direction is at chance; one that reaches 7 sees the repetition.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import sys
import time

import torch
from torch import Tensor, nn

from textualize.baselines.dmsn import KINDS, Block

PERIODS = (4, 6)
FRAMES, SIZE = 12, 12
BLOCKS = {kind: {"kind": kind} for kind in KINDS}
BLOCKS |= {f"{kind}, one scale": {"kind": kind, "scales": (3, 3, 3)} for kind in ("a", "c")}


def clips(what: str, count: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return clips (N, 3, T, H, W) and their class: which period repeats over time or space."""
    label = torch.arange(count) % 2
    made = torch.empty(count, FRAMES, SIZE, SIZE)
    for i in range(count):
        p = PERIODS[int(label[i])]
        size = (p, SIZE, SIZE) if what == "time" else (FRAMES, p, p)
        bits = torch.randint(2, size, generator=draw) * 2.0 - 1.0
        again = [-(-n // m) for n, m in zip((FRAMES, SIZE, SIZE), size, strict=True)]
        made[i] = bits.repeat(again)[:FRAMES, :SIZE, :SIZE]
    noisy = made + 0.2 * torch.randn(made.shape, generator=draw)
    return noisy.unsqueeze(1).expand(-1, 3, -1, -1, -1), label


def accuracy(block: dict, what: str, seed: int, steps: int) -> float:
    """Return the accuracy on new clips of one block, a mean over the clip and a linear layer."""
    torch.manual_seed(seed)
    draw = torch.Generator().manual_seed(seed)
    net = nn.Sequential(
        Block(channels=3, width=24, out=16, **block),
        nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(16, 2),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(steps):
        x, label = clips(what, 16, draw)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), label).backward()
        optimizer.step()
    x, label = clips(what, 200, draw)
    with torch.no_grad():
        return float((net.eval()(x).argmax(1) == label).float().mean())


def main(seeds: int = 5, steps: int = 100) -> None:
    """Print accuracies: mean, and lowest to highest of the seeds."""
    print("DMSN (a reconstruction)")
    for name, block in BLOCKS.items():
        for what in ("time", "space"):
            began = time.process_time()
            found = [accuracy(block, what, seed, steps) for seed in range(seeds)]
            spent = (time.process_time() - began) / seeds
            low, high = min(found), max(found)
            print(
                f"{name}: period over {what} {statistics.mean(found):.3f} ({low:.3f}-{high:.3f}), "
                f"{spent:.0f} CPU s a seed",
                flush=True,
            )


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
