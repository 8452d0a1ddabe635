"""Calibration: whether a model is right as often as it says. Pure functions on arrays."""

from __future__ import annotations

import numpy as np

__all__ = ["BINS", "expected_calibration_error", "softmax"]

BINS = 15  # as in Guo et al.


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities [n, classes] of logits [n, classes]."""
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> float:
    """ECE = sum over bins of |B_m| / n * |acc(B_m) - conf(B_m)|, in [0, 1].

    Guo et al. 2017, "On Calibration of Modern Neural Networks", eqs. 2, 3 and 5: B_m holds the rows whose highest
    probability is in ((m - 1) / M, m / M].

    Args:
        labels: class indices [n].
        probabilities: [n, classes], each row adds up to 1.
        bins: M, of equal width.
    """
    confidence = probabilities.max(axis=1).astype(float)
    right = probabilities.argmax(axis=1) == labels
    bin_of = np.searchsorted(np.arange(1, bins) / bins, confidence, side="left")
    gaps = np.bincount(bin_of, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))
