"""Removal: heads and neurons, columns of a layer, that go one at a time, the others corrected. Pure functions.

A linear layer's outputs W x change by tr(D H D^T) on average when its weights W [outputs, inputs] change by D, with
H = E[x x^T]. Taking the columns S of the next unit away costs least, and the others make up for it best, with

    cost = tr(W_S ([H^-1]_SS)^-1 W_S^T)
    W    <- W - W_S ([H^-1]_SS)^-1 [H^-1]_S,:
    H^-1 <- H^-1 - [H^-1]_:,S ([H^-1]_SS)^-1 [H^-1]_S,:

Kurtic, Frantar and Alistarh 2023, "ZipLM: Inference-Aware Structured Pruning of Language Models", section 3.1 and
algorithm 1; for single weights Hassibi and Stork 1993, eq. 5. The unit of least cost goes first.

Each step leaves the least-squares solution on what stays, so that costs add up to the whole error, and the weights of
any width need only one solve (`refit`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["Removal", "columns_of", "refit", "refit_bias", "regress", "remove_columns", "remove_groups"]

PANEL = 64  # columns that go before the whole inverse is brought up to date, in one product of matrices


@dataclass(frozen=True)
class Removal:
    """The order in which units go, least missed first, and the layer's error [units + 1] by the number that is left.

    `errors` is tr(D H D^T): 0 with all units left, then rising; with none left it is the power of the output.
    """

    order: tuple[int, ...]
    errors: np.ndarray

    def kept(self, count: int) -> tuple[int, ...]:
        """Indices of the `count` units that go last, rising."""
        return tuple(sorted(self.order[len(self.order) - count :]))

    def ranks(self) -> np.ndarray:
        """When each unit goes [units], 0 first: an importance within the layer."""
        found = np.empty(len(self.order))
        found[list(self.order)] = np.arange(len(self.order))
        return found

    @classmethod
    def of(cls, order: list[int], costs: list[float]) -> Removal:
        """From the units in the order of going and what each cost."""
        return cls(tuple(order), np.concatenate([[0.0], np.cumsum(costs)])[::-1])


def remove_groups(weight: torch.Tensor, hessian: torch.Tensor, size: int) -> Removal:
    """Remove groups of `size` neighbouring columns one at a time: heads, in the projection that follows them.

    Args:
        weight: W [outputs, groups * size].
        hessian: positive definite H [groups * size, groups * size], see `second_order.damped`.
        size: columns of a group.
    """
    w, inverse = weight.detach().double(), _inverse(hessian)
    left = list(range(w.shape[1] // size))
    order: list[int] = []
    costs: list[float] = []
    while left:
        found = [_cost(w, inverse, columns_of((unit,), size)) for unit in left]
        least = int(np.argmin(found))
        costs.append(found[least])
        order.append(left.pop(least))
        w, inverse = _without(w, inverse, columns_of(order[-1:], size))
    return Removal.of(order, costs)


def remove_columns(weight: torch.Tensor, hessian: torch.Tensor) -> Removal:
    """Remove single columns one at a time: neurons, in the projection that follows them. `remove_groups` of size 1.

    What a step subtracts from W and H^-1 is a product of two vectors; they are put off and subtracted for a panel of
    steps at once, as blocked factorisations do, so that 3072 columns take seconds.
    """
    w, inverse = weight.detach().double(), _inverse(hessian)
    columns = torch.arange(w.shape[1])
    order: list[int] = []
    costs: list[float] = []
    while len(columns):
        gone, found, w, inverse = _panel(w, inverse, min(PANEL, len(columns)))
        order += columns[gone].tolist()
        costs += found
        columns = columns[_others(gone, len(columns))]
    return Removal.of(order, costs)


def refit(
    weight: torch.Tensor, hessian: torch.Tensor, kept: torch.Tensor, wanted: torch.Tensor | None = None
) -> torch.Tensor:
    """W' [outputs, inputs], zero outside the columns `kept`, whose outputs are nearest: W'_K = E[t x^T]_:,K (H_KK)^-1.

    Args:
        weight: W.
        hessian: positive definite H = E[x x^T].
        kept: indices of columns.
        wanted: E[t x^T] [outputs, inputs] of outputs t to be near to; W H where they are the layer's own, t = W x.
    """
    h = hessian.double()
    products = weight.detach().double() @ h if wanted is None else wanted.double()
    found = torch.zeros_like(products)
    if len(kept):
        factor = torch.linalg.cholesky(h[kept][:, kept])
        found[:, kept] = torch.cholesky_solve(products[:, kept].T, factor).T
    return found.to(weight.dtype)


def refit_bias(target: torch.Tensor, weight: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """The bias [outputs] with which W x + b is E[t] = `target` on average, E[x] = `mean`.

    With H the covariance of x instead of E[x x^T], `refit` and this are least squares over weights and bias together.
    """
    return (target.double() - weight.detach().double() @ mean.double()).to(weight.dtype)


def regress(x: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Slope and intercept [dimensions] with which slope x + intercept is nearest to t, each dimension by itself.

    Args:
        x: [tokens, dimensions]; where a dimension does not vary its slope is 1.
        t: the same shape.
    """
    x_mean, t_mean = x.mean(dim=0), t.mean(dim=0)
    variance = (x - x_mean).square().mean(dim=0)
    slope = torch.where(variance > 0, ((x - x_mean) * (t - t_mean)).mean(dim=0) / variance, 1.0)
    return slope, t_mean - slope * x_mean


def columns_of(units: tuple[int, ...] | list[int], size: int) -> torch.Tensor:
    """Indices of the columns of these units, `size` each."""
    return (torch.tensor(units, dtype=torch.long)[:, None] * size + torch.arange(size)).flatten()


def _inverse(hessian: torch.Tensor) -> torch.Tensor:
    return torch.cholesky_inverse(torch.linalg.cholesky(hessian.double()))


def _cost(w: torch.Tensor, inverse: torch.Tensor, s: torch.Tensor) -> float:
    factor = torch.linalg.cholesky(inverse[s][:, s])
    return float(torch.linalg.solve_triangular(factor, w[:, s].T, upper=False).square().sum())


def _without(w: torch.Tensor, inverse: torch.Tensor, s: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """W and H^-1 with the columns S gone: zero."""
    step = torch.cholesky_solve(inverse[s], torch.linalg.cholesky(inverse[s][:, s]))  # ([H^-1]_SS)^-1 [H^-1]_S,:
    w, inverse = w - w[:, s] @ step, inverse - inverse[:, s] @ step
    w[:, s] = 0.0
    inverse[s] = 0.0
    inverse[:, s] = 0.0
    return w, inverse


def _panel(
    w: torch.Tensor, inverse: torch.Tensor, count: int
) -> tuple[list[int], list[float], torch.Tensor, torch.Tensor]:
    """The next `count` columns to go, what each costs, and W and H^-1 of the others.

    After k steps H^-1 is `inverse` - L L^T and W is `w` - V L^T, with L and V the k columns found so far.
    """
    n = w.shape[1]
    lower, moved = w.new_zeros(n, count), w.new_zeros(w.shape[0], count)
    diagonal, norms = inverse.diagonal().clone(), w.square().sum(dim=0)
    gone: list[int] = []
    costs: list[float] = []
    for k in range(count):
        cost = norms.clamp_min(0.0) / diagonal
        cost[gone] = torch.inf
        p = int(cost.argmin())
        before = lower[p, :k]
        column = inverse[p] - lower[:, :k] @ before
        root = column[p].sqrt()
        u, v = column / root, (w[:, p] - moved[:, :k] @ before) / root
        products = w.T @ v - lower[:, :k] @ (moved[:, :k].T @ v)  # of v with every column of W
        power = v.square().sum()
        norms = norms - 2 * u * products + power * u.square()
        diagonal = diagonal - u.square()
        diagonal[p] = 1.0  # gone
        lower[:, k], moved[:, k] = u, v
        gone.append(p)
        costs.append(float(power))
    left = _others(gone, n)
    rest = lower[left]
    return gone, costs, w[:, left] - moved @ rest.T, inverse[left][:, left] - rest @ rest.T


def _others(gone: list[int], count: int) -> torch.Tensor:
    left = torch.ones(count, dtype=torch.bool)
    left[gone] = False
    return left
