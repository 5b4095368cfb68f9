"""How the score bank of a few training videos went, for a picture of where training looked.

Kept in the checkpoint while training, and beside the finished model:

    bank.safetensors    rows (K,) of the training source; weights (K, V, P) of every start after
                        each of V visits, one an epoch, 0 beyond a video's last; starts (K, V)
                        drawn, -1 where there was no visit; seconds (K, P) on the time of the file
                        at which starts are, NaN beyond the last; targets (K,) class ids; the header
                        names the clips
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from textualize.baselines.model_files import read_tensors
from textualize.baselines.score_bank import ScoreBank
from textualize.errors import TextualizeError
from textualize.files import write_bytes_atomic

FILE = "bank.safetensors"
EACH, MOST = 2, 12  # videos of a class, and in all where there are as few classes
_KEPT = ("rows", "weights", "starts")


def watched(targets: Tensor, positions: Tensor, seed: int) -> Tensor:
    """Return the training videos that are watched, (K,): two of each class, of many classes one.

    They are drawn by the seed, without torch's generator, among those with more than one start.

    >>> watched(torch.tensor([0, 1, 0, 1]), torch.tensor([9, 9, 1, 9]), 0).tolist()
    [0, 1, 3]
    """
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    classes = sorted(set(targets.tolist()))
    each = EACH if EACH * len(classes) <= MOST else 1
    chosen = [
        i
        for c in classes
        for i in sorted([i for i in order.tolist() if targets[i] == c and positions[i] > 1][:each])
    ]
    return torch.tensor(chosen, dtype=torch.long)


class BankHistory:
    """The weights that a bank gave the starts of K videos, visit by visit."""

    def __init__(self, rows: Tensor, longest: int) -> None:
        """Take the videos' rows, and P: the starts of the longest video of the bank."""
        self.rows = rows
        self.weights = torch.zeros((len(rows), 0, longest), dtype=torch.float16)
        self.starts = torch.full((len(rows), 0), -1, dtype=torch.long)

    def note(self, bank: ScoreBank, rows: Tensor, starts: Tensor) -> None:
        """Note what the bank has come to after it observed pieces of videos `rows` (B,)."""
        own = dict(zip(self.rows.tolist(), range(len(self.rows)), strict=True))
        for row, start in zip(rows.tolist(), starts.tolist(), strict=True):
            if row not in own:
                continue
            i, visit = own[row], int(bank.visits[row]) - 1
            self._reach(visit + 1)
            found = bank.weights(torch.tensor([row]))[0]
            self.weights[i, visit] = found.to(self.weights.dtype)
            self.starts[i, visit] = start

    def _reach(self, visits: int) -> None:
        """Make room for so many visits."""
        more = visits - self.starts.shape[1]
        if more > 0:
            k, _, longest = self.weights.shape
            self.weights = torch.cat([self.weights, self.weights.new_zeros(k, more, longest)], 1)
            self.starts = torch.cat([self.starts, self.starts.new_full((k, more), -1)], 1)

    def state(self) -> dict[str, Tensor]:
        """Return what is known: rows, weights and starts."""
        return {k: getattr(self, k) for k in _KEPT}

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> BankHistory:
        """Return the history to go on with from what `state` returned."""
        again = cls(state["rows"], state["weights"].shape[2])
        again.weights, again.starts = state["weights"].clone(), state["starts"].clone()
        return again


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """One video of a history.

    weights: (V, n) of its n starts after each visit.  starts: (V,) that were drawn.  seconds: (n,)
    at which the starts are.  target: class id.
    """

    clip: str
    target: int
    weights: Tensor
    starts: Tensor
    seconds: Tensor


def write_history(
    folder: Path,
    state: Mapping[str, Tensor],
    clips: Sequence[str],
    seconds: Sequence[Tensor],
    targets: Tensor,
) -> None:
    """Write bank.safetensors, atomically, of a `state` of K videos.

    seconds: of each video, those of its starts.  targets: (K,).
    """
    at = torch.full((len(clips), state["weights"].shape[2]), torch.nan, dtype=torch.float64)
    for row, own in zip(at, seconds, strict=True):
        row[: len(own)] = own
    tensors = {**state, "seconds": at, "targets": targets.cpu()}
    header = {"clips": json.dumps(list(clips))}
    write_bytes_atomic(
        folder / FILE, save_tensors({k: v.contiguous() for k, v in tensors.items()}, header)
    )


def read_history(folder: Path) -> list[Watched]:
    """Return the videos of a run's bank.safetensors.

    Raises:
        TextualizeError: the file is missing or damaged.
    """
    path = folder / FILE
    if not path.is_file():
        raise TextualizeError(
            f"{folder} has no {FILE}: training with sampling softmax keeps one of videos longer "
            "than a piece; train again"
        )
    found = read_tensors(path)
    try:
        with safe_open(str(path), "pt") as opened:
            clips = json.loads(opened.metadata()["clips"])
        return [_video(found, i, str(clip)) for i, clip in enumerate(clips)]
    except (SafetensorError, LookupError, TypeError, ValueError) as error:
        raise TextualizeError(f"{path} is no history of a bank ({error}): train again") from None


def _video(found: Mapping[str, Tensor], i: int, clip: str) -> Watched:
    seconds = found["seconds"][i]
    n = int(torch.isfinite(seconds).sum())
    weights = found["weights"][i, :, :n].float()
    return Watched(clip, int(found["targets"][i]), weights, found["starts"][i], seconds[:n])
