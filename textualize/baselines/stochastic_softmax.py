"""Temporal stochastic softmax: a piece of a video a step, drawn where it has told the most.

After Ayral, Pedersoli, Bacon and Granger, WACV 2021, arXiv 2011.05227:

    frame scores    an inflated 2-D network, dropout, D -> hidden -> C          (C, L)
    piece scores    the highest of T pictures in a row, at every start          (C, L - T + 1)
    video scores    softmax pooling over the starts with inverse temperature beta   (C,)

Training reads one piece of T pictures of each video, where pooling has nothing to do; which piece
is drawn from a `ScoreBank` of the right class' scores. To predict, whole videos are read.

The right class' score says where it looks: pieces that look like another class are visited less.
How many starts still count is told for every epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from textualize.baselines.backbone import SMALL, Backbone
from textualize.baselines.bank_history import BankHistory, watched
from textualize.baselines.dmsn import DMSN, Kind
from textualize.baselines.dmsn_clips import MEAN, STD, piece_starts
from textualize.baselines.inflate import Inflated, Padding
from textualize.baselines.model_files import part
from textualize.baselines.network import Network
from textualize.baselines.pictures import Pictures, PictureSource
from textualize.baselines.score_bank import ScoreBank, softmax_pool
from textualize.baselines.task import Task
from textualize.errors import TextualizeError

_DMSN = "dmsn-"
_WATCHED = "watched."


class FrameVectors(nn.Module):
    """Videos to a vector (B, L, D) for every picture: an inflated backbone.

    width: D. window: pictures in a row whose highest score is a piece's.
    """

    def __init__(self, backbone: Backbone, padding: Padding, steps: int) -> None:
        super().__init__()
        self.width, self.window = backbone.width, steps
        self.described: str | dict[str, Any] = backbone.described
        self.inflated = Inflated(_Vectors(backbone), padding)

    def forward(self, videos: Tensor) -> Tensor:
        """Return the vectors of videos (B, 3, L, H, W)."""
        found: Tensor = self.inflated(videos)
        return found


class PieceVectors(nn.Module):
    """Videos to a vector (B, n, D) for pieces of T pictures, half of one apart: DMSN."""

    def __init__(self, block: str, stem: int, steps: int) -> None:
        super().__init__()
        self.body = DMSN(cast(Kind, block), stem=stem)
        self.width, self.window, self.steps = self.body.width, 1, steps
        self.described: str | dict[str, Any] = _DMSN + block

    def forward(self, videos: Tensor) -> Tensor:
        """Return the vectors of videos (B, 3, L, H, W)."""
        starts = piece_starts(videos.shape[2], self.steps, max(1, self.steps // 2))
        scaled = (videos - MEAN) / STD
        return torch.stack([self.body(scaled[:, :, s : s + self.steps]) for s in starts], 1)


class _Vectors(nn.Module):
    """Pictures (N, 3, H, W) to vectors (N, D): the mean of a backbone's last maps."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, pictures: Tensor) -> Tensor:
        found: Tensor = self.backbone(pictures)[-1].mean((2, 3))
        return found


class StochasticSoftmax(Network):
    """Class scores of videos.

    beta: inverse temperature of pooling and drawing; 0 is the mean, and draws evenly. sampling:
    "softmax" draws by score, "uniform" evenly, pooling alike: the control. warm_up and
    exploration: visits of a video before, see `ScoreBank`. backbone, width: see `Backbone`, which
    is inflated; or "dmsn-a", "-b", "-c" (`dmsn.py`, a reconstruction) with a stem of that width,
    which gives pieces scores of their own. backbone_rate: the share of the learning rate that the
    backbone learns at. padding: of the inflated one, "zeros" as released.
    """

    reads: ClassVar[Literal["streams", "functionals", "pictures"]] = "pictures"

    def __init__(
        self,
        widths: Mapping[str, int],
        task: Task,
        *,
        steps: int = 16,
        beta: float = 1.0,
        sampling: Literal["softmax", "uniform"] = "softmax",
        warm_up: int = 3,
        exploration: int = 5,
        backbone: str | Mapping[str, Any] = SMALL,
        width: int = 16,
        backbone_rate: float = 1.0,
        padding: Padding = "replicate",
        hidden: int = 128,
        dropout: float = 0.5,
    ) -> None:
        """Raises TextualizeError for values: a bank of scores is of classes."""
        super().__init__(widths, task)
        if task.kind != "classes" or task.per_step:
            raise TextualizeError(
                "stochastic-softmax answers with a class of the clip: give classes"
            )
        self.steps, self.beta, self.sampling = steps, beta, sampling
        self.warm_up, self.exploration = warm_up, exploration
        self.backbone_rate = backbone_rate
        self.reader: FrameVectors | PieceVectors
        if isinstance(backbone, str) and backbone.startswith(_DMSN):
            self.reader = PieceVectors(backbone.removeprefix(_DMSN), width, steps)
        else:
            self.reader = FrameVectors(Backbone(backbone, width, large_maps=False), padding, steps)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Sequential(
            nn.Linear(self.reader.width, hidden), nn.ReLU(), nn.Linear(hidden, task.outputs)
        )
        self.bank: ScoreBank | None = None
        self.watch: BankHistory | None = None

    def rates(self) -> dict[str, float]:
        """Return the backbone's share of the learning rate."""
        return {"reader": self.backbone_rate}

    def resolved(self) -> dict[str, Any]:
        """Return the settings the network is built from again without the backbone's files."""
        return {"backbone": self.reader.described}

    # --- from pictures to scores ----------------------------------------------------------------

    def forward(self, batch: Pictures) -> Tensor:
        """Return (B, C): the pooled scores of each clip's own pictures."""
        return self._answers(batch)[0]

    def piece_scores(self, frames: Tensor) -> Tensor:
        """Return (B, C, L - T + 1) of frame scores (B, C, L); one where L is T or less."""
        return F.max_pool1d(frames, min(self.reader.window, frames.shape[-1]), stride=1)

    def _answers(self, batch: Pictures) -> tuple[Tensor, Tensor]:
        """Return the clips' scores (B, C), and the same without dropout: what the bank notes."""
        out = torch.zeros(len(batch), self.task.outputs, device=batch.pixels.device)
        sure = out.clone()
        for rows, videos in batch.by_length():
            vectors = self.reader(videos)
            out = out.index_copy(0, rows, self._pooled(self.dropout(vectors)).to(out.dtype))
            if self.training:
                with torch.no_grad():
                    sure = sure.index_copy(0, rows, self._pooled(vectors).to(out.dtype))
        return out, sure

    def _pooled(self, vectors: Tensor) -> Tensor:
        frames = self.head(vectors).transpose(1, 2)
        return softmax_pool(self.piece_scores(frames), self.beta)

    # --- where to look --------------------------------------------------------------------------

    def draw(self, data: PictureSource, rows: Tensor) -> Pictures:
        """Return a piece of each of these videos, where the bank says."""
        if self.sampling == "uniform":
            return data.take(rows)
        if self.bank is None:
            positions = data.positions()
            self.bank = self._new_bank(positions)
            chosen = watched(data.targets.cpu(), positions, torch.initial_seed())
            self.watch = BankHistory(chosen, int(positions.max()))
        return data.take(rows, self.bank.draw(rows))

    def loss(self, batch: Pictures) -> Tensor:
        """Return the cross-entropy; in training, what was seen goes to the bank."""
        out, sure = self._answers(batch)
        if self.training and self.bank is not None:
            right = batch.targets.clamp(min=0).unsqueeze(1)
            self.bank.observe(batch.rows, batch.starts, sure.gather(1, right).squeeze(1))
            if self.watch is not None:
                self.watch.note(self.bank, batch.rows, batch.starts)
        return self.task.loss(out, batch)

    def memory(self) -> dict[str, Tensor]:
        """Return the bank and what is watched of it."""
        return (self.bank.state() if self.bank else {}) | {
            f"{_WATCHED}{k}": v for k, v in self.history().items()
        }

    def history(self) -> dict[str, Tensor]:
        """Return the weights of the videos that are watched, see `bank_history.py`."""
        return self.watch.state() if self.watch else {}

    def remember(self, memory: Mapping[str, Tensor]) -> None:
        """Go on with a bank; of one from before there was a history, none is kept."""
        seen = part(memory, _WATCHED)
        self.watch = BankHistory.of(seen) if seen else None
        self.bank = self._new_bank(memory["positions"])
        self.bank.restore({k: v for k, v in memory.items() if not k.startswith(_WATCHED)})

    def told(self) -> dict[str, float]:
        """Return how many starts of a video still count, and their share, once scores are drawn."""
        if self.bank is None or not bool(
            (self.bank.visits >= self.warm_up + self.exploration).any()
        ):
            return {}
        number, share = self.bank.effective()
        return {"effective_starts": round(number, 4), "effective_share": round(share, 4)}

    def _new_bank(self, positions: Tensor) -> ScoreBank:
        return ScoreBank(
            positions, reach=self.steps, beta=self.beta,
            warm_up=self.warm_up, exploration=self.exploration,
        )  # fmt: skip
