"""Allocation: what each layer keeps under a latency budget. Pure, exact up to the time grid.

A multiple-choice knapsack: every layer takes one option (heads and neurons, or a share of zeros) with a price in
milliseconds and a loss; dynamic programming over the milliseconds finds the set of options with the least total loss
that fits. The prices are measured on the device (as in ZipLM, Kurtic et al. 2023, section 3.2, and HALP, Shen et al.
2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

__all__ = ["Option", "Priced", "allocate", "pareto"]

GRID = 4000  # steps the budget is divided into; rounding up costs at most layers / GRID of it


class Priced(Protocol):
    """An option: its milliseconds, the estimated loss increase in nats, and of what size it leaves the layer."""

    @property
    def ms(self) -> float:
        """Price."""
        ...

    @property
    def loss(self) -> float:
        """Loss increase."""
        ...

    @property
    def size(self) -> float:
        """Of two options that are alike the larger one is taken."""
        ...


_P = TypeVar("_P", bound=Priced)


@dataclass(frozen=True)
class Option:
    """One way to shape one layer. `loss` is the estimated loss increase in nats."""

    heads: int
    ffn: int
    ms: float
    loss: float

    @property
    def size(self) -> float:
        """Heads and neurons."""
        return self.heads + self.ffn


def pareto(options: Sequence[_P]) -> list[_P]:
    """The options that no other one beats in both time and loss, fastest first."""
    kept: list[_P] = []
    for option in sorted(options, key=lambda o: (o.ms, o.loss, -o.size)):
        if not kept or option.loss < kept[-1].loss:
            kept.append(option)
    return kept


def allocate(layers: Sequence[Sequence[_P]], budget_ms: float) -> list[_P] | None:
    """One option a layer with the least total loss whose total time is at most `budget_ms`; None if nothing fits.

    Time is rounded up to budget / 4000, so the budget is never exceeded; the loss found is optimal for the
    rounded times.
    """
    if budget_ms <= 0:
        return None
    choices = [pareto(options) for options in layers]
    prices = [np.ceil(np.array([o.ms for o in options]) / budget_ms * GRID - 1e-9).astype(int) for options in choices]
    best = np.zeros(GRID + 1)  # best[t]: least loss of the layers so far within t steps
    taken: list[np.ndarray] = []
    for options, price in zip(choices, prices, strict=True):
        totals = np.full((len(options), GRID + 1), np.inf)
        for row, (option, steps) in enumerate(zip(options, price, strict=True)):
            if steps <= GRID:
                totals[row, steps:] = best[: GRID + 1 - steps] + option.loss
        taken.append(totals.argmin(axis=0))
        best = totals.min(axis=0)
    if not np.isfinite(best[GRID]):
        return None
    return _walk_back(choices, prices, taken)


def _walk_back(choices: Sequence[Sequence[_P]], prices: Sequence[np.ndarray], taken: Sequence[np.ndarray]) -> list[_P]:
    left = GRID
    chosen: list[_P] = []
    for options, price, table in zip(reversed(choices), reversed(prices), reversed(taken), strict=True):
        pick = int(table[left])
        chosen.append(options[pick])
        left -= int(price[pick])
    return chosen[::-1]
