"""Crowding: whether other processes leave the CPUs that a measurement needs."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil

from benchmarks.environment import MachineState, read_state

__all__ = ["MAX_CROWDING", "cpus_of_others", "is_crowded", "wait_for_room"]

MAX_CROWDING = 0.25  # CPUs that others and the model want beyond those there are
LOOK_SECONDS = 1.0


def cpus_of_others(before: MachineState, after: MachineState) -> float:
    """CPUs that other processes kept busy between two states of one machine; 0 where the system does not tell."""
    passed = _increase(before.unix_seconds, after.unix_seconds)
    if not passed:
        return 0.0
    busy = _increase(before.busy_seconds, after.busy_seconds)
    return max(0.0, (busy - _increase(before.own_seconds, after.own_seconds)) / passed)


def is_crowded(others: float, threads: int, cpus: int | None = None) -> bool:
    """Whether `others` CPUs that are busy leave too few of `cpus` (None: this machine's) for so many threads."""
    return others + threads > (cpus or psutil.cpu_count() or 1) + MAX_CROWDING


def wait_for_room(
    threads: int,
    seconds: float,
    read: Callable[[], MachineState] = read_state,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Wait until others leave room for so many threads, at most `seconds`; whether they did."""
    before = read()
    for _ in range(round(seconds / LOOK_SECONDS)):
        sleep(LOOK_SECONDS)
        now = read()
        if not is_crowded(cpus_of_others(before, now), threads):
            return True
        before = now
    return False


def _increase(before: float | None, after: float | None) -> float:
    return 0.0 if before is None or after is None else after - before
