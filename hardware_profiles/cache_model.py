"""CacheModel: weights that stay in the caches from call to call are fast; larger models read memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CacheModel"]

_STEEPNESS = (2.0, 3.0, 4.0, 6.0, 8.0)
_CAPACITIES = 48


@dataclass(frozen=True)
class CacheModel:
    """Reading B bytes of weights costs `seconds_per_byte` * B * miss(B) beyond what they cost in cache.

    miss(B) = 1 / (1 + (capacity / B) ** steepness) is the share of the weights that was evicted since the
    last call: near 0 for small models, near 1 for large ones. By default it makes no odds.
    """

    seconds_per_byte: float = 0.0
    capacity: float = 1.0
    steepness: float = 4.0

    def miss(self, total_bytes: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Share of `total_bytes` of weights (positive) that is read from memory in every call."""
        return 1 / (1 + (self.capacity / np.maximum(total_bytes, 1.0)) ** self.steepness)

    def extra_seconds(self, total_bytes: float) -> float:
        """What a model of so many bytes takes more than the sum of its parts in cache."""
        return float(self.seconds_per_byte * total_bytes * self.miss(total_bytes))

    @classmethod
    def fit(cls, total_bytes: NDArray[np.float64], seconds: NDArray[np.float64]) -> CacheModel:
        """Learn from chains of one unit: `total_bytes` [n] of weights took `seconds` [n].

        Seconds per byte are v + gamma * miss(B): linear least squares of the relative error for every
        capacity and steepness of a grid, gamma at least 0. Fewer than four chains teach nothing.
        """
        if len(total_bytes) < 4:
            return cls()
        rate = seconds / total_bytes
        capacities = np.geomspace(total_bytes.min(), total_bytes.max(), _CAPACITIES)
        fits = (_fit(cls(0.0, float(C), k), total_bytes, rate) for C in capacities for k in _STEEPNESS)
        return min(fits, key=lambda fit: fit[0])[1]


def _fit(shape: CacheModel, total_bytes: NDArray[np.float64], rate: NDArray[np.float64]) -> tuple[float, CacheModel]:
    """(squared relative error, model) for the capacity and steepness of `shape`."""
    A = np.stack([np.ones_like(rate), shape.miss(total_bytes)], axis=1) / rate[:, None]
    (v, gamma), *_ = np.linalg.lstsq(A, np.ones_like(rate), rcond=None)
    if gamma < 0:
        v, gamma = float(np.sum(1 / rate) / np.sum(1 / rate**2)), 0.0
    error = float(np.sum((A @ np.array([v, gamma]) - 1) ** 2))
    return error, CacheModel(float(gamma), shape.capacity, shape.steepness)
