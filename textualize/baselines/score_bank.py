"""What each start of a training video has been worth: where to look next.

After Ayral, Pedersoli, Bacon and Granger, "Temporal Stochastic Softmax for 3D CNNs: An Application
in Facial Expression Recognition", WACV 2021, arXiv 2011.05227. A video's answer is the softmax
pooling of the scores of its pieces; drawing a piece in proportion to the weights of that pooling
and training on it alone is the same in expectation, at the cost of one piece.

The bank belongs to the training process. What is drawn comes from torch's generator there, so that
it is the same however many threads read videos.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def softmax_pool(scores: Tensor, beta: float) -> Tensor:
    """Return sum_t w_t s_t with w = softmax(beta s) over the last axis, (..., T) to (...).

    beta 0 is the mean; the larger, the nearer the highest.

    >>> round(float(softmax_pool(torch.tensor([1.0, 2.0, 4.0, 0.0]), 1.0)), 4)
    3.5901
    """
    return (torch.softmax(beta * scores, -1) * scores).sum(-1)


def effective_number(weights: Tensor) -> Tensor:
    """Return e^H of weights that sum to 1 over the last axis: how many count, as if alike.

    >>> round(float(effective_number(torch.softmax(torch.tensor([1.0, 2.0, 4.0, 0.0]), 0))), 3)
    1.813
    """
    entropy: Tensor = torch.special.entr(weights).sum(-1)
    return entropy.exp()


def blend(scores: Tensor, at: int, score: float, reach: int) -> Tensor:
    """Return the scores (n,) after one was observed at a start: u_i of the way to it.

    u_i = (reach - |at - i|) / reach within `reach`, 0 beyond: all the way at the start itself.
    """
    apart = (torch.arange(len(scores)) - at).abs()
    share = ((reach - apart) / reach).clamp(min=0).to(scores.dtype)
    return scores + share * (score - scores)


def explored(n: int, steps: int, k: int) -> tuple[int, slice]:
    """Return the k-th of `steps` starts spread over n, and the starts that its score is noted for.

    Together these are all n.

    >>> [explored(9, 3, k) for k in range(3)]
    [(0, slice(0, 3, None)), (4, slice(2, 7, None)), (8, slice(6, 9, None))]
    """
    gaps = max(steps - 1, 1)
    at = (n - 1) * k // gaps if steps > 1 else (n - 1) // 2
    reach = n if steps == 1 else -(-max(0, n - steps) // (2 * gaps))
    return at, slice(max(at - reach, 0), min(at + reach + 1, n))


class ScoreBank:
    """A score for every start of every video, as last seen in training.

    A video's first `warm_up` visits are drawn evenly and leave no score, the next `exploration`
    are spread over it in an order of its own, and from then on a start is drawn by softmax(beta
    scores).

    positions: (N,) starts of each video. reach: pictures of a piece; pieces that share some share
    in what is observed.
    """

    def __init__(
        self, positions: Tensor, *, reach: int, beta: float, warm_up: int, exploration: int
    ) -> None:
        """Take the videos; the orders of exploration are drawn from torch's generator."""
        self.positions = positions.long()
        self.reach, self.beta = reach, beta
        self.warm_up, self.exploration = warm_up, exploration
        n = len(positions)
        self.scores = torch.zeros(n, int(self.positions.max()))
        self.visits = torch.zeros(n, dtype=torch.long)
        self.order = torch.rand(n, max(exploration, 1)).argsort(1)

    def weights(self, rows: Tensor) -> Tensor:
        """Return softmax(beta scores) over the starts of these videos, (B, P); 0 beyond the last.

        Without scores all starts of a video weigh alike.
        """
        at = torch.arange(self.scores.shape[1])
        beyond = at >= self.positions[rows].unsqueeze(1)
        return torch.softmax((self.beta * self.scores[rows]).masked_fill(beyond, -torch.inf), 1)

    def draw(self, rows: Tensor) -> Tensor:
        """Return a start for each of these videos, (B,), by the phase each is in."""
        rows = rows.cpu()
        starts = torch.multinomial(self.weights(rows), 1).squeeze(1)
        for i, row in enumerate(rows.tolist()):
            k = int(self.visits[row]) - self.warm_up
            if 0 <= k < self.exploration:
                n = int(self.positions[row])
                starts[i] = explored(n, self.exploration, int(self.order[row, k]))[0]
        return starts

    def observe(self, rows: Tensor, starts: Tensor, scores: Tensor) -> None:
        """Note the scores (B,) that pieces from these starts had, and count the visits."""
        found = scores.detach().float().cpu().tolist()
        for row, start, score in zip(rows.tolist(), starts.tolist(), found, strict=True):
            n = int(self.positions[row])
            k = int(self.visits[row]) - self.warm_up
            own = self.scores[row, :n]
            if 0 <= k < self.exploration:
                own[explored(n, self.exploration, int(self.order[row, k]))[1]] = score
            elif k >= 0:
                self.scores[row, :n] = blend(own, start, score, self.reach)
            self.visits[row] += 1

    def scored(self) -> Tensor:
        """Return the videos that are drawn by score."""
        return torch.nonzero(self.visits >= self.warm_up + self.exploration).squeeze(1)

    def effective(self) -> tuple[float, float]:
        """Return the mean effective number of starts of a video, and its mean share of all.

        Of the videos that are drawn by score; NaN while none is.
        """
        rows = self.scored()
        number = effective_number(self.weights(rows))
        return float(number.mean()), float((number / self.positions[rows]).mean())

    def state(self) -> dict[str, Tensor]:
        """Return what the bank knows."""
        return {k: getattr(self, k) for k in ("positions", "scores", "visits", "order")}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned."""
        for name, value in state.items():
            setattr(self, name, value.clone())
