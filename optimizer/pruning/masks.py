"""Masks: which single weights an unstructured candidate keeps. Pure functions on weight matrices."""

from __future__ import annotations

import torch

__all__ = ["magnitude_mask"]


def magnitude_mask(weight: torch.Tensor, sparsity: float) -> torch.Tensor:
    """True where a weight stays: the round(sparsity * n) smallest |w| are dropped (Han et al. 2015, section 3)."""
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must be in [0, 1), got {sparsity:g}: at 1 no weight would be left")
    drop = round(sparsity * weight.numel())
    mask = torch.ones(weight.numel(), dtype=torch.bool, device=weight.device)
    mask[weight.detach().abs().flatten().argsort()[:drop]] = False
    return mask.reshape(weight.shape)
