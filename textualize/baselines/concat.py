"""Concatenation: what a clip is on average, without attention; the plain feature baseline."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from textualize.baselines.batch import Batch


class Concat(nn.Module):
    """Standardised functionals of every track, concatenated: logits = W x + MLP(x).

    features: width of the functionals. hidden 0 leaves the MLP out: logistic regression.
    """

    reads = "functionals"

    def __init__(self, features: int, n_classes: int, *, hidden: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(features, n_classes)
        self.mlp: nn.Sequential | None = None
        if hidden:
            self.mlp = nn.Sequential(
                nn.Linear(features, hidden),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(hidden, n_classes, bias=False),
            )

    def forward(self, batch: Batch) -> Tensor:
        """Return logits, (B, C)."""
        x = self.dropout(batch.functionals)
        logits: Tensor = self.linear(x)
        return logits if self.mlp is None else logits + self.mlp(x)

    def loss(self, batch: Batch) -> Tensor:
        """Return the weighted cross-entropy, a scalar."""
        each = F.cross_entropy(self(batch), batch.targets, reduction="none")
        return (each * batch.weights).sum() / batch.weights.sum()
