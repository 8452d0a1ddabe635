"""Cutting: a plan carried out on a model as its pattern has it."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from optimizer.encoding import Encoded
from optimizer.pruning.correction import correct
from optimizer.pruning.patterns import Plan, Width
from optimizer.surgery import SurgeryReport, keep

__all__ = ["corrects", "cut"]


def corrects(pattern: Any) -> bool:
    """Whether the weights that stay make up for those that go."""
    return isinstance(pattern, Width) and pattern.corrected


def cut(
    model: PreTrainedModel, pattern: Any, plan: Plan, calibration: Encoded
) -> tuple[PreTrainedModel, SurgeryReport]:
    """Remove what `plan` does not keep, in place, after correcting what stays where the pattern does so."""
    if corrects(pattern):
        correct(model, plan, calibration)
    return keep(model, plan)
