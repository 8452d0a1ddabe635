"""Distributions over a task's classes from as much as a black box says: a label, some probabilities, or all of them.

Pure functions on arrays; `q` are probabilities over K classes.
"""

from __future__ import annotations

import numpy as np

__all__ = ["SMOOTHING", "completed", "logits_of", "mixed", "smoothed"]

SMOOTHING = 0.1  # Szegedy et al. 2016, section 7
LEAST = 1e-6  # probability: what is said to be impossible stays finite as a logit


def smoothed(label: int, classes: int, epsilon: float = SMOOTHING) -> np.ndarray:
    """What stands for a bare label: q'(k) = (1 - epsilon) delta_{k,y} + epsilon / K, [classes].

    Label smoothing with a uniform prior, Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer
    Vision", section 7.
    """
    q = np.full(classes, epsilon / classes)
    q[label] += 1 - epsilon
    return q


def completed(listed: np.ndarray, rest: float, ceiling: float) -> np.ndarray:
    """Top-k probabilities as a whole distribution [classes].

    The mass that was not listed is spread evenly over the classes that were not, the least informed guess, but none
    gets more than the smallest that was listed: it would have been among the top k. Then q sums to 1, which leaves out
    what went to words that are no class.

    Args:
        listed: probabilities [classes], NaN where none was given; at least one is there.
        rest: mass that was not listed, in [0, 1].
        ceiling: the smallest probability that was listed, of anything.
    """
    missing = np.isnan(listed)
    each = min(rest / missing.sum(), ceiling) if missing.any() else 0.0
    q = np.maximum(np.where(missing, each, listed), LEAST)
    return q / q.sum()


def mixed(q: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """Two teachers as one: share q + (1 - share) other, both [n, classes].

    The mean of an ensemble's distributions, Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network",
    section 1.
    """
    return share * q + (1 - share) * other


def logits_of(q: np.ndarray) -> np.ndarray:
    """Logits whose softmax is q [.., classes]: log q."""
    return np.log(np.maximum(q, LEAST))
