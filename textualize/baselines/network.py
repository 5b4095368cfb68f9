"""What the training loop knows of a network, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from textualize.baselines.answer import Answer, LinearPath
from textualize.baselines.task import Task


class Network(nn.Module):
    """A feature network: a batch in, class scores or values out.

    A subclass is made with `(widths, task, *, steps, <options>)`: the stream names in the order of
    the recipe's groups with their width D, the task, the steps L of a sequence, and options that
    carry the name of the recipe key they are read from. It checks its streams itself and raises
    `TextualizeError` in one line. `forward` returns (B, outputs), or (B, L, outputs) for a task
    per step, in the last stage what predicts; a clip's output depends on no other clip.

    What it is given is a `Batch`; a network that `reads` pictures has no widths, its steps are the
    pictures of a piece of training, and it is given `Pictures`.
    """

    reads: ClassVar[Literal["streams", "functionals", "pictures"]] = "streams"
    stages: ClassVar[tuple[str, ...]] = ("train",)

    def __init__(self, widths: Mapping[str, int], task: Task) -> None:
        """Keep what is predicted; the stage is the first."""
        super().__init__()
        self.widths = dict(widths)
        self.task = task
        self.stage = self.stages[0]

    def begin(self, stage: str) -> None:
        """Make ready for a stage; a network of several stages freezes here what one leaves alone.

        By default all trains that was made to, in the one stage there is.
        """
        self.stage = stage

    def scored(self, stage: str) -> bool:
        """Return whether a stage's epoch is chosen by the task's score on validation.

        Otherwise it is the epoch with the lowest validation loss of that stage.
        """
        return stage == self.stages[-1]

    def criterion(self) -> float | None:
        """Return what the present stage's epoch is chosen by, higher is better.

        None: what `scored` says. Asked after every epoch, with the network in evaluation mode.
        """
        return None

    def frozen(self) -> frozenset[str]:
        """Return the names of parameters that get no gradient in the present stage."""
        return frozenset(n for n, p in self.named_parameters() if not p.requires_grad)

    def linear_paths(self) -> list[LinearPath]:
        """Return the linear paths to the outputs that train in the present stage.

        Training may start them from a fitted linear model.
        """
        answers = [m for m in self.modules() if isinstance(m, Answer)]
        return [path for answer in answers for path in answer.linear_paths()]

    def draw(self, data: Any, rows: Tensor) -> Any:
        """Return the batch of a training step; `data` is a `Source`, `rows` have their turn."""
        return data.take(rows)

    def loss(self, batch: Any) -> Tensor:
        """Return the loss of the present stage, a scalar."""
        return self.task.loss(self(batch), batch)

    def rates(self) -> dict[str, float]:
        """Return for parts by name what share of the learning rate they learn at, where not all."""
        return {}

    def resolved(self) -> dict[str, Any]:
        """Return settings as they came out, to build it again without other files."""
        return {}

    def memory(self) -> dict[str, Tensor]:
        """Return what training goes on from besides weights; it is in no finished model."""
        return {}

    def remember(self, memory: Mapping[str, Tensor]) -> None:
        """Go on from what `memory` returned."""

    def history(self) -> dict[str, Tensor]:
        """Return what a finished run keeps of how training went, beside the model."""
        return {}

    def told(self) -> dict[str, float]:
        """Return what an epoch's line tells besides loss and score."""
        return {}
