"""The formulas: what samples that come in launches say about medians and ratios (pure functions).

Samples of one process resemble each other more than samples of two (memory layout, CPU, moment), so the
launch is what is resampled. The interval is Student's t with a bootstrap standard error: the bootstrap alone
is too narrow when there
are few launches (Hesterberg, "What Teachers Should Know About the Bootstrap", 2015, sections 4.3 and 5.3), by
a factor sqrt((L - 1) / L) and by the normal quantile in the place of t's. For the mean of one value per
launch this is exactly
the textbook t interval.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "LEVEL",
    "Interval",
    "difference_interval",
    "early_stopping_rank",
    "median_interval",
    "outliers",
    "standard_error",
    "student_quantile",
]

LEVEL = 0.95
RESAMPLES = 1000
EARLY_STOPPING_CONFIDENCE = 0.99
TUKEY = 1.5


class Interval(NamedTuple):
    """An estimate and the interval around it at confidence LEVEL."""

    center: float
    low: float
    high: float


def median_interval(values: ArrayLike, launches: ArrayLike, *, level: float = LEVEL, seed: int = 0) -> Interval:
    """The median of all values with an interval that counts the variance between launches.

    Args:
        values: [n], of any unit.
        launches: [n], which launch each value comes from. With one launch the values themselves are
            resampled.
        level: confidence.
        seed: of the resampling; the same data always give the same interval.
    """
    values, launches = np.asarray(values, float), _clusters(launches)
    center = float(np.median(values))
    count = len(np.unique(launches))
    if count < 2:
        return Interval(center, -math.inf, math.inf)
    half = student_quantile(count - 1, level) * standard_error(values, launches, seed=seed)
    return Interval(center, center - half, center + half)


def difference_interval(
    first: ArrayLike,
    first_launches: ArrayLike,
    second: ArrayLike,
    second_launches: ArrayLike,
    *,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """median(first) - median(second) of samples that were not taken in pairs, each [n] with its launches.

    The degrees of freedom are Welch's and Satterthwaite's, rounded down.
    """
    groups = [(np.asarray(x, float), _clusters(y)) for x, y in ((first, first_launches), (second, second_launches))]
    center = float(np.median(groups[0][0]) - np.median(groups[1][0]))
    counts = [len(np.unique(launches)) for _, launches in groups]
    if min(counts) < 2:
        return Interval(center, -math.inf, math.inf)
    variances = [standard_error(x, y, seed=seed + i) ** 2 for i, (x, y) in enumerate(groups)]
    spread = sum(variances)
    if spread == 0:
        return Interval(center, center, center)
    freedom = spread**2 / sum(v**2 / (n - 1) for v, n in zip(variances, counts, strict=True))
    half = student_quantile(max(1, int(freedom)), level) * math.sqrt(spread)
    return Interval(center, center - half, center + half)


def standard_error(
    values: NDArray[np.float64],
    launches: NDArray[np.int64],
    *,
    statistic: str = "median",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> float:
    """Bootstrap standard error of the pooled median (or mean), launches resampled, times sqrt(L / (L - 1)).

    Args:
        values: [n].
        launches: [n] the launch of each value.
        statistic: "median" or "mean" (the mean exists to check the method against its closed form).
        resamples: how many.
        seed: of the resampling.
    """
    names, member = np.unique(launches, return_inverse=True)
    count = len(names)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
    order = np.argsort(values, kind="stable")
    ordered, weights = values[order], drawn[:, member[order]]
    estimate = _weighted_means if statistic == "mean" else _weighted_medians
    return float(estimate(ordered, weights).std() * math.sqrt(count / (count - 1)))


def _weighted_medians(ordered: NDArray[np.float64], weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """np.median of sorted values [n], each repeated as often as `weights` [resamples, n] says."""
    total = weights.cumsum(1)
    half = total[:, -1:] / 2
    lower = (total >= half).argmax(1)
    upper = (total > half).argmax(1)
    return (ordered[lower] + ordered[upper]) / 2


def _weighted_means(values: NDArray[np.float64], weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean of values [n], each repeated as often as `weights` [resamples, n] says."""
    return np.asarray(weights @ values / weights.sum(1))


def _clusters(launches: ArrayLike) -> NDArray[np.int64]:
    """One launch has no clusters to resample: then each value stands for itself."""
    launches = np.asarray(launches)
    return launches if len(np.unique(launches)) > 1 else np.arange(len(launches))


@lru_cache(maxsize=256)
def student_quantile(freedom: int, level: float = LEVEL) -> float:
    """The t within which (+-t) a Student variable of `freedom` degrees lies with probability `level`.

    Bisection on the finite sums for whole degrees of freedom, Abramowitz & Stegun 26.7.3 and 26.7.4.
    """
    low, high = 0.0, 1.0
    while _student_within(high, freedom) < level:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_within(middle, freedom) < level else (low, middle)
    return (low + high) / 2


def _student_within(t: float, freedom: int) -> float:
    theta = math.atan(t / math.sqrt(freedom))
    cosine, odd = math.cos(theta), freedom % 2
    term = total = cosine if odd else 1.0
    for k in range(2 if odd else 1, freedom - 2, 2):
        term *= cosine**2 * k / (k + 1)
        total += term
    if not odd:
        return math.sin(theta) * total
    return (theta + (math.sin(theta) * total if freedom > 1 else 0.0)) * 2 / math.pi


def early_stopping_rank(samples: int, percentile: float) -> int | None:
    """Which sample (1 = fastest) may be reported as the percentile, or None when there are too few samples.

    MLPerf's early-stopping rule (inference_rules.adoc, "Early stopping"): the largest t >= 1 for which at
    most t slow samples of n would be seen with probability <= 1 % if the percentile were worse; the (n - t +
    1)-th is reported.

    Args:
        samples: n, how many there are. 64 is the least for the 90th percentile, 662 for the 99th.
        percentile: in (0, 100).
    """
    slow = 1 - percentile / 100
    allowed, probability = 0, 0.0
    for t in range(samples):
        probability += _binomial(samples, t, slow)
        if probability > 1 - EARLY_STOPPING_CONFIDENCE:
            break
        allowed = t
    return samples - allowed + 1 if allowed >= 1 else None


def _binomial(n: int, k: int, p: float) -> float:
    choose = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(choose + k * math.log(p) + (n - k) * math.log1p(-p))


def outliers(values: ArrayLike) -> int:
    """How many values lie more than 1.5 interquartile ranges outside the quartiles (Tukey)."""
    values = np.asarray(values, float)
    if values.size == 0:
        return 0
    first, third = np.percentile(values, (25, 75))
    reach = TUKEY * (third - first)
    return int(np.sum((values < first - reach) | (values > third + reach)))
