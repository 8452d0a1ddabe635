"""Steps of the staircase: where a little more width costs much more time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Step", "steps"]

_STEEP = 1.5  # times the average slope
_HIGH = 0.02  # of the widest block's time


@dataclass(frozen=True)
class Step:
    """From width `low` to `high` latency rises by `seconds`: `steepness` times the average slope."""

    low: int
    high: int
    seconds: float
    steepness: float


def steps(widths: Sequence[int], seconds: Sequence[float], spreads: Sequence[float]) -> tuple[Step, ...]:
    """The intervals that rise at least 1.5 times as steeply as all from the narrowest block to the widest, in order.

    `widths` ascend and `seconds` do not fall; `spreads` are their interquartile ranges. A removed block (width 0) is
    left out, and so is a rise of less than 2 % of the widest block's time or than the mean of the spreads at its ends.
    """
    measured = [point for point in zip(widths, seconds, spreads, strict=True) if point[0]]
    if len(measured) < 2 or measured[-1][1] <= measured[0][1]:
        return ()
    (first, least, _), (last, most, _) = measured[0], measured[-1]
    average = (most - least) / (last - first)
    found = []
    for (low, start, left), (high, end, right) in pairwise(measured):
        step = Step(low, high, end - start, (end - start) / (high - low) / average)
        if step.steepness >= _STEEP and step.seconds >= max(_HIGH * most, (left + right) / 2):
            found.append(step)
    return tuple(found)
