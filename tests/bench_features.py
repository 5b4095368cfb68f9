"""Speed and size of the feature networks: `python tests/bench_features.py`.

Random clips of the shape the shipped recipes read: 17 action units and 21 columns of voice, each
with mean, deviation and seen (51 and 63 features a step), 8 steps, 8 classes. Times are CPU times
of one thread; ratios are taken in turn in one run.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))  # also when it is not run as a script
from bench import ratio  # noqa: E402

from textualize.baselines.batch import Batch  # noqa: E402
from textualize.baselines.fusion import NETWORKS, network_class, settings_of  # noqa: E402
from textualize.baselines.network import Network  # noqa: E402
from textualize.baselines.task import Task  # noqa: E402
from textualize.finetune.recipe import load_recipe  # noqa: E402

WIDTHS = {"visual": 51, "audio": 63}
FUNCTIONALS, CLIPS, STEPS, CLASSES, ROUNDS = 228, 1000, 8, 8, 3


def clips(count: int = CLIPS, steps: int = STEPS) -> Batch:
    """Return random clips, a tenth of their steps unseen."""
    g = torch.Generator().manual_seed(0)
    return Batch(
        {m: torch.randn(count, steps, d, generator=g) for m, d in WIDTHS.items()},
        {m: torch.rand(count, steps, generator=g) < 0.9 for m in WIDTHS},
        torch.randn(count, FUNCTIONALS, generator=g),
        torch.randint(CLASSES, (count,), generator=g),
        torch.ones(count),
        summaries={m: torch.randn(count, 2 * d, generator=g) for m, d in WIDTHS.items()},
    )


def network(method: str) -> Network:
    """Return a method's network as its shipped recipe makes it."""
    torch.manual_seed(0)
    made = network_class(method)
    widths = {"functionals": FUNCTIONALS} if made.reads == "functionals" else WIDTHS
    settings = settings_of(method, load_recipe(method))
    made_of: Network = made(widths, Task(outputs=CLASSES), steps=STEPS, **settings)
    return made_of


def attention() -> None:
    """The joint cross-attention of a batch against a loop over its clips, forward and backward."""
    from textualize.baselines.jca import JointCrossAttention

    for what, size, width in (("as shipped", 32, 64), ("as published", 96, 128)):
        torch.manual_seed(0)
        block = JointCrossAttention(STEPS, width, 32)
        visual, audio = (torch.randn(size, width, STEPS) for _ in range(2))

        def batched(block=block, visual=visual, audio=audio) -> Tensor:
            return torch.cat(block(visual, audio), 1)

        def looped(block=block, visual=visual, audio=audio) -> Tensor:
            pairs = zip(visual.split(1), audio.split(1), strict=True)
            return torch.cat([torch.cat(block(v, a), 1) for v, a in pairs])

        torch.testing.assert_close(batched(), looped(), atol=1e-5, rtol=0)
        ratio(
            f"joint cross-attention {what}, {size} clips at once against one by one",
            lambda way=batched: [way().sum().backward() for _ in range(5)],
            lambda way=looped: [way().sum().backward() for _ in range(5)],
        )


def epoch(net: Network, data: Batch, size: int) -> float:
    """Return the CPU seconds of one epoch of AdamW."""
    optimizer = torch.optim.AdamW(net.parameters())
    begun = time.process_time()
    for start in range(0, len(data), size):
        loss = net.loss(data.take(torch.arange(start, min(start + size, len(data)))))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.process_time() - begun


def sizes() -> None:
    """Parameters, multiplications of one clip, and the time of an epoch, for every method."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    data = clips()
    for method in NETWORKS:
        net = network(method).train()
        recipe = load_recipe(method)
        # the fused attention of a CPU is none that the counter knows
        with FlopCounterMode(display=False) as counted, sdpa_kernel(SDPBackend.MATH):
            net(data.take(torch.arange(1)))
        net.begin(net.stages[-1])
        epoch(net, data.take(torch.arange(64)), recipe.batch_size)  # warm
        times = [epoch(net, data, recipe.batch_size) for _ in range(ROUNDS)]
        parameters = sum(p.numel() for p in net.parameters())
        print(
            f"{method}: {parameters:,} parameters, {counted.get_total_flops() // 2:,} MACs a clip, "
            f"epoch of {CLIPS} clips {statistics.median(times):.2f} s "
            f"({min(times):.2f}-{max(times):.2f}, {ROUNDS} rounds)"
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    attention()
    sizes()
