"""The Environment and the MachineState of a device, from what is read of its system through a connection."""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from benchmarks.control_group import ControlGroup, read_control_group
from benchmarks.environment import Environment, MachineState, cpu_in_words
from hardware_profiles.connections import Connection
from hardware_profiles.connections.device_facts import DeviceFacts
from hardware_profiles.connections.device_state import DeviceState

__all__ = ["ProcessorTimes", "environment_from", "read_limits", "read_processor_times", "state_from"]

_PACKAGES = {"onnxruntime": "onnxruntime", "numpy": "numpy", "MNN": "mnn"}
"""Their names, and what the worker calls them."""
_TICKS = 100.0  # a second, in all that Linux tells users of
_GROUPS = "/sys/fs/cgroup"
_MEMBERSHIP = "/proc/self/cgroup"
_LIMITS = ("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us", "memory.max", "memory.limit_in_bytes")

ProcessorTimes = Mapping[str, list[float]]
"""Seconds since boot by "cpu" (all of them) and "cpu0" ...: user, nice, system, idle, iowait, irq, softirq, steal."""


def environment_from(
    told: Mapping[str, Any], facts: DeviceFacts, state: DeviceState, limits: ControlGroup
) -> Environment:
    """What stays the same of a device; `told` is what its worker says of itself ("describe")."""
    name, flags = cpu_in_words(facts.get("/proc/cpuinfo", ""), told["machine"])
    cores = len({cpu.siblings or (cpu.number,) for cpu in state.cpus}) or 1
    return Environment(
        cpu=name,
        isa=flags,
        cores=cores,
        threads_per_core=max(1, len(state.cpus) // cores),
        memory_bytes=state.memory_bytes,
        system=f"{told['system']} {told['release']} {told['machine']}",
        python=told["python"],
        packages={name: told[key] for name, key in _PACKAGES.items() if told.get(key)},
        governor=next((cpu.governor for cpu in state.cpus if cpu.number in state.fastest), None),
        affinity=state.allowed,
        container_cpus=limits.cpus,
        container_memory_bytes=limits.memory_bytes,
        virtual="hypervisor" in flags if flags else None,
    )


def state_from(
    state: DeviceState, times: ProcessorTimes, worked: float | None, slowed: tuple[str, ...] = ()
) -> MachineState:
    """What the device is doing; `worked` are the workers' CPU seconds so far, None where these mean nothing.

    `slowed` says what slows the device down. The clock is that of the fastest cores, to which models are pinned.
    """
    clocks = [cpu.mhz for cpu in state.cpus if cpu.mhz and cpu.number in state.fastest]
    all_cpus = times.get("cpu", [])
    return MachineState(
        unix_seconds=round(time.time(), 3),
        load=state.load,
        frequency_mhz=round(sum(clocks) / len(clocks), 1) if clocks else None,
        busy_seconds=round(sum(all_cpus[:3]), 3) if all_cpus else None,
        own_seconds=None if worked is None else round(worked, 3),
        steal_seconds=all_cpus[7] if len(all_cpus) > 7 else None,
        throttles=state.throttles,
        temperature_c=max((zone.celsius for zone in state.zones), default=None),
        zones_c={zone.name: zone.celsius for zone in state.zones},
        slowed=slowed,
    )


def read_processor_times(connection: Connection) -> ProcessorTimes:
    """As the kernel counts them now; empty where it does not tell, as on phones."""
    return _processor_times(connection.run(["grep", "^cpu", "/proc/stat"]).stdout)


def read_limits(connection: Connection) -> ControlGroup:
    """The limits of the control groups that a command there runs in."""
    membership = connection.run(["cat", _MEMBERSHIP]).stdout
    asked = set(_limit_files(membership))
    if not asked:
        return ControlGroup()
    names = " ".join(sorted(map(shlex.quote, asked)))
    with tempfile.TemporaryDirectory(prefix="trimfit-") as folder:
        root = Path(folder)
        (root / "membership").write_text(membership)
        for line in connection.run(["sh", "-c", f"grep -Hs '' {names}"]).stdout.splitlines():
            path, _, text = line.partition(":")
            if path not in asked:
                continue
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        return read_control_group(root / _GROUPS.lstrip("/"), root / "membership")


def _processor_times(text: str) -> dict[str, list[float]]:
    lines = (line.split() for line in text.splitlines())
    return {fields[0]: [float(ticks) / _TICKS for ticks in fields[1:]] for fields in lines if fields}


def _limit_files(membership: str) -> Iterator[str]:
    """The files that may hold a limit, of every group from the command's own up to the root that it sees."""
    for line in membership.splitlines():
        controllers, path = [*line.split(":", 2), "", ""][1:3]
        if ".." in PurePosixPath(controllers, path.lstrip("/")).parts:  # above what is mounted there: it is not seen
            continue
        for mount in ["", "unified"] if not controllers else {controllers, *controllers.split(",")}:
            root = PurePosixPath(_GROUPS, mount)
            folder = root / path.lstrip("/")
            for group in (folder, *folder.parents):
                if group == root or root in group.parents:
                    yield from (str(group / name) for name in _LIMITS)
