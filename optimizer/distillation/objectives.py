"""Distillation objectives: what the student is asked to imitate.

An objective is a frozen config class and a function registered for it with `loss.register`. It declares what it needs
of teacher and student beside the logits; the frame (`imitation`) collects exactly that and pairs it up. The
functions are pure: signals and labels in, a loss for every row out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import Any, ClassVar

import torch
import torch.nn.functional as F

from benchmarks.errors import TrimfitError
from optimizer.distillation.layer_pairs import Rule
from optimizer.distillation.signals import Need, Signals

__all__ = ["CrossEntropy", "LayerObjective", "Objective", "SoftTargets", "loss", "require_weights", "stages"]


@dataclass(frozen=True)
class Objective:
    """What all objectives have; one that needs nothing beside the logits never runs the teacher while training."""

    needs: ClassVar[frozenset[Need]] = frozenset()


@dataclass(frozen=True)
class LayerObjective(Objective):
    """An objective that compares layers; `layers` is the rule that says which with which, see `layer_pairs.Rule`.

    `by_head`: heads are compared one by one, so that each must have its counterpart. `projects`: a matrix that is
    learned along takes the student's states to the teacher's width; without it there is one only where widths differ.
    """

    layers: Rule = "uniform"
    rules: ClassVar[tuple[Rule, ...]] = ("origins", "uniform", "last", "top")
    by_head: ClassVar[bool] = False
    projects: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.layers not in self.rules:
            raise TrimfitError(
                f"got layers {self.layers!r} for {type(self).__name__}, expected one of {', '.join(self.rules)}"
            )


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """The labels alone, no teacher."""


@dataclass(frozen=True)
class SoftTargets(Objective):
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


def require_weights(**weights: float) -> None:
    """Raise TrimfitError for a weight that is no number of at least 0."""
    for name, value in weights.items():
        if not 0 <= value < float("inf"):
            raise TrimfitError(f"got {name} {value:g}, expected a weight of at least 0")


@singledispatch
def loss(objective: Any, student: Signals, labels: torch.Tensor, teacher: Signals | None) -> torch.Tensor:
    """The loss of every row [n] for the student's signals, labels [n] and the teacher's signals.

    The layers in the two signals are paired one to one unless the objective learns which belong together; the student's
    hidden states have the teacher's width.
    """
    raise TypeError(f"{type(objective).__name__} is not a distillation objective: register a loss for it")


@singledispatch
def stages(objective: Any) -> tuple[tuple[float, Any], ...]:
    """(share of the steps it ends at, objective) of each stage of a training, in order; mostly there is one."""
    return ((1.0, objective),)


@loss.register
def _(objective: CrossEntropy, student: Signals, labels: torch.Tensor, teacher: Any) -> torch.Tensor:
    return F.cross_entropy(student.logits, labels, reduction="none")


@loss.register
def _(objective: SoftTargets, student: Signals, labels: torch.Tensor, teacher: Signals | None) -> torch.Tensor:
    if teacher is None:
        raise ValueError("soft targets need the teacher's logits beside the rows: use Encoded.with_teacher")
    T = objective.temperature
    soft = F.kl_div(
        F.log_softmax(student.logits / T, dim=-1),
        F.log_softmax(teacher.logits / T, dim=-1),
        reduction="none",
        log_target=True,
    ).sum(-1)
    labelled = F.cross_entropy(student.logits, labels, reduction="none")
    return objective.soft * T * T * soft + (1 - objective.soft) * labelled
