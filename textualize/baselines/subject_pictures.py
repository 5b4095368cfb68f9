"""Subject adaptation (see `subject_msda.py`) on pictures: single faces, or clips of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from textualize.baselines.adaptation import Adaptation
from textualize.baselines.backbone import SMALL
from textualize.baselines.clip_vectors import clip_vectors
from textualize.baselines.pictures import Pictures, PictureSource
from textualize.baselines.task import Task


class SubjectPictures(Adaptation):
    """Features f = the backbone's vector of a clip, outputs = head(f): linear, ReLU, linear.

    The other view of a clip is its mirror image. backbone, width: see `Backbone`, on every picture
    of a clip; or "dmsn-a", "-b", "-c" (`dmsn.py`, a reconstruction) with a stem of that width, on
    pieces of `steps` pictures. backbone_rate: the share of the learning rate that the backbone
    learns at. adapting: see `Adaptation`.
    """

    reads: ClassVar[Literal["streams", "functionals", "pictures"]] = "pictures"

    def __init__(
        self,
        widths: Mapping[str, int],
        task: Task,
        *,
        steps: int = 1,
        backbone: str | Mapping[str, Any] = SMALL,
        width: int = 16,
        backbone_rate: float = 1.0,
        hidden: int = 128,
        dropout: float = 0.5,
        **adapting: Any,
    ) -> None:
        """Take what reads a clip; `widths` is empty."""
        super().__init__(widths, task, **adapting)
        self.backbone_rate = backbone_rate
        self.reader = clip_vectors(backbone, width, steps)
        self.head = nn.Sequential(
            nn.Linear(self.reader.width, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, task.outputs),
        )

    def rates(self) -> dict[str, float]:
        """Return the backbone's share of the learning rate."""
        return {"reader": self.backbone_rate}

    def resolved(self) -> dict[str, Any]:
        """Return the settings the network is built from again without the backbone's files."""
        return {"backbone": self.reader.described}

    def parts(self, batch: Pictures) -> tuple[Tensor, Tensor]:
        """Return f, (B, D), and (B, outputs)."""
        features = self.reader(batch)
        return features, self.head(features)

    def other_view(self, batch: Pictures) -> Pictures:
        """Return the mirror images."""
        return replace(batch, pixels=batch.pixels.flip(-1))

    def whole(self, data: PictureSource, rows: Tensor) -> Iterator[Pictures]:
        """Yield the clips as they are, none of them moved."""
        return data.whole(rows)
