"""Scale: values to pixels, and the round numbers at which to put ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Scale", "linear", "logarithmic"]

_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Scale:
    """Values `low`..`high` to pixels `start`..`end` (which may run backwards), linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Pixel of a value; values outside are drawn outside."""
        return self.start + (self.end - self.start) * self._share(value)

    def ticks(self, count: int = 5) -> tuple[float, ...]:
        """About `count` round values inside the scale."""
        return self._log_ticks(count) if self.log else self._linear_ticks(count)

    def _share(self, value: float) -> float:
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def _linear_ticks(self, count: int) -> tuple[float, ...]:
        rough = (self.high - self.low) / max(count, 1)
        power = 10.0 ** math.floor(math.log10(rough))
        step = min((factor * power for factor in _STEPS), key=lambda candidate: abs(candidate - rough))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return tuple(round(index * step, 12) for index in range(first, last + 1))

    def _log_ticks(self, count: int) -> tuple[float, ...]:
        exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for factors in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
            ticks = [round(factor * 10.0**exponent, 12) for exponent in exponents for factor in factors]
            inside = tuple(tick for tick in ticks if self.low <= tick <= self.high)
            if len(inside) >= min(count, 3):
                return inside[:: math.ceil(len(inside) / (2 * count))]
        return self._linear_ticks(count)


def linear(values: Iterable[float], start: float, end: float, margin: float = 0.08, least: float = 1e-9) -> Scale:
    """A linear scale around all values, with a margin (share of their range) and at least `least` wide."""
    low, high = _range(values)
    spare = max(high - low, least) * margin + max(least - (high - low), 0.0) / 2
    return Scale(low - spare, high + spare, start, end)


def logarithmic(values: Iterable[float], start: float, end: float, margin: float = 0.08) -> Scale:
    """A logarithmic scale around all values, which must be positive; at least a factor 1.5 wide."""
    low, high = _range(values)
    spare = math.exp(max(math.log(high / low), math.log(1.5)) * margin)
    if high / low < 1.5:
        spare *= math.sqrt(1.5 * low / high)
    return Scale(low / spare, high * spare, start, end, log=True)


def _range(values: Iterable[float]) -> tuple[float, float]:
    found = list(values)
    return min(found), max(found)
