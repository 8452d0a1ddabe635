"""The point from which on something holds."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["smallest"]


def smallest(holds: Callable[[float], bool], low: float, high: float, width: float) -> float | None:
    """The smallest value in [low, high], to within `width`, from which on `holds`; None when it never does.

    Args:
        holds: asked at both ends and by halves; false below some point and true above it.
        low: given back when it holds there already.
        high: the largest value asked about.
        width: of the interval that is left; its upper end is given back.
    """
    if not holds(high):
        return None
    if holds(low):
        return low
    while high - low > width:
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
