"""Lets PyPI's torchvision be imported beside a CPU-only torch, in py-feat's test environment.

Its compiled part is built for CUDA and does not load there; what py-feat needs of it is
non-maximum suppression. Where it does load nothing is changed. Copied into that environment as
`sitecustomize.py` by `make test-py-feat`; nothing of the product knows of it.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any


class BeforePyFeat(MetaPathFinder):
    """Imports torchvision with its missing operator, just before py-feat does."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        if fullname == "feat":
            sys.meta_path.remove(self)
            if not loads():
                define()
                from torchvision import extension

                extension._has_ops = lambda: True


def loads() -> bool:
    """Say whether torchvision's compiled part loads beside this torch."""
    import torch

    package = find_spec("torchvision")
    assert package and package.origin, "torchvision is not installed"
    try:
        for library in Path(package.origin).parent.glob("_C*.so"):
            torch.ops.load_library(library)
    except OSError:
        return False
    return True


def define() -> None:
    """Define `torchvision::nms` in plain torch: greedy, by falling score."""
    import torch

    def nms(boxes: torch.Tensor, scores: torch.Tensor, threshold: float) -> torch.Tensor:
        left = scores.argsort(descending=True)
        area = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)
        kept = []
        while len(left):
            best, left = left[0], left[1:]
            kept.append(best)
            low = torch.maximum(boxes[best, :2], boxes[left, :2])
            high = torch.minimum(boxes[best, 2:], boxes[left, 2:])
            shared = (high - low).clamp(min=0).prod(dim=1)
            left = left[shared / (area[best] + area[left] - shared) <= threshold]
        return torch.stack(kept) if kept else scores.new_zeros(0, dtype=torch.long)

    from torch import library

    signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    for name in ("nms", "qnms"):  # torchvision registers the shapes of both
        library.define(f"torchvision::{name}", signature)
    library.impl("torchvision::nms", "default", nms)


if __name__ == "sitecustomize":
    sys.meta_path.insert(0, BeforePyFeat())
