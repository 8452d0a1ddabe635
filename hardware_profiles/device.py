"""Device: where a model will run, and what identifies it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from functools import lru_cache
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

from benchmarks.environment import read_environment
from benchmarks.errors import DeviceUnreachableError
from hardware_profiles.isa import cpu_name, instruction_sets
from hardware_profiles.runtimes import runtimes

__all__ = ["Device", "local_device", "resolve"]

_IDENTITY = ("name", "isa", "cores", "caches", "machine", "system", "cpu_limit")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


class Device(BaseModel):
    """A machine as far as it decides latency.

    `cores` are those this process may use; `cpu_limit` is the container's quota in cores, None without one;
    `caches` maps e.g. "L2" to bytes; `runtimes` maps a runtime's name to its installed version.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    isa: tuple[str, ...] = ()
    cores: int = 1
    cpu_limit: float | None = None
    caches: dict[str, int] = {}
    memory_bytes: int = 0
    machine: str = ""
    system: str = ""
    runtimes: dict[str, str] = {}
    provenance: str = "measured_device"

    @property
    def fingerprint(self) -> str:
        """16 hex digits over what decides latency: CPU, instruction sets, cores, caches, limits, system.

        Runtime versions are not part of it: a profile names its own runtime and version, so that another
        runtime can be installed without losing what was measured.
        """
        facts = self.model_dump(mode="json", include=set(_IDENTITY))
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def difference(self, other: Device) -> str | None:
        """Name the first identifying field that differs, with both values; None if none does."""
        for field in _IDENTITY:
            mine, theirs = getattr(self, field), getattr(other, field)
            if mine != theirs:
                return f"{field} {_shown(mine, theirs)} against {_shown(theirs, mine)}"
        return None


def resolve(name: str) -> Device:
    """Find a device by its name on the command line. Raises DeviceUnreachableError for all but "local"."""
    if name == "local":
        return local_device()
    raise DeviceUnreachableError(f"got device {name!r}, expected local: only this machine can be reached so far")


@lru_cache(maxsize=1)
def local_device() -> Device:
    """Describe this machine."""
    return Device(
        name=cpu_name(),
        isa=instruction_sets(),
        cores=_usable_cores(),
        cpu_limit=read_environment().container_cpus,
        caches=_cache_sizes(),
        memory_bytes=psutil.virtual_memory().total,
        machine=platform.machine(),
        system=platform.system(),
        runtimes={runtime.name: runtime.version for runtime in runtimes()},
    )


def _shown(mine: object, theirs: object) -> str:
    """A tuple is shown by what the other lacks: instruction sets are long lists."""
    if isinstance(mine, tuple) and isinstance(theirs, tuple):
        extra = [str(item) for item in mine if item not in theirs]
        return f"with {', '.join(extra)}" if extra else "without them"
    return str(mine)


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return psutil.cpu_count(logical=False) or os.cpu_count() or 1


def _cache_sizes() -> dict[str, int]:
    """Data caches of one core in bytes, by level; empty where the system does not tell."""
    sizes: dict[str, int] = {}
    for index in sorted(_CACHES.glob("index*")):
        try:
            kind, level, size = ((index / field).read_text().strip() for field in ("type", "level", "size"))
        except OSError:
            continue
        if kind != "Instruction" and size.endswith("K"):
            sizes[f"L{level}"] = int(size[:-1]) * 1024
    return sizes
