"""Predictor: whatever can say what a model would take on a device, learned from a profile or from publications."""

from __future__ import annotations

from typing import Protocol

from benchmarks.workload import Workload
from hardware_profiles.layer_zeros import Sparsity
from hardware_profiles.prediction import Prediction
from hardware_profiles.shape import HasShape
from hardware_profiles.unit import Pattern

__all__ = ["Predictor"]


class Predictor(Protocol):
    """What advice asks. Everything raises TrimfitError, naming what is known, for what is not."""

    def predict(
        self,
        shape: HasShape,
        workload: Workload,
        precision: str = "fp32",
        pattern: Pattern = "dense",
        sparsity: Sparsity = 0.0,
    ) -> Prediction:
        """Milliseconds of a whole model."""
        ...

    def zeros_speedup(
        self,
        workload: Workload,
        precision: str,
        sparsity: float,
        pattern: Pattern = "unstructured",
        *,
        hidden_size: int | None = None,
    ) -> float:
        """Dense time over time with zeros."""
        ...

    def sparsity_range(
        self, workload: Workload, precision: str, pattern: Pattern, *, hidden_size: int | None = None
    ) -> tuple[float, float]:
        """(fewest, most) zeros with which times are known."""
        ...
