"""Choice of the layers that stay in fp32: pure functions on scores and divergences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from optimizer.float_layers import LinearGroup
from optimizer.scoring import score

__all__ = ["growing", "is_lost", "most_harmful"]

_TOLERATED = 0.005  # of the score: half a point
_ROUNDING = 1e-9  # of the difference of two scores


def is_lost(labels: np.ndarray, fp32: np.ndarray, quantised: np.ndarray, metric: str) -> bool:
    """Whether quantised logits [n, classes] score worse than fp32 ones by half a point and more than a standard error.

    The error is that of the difference if both were equally good: sqrt(b + c) / n, where b + c of n rows are right with
    one of them only (McNemar 1947, "Note on the sampling error of the difference between correlated proportions").
    """
    drop = score(labels, fp32, metric) - score(labels, quantised, metric)
    differing = ((fp32.argmax(axis=1) == labels) != (quantised.argmax(axis=1) == labels)).sum()
    return bool(drop > max(_TOLERATED, np.sqrt(differing) / len(labels)) + _ROUNDING)


def most_harmful(gains: Mapping[LinearGroup, float], weights: Mapping[LinearGroup, int]) -> tuple[LinearGroup, ...]:
    """Groups by how much divergence each takes away when it alone is fp32, per weight that it makes larger.

    Groups that take nothing away are left out.
    """
    helpful = [group for group, gain in gains.items() if gain > 0]
    return tuple(sorted(helpful, key=lambda group: -gains[group] / weights[group]))


def growing(order: Sequence[LinearGroup], most: int) -> Iterator[tuple[LinearGroup, ...]]:
    """The first group of an order, the first two, four ...; at last as many as there are, but at most `most`."""
    size, most = 1, min(most, len(order))
    while size < most:
        yield tuple(order[:size])
        size *= 2
    if most > 0:
        yield tuple(order[:most])
