"""Distillation objectives: what the student is asked to imitate.

An objective is a frozen config class and a function registered for it with `loss.register`. The functions are
pure: logits and labels in, a scalar loss out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.errors import TrimfitError

__all__ = ["CrossEntropy", "SoftTargets", "loss"]


@dataclass(frozen=True)
class CrossEntropy:
    """The labels alone, no teacher."""


@dataclass(frozen=True)
class SoftTargets:
    """The teacher's softened distribution mixed with the labels.

    Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network", section 2: `T` is the temperature,
    soft targets count `soft` and labels `1 - soft`; the soft part is scaled by T^2 to keep its gradient's size.
    """

    temperature: float = 2.0
    soft: float = 0.7

    def __post_init__(self) -> None:
        if not self.temperature > 0 or not 0 <= self.soft <= 1:
            raise TrimfitError(
                f"got temperature {self.temperature:g} and soft share {self.soft:g}, expected a temperature above 0 "
                "and a share in [0, 1]"
            )


@singledispatch
def loss(
    objective: Any, logits: torch.Tensor, labels: torch.Tensor, teacher_logits: torch.Tensor | None
) -> torch.Tensor:
    """The loss (a scalar, mean over rows) for student logits [n, c], labels [n] and teacher logits [n, c]."""
    raise TypeError(f"{type(objective).__name__} is not a distillation objective: register a loss for it")


@loss.register
def _(objective: CrossEntropy, logits: torch.Tensor, labels: torch.Tensor, teacher_logits: Any) -> torch.Tensor:
    return F.cross_entropy(logits, labels)


@loss.register
def _(
    objective: SoftTargets, logits: torch.Tensor, labels: torch.Tensor, teacher_logits: torch.Tensor | None
) -> torch.Tensor:
    if teacher_logits is None:
        raise ValueError("soft targets need the teacher's logits beside the rows: use Encoded.with_teacher")
    T = objective.temperature
    soft = F.kl_div(
        F.log_softmax(logits / T, dim=-1),
        F.log_softmax(teacher_logits / T, dim=-1),
        reduction="batchmean",
        log_target=True,
    )
    return objective.soft * T * T * soft + (1 - objective.soft) * F.cross_entropy(logits, labels)
