"""Which CPUs a timed process is pinned to: the idlest of the fastest, one thread a physical core first."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import psutil

__all__ = ["choose_cpus", "cpu_numbers", "pick"]

CPU_FOLDER = Path("/sys/devices/system/cpu")


def choose_cpus(threads: int, rng: np.random.Generator, watch_seconds: float = 0.05) -> tuple[int, ...]:
    """The CPUs to pin `threads` threads to, after a look at the machine's load; () where pinning is unknown.

    Args:
        threads: how many CPUs are wanted; when the process may use fewer, it gets all it may use.
        rng: breaks ties, so that repeated launches see different cores.
        watch_seconds: for how long the load of the CPUs is watched.
    """
    if not hasattr(os, "sched_getaffinity"):
        return ()
    allowed = sorted(os.sched_getaffinity(0))
    if threads >= len(allowed):
        return tuple(allowed)
    busy = psutil.cpu_percent(watch_seconds, percpu=True)
    load = {cpu: busy[cpu] if cpu < len(busy) else 0.0 for cpu in allowed}
    return pick(threads, load, {cpu: _siblings(cpu) for cpu in allowed}, {cpu: _speed(cpu) for cpu in allowed}, rng)


def pick(
    threads: int,
    load: Mapping[int, float],
    siblings: Mapping[int, Sequence[int]],
    speed: Mapping[int, float],
    rng: np.random.Generator,
) -> tuple[int, ...]:
    """The fastest CPUs first, then those of the idlest cores; never two of a core before all cores have one.

    Args:
        threads: how many are wanted.
        load: busy share (any unit) of each CPU.
        siblings: the CPUs that share a core with each CPU, itself included.
        speed: relative capacity of each CPU (differs on big.LITTLE).
        rng: breaks ties.
    """
    core_load = {cpu: sum(load.get(other, 0.0) for other in siblings[cpu]) for cpu in load}
    shuffled = rng.permutation(sorted(load)).tolist()
    order = sorted(shuffled, key=lambda cpu: (-speed[cpu], core_load[cpu]))
    first_of_core: list[int] = []
    rest: list[int] = []
    seen: set[int] = set()
    for cpu in order:
        core = min(siblings[cpu])
        (rest if core in seen else first_of_core).append(cpu)
        seen.add(core)
    return tuple(sorted((first_of_core + rest)[:threads]))


def _siblings(cpu: int) -> tuple[int, ...]:
    try:
        text = (CPU_FOLDER / f"cpu{cpu}/topology/thread_siblings_list").read_text()
    except OSError:
        return (cpu,)
    return cpu_numbers(text)


def cpu_numbers(text: str) -> tuple[int, ...]:
    """The CPUs of a list as the kernel writes it: "0-2,8" is (0, 1, 2, 8). Raises ValueError for what is none."""
    return tuple(number for part in text.strip().split(",") for number in _span(part))


def _span(part: str) -> range:
    low, _, high = part.partition("-")
    return range(int(low), int(high or low) + 1)


def _speed(cpu: int) -> float:
    for name in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        try:
            return float((CPU_FOLDER / f"cpu{cpu}/{name}").read_text())
        except (OSError, ValueError):
            continue
    return 1.0
