"""Masks: which weights a candidate with zeros keeps. Pure functions on weight matrices [outputs, inputs]."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from hardware_profiles.runtimes.sparse.packing import BLOCK

__all__ = ["block_mask", "least", "magnitude_mask"]


def magnitude_mask(weight: torch.Tensor, sparsity: float) -> torch.Tensor:
    """True where a weight stays: the round(sparsity * n) smallest |w| are dropped (Han et al. 2015, section 3)."""
    return _all_but_smallest(weight.detach().abs(), sparsity)


def block_mask(weight: torch.Tensor, sparsity: float) -> torch.Tensor:
    """True where a weight stays: of the n blocks of 1x4, round(sparsity * n) of the least sum of squares are dropped.

    Inputs that are no multiple of 4 leave a smaller block at the end of each row.
    """
    rows, inputs = weight.shape
    squares = F.pad(weight.detach().square(), (0, -inputs % BLOCK)).reshape(rows, -1, BLOCK).sum(dim=2)
    return _all_but_smallest(squares, sparsity).repeat_interleave(BLOCK, dim=1)[:, :inputs]


def least(sizes: torch.Tensor, count: int) -> torch.Tensor:
    """True at the `count` least of `sizes`, of any shape."""
    mask = np.zeros(sizes.numel(), dtype=bool)
    if count:
        mask[np.argpartition(sizes.float().cpu().numpy(), count - 1, axis=None)[:count]] = True
    return torch.from_numpy(mask).reshape(sizes.shape).to(sizes.device)


def _all_but_smallest(sizes: torch.Tensor, sparsity: float) -> torch.Tensor:
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must be in [0, 1), got {sparsity:g}: at 1 no weight would be left")
    return ~least(sizes, round(sparsity * sizes.numel()))
