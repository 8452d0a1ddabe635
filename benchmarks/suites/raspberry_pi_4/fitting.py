"""Fitting: milliseconds as a sum of features with costs that cannot be negative, and how good that is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.stats import kendalltau, spearmanr

__all__ = ["Costs", "fit", "predicted", "score"]

Floats = NDArray[np.float64]
Costs = dict[str, float]


def fit(features: Mapping[str, Floats], milliseconds: Floats) -> Costs:
    """Costs c >= 0 with the least sum of squared relative residuals, sum((X c / y - 1)^2).

    Args:
        features: arrays [n] by name.
        milliseconds: y [n].
    """
    X = np.stack(list(features.values()), axis=1)
    scale = X.max(axis=0)
    scale[scale == 0] = 1.0
    found, _ = nnls(X / scale / milliseconds[:, None], np.ones(len(milliseconds)))
    return {name: float(cost) for name, cost in zip(features, found / scale, strict=True)}


def predicted(costs: Mapping[str, float], features: Mapping[str, Floats]) -> Floats:
    """Milliseconds [n]."""
    return np.sum([cost * features[name] for name, cost in costs.items()], axis=0)


def score(guess: Floats, truth: Floats) -> dict[str, float | int]:
    """How far off predictions are, in percent of the truth, and how alike they rank."""
    error = np.abs(guess / truth - 1)
    return {
        "rows": len(truth),
        "mape_percent": round(100 * float(np.mean(error)), 2),
        "within_5_percent": round(100 * float(np.mean(error <= 0.05)), 1),
        "within_10_percent": round(100 * float(np.mean(error <= 0.1)), 1),
        "error_of_95_percent": round(100 * float(np.quantile(error, 0.95)), 1),
        "spearman": round(float(spearmanr(guess, truth).statistic), 3),
        "kendall": round(float(kendalltau(guess, truth).statistic), 3),
    }
