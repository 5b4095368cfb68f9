"""How far two samples of features are from one distribution: losses that can be descended.

Multi-kernel maximum mean discrepancy of X (n, F) and Y (m, F), after Gretton et al., "A Kernel
Two-Sample Test", 2012, as Long et al., "Learning Transferable Features with Deep Adaptation
Networks", 2015, made a loss of it. With D_ij = |u_i - u_j|^2 over the N = n + m pooled rows:

    b    = sum D / (N^2 - N)                           the bandwidth: the mean of D, no gradient
    k(D) = sum over q of exp(-D / (b 2^(q - K // 2)))  q = 0 … K - 1, K kernels
    MMD^2 = mean k(X, X) + mean k(Y, Y) - 2 mean k(X, Y)

Since the bandwidth follows the data, a common shift, rotation or scaling changes nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from textualize.baselines.losses import costs
from textualize.errors import TextualizeError

KERNELS = 5


def mmd(x: Tensor, y: Tensor, *, kernels: int = KERNELS, unbiased: bool = False) -> Tensor:
    """Return the squared discrepancy of x (n, F) and y (m, F), a scalar.

    The biased estimate is 0 for equal samples and never negative. The unbiased one leaves each
    row's kernel with itself out of the means: it is 0 on average where the distributions are the
    same, so it may be negative, and needs two rows of each.

    >>> x, y = torch.tensor([[0.0, 0], [1, 0]]), torch.tensor([[0.0, 2], [1, 2], [2, 2]])
    >>> round(float(mmd(x.double(), y.double())), 10)
    4.7305371966

    Raises:
        TextualizeError: a sample has no row (unbiased: one row), or their widths differ.
    """
    least = 2 if unbiased else 1
    _check(x, y, least)
    n, m = len(x), len(y)
    k = _kernel(torch.cat([x, y]), kernels)
    if not unbiased:
        return k[:n, :n].mean() + k[n:, n:].mean() - 2 * k[:n, n:].mean()
    within = [(k[p, p].sum() - k[p, p].diagonal().sum()) for p in (slice(n), slice(n, n + m))]
    return within[0] / (n * (n - 1)) + within[1] / (m * (m - 1)) - 2 * k[:n, n:].mean()


def coral(x: Tensor, y: Tensor) -> Tensor:
    """Return the distance of the covariances of x (n, F) and y (m, F), a scalar.

        |C_x - C_y|^2 / (4 F^2), the Frobenius norm, covariances over n - 1

    Blind to a shift of the mean. Sun and Saenko, "Deep CORAL", 2016.

    Raises:
        TextualizeError: a sample has fewer than two rows, or their widths differ.
    """
    _check(x, y, 2)
    off = torch.cov(x.T, correction=1) - torch.cov(y.T, correction=1)
    return off.square().sum() / (4 * x.shape[1] ** 2)


def closeness(x: Tensor, y: Tensor) -> Tensor:
    """Return the cosine of the mean features of x (n, F) and y (m, F), a scalar in [-1, 1].

    Raises:
        TextualizeError: a sample has no row, or their widths differ.
    """
    _check(x, y, 1)
    return torch.cosine_similarity(x.mean(0), y.mean(0), dim=0)


def _kernel(u: Tensor, kernels: int) -> Tensor:
    """Return the (N, N) sum of Gaussian kernels between rows; 1 each where all rows are equal."""
    n, u = len(u), u if u.dtype == torch.float64 else u.float()  # half precision: no distances
    distances = 2 * costs(u, u)
    bandwidth = distances.detach().sum() / max(n * n - n, 1)
    bandwidth = bandwidth.clamp(min=torch.finfo(u.dtype).tiny) / 2 ** (kernels // 2)
    return torch.stack([torch.exp(-distances / (bandwidth * 2**q)) for q in range(kernels)]).sum(0)


def _check(x: Tensor, y: Tensor, least: int) -> None:
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < least:
        raise TextualizeError(
            f"a discrepancy is of two samples (n, F) and (m, F) of {least} or more rows each; "
            f"given {tuple(x.shape)} and {tuple(y.shape)}"
        )
