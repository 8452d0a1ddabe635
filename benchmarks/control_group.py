"""ControlGroup: the limits of the container or slice that this process runs in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["ControlGroup", "read_control_group"]

MOUNT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
UNLIMITED_BYTES = 1 << 60  # version 1 says "no limit" as the largest whole number of pages


class ControlGroup(NamedTuple):
    """`cpus`: CPU time a second, in CPUs; `memory_bytes`: the most it may hold. None without a limit.

    Which CPUs it may run on (its cpuset) is what the system gives as the process's affinity.
    """

    cpus: float | None = None
    memory_bytes: int | None = None


def read_control_group(mount: Path = MOUNT, membership: Path = MEMBERSHIP) -> ControlGroup:
    """The tightest limits from this process's group up to the root that it sees, of versions 1 and 2 alike.

    Args:
        mount: where control groups are mounted.
        membership: what lists the groups of the process ("0::/user.slice" for version 2, "4:memory:/docker/1" for 1).
    """
    groups = list(_groups(mount, membership))
    cpus = [limit for folder in groups if (limit := _cpus(folder)) is not None]
    memory = [limit for folder in groups if (limit := _memory(folder)) is not None]
    return ControlGroup(min(cpus, default=None), min(memory, default=None))


def _groups(mount: Path, membership: Path) -> Iterator[Path]:
    """Every folder that may hold a limit. In a container its own group is the root, whatever the host calls it."""
    for line in (_read(membership) or "0::/").splitlines():
        controllers, path = [*line.split(":", 2), "", ""][1:3]
        names = ["", "unified"] if not controllers else [controllers, *controllers.split(",")]
        for root in {mount / name for name in names}:
            folder = root / path.lstrip("/")
            yield root
            while folder != root and root in folder.parents:
                yield folder
                folder = folder.parent


def _cpus(folder: Path) -> float | None:
    quota, _, period = (_read(folder / "cpu.max") or "").strip().partition(" ")
    if not quota:
        quota, period = (_read(folder / f"cpu.cfs_{word}_us") or "" for word in ("quota", "period"))
    found, per = _number(quota), _number(period)
    return found / per if found and per and found > 0 else None


def _memory(folder: Path) -> int | None:
    found = _number(_read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes") or "")
    return found if found is not None and 0 < found < UNLIMITED_BYTES else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _number(text: str) -> int | None:
    """None for "max", which is no limit."""
    try:
        return int(text)
    except ValueError:
        return None
