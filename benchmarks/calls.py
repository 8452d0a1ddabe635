"""Time Python calls in this process, taking turns: the light way for hundreds of small things."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from benchmarks import statistics
from benchmarks.budget import Budget
from benchmarks.errors import TrimfitError
from benchmarks.worker.__main__ import time_in_turns

__all__ = ["measure_calls"]

Call = Callable[[], object]


def measure_calls(
    calls: Mapping[str, Call],
    *,
    budget: Budget | None = None,
    threads: int = 1,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, NDArray[np.float64]]:
    """Time the calls in rounds of random order, garbage collection off, after each has settled.

    Args:
        calls: what to time, by name.
        budget: `max_seconds` is for all of them, warm-up included; at least 3 rounds are always made, at most
            launches x rounds, fewer when every median is known to the budget's precision.
        threads: of a call; with more than one its threads come to rest before the next call's turn.
        seed: of the order.
        clock: in seconds; a test can bring its own.

    Returns:
        For every name an array [rounds] of seconds per call: the median of the calls of each round's turn, of
        those that no other process interrupted where there are such.

    Raises:
        TrimfitError: there are no calls.
    """
    if not calls:
        raise TrimfitError("got no calls, expected at least one: name what to measure")
    budget = budget or Budget()
    found = time_in_turns(
        dict(calls),
        seconds=budget.seconds_for(len(calls)),
        rounds=budget.launches * budget.rounds,
        seed=seed,
        threads=threads,
        clock=clock,
        enough=lambda rounds: all(_precise(values, budget.precision) for values in rounds.values()),
    )
    return {name: np.array(values) for name, values in found.items()}


def _precise(values: list[float], precision: float) -> bool:
    interval = statistics.median_interval(values, np.zeros(len(values)))
    return (interval.high - interval.low) / 2 <= precision * interval.center
