"""Refinement: between which measured widths to measure more."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from hardware_profiles.clock import Clock
from hardware_profiles.isotonic import isotonic
from hardware_profiles.latency_table import spread
from hardware_profiles.profile import LatencyProfile
from hardware_profiles.profile_request import ProfileRequest
from hardware_profiles.unit import Kind

__all__ = ["midpoints", "refined_widths"]

_MULTIPLE: dict[Kind, int] = {"attention": 1, "ffn": 16}
"""Heads come one by one; kernels work on 16 floats at a time, so finer FFN widths stand on the same step."""
_WORTH = 0.02  # of the widest block's time: smaller differences are not looked into


def refined_widths(
    profile: LatencyProfile, request: ProfileRequest, kind: Kind, precision: str, *, count: int, most: int
) -> tuple[int, ...]:
    """Up to `count` widths to be measured next, fewer where `most` in all would be passed; () where all is known well.

    Taken from what was measured so far: each goes into the middle of one of the intervals whose ends differ most, so
    that rounds close in on the steps of the staircase.
    """
    base = {unit.width for unit in request.units(kind, precision)}
    clock, widest = Clock(profile), max(base)
    found = sorted(
        (
            entry
            for entry in profile.entries
            if entry.workload == request.workload
            and entry.precision == precision
            and entry.unit == request.unit(kind, entry.unit.width)
            and entry.unit.width <= widest
        ),
        key=lambda entry: entry.unit.width,
    )
    widths = [entry.unit.width for entry in found]
    spreads = np.array([spread(entry, clock) for entry in found])
    seconds = isotonic(np.array([entry.unit_seconds * clock.factor(entry) for entry in found]), spreads**-2)
    left = most - len(set(widths) - base)
    return midpoints(widths, list(seconds), list(spreads), _MULTIPLE[kind], min(count, left))


def midpoints(
    widths: Sequence[int], seconds: Sequence[float], spreads: Sequence[float], multiple: int, count: int
) -> tuple[int, ...]:
    """The middles, at a `multiple`, of the up to `count` intervals whose ends differ most in `seconds`.

    `widths` ascend and `seconds` do not fall; `spreads` are their interquartile ranges. Not looked into: the interval
    above a removed block (width 0), one that holds no multiple, and one whose ends differ by less than 2 % of the
    longest time or than the mean of their spreads.
    """
    if count < 1 or len(widths) < 2:
        return ()
    worth = _WORTH * max(seconds)
    found = []
    for (low, start, left), (high, end, right) in pairwise(zip(widths, seconds, spreads, strict=True)):
        middle = _middle(low, high, multiple)
        if low and middle is not None and end - start >= max(worth, (left + right) / 2):
            found.append((start - end, middle))
    return tuple(sorted(middle for _, middle in sorted(found)[:count]))


def _middle(low: int, high: int, multiple: int) -> int | None:
    """The multiple nearest to the middle that lies strictly between, None where none does."""
    middle = multiple * round((low + high) / 2 / multiple)
    return middle if low < middle < high else None
