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


def steps(widths: Sequence[int], seconds: Sequence[float]) -> tuple[Step, ...]:
    """The intervals that rise at least 1.5 times as steeply as all from the narrowest block to the widest, in order.

    `widths` ascend and `seconds` do not fall; a removed block (width 0) is left out, and so is a rise of less than 2 %
    of the widest block's time.
    """
    measured = [(width, value) for width, value in zip(widths, seconds, strict=True) if width]
    if len(measured) < 2 or measured[-1][1] <= measured[0][1]:
        return ()
    (first, least), (last, most) = measured[0], measured[-1]
    average = (most - least) / (last - first)
    found = (
        Step(low, high, end - start, (end - start) / (high - low) / average)
        for (low, start), (high, end) in pairwise(measured)
    )
    return tuple(step for step in found if step.steepness >= _STEEP and step.seconds >= _HIGH * most)
