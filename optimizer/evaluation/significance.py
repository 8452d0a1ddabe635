"""Significance: whether two models that answered the same rows differ by more than chance. Pure functions on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["LEVEL", "RESAMPLES", "PairedDifference", "holm", "mcnemar_exact", "paired_bootstrap"]

LEVEL = 0.95
RESAMPLES = 5000
_ROUNDING = 1e-12


class PairedDifference(NamedTuple):
    """Score of the second model minus that of the first, its interval at LEVEL, and the two-sided p-value."""

    difference: float
    low: float
    high: float
    p: float


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided p-value of so many rows that only the first or only the second model answers rightly.

    McNemar 1947, "Note on the sampling error of the difference between correlated proportions"; exact: if both were
    equally good, the lesser count would be Binomial(only_first + only_second, 1/2). Rows that both answer rightly, or
    both wrongly, do not count.
    """
    n, least = only_first + only_second, min(only_first, only_second)
    term = total = 1
    for k in range(least):
        term = term * (n - k) // (k + 1)
        total += term
    return min(1.0, 2 * total / 2**n)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of several hypotheses, adjusted: with probability alpha at most, a true one of them falls below alpha.

    Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure": the i-th least of m is multiplied by
    m - i + 1, and none is less than one before it.
    """
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = least
    return adjusted


def paired_bootstrap(
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    metric: str,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairedDifference:
    """How much better the second model scores than the first, with the doubt that so few rows leave.

    Rows are drawn with replacement, both models' answers together (Efron & Tibshirani 1993, "An Introduction to the
    Bootstrap", chapters 13 and 16; for scores of language models Berg-Kirkpatrick et al. 2012, "An Empirical
    Investigation of Statistical Significance in NLP"). The interval is of percentiles; the p-value is the share of
    draws, centred on no difference, that differ as much, with one more in both counts (Davison & Hinkley 1997,
    "Bootstrap Methods and their Application", chapter 4). Only how often each (label, answer, answer) occurs
    enters a score, so that counts are drawn instead of rows.

    Args:
        labels: class indices [n].
        first: predicted class indices [n] of one model.
        second: of the other.
        metric: accuracy, macro_f1 or weighted_f1, as `scoring.scores` defines them.
        resamples: how many draws.
        seed: the same rows and seed give the same interval.
    """
    cells, counts = np.unique(np.stack([labels, first, second], axis=1), axis=0, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(labels), counts / len(labels), size=resamples)
    weights = np.concatenate([counts[None], drawn])  # the rows as they are come first
    classes = int(cells.max()) + 1
    scores = [_score(weights, cells[:, 0], cells[:, model], classes, metric) for model in (1, 2)]
    differences = scores[1] - scores[0]
    seen, draws = float(differences[0]), differences[1:]
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    extreme = int((np.abs(draws - seen) >= abs(seen) - _ROUNDING).sum())
    return PairedDifference(seen, float(low), float(high), (1 + extreme) / (1 + resamples))


def _score(weights: np.ndarray, labels: np.ndarray, answers: np.ndarray, classes: int, metric: str) -> np.ndarray:
    """The metric [draws] where each cell (label, answer) counts as often as `weights` [draws, cells] says."""

    def per_class(chosen: np.ndarray) -> np.ndarray:
        return weights @ (chosen[:, None] == np.arange(classes))  # [draws, classes]

    right = per_class(np.where(labels == answers, labels, -1))
    rows, answered = per_class(labels), per_class(answers)
    if metric == "accuracy":
        return right.sum(axis=1) / rows.sum(axis=1)
    f1 = 2 * right / np.maximum(rows + answered, 1)
    share = rows if metric == "weighted_f1" else rows > 0
    return (f1 * share).sum(axis=1) / share.sum(axis=1)
