"""Speed as ratios against a peer in the same run: `make bench`.

Each line times ours and the peer in turn, several rounds, and prints the median of the pairwise
ratios; absolute times on a shared machine mean little.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import time
from collections.abc import Callable

import numpy as np


def ratio(
    what: str, ours: Callable[[], object], peer: Callable[[], object], rounds: int = 5
) -> None:
    """Print how many times faster ours is (median of pairs, after one warm-up of each)."""
    ours(), peer()
    pairs = []
    for _ in range(rounds):
        marks = [time.process_time()]
        for work in (ours, peer):
            work()
            marks.append(time.process_time())
        pairs.append((marks[2] - marks[1]) / max(marks[1] - marks[0], 1e-9))
    low, high = min(pairs), max(pairs)
    print(f"{what}: {statistics.median(pairs):.1f}x  ({low:.1f}-{high:.1f}, {rounds} pairs)")


def pitch() -> None:
    """Our pitch tracker against librosa's pyin, ten seconds of a gliding voice."""
    import librosa

    from textualize.extract.voice.pitch import track_pitch

    t = np.arange(160_000) / 16_000
    phase = 2 * np.pi * np.cumsum(150 + 40 * np.sin(2 * np.pi * 0.5 * t)) / 16_000
    audio = sum(np.sin(k * phase) / k for k in range(1, 8)).astype(np.float32) / 4
    ratio(
        "pitch of 10 s, ours against librosa.pyin (10 ms hop)",
        lambda: track_pitch(audio, 16_000),
        lambda: librosa.pyin(
            audio, fmin=60, fmax=500, sr=16_000, frame_length=1024, hop_length=160
        ),
        rounds=3,
    )


def bootstrap() -> None:
    """The cluster bootstrap on summed confusion matrices against scikit-learn per draw."""
    from sklearn.metrics import f1_score

    from textualize.evaluate.compare import cluster_bootstrap

    rng = np.random.default_rng(0)
    true, said = rng.integers(0, 7, 600), rng.integers(0, 7, 600)
    groups = [f"g{i // 6}" for i in range(600)]
    by_group = [np.arange(6 * g, 6 * g + 6) for g in range(100)]

    def peer() -> None:
        for _ in range(200):
            chosen = np.concatenate([by_group[g] for g in rng.integers(0, 100, 100)])
            f1_score(true[chosen], said[chosen], average="macro")

    ratio(
        "200 bootstrap draws of 600 clips, ours against scikit-learn per draw",
        lambda: cluster_bootstrap(true, said, groups, "macro_f1", n_classes=7, draws=200),
        peer,
    )


if __name__ == "__main__":
    import bench_corpus
    import bench_extract
    import bench_features
    import bench_losses
    import bench_pictures
    import bench_prompts
    import bench_py_feat
    import bench_text

    pitch()
    bootstrap()
    bench_corpus.corpus()
    bench_extract.pipeline()
    bench_extract.processes()
    bench_py_feat.py_feat()
    bench_extract.long_file()
    bench_text.scoring()
    bench_text.training()
    bench_features.attention()
    bench_features.sizes()
    bench_losses.losses()
    bench_pictures.main([])
    bench_pictures.training([])
    bench_pictures.costs()
    bench_prompts.prompts()
