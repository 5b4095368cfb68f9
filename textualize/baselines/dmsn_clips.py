"""DMSN, a reconstruction (see `dmsn.py`), on clips of any length: the mean over their pieces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from textualize.baselines.dmsn import DEEP, DMSN, SCALES, SHALLOW, DMSNHead, Kind
from textualize.baselines.network import Network
from textualize.baselines.pictures import Pictures
from textualize.baselines.task import Task

MEAN, STD = 0.5, 0.25  # that bring pixels of 0 to 1 to a scale of about 1


class ClipDMSN(Network):
    """Classes or values of clips; a reconstruction: its scores are not the publication's.

    A clip is cut into pieces of T pictures, the last moved back to end with the clip; it is
    answered by the mean over its pieces. A clip shorter than T is one piece.

    block: a, b, c, or the control msn. depth: blocks of the stages, [2, 2, 2, 2] or [3, 4, 6, 3].
    stem: channels of the stem. multiscale: kernels of 3, 5 and 7 side by side; or three of 3.
    """

    reads: ClassVar[Literal["streams", "functionals", "pictures"]] = "pictures"

    def __init__(
        self,
        widths: Mapping[str, int],
        task: Task,
        *,
        steps: int = 16,
        block: Kind = "c",
        depth: Literal["shallow", "deep"] = "shallow",
        stem: int = 64,
        multiscale: bool = True,
        hidden: int = 512,
        dropout: float = 0.5,
    ) -> None:
        """Raises TextualizeError for another block or stem, or a task per step."""
        super().__init__(widths, task)
        self.steps = steps
        blocks = SHALLOW if depth == "shallow" else DEEP
        scales = SCALES if multiscale else SCALES[:1] * len(SCALES)
        self.body = DMSN(block, blocks, stem=stem, scales=scales)
        self.head = DMSNHead(self.body.width, task, hidden=hidden, dropout=dropout)

    def forward(self, batch: Pictures) -> Tensor:
        """Return (B, outputs) of each clip's own pictures."""
        out = torch.zeros(len(batch), self.task.outputs, device=batch.pixels.device)
        for rows, videos in batch.by_length():
            clips = (videos - MEAN) / STD
            parts = [
                self.head(self.body(clips[:, :, at : at + self.steps]))
                for at in piece_starts(clips.shape[2], self.steps)
            ]
            out = out.index_copy(0, rows, torch.stack(parts).mean(0).to(out.dtype))
        return out


def piece_starts(length: int, steps: int, hop: int | None = None) -> list[int]:
    """Return where the pieces of a clip begin, `hop` apart, by default side by side.

    >>> piece_starts(40, 16), piece_starts(9, 16), piece_starts(40, 16, 8)
    ([0, 16, 24], [0], [0, 8, 16, 24])
    """
    last = max(length - steps, 0)
    return [*range(0, last, hop or steps), last]
