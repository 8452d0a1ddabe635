"""Masks: which weights a candidate with zeros keeps. Pure functions on weight matrices [outputs, inputs]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from hardware_profiles.runtimes.sparse.packing import BLOCK

__all__ = ["block_mask", "global_shares", "grouped", "least", "magnitude_mask", "n_of_m_mask", "top_mask"]


def magnitude_mask(weight: torch.Tensor, sparsity: float) -> torch.Tensor:
    """True where a weight stays: the round(sparsity * n) smallest |w| are dropped (Han et al. 2015, section 3)."""
    return top_mask(weight.detach().abs(), sparsity)


def block_mask(weight: torch.Tensor, sparsity: float) -> torch.Tensor:
    """True where a weight stays: of the n blocks of 1x4, round(sparsity * n) of the least sum of squares are dropped.

    Inputs that are no multiple of 4 leave a smaller block at the end of each row.
    """
    return top_mask(weight.detach().square(), sparsity, BLOCK)


def top_mask(scores: torch.Tensor, sparsity: float, group: int = 1) -> torch.Tensor:
    """True where a weight stays [outputs, inputs]: of the n groups the round(sparsity * n) of least score are dropped.

    Args:
        scores: what each weight is worth [outputs, inputs]; a group is worth the sum of its members.
        sparsity: share of the groups to drop, in [0, 1).
        group: neighbouring inputs of an output that go together; fewer at the end of a row.
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must be in [0, 1), got {sparsity:g}: at 1 no weight would be left")
    totals = grouped(scores, group)
    kept = ~least(totals, round(sparsity * totals.numel()))
    return kept.repeat_interleave(group, dim=1)[:, : scores.shape[1]]


def n_of_m_mask(scores: torch.Tensor, n: int, m: int) -> torch.Tensor:
    """True where a weight stays [outputs, inputs]: the n of greatest score among every m consecutive inputs.

    N:M sparsity, Zhou et al. 2021, "Learning N:M Fine-grained Structured Sparse Neural Networks From Scratch", section
    3; 2:4 of magnitudes is what Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks", propose. Of equal
    scores the first stay; a shorter group at the end of a row keeps n too.
    """
    rows, inputs = scores.shape
    padded = F.pad(scores.detach(), (0, -inputs % m), value=-torch.inf).reshape(rows, -1, m)
    rank = padded.argsort(dim=2, descending=True, stable=True).argsort(dim=2)
    return (rank < n).reshape(rows, -1)[:, :inputs]


def global_shares(scores: Sequence[Sequence[torch.Tensor]], sparsity: float, group: int = 1) -> list[float]:
    """Share of its groups that each set of matrices loses when the least of all of them go, wherever they are.

    Global magnitude pruning: Blalock et al. 2020, "What is the State of Neural Network Pruning?", section 2.3.

    Args:
        scores: what each weight is worth, by set; a set's matrices [outputs, inputs] go by one threshold.
        sparsity: share of the groups of all sets to drop.
        group: as in `top_mask`.
    """
    totals = [torch.cat([grouped(each, group).flatten() for each in matrices]) for matrices in scores]
    whole = torch.cat(totals)
    gone = least(whole, round(sparsity * whole.numel()))
    return [float(part.float().mean()) for part in gone.split([len(total) for total in totals])]


def least(sizes: torch.Tensor, count: int) -> torch.Tensor:
    """True at the `count` least of `sizes`, of any shape."""
    mask = np.zeros(sizes.numel(), dtype=bool)
    if count:
        mask[np.argpartition(sizes.float().cpu().numpy(), count - 1, axis=None)[:count]] = True
    return torch.from_numpy(mask).reshape(sizes.shape).to(sizes.device)


def grouped(scores: torch.Tensor, group: int) -> torch.Tensor:
    """The sum of every group [outputs, groups]."""
    scores = scores.detach()
    if group == 1:
        return scores
    return F.pad(scores, (0, -scores.shape[1] % group)).reshape(len(scores), -1, group).sum(dim=2)
