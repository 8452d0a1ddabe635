"""Correction: what whole models take beyond the sum of their units, learned from a few of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Correction", "Observations"]

# prior standard deviations of the parts of a relative residual, from trials on several shapes
_SCALE = 0.04  # all sums are off by one factor
_OVERHEAD = 0.3  # a constant, in units of the glue
_LOCAL = 0.03  # models of similar size (caches) are off alike
_LOCAL_LENGTH = 0.7  # "similar": a factor of about two in time
_EXPORTED = 0.03  # exported models differ from built ones
_ZEROS = 0.05  # models with zeros that are skipped read their weights otherwise
_NOISE_BUILT = 0.03
_NOISE_EXPORTED = 0.01


@dataclass(frozen=True)
class Observations:
    """Whole models of one workload and precision, arrays [n].

    `total`: the sum of the glue and the units in seconds; `measured`: seconds of the model; `exported`: 1.0
    for a real model, 0.0 for a built one; `zeros`: 1.0 for a model with zeros, 0.0 for a dense one.
    """

    total: np.ndarray
    measured: np.ndarray
    exported: np.ndarray
    zeros: np.ndarray


class Correction:
    """Relative residual e(S) of a sum S, so that a model takes S (1 + e(S)).

    Gaussian process regression (Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006,
    eq. 2.25 and 2.26) whose covariance is the sum of a common scale, a constant overhead, a local term in
    log S, one for exported models and one for models with zeros. Without observations e is 0 and its deviation
    the prior's.
    """

    def __init__(self, glue: float, observations: Observations):
        self._glue = glue
        self._seen = observations
        noise = np.where(observations.exported > 0, _NOISE_EXPORTED, _NOISE_BUILT)
        K = self._kernel(observations, observations)
        self._inverse = np.linalg.inv(K + np.diag(noise**2)) if len(noise) else np.zeros((0, 0))
        self._e = observations.measured / observations.total - 1 if len(noise) else np.zeros(0)
        self._spread = self._inflation()

    def relative(self, total: float, *, zeros: bool = False) -> tuple[float, float]:
        """Mean and standard deviation of e at the sum `total`, for an exported model, dense or with zeros."""
        asked = Observations(np.array([total]), np.zeros(1), np.ones(1), np.array([float(zeros)]))
        prior = float(self._kernel(asked, asked)[0, 0]) + _NOISE_EXPORTED**2
        if not len(self._e):
            return 0.0, prior**0.5
        k = self._kernel(asked, self._seen)[0]
        variance = prior - float(k @ self._inverse @ k)
        return float(k @ self._inverse @ self._e), self._spread * max(variance, _NOISE_EXPORTED**2) ** 0.5

    def _inflation(self) -> float:
        """How much wider than expected the leave-one-out residuals are (Rasmussen and Williams, eq. 5.12)."""
        if len(self._e) < 3:
            return 1.0
        z = (self._inverse @ self._e) / np.sqrt(np.diag(self._inverse))
        return max(1.0, float(np.sqrt(np.mean(z**2))))

    def _kernel(self, a: Observations, b: Observations) -> np.ndarray:
        distance = (np.log(a.total)[:, None] - np.log(b.total)[None]) / _LOCAL_LENGTH
        overhead = np.outer(self._glue / a.total, self._glue / b.total)
        alike = _EXPORTED**2 * np.outer(a.exported, b.exported) + _ZEROS**2 * np.outer(a.zeros, b.zeros)
        return _SCALE**2 + _OVERHEAD**2 * overhead + _LOCAL**2 * np.exp(-0.5 * distance**2) + alike
