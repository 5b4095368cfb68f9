"""Where au-guided runs look: ATT-COS, CAM-COS and the pointing game on a corpus, over seeds.

    python tests/measure_attention.py --corpus runs/synthetic/corpus --split test \
        runs/synthetic/au-guided runs/synthetic/au-unguided

Each folder is a run or holds runs of several seeds. An interval is the mean's over seeds (t, 95 %).
On the synthetic faces the region to point at is where the face is striped; else it is around the
action units that the sensor saw active.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.stats import t as student

from textualize.baselines.attended import COLUMNS, Look, Measured, look, measure
from textualize.baselines.pictured import PictureMethod
from textualize.datasets.synthetic_faces import striped
from textualize.store import Corpus

SHOWN = ("right", *COLUMNS)


def stripes(record, points, size):
    """Return where each synthetic face is striped, (n, size, size) bool."""
    own = [striped(p, record.clip.label, size) for p in points.double().cpu().numpy()]
    return torch.from_numpy(np.stack(own)).to(points.device)


def measured(run: Path, records) -> Measured:
    """Return what a run's attention does on these records; clips without pictures are told."""
    method = PictureMethod.load(run)
    looks = [look(method, record) for record in records]
    without = [each for each in looks if isinstance(each, str)]
    if without:
        print(f"{run}: {len(without)} of {len(looks)} clips left out (first: {without[0]})")
    synthetic = records[0].tracks["crops"].source == "synthetic"
    return measure([x for x in looks if isinstance(x, Look)], stripes if synthetic else None)


def interval(values) -> str:
    """Return mean and 95 % interval over seeds."""
    own = np.asarray(values, float)
    if len(own) < 2:
        return f"{own.mean():.3f}"
    half = student.ppf(0.975, len(own) - 1) * own.std(ddof=1) / np.sqrt(len(own))
    return f"{own.mean():.3f} [{own.mean() - half:.3f}, {own.mean() + half:.3f}]"


def main() -> None:
    """Print a row for each folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--split", help="of the corpus; by default all labelled clips")
    given = parser.parse_args()
    records = [
        r
        for r in Corpus(given.corpus).records()
        if r.clip.label is not None and given.split in (None, r.clip.split)
    ]
    print(f"{len(records)} clips of {given.corpus}")
    print("| run | seeds | " + " | ".join(SHOWN) + " |")
    print("|---" * (len(SHOWN) + 2) + "|")
    for folder in given.runs:
        runs = sorted({p.parent for p in folder.rglob("model.json")})
        found = [measured(run, records) for run in runs]
        cells = [
            interval([one.right if c == "right" else one.mean(c) for one in found]) for c in SHOWN
        ]
        print(f"| {folder.name} | {len(runs)} | " + " | ".join(cells) + " |")
        lost = sum(one.left_out for one in found)
        if lost:
            print(f"{folder.name}: {lost} pictures without a map left out of all but `right`")


if __name__ == "__main__":
    main()
