"""Whether PyTorch can compute on a GPU."""

from __future__ import annotations

import torch

__all__ = ["sees"]


def sees(index: int) -> bool:
    """Whether the GPU of this number is PyTorch's to use, tried on a sum."""
    try:
        return bool(torch.cuda.is_available()) and float(torch.ones(2, device=f"cuda:{index}").sum()) == 2.0
    except RuntimeError:  # a build for other GPUs
        return False
