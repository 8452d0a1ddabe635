"""Monotone regression: the non-decreasing sequence that is closest to measured values."""

from __future__ import annotations

import numpy as np

__all__ = ["isotonic"]


def isotonic(y: np.ndarray, w: np.ndarray | None = None) -> np.ndarray:
    """The non-decreasing x that minimises sum w (x - y)^2; `y` and `w` (positive; equal if None) are [n].

    Pool adjacent violators: Barlow, Bartholomew, Bremner, Brunk, "Statistical Inference under Order
    Restrictions", 1972, section 1.2.
    """
    weights = np.ones(len(y)) if w is None else np.asarray(w, float)
    levels: list[tuple[float, float, int]] = []
    for value, weight in zip(np.asarray(y, float), weights, strict=True):
        level = (float(value), float(weight), 1)
        while levels and levels[-1][0] > level[0]:
            level = _pooled(levels.pop(), level)
        levels.append(level)
    return np.array([value for value, _, count in levels for _ in range(count)])


def _pooled(a: tuple[float, float, int], b: tuple[float, float, int]) -> tuple[float, float, int]:
    weight = a[1] + b[1]
    return (a[0] * a[1] + b[0] * b[1]) / weight, weight, a[2] + b[2]
