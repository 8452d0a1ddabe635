"""Caches: what is between a core and memory, and how many of this process's CPUs share it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from benchmarks.affinity import cpu_numbers

__all__ = ["read_caches"]

CPU_FOLDER = Path("/sys/devices/system/cpu")


def read_caches(allowed: Collection[int], folder: Path = CPU_FOLDER) -> tuple[dict[str, int], dict[str, int]]:
    """(bytes, CPUs that share one) by level, e.g. ({"L2": 1 << 20, "L3": 32 << 20}, {"L2": 1, "L3": 2}).

    Of caches for data, the largest of each level where cores differ; only the CPUs in `allowed` (all where it is
    empty) are looked at and counted. Empty where the system does not tell. A hypervisor may say what it likes.
    """
    sizes: dict[str, int] = {}
    shared: dict[str, int] = {}
    for cpu in sorted(folder.glob("cpu[0-9]*")):
        if allowed and int(cpu.name[3:]) not in allowed:
            continue
        for level, size, sharers in _caches(cpu):
            if size > sizes.get(level, 0):
                sizes[level] = size
                shared[level] = len(sharers & set(allowed) if allowed else sharers)
    return dict(sorted(sizes.items())), dict(sorted(shared.items()))


def _caches(cpu: Path) -> Iterator[tuple[str, int, set[int]]]:
    for index in sorted((cpu / "cache").glob("index*")):
        try:
            kind, level, size = ((index / field).read_text().strip() for field in ("type", "level", "size"))
        except OSError:
            continue
        if kind != "Instruction" and size.endswith("K"):
            yield f"L{level}", int(size[:-1]) * 1024, _sharers(index) or {int(cpu.name[3:])}


def _sharers(index: Path) -> set[int]:
    try:
        return set(cpu_numbers((index / "shared_cpu_list").read_text()))
    except (OSError, ValueError):
        return set()
