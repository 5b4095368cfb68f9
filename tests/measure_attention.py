"""Where au-guided runs look, on a corpus, over seeds: cosines, pointing, deletion and insertion.

    python tests/measure_attention.py --corpus runs/synthetic/corpus --split test \
        runs/synthetic/au-guided runs/synthetic/au-unguided

Each folder is a run or holds runs of several seeds. An interval is the mean's over seeds (t, 95 %).
On the synthetic faces the region to point at is where the face is striped; else it is around the
action units that the sensor saw active. --cam says which class activation maps: a row for each.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
import torch
from scipy.stats import t as student

from textualize.baselines.activation import CAM_KINDS
from textualize.baselines.attended import Look, look
from textualize.baselines.attention_measured import COLUMNS, Measured, measure
from textualize.baselines.pictured import PictureMethod
from textualize.datasets.synthetic_faces import striped
from textualize.finetune.run_folder import RunFolder
from textualize.store import Corpus

SHOWN = ("right", *COLUMNS)


def stripes(record, points, size):
    """Return where each synthetic face is striped, (n, size, size) bool."""
    own = [striped(p, record.clip.label, size) for p in points.double().cpu().numpy()]
    return torch.from_numpy(np.stack(own)).to(points.device)


def measured(run: Path, records, split, cam, every) -> Measured:
    """Return what a run's attention does; clips without pictures are told.

    On the records of a split; without one on those of the run's own test part, or all.
    """
    method, tested = PictureMethod.load(run), set(RunFolder(run).test_ids)
    records = ([r for r in records if split is None and r.clip.id in tested] or records)[::every]
    looks = [look(method, record, cam) for record in records]
    without = [each for each in looks if isinstance(each, str)]
    if without:
        print(f"{run}: {len(without)} of {len(looks)} clips left out (first: {without[0]})")
    synthetic = records[0].tracks["crops"].source == "synthetic"
    seen = [x for x in looks if isinstance(x, Look)]
    return measure(method, seen, stripes if synthetic else None)


def interval(values) -> str:
    """Return mean and 95 % interval over seeds."""
    own = np.asarray(values, float)
    if len(own) < 2:
        return f"{own.mean():.3f}"
    half = student.ppf(0.975, len(own) - 1) * own.std(ddof=1) / np.sqrt(len(own))
    return f"{own.mean():.3f} [{own.mean() - half:.3f}, {own.mean() + half:.3f}]"


def main() -> None:
    """Print a row for each folder and kind of class activation map."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--split", help="of the corpus; by default each run's test clips")
    parser.add_argument("--cam", nargs="+", choices=CAM_KINDS, default=["cam"])
    parser.add_argument("--every", type=int, default=1, help="only each so many-th clip")
    given = parser.parse_args()
    records = [
        r
        for r in Corpus(given.corpus).records()
        if r.clip.label is not None and given.split in (None, r.clip.split)
    ]
    print(f"{len(records)} labelled clips of {given.corpus}")
    print("| run | seeds | cam | " + " | ".join(SHOWN) + " |")
    print("|---" * (len(SHOWN) + 3) + "|")
    for folder, cam in itertools.product(given.runs, given.cam):
        runs = sorted({p.parent for p in folder.rglob("model.json")})
        found = [measured(run, records, given.split, cam, given.every) for run in runs]
        cells = [
            interval([one.right if c == "right" else one.mean(c) for one in found]) for c in SHOWN
        ]
        print(f"| {folder.name} | {len(runs)} | {cam} | " + " | ".join(cells) + " |")
        lost = sum(one.left_out for one in found)
        if lost:
            print(f"{folder.name}: {lost} pictures without a map left out of all but `right`")


if __name__ == "__main__":
    main()
