"""Many clips' pictures: what a network of pixels trains on.

A `PictureSource` is clips (`reels.py`) with their answers. The training loop knows of a source
`len()`, `take(rows)` and `to(device)`, as of a `Batch` of features, and what `take` returns, a
`Pictures`, is what the network's `forward` and `loss` are given. Only the pictures that are asked
for are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from textualize.baselines.augment import Augment, Motion, moved, moved_points
from textualize.baselines.reels import POINTS, Reel
from textualize.types import Float32


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """B pieces of clips, T pictures each: what a network of pixels reads.

    pixels: (B, 3, T, H, W), 0 to 1, RGB; 0 beyond a clip's end.  seen: (B, T) bool, False beyond
    it; what is seen comes first.  landmarks: (B, T, 478, 2) in pixels, NaN where unknown.
    rows: (B,) place of the clip in its source.  starts: (B,) first picture of the piece within its
    clip.  targets, weights and subjects: as of a `Batch`.
    """

    pixels: Tensor
    seen: Tensor
    landmarks: Tensor
    rows: Tensor
    starts: Tensor
    targets: Tensor
    weights: Tensor
    subjects: Tensor | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: Tensor) -> Pictures:
        """Return the pieces of the given rows, in their order."""
        return self._each(lambda own: own[rows])

    def by_length(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the rows of pieces of as many pictures, and these (n, 3, L, H, W), without padding.

        >>> seen, none = torch.tensor([[True, True], [True, False]]), torch.zeros(2)
        >>> pieces = Pictures(torch.zeros(2, 3, 2, 8, 8), seen, none, none, none, none, none)
        >>> [(rows.tolist(), videos.shape[2]) for rows, videos in pieces.by_length()]
        [([1], 1), ([0], 2)]
        """
        lengths = self.seen.sum(1)
        for length in sorted(set(lengths.tolist())):
            rows = torch.nonzero(lengths == length).squeeze(1)
            yield rows, self.pixels[rows, :, :length]

    def to(self, device: torch.device) -> Pictures:
        """Return the same pieces on another device."""
        return self._each(lambda own: own.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Pictures:
        parts = {k: getattr(self, k) for k in self.__slots__}
        return Pictures(**{k: change(own) for k, own in parts.items() if own is not None})


class PictureSource:
    """Clips to read pieces of: what the training loop takes batches from.

    `frames` is T; 0 takes whole clips, as long as the longest of a batch. `targets` (N,) or
    (N, V), `weights` (N,) and `subjects` are those of a `Batch`. `augment` is for training.
    `workers` threads read the clips of a batch side by side; what is drawn is drawn before, so
    that a batch does not depend on their number. `at_once` is how many a validation pass reads.
    """

    def __init__(
        self,
        reels: Sequence[Reel],
        targets: Tensor,
        weights: Tensor,
        *,
        frames: int = 0,
        augment: Augment | None = None,
        workers: int = 0,
        at_once: int = 1,
        subjects: Tensor | None = None,
    ) -> None:
        """Take clips and answers; nothing is read."""
        self.reels = list(reels)
        self.targets, self.weights, self.subjects = targets, weights, subjects
        self.frames, self.augment = frames, augment
        self.workers, self.at_once = workers, at_once
        self.device = torch.device("cpu")
        self.lengths = torch.tensor([reel.length for reel in self.reels])

    def __len__(self) -> int:
        return len(self.reels)

    def to(self, device: torch.device) -> PictureSource:
        """Return the same clips, whose pieces will be on another device."""
        other = PictureSource(
            self.reels, self.targets.to(device), self.weights.to(device), frames=self.frames,
            augment=self.augment, workers=self.workers, at_once=self.at_once,
            subjects=None if self.subjects is None else self.subjects.to(device),
        )  # fmt: skip
        other.device = device
        return other

    def whole(self, rows: Tensor) -> Iterator[Pictures]:
        """Yield these clips as predicting reads them, `at_once` together: whole and as they are."""
        clips = PictureSource(self.reels, self.targets, self.weights, workers=self.workers)
        clips.device = self.device
        for own in torch.split(rows, self.at_once):
            yield clips.take(own, torch.zeros(len(own), dtype=torch.long))

    def positions(self) -> Tensor:
        """Return of each clip how many first pictures a piece can have, (N,): max(1, L - T + 1)."""
        return (self.lengths - (self.frames or self.lengths) + 1).clamp(min=1)

    def take(self, rows: Tensor, starts: Tensor | None = None) -> Pictures:
        """Return a piece of each of these clips, `starts` (B,) its first pictures.

        Without `starts`, they are drawn from torch's generator, all alike likely; whole clips
        begin at 0.
        """
        chosen = rows.cpu()
        if starts is None:
            free = self.positions()[chosen]
            starts = (torch.rand(len(chosen)) * free).long().clamp(max=free - 1)
        motion = self.augment.draw(len(chosen)) if self.augment else None
        pairs = list(zip(chosen.tolist(), starts.tolist(), strict=True))
        pieces = self._read(pairs)
        wide = self.frames or max(len(pixels) for pixels, _ in pieces)
        batch = self._batch(pieces, wide, chosen, starts.cpu())
        return _augmented(batch.to(self.device), motion)

    def _read(self, pairs: Sequence[tuple[int, int]]) -> list[tuple[Tensor, Float32]]:
        def one(pair: tuple[int, int]) -> tuple[Tensor, Float32]:
            row, start = pair
            reel = self.reels[row]
            return reel.read(start, self.frames or reel.length)

        if not self.workers:
            return [one(pair) for pair in pairs]
        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(one, pairs))

    def _batch(
        self, pieces: Sequence[tuple[Tensor, Float32]], wide: int, rows: Tensor, starts: Tensor
    ) -> Pictures:
        height, width = pieces[0][0].shape[-2:]
        pixels = torch.zeros(len(pieces), wide, 3, height, width)
        landmarks = torch.full((len(pieces), wide, POINTS, 2), torch.nan)
        seen = torch.zeros(len(pieces), wide, dtype=torch.bool)
        for i, (found, points) in enumerate(pieces):
            pixels[i, : len(found)] = found
            landmarks[i, : len(found)] = torch.from_numpy(points)
            seen[i, : len(found)] = True
        at = rows.to(self.targets.device)
        return Pictures(
            pixels.transpose(1, 2), seen, landmarks, rows, starts,
            self.targets[at], self.weights[at],
            None if self.subjects is None else self.subjects[at],
        )  # fmt: skip


def _augmented(batch: Pictures, motion: Motion | None) -> Pictures:
    """Return the batch with its pictures turned, shifted, mirrored and tinted; black stays black.

    A piece's pictures are all moved alike, and its landmarks with them.
    """
    if motion is None:
        return batch
    motion = motion.to(batch.pixels.device)
    pixels = moved(batch.pixels, motion) * batch.seen[:, None, :, None, None]
    side = batch.pixels.shape[-1]
    return replace(batch, pixels=pixels, landmarks=moved_points(batch.landmarks, motion, side))
