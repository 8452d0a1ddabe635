"""Prediction: what a model is expected to take, how unsure that is, and how much faster another one is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Prediction", "ScenarioPrediction"]


@dataclass(frozen=True)
class Prediction:
    """Predicted milliseconds of one call with a 95% interval."""

    ms: float
    low_ms: float
    high_ms: float

    def __str__(self) -> str:
        """E.g. "4.12 ms (3.9 to 4.3)"."""
        return f"{self.ms:.2f} ms ({self.low_ms:.2f} to {self.high_ms:.2f}, 95%)"

    def speedup_of(self, other: Prediction) -> tuple[float, float, float]:
        """Times faster `other` is: the value, and the ends of its interval.

        Relative half widths add up like independent errors'; what errs alike in both makes it less.
        """
        return _widened(self.ms / other.ms, math.hypot(*((p.high_ms - p.low_ms) / 2 / p.ms for p in (self, other))))


@dataclass(frozen=True)
class ScenarioPrediction(Prediction):
    """Milliseconds under each of several suppositions that nobody can choose from, the same for all predictions.

    `ms` is their geometric mean, the interval holds them all and a relative `residual` beyond. Between two predictions
    what both suppose alike cancels: a device of unknown level has ratios that are known better.
    """

    scenarios: tuple[float, ...] = ()
    residual: float = 0.0

    @classmethod
    def of(cls, scenarios: Sequence[float], residual: float) -> ScenarioPrediction:
        """From the milliseconds of each supposition, in an order that is the same for all predictions."""
        spread = 1 + residual
        return cls(
            _geometric_mean(scenarios), min(scenarios) / spread, max(scenarios) * spread, tuple(scenarios), residual
        )

    def speedup_of(self, other: Prediction) -> tuple[float, float, float]:
        """Times faster `other` is, supposition by supposition where it has the same ones."""
        if not isinstance(other, ScenarioPrediction) or len(other.scenarios) != len(self.scenarios):
            return super().speedup_of(other)
        ratios = [mine / its for mine, its in zip(self.scenarios, other.scenarios, strict=True)]
        spread = 1 + math.hypot(self.residual, other.residual)
        return _geometric_mean(ratios), min(ratios) / spread, max(ratios) * spread


def _geometric_mean(values: Sequence[float]) -> float:
    return math.exp(math.fsum(math.log(value) for value in values) / len(values))


def _widened(value: float, doubt: float) -> tuple[float, float, float]:
    return value, value / (1 + doubt), value * (1 + doubt)
