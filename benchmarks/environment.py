"""Environment: what must be recorded about the machine for a measurement to mean anything later."""

from __future__ import annotations

import os
import platform
import sys
import time
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from benchmarks.control_group import read_control_group
from benchmarks.gpu.gpu import Gpu
from benchmarks.gpu.nvml import GpuState

__all__ = ["Environment", "MachineState", "cpu_flags", "cpu_in_words", "read_environment", "read_state"]

CPU_FOLDER = Path("/sys/devices/system/cpu")
PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-ep-openvino", "MNN", "numpy", "onnx")


class MachineState(BaseModel):
    """What changes from minute to minute; None where the system does not tell."""

    model_config = ConfigDict(frozen=True)

    unix_seconds: float | None = None
    """When it was read."""
    load: float | None = None
    """Runnable processes, averaged over the last minute."""
    frequency_mhz: float | None = None
    """Mean over the CPUs."""
    busy_seconds: float | None = None
    """CPU time all processes used since boot."""
    own_seconds: float | None = None
    """CPU time this process and the ones it started used."""
    steal_seconds: float | None = None
    """CPU time the hypervisor gave to others since boot."""
    throttles: int | None = None
    """Thermal throttling events since boot, summed over the cores."""
    temperature_c: float | None = None
    """The hottest sensor."""
    zones_c: dict[str, float] = {}
    """Every sensor by its name, of a machine that is reached through a connection."""
    slowed: tuple[str, ...] = ()
    """What heat or a weak supply slowed down since the state before, in sentences with a remedy."""
    gpu: GpuState | None = None
    """Of the GPU that models are timed on."""

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_gpu(handler(self))


class Environment(BaseModel):
    """The machine a measurement was taken on: what stays the same, and its state before and after."""

    model_config = ConfigDict(frozen=True)

    cpu: str
    isa: tuple[str, ...] = ()
    cores: int
    threads_per_core: int = 1
    memory_bytes: int
    system: str
    python: str
    packages: dict[str, str] = {}
    governor: str | None = None
    affinity: tuple[int, ...] = ()
    container_cpus: float | None = None
    """CPU time a second that the control group of the process allows, in CPUs."""
    container_memory_bytes: int | None = None
    virtual: bool | None = None
    before: MachineState = MachineState()
    after: MachineState | None = None
    gpu: Gpu | None = None
    """What models are timed on, where that is not the CPU."""

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_gpu(handler(self))

    @property
    def device(self) -> str:
        """What must be equal for two measurements to be of the same device."""
        return f"{self.gpu.name}, driver {self.gpu.driver}" if self.gpu else f"{self.cpu}, {self.cores} cores"

    def finished(self) -> Environment:
        """The same with the machine's present state as `after`."""
        return self.model_copy(update={"after": read_state()})


def _without_gpu(fields: dict[str, Any]) -> dict[str, Any]:
    """What has none is written as it was before there were GPUs."""
    return {name: value for name, value in fields.items() if name != "gpu" or value}


def read_environment() -> Environment:
    """Read this machine's facts (cached) and its present state; about a millisecond after the first call."""
    affinity = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()
    return Environment(**_facts(), affinity=affinity, governor=_governor(), before=read_state())


def cpu_flags() -> tuple[str, ...]:
    """The flags of this machine's CPU (cached)."""
    flags: tuple[str, ...] = _facts()["isa"]
    return flags


def read_state() -> MachineState:
    """What the machine is doing now."""
    times = psutil.cpu_times()
    return MachineState(
        unix_seconds=round(time.time(), 3),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        frequency_mhz=_frequency_mhz(),
        busy_seconds=round(times.user + times.system + getattr(times, "nice", 0.0), 3),
        own_seconds=round(sum(os.times()[:4]), 3),
        steal_seconds=getattr(times, "steal", None),
        throttles=_throttles(),
        temperature_c=_temperature_c(),
    )


@lru_cache(maxsize=1)
def _facts() -> dict[str, Any]:
    name, flags = _cpu()
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    group = read_control_group()
    return {
        "cpu": name,
        "isa": flags,
        "cores": cores,
        "threads_per_core": max(1, (psutil.cpu_count() or cores) // cores),
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": _packages(),
        "container_cpus": group.cpus,
        "container_memory_bytes": group.memory_bytes,
        "virtual": "hypervisor" in flags if flags else None,
    }


def _cpu() -> tuple[str, tuple[str, ...]]:
    """Name and flags: from the kernel on Linux, elsewhere from py-cpuinfo (which takes a second)."""
    text = _read(Path("/proc/cpuinfo"))
    if text is None:
        import cpuinfo

        info = cpuinfo.get_cpu_info()
        return info.get("brand_raw", platform.processor()), tuple(sorted(info.get("flags", ())))
    return cpu_in_words(text, platform.machine())


def cpu_in_words(cpuinfo: str, machine: str) -> tuple[str, tuple[str, ...]]:
    """Name and flags of a CPU from the text of its /proc/cpuinfo; `machine` is what `uname -m` says there.

    ARM kernels name the board, if anything: "Model" where there is one, since "Hardware" is the same on all Raspberry
    Pis; "model name" is the architecture's there.
    """
    fields = [line.partition(":") for line in cpuinfo.splitlines()]
    facts = {key.strip().lower(): value.strip() for key, _, value in fields}
    board = facts.get("model") or facts.get("hardware") if "cpu part" in facts else None
    name = board or facts.get("model name") or facts.get("hardware") or _arm_name(facts, machine) or machine
    flags = facts.get("flags") or facts.get("features") or ""
    return name, tuple(sorted(flags.split()))


def _arm_name(facts: dict[str, str], machine: str) -> str | None:
    """ARM kernels give numbers instead of a name: they identify the core all the same."""
    if "cpu part" not in facts:
        return None
    return f"{machine} implementer {facts.get('cpu implementer', '?')} part {facts['cpu part']}"


def _packages() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _governor() -> str | None:
    text = _read(CPU_FOLDER / "cpu0/cpufreq/scaling_governor")
    return text.strip() if text else None


def _frequency_mhz() -> float | None:
    try:
        frequency = psutil.cpu_freq()
    except (OSError, NotImplementedError, RuntimeError):
        return None
    return round(frequency.current, 1) if frequency and frequency.current else None


def _throttles() -> int | None:
    counts = [_number(path) for path in CPU_FOLDER.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")]
    known = [int(count) for count in counts if count is not None]
    return sum(known) if known else None


def _temperature_c() -> float | None:
    if sys.platform != "linux":
        return None
    sensors = psutil.sensors_temperatures()
    return max((reading.current for group in sensors.values() for reading in group), default=None)


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _number(path: Path) -> float | None:
    text = _read(path)
    try:
        return float(text) if text else None
    except ValueError:
        return None
