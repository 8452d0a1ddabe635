"""DeviceState: what a machine that is reached through a connection is, and what it is doing."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from pydantic import BaseModel, ConfigDict

from benchmarks.affinity import cpu_numbers, pick
from hardware_profiles.connections.connection import Connection
from hardware_profiles.connections.device_facts import DeviceFacts, caches_of, read_facts
from hardware_profiles.core_kinds import core_kinds, in_words

__all__ = ["Cooling", "Cpu", "DeviceState", "ThermalZone", "device_state", "read_device_state"]

_CPU = "/sys/devices/system/cpu/cpu"
_THERMAL = "/sys/class/thermal/"
_THROTTLING_TRIPS = ("passive", "hot", "critical")  # "active" ones start a fan
_NO_TEMPERATURE = (-40.0, 200.0)  # sensors that are off say 0 K or thousands of degrees


class Cpu(BaseModel):
    """One CPU that is on; None where the system does not tell."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    kind: str = ""
    """As `core_kinds` writes it, e.g. "ARM 0x41/0xd0b r4p1"."""
    midr: str | None = None
    """ARM's register that identifies the core, in hexadecimal."""
    capacity: int | None = None
    """Of 1024, which the fastest core has at its highest clock."""
    siblings: tuple[int, ...] = ()
    """The CPUs of the same core, itself included."""
    governor: str | None = None
    mhz: float | None = None
    """Clock when it was read."""
    limit_mhz: float | None = None
    """The highest clock that is allowed now: what runs hot is allowed less."""
    max_mhz: float | None = None
    """The highest that the hardware has."""

    @property
    def speed(self) -> float:
        """How fast it is beside the others of its machine: its capacity, or its highest clock."""
        return float(self.capacity or self.max_mhz or 1.0)


class ThermalZone(BaseModel):
    """A sensor, and from where on the system slows something down for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    celsius: float
    trip_celsius: float | None = None
    """The lowest of its trip points but those of fans."""


class Cooling(BaseModel):
    """A means against heat, such as a lower clock; `state` 0 is not in use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    state: int
    max_state: int


class DeviceState(BaseModel):
    """The machine at one moment. Sizes in bytes; None or empty where the system does not tell."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """The board or product, or the CPU's name."""
    machine: str
    """As `uname -m` says: "aarch64"."""
    system: str
    """Operating system and kernel."""
    flags: tuple[str, ...] = ()
    """The CPU's features in the kernel's words, sorted."""
    cpus: tuple[Cpu, ...]
    allowed: tuple[int, ...]
    """Numbers of the CPUs that a command may run on."""
    core_kinds: dict[str, int] = {}
    """How many of the allowed CPUs are of each kind."""
    caches: dict[str, int] = {}
    """Bytes by level, of the largest that an allowed CPU has."""
    shared_caches: dict[str, int] = {}
    """How many allowed CPUs share one."""
    memory_bytes: int = 0
    available_bytes: int = 0
    disk_free_bytes: int | None = None
    page_bytes: int | None = None
    load: float | None = None
    """Runnable processes, averaged over the last minute."""
    zones: tuple[ThermalZone, ...] = ()
    cooling: tuple[Cooling, ...] = ()
    throttles: int | None = None
    """Thermal throttling events of x86 cores since boot, summed."""
    firmware_throttled: int | None = None
    """Raspberry Pi's bits, see `throttling`."""

    def choose_cpus(self, threads: int, rng: np.random.Generator) -> tuple[int, ...]:
        """The CPUs to pin `threads` threads to: the fastest first, one of each core before a second of any.

        `rng` breaks ties. When fewer are allowed, all that are.
        """
        cpus = [cpu for cpu in self.cpus if cpu.number in self.allowed]
        return pick(
            threads,
            load={cpu.number: 0.0 for cpu in cpus},
            siblings={cpu.number: cpu.siblings or (cpu.number,) for cpu in cpus},
            speed={cpu.number: cpu.speed for cpu in cpus},
            rng=rng,
        )

    @property
    def fastest(self) -> tuple[int, ...]:
        """The allowed CPUs that are as fast as the fastest: the big cores of a big.LITTLE chip."""
        cpus = [cpu for cpu in self.cpus if cpu.number in self.allowed]
        top = max((cpu.speed for cpu in cpus), default=0.0)
        return tuple(cpu.number for cpu in cpus if cpu.speed == top)


def read_device_state(connection: Connection, folder: str | None = None) -> DeviceState:
    """Read it there; `folder` decides which disk's free space is told. Raises DeviceUnreachableError."""
    return device_state(read_facts(connection, folder))


def device_state(facts: DeviceFacts) -> DeviceState:
    """The state in what was read."""
    cpuinfo = facts.get("/proc/cpuinfo", "")
    cpus = tuple(_cpus(facts, cpuinfo))
    numbers = tuple(cpu.number for cpu in cpus)
    allowed = tuple(
        n for n in _numbers(_field(facts.get("/proc/self/status", ""), "Cpus_allowed_list")) if n in numbers
    )
    kinds = core_kinds(cpuinfo, allowed or numbers, _efficient(facts))
    caches, shared = caches_of(facts, allowed or numbers)
    throttles = [
        count for n in numbers if (count := _int(facts, f"{_CPU}{n}/thermal_throttle/core_throttle_count")) is not None
    ]
    machine = facts.get("uname -m", "").strip()
    return DeviceState(
        name=_name(facts, cpuinfo) or f"{machine} {in_words(kinds)}".strip(),
        machine=machine,
        system=_system(facts),
        flags=tuple(sorted(set((_field(cpuinfo, "flags") or _field(cpuinfo, "Features")).split()))),
        cpus=cpus,
        allowed=allowed or numbers,
        core_kinds=kinds,
        caches=caches,
        shared_caches=shared,
        memory_bytes=_kilobytes(facts, "MemTotal"),
        available_bytes=_kilobytes(facts, "MemAvailable"),
        disk_free_bytes=_disk_free(facts.get("df -Pk .", "")),
        page_bytes=_int(facts, "getconf PAGESIZE"),
        load=_float(facts.get("/proc/loadavg", "").partition(" ")[0]),
        zones=tuple(_zones(facts)),
        cooling=tuple(_cooling(facts)),
        throttles=sum(throttles) if throttles else None,
        firmware_throttled=_int(facts, "/sys/devices/platform/soc/soc:firmware/get_throttled", base=16),
    )


def _cpus(facts: DeviceFacts, cpuinfo: str) -> Iterator[Cpu]:
    online = _numbers(facts.get("/sys/devices/system/cpu/online", "")) or tuple(
        int(number) for number in re.findall(r"^processor\s*:\s*(\d+)", cpuinfo, re.MULTILINE)
    )
    for number in online:
        folder = f"{_CPU}{number}/"
        yield Cpu(
            number=number,
            kind=next(iter(core_kinds(cpuinfo, {number}, _efficient(facts))), ""),
            midr=facts.get(f"{folder}regs/identification/midr_el1", "").strip() or None,
            capacity=_int(facts, f"{folder}cpu_capacity"),
            siblings=_numbers(facts.get(f"{folder}topology/thread_siblings_list", "")),
            governor=facts.get(f"{folder}cpufreq/scaling_governor", "").strip() or None,
            mhz=_mhz(facts, f"{folder}cpufreq/scaling_cur_freq"),
            limit_mhz=_mhz(facts, f"{folder}cpufreq/scaling_max_freq"),
            max_mhz=_mhz(facts, f"{folder}cpufreq/cpuinfo_max_freq"),
        )


def _zones(facts: DeviceFacts) -> Iterator[ThermalZone]:
    for folder in _numbered(facts, "thermal_zone", "temp"):
        millidegrees = _int(facts, f"{folder}temp")
        if millidegrees is None or not _NO_TEMPERATURE[0] < millidegrees / 1000 < _NO_TEMPERATURE[1]:
            continue
        trips = [
            trip / 1000
            for path, kind in facts.items()
            if path.startswith(f"{folder}trip_point_") and path.endswith("_type") and kind.strip() in _THROTTLING_TRIPS
            if (trip := _int(facts, path.removesuffix("_type") + "_temp")) is not None and trip > 0
        ]
        name = facts.get(f"{folder}type", "").strip() or folder.split("/")[-2]
        yield ThermalZone(name=name, celsius=millidegrees / 1000, trip_celsius=min(trips, default=None))


def _cooling(facts: DeviceFacts) -> Iterator[Cooling]:
    for folder in _numbered(facts, "cooling_device", "cur_state"):
        state, most = _int(facts, f"{folder}cur_state"), _int(facts, f"{folder}max_state")
        if state is not None and most is not None:
            yield Cooling(name=facts.get(f"{folder}type", "").strip(), state=state, max_state=most)


def _numbered(facts: DeviceFacts, kind: str, file: str) -> list[str]:
    """The folders of a kind, in the order of their numbers."""
    found = (re.fullmatch(rf"({_THERMAL}{kind}(\d+)/){file}", path) for path in facts)
    return [match[1] for match in sorted(filter(None, found), key=lambda match: int(match[2]))]


def _name(facts: DeviceFacts, cpuinfo: str) -> str:
    board = (
        facts.get("getprop ro.product.model", "")
        or facts.get("/proc/device-tree/model", "")
        or _field(cpuinfo, "Model")
    )
    return board.strip("\0 \n") or _field(cpuinfo, "model name") or _field(cpuinfo, "Hardware")


def _system(facts: DeviceFacts) -> str:
    kernel = f"{facts.get('uname -s', '').strip()} {facts.get('uname -r', '').strip()}".strip()
    android = facts.get("getprop ro.build.version.release", "").strip()
    pretty = re.search(r'^PRETTY_NAME="?([^"\n]*)', facts.get("/etc/os-release", ""), re.MULTILINE)
    own = f"Android {android}" if android else pretty[1] if pretty else ""
    return f"{own}, {kernel}" if own else kernel


def _efficient(facts: DeviceFacts) -> tuple[int, ...]:
    return _numbers(facts.get("/sys/devices/cpu_atom/cpus", ""))


def _field(text: str, key: str) -> str:
    """The value after `key:` at the start of a line; empty where there is none."""
    match = re.search(rf"^{re.escape(key)}[ \t]*:[ \t]*(.*)$", text, re.MULTILINE)
    return match[1].strip() if match else ""


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return cpu_numbers(text) if text.strip() else ()
    except ValueError:
        return ()


def _int(facts: DeviceFacts, path: str, base: int = 10) -> int | None:
    try:
        return int(facts.get(path, "").strip(), base)
    except ValueError:
        return None


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _mhz(facts: DeviceFacts, path: str) -> float | None:
    kilohertz = _int(facts, path)
    return None if kilohertz is None else kilohertz / 1000


def _kilobytes(facts: DeviceFacts, key: str) -> int:
    number = _field(facts.get("/proc/meminfo", ""), key).partition(" ")[0]
    return int(number) * 1024 if number.isdigit() else 0


def _disk_free(df: str) -> int | None:
    """Of the last line of `df -Pk`: the fourth column from the front, or the third from the end of a long name's."""
    cells = df.strip().split("\n")[-1].split()
    return int(cells[3]) * 1024 if len(cells) > 5 and cells[3].isdigit() else None
