"""Time Python calls in this process, taking turns: the light way for hundreds of small things."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from benchmarks import statistics
from benchmarks.budget import Budget, Turn, plan_turn
from benchmarks.errors import TrimfitError
from benchmarks.worker.__main__ import come_to_rest, preemptions, settled

__all__ = ["measure_calls"]

Call = Callable[[], object]

WARMUP_CALLS = 3
WARMUP_SHARE = 0.25  # of a call's part of the time limit
TURN_SECONDS = 0.004  # shorter than between processes: nothing but caches has to come back
TURN_BEFORE_REST = 0.012  # where threads come to rest after it, which takes longer than the turn
MIN_ROUNDS = 3
CHECK_EVERY = 8  # rounds between looks at the precision


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
    limit, start = budget.seconds_for(len(calls)), clock()
    rng = np.random.default_rng(seed)
    rounds: dict[str, list[float]] = {name: [] for name in calls}
    rest: Call = come_to_rest if threads > 1 else _go_on
    with _no_garbage_collection():
        share = WARMUP_SHARE * limit / len(calls)
        turns = {}
        for name, call in calls.items():
            turns[name] = _warm_up(call, share, threads, clock)
            rest()
        round_start = clock()
        for number in range(1, budget.launches * budget.rounds + 1):
            for i in rng.permutation(len(calls)):
                name = list(calls)[i]
                rounds[name].append(_turn(calls[name], turns[name], clock))
                rest()
            now = clock()
            if number >= MIN_ROUNDS and now - start + (now - round_start) / number > limit:
                break
            if number % CHECK_EVERY == 0 and all(_precise(x, budget.precision) for x in rounds.values()):
                break
    return {name: np.array(values) for name, values in rounds.items()}


def _go_on() -> None:
    """A single thread leaves nothing running."""


def _warm_up(call: Call, limit: float, threads: int, clock: Callable[[], float]) -> Turn:
    """Call until settled or out of time; the turn to make from then on."""
    seconds: list[float] = []
    while len(seconds) < WARMUP_CALLS or not settled(seconds):
        if len(seconds) >= 2 and sum(seconds) > limit:
            break
        start = clock()
        call()
        seconds.append(clock() - start)
    turn = min(TURN_BEFORE_REST if threads > 1 else TURN_SECONDS, max(limit / 4, 1e-4))
    return plan_turn(float(np.median(seconds[-WARMUP_CALLS:])), threads=threads, turn_seconds=turn)


def _turn(call: Call, turn: Turn, clock: Callable[[], float]) -> float:
    for _ in range(turn.settle):
        call()
    seconds, peaceful = [], []
    for _ in range(turn.timed):
        switches = preemptions()
        start = clock()
        call()
        seconds.append(clock() - start)
        peaceful.append(preemptions() == switches)
    undisturbed = [value for value, kept in zip(seconds, peaceful, strict=True) if kept]
    return float(np.median(undisturbed or seconds))


def _precise(values: list[float], precision: float) -> bool:
    interval = statistics.median_interval(values, np.zeros(len(values)))
    return (interval.high - interval.low) / 2 <= precision * interval.center


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
