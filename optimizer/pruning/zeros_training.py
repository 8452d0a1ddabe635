"""Zeros while a model trains: kept where they are, or made meanwhile by movement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import PreTrainedModel, TrainerCallback

from optimizer.pruning.movement import Movement
from optimizer.pruning.patterns import Zeros
from optimizer.pruning.zeros import KeepZeros

__all__ = ["makes_zeros", "training_zeros"]


def makes_zeros(pattern: Any) -> bool:
    """Whether a pattern's zeros come while the model trains and not before."""
    return isinstance(pattern, Zeros) and pattern.by == "movement" and pattern.sparsity > 0


@contextmanager
def training_zeros(model: PreTrainedModel, pattern: Any, *, make: bool = False) -> Iterator[list[TrainerCallback]]:
    """Callbacks for a training in which a model's zeros stay zero; afterwards it has those that the pattern asks for.

    Args:
        pattern: of any kind; one without zeros needs no callbacks.
        make: whether zeros that come while the model trains come now.
    """
    if not isinstance(pattern, Zeros) or not pattern.sparsity:
        yield []
    elif make and makes_zeros(pattern):
        movement = Movement(model, pattern)
        yield [movement]
        movement.finish()
    else:
        yield [KeepZeros(model)]
