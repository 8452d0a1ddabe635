"""Device: where a model will run, and what identifies it."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import psutil
from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from benchmarks.environment import Environment, read_environment
from benchmarks.errors import DeviceUnreachableError, TrimfitError
from benchmarks.gpu.gpu import Gpu, is_gpu
from benchmarks.gpu.place import GpuPlace, gpu_in_force, open_gpu
from benchmarks.local_place import LocalPlace
from benchmarks.place import Place, current_place, in_force
from benchmarks.provenance import Provenance
from hardware_profiles.caches import read_caches
from hardware_profiles.core_kinds import in_words, read_core_kinds
from hardware_profiles.isa import cpu_name, instruction_sets, read_board
from hardware_profiles.runtimes import runtimes
from hardware_profiles.runtimes.sparse import dispatcher

__all__ = [
    "LOCAL",
    "Device",
    "check_in_force",
    "described",
    "device_in_force",
    "is_remote",
    "local_device",
    "on_gpu",
    "resolve",
]

LOCAL = "local"
REMOTE = ("ssh://", "adb://")
_IDENTITY = (
    "name", "isa", "core_kinds", "cores", "caches", "shared_caches", "machine", "system", "cpu_limit", "operators_isa",
)  # fmt: skip


class Device(BaseModel):
    """A machine as far as it decides latency.

    `cores` are those this process may use (its cpuset), `core_kinds` how many of them are of each kind, in the CPU's
    own numbers; `cpu_limit` is the container's quota in cores, None without one; `caches` maps e.g. "L2" to bytes and
    `shared_caches` to how many of those cores share one; `memory_bytes` is the machine's or the container's, whichever
    is less; `page_bytes` is the size of a page of it, 0 where unknown; `runtimes` maps a runtime's name to its
    installed version. `operators_isa` is the instruction set that the sparse operators are restricted to, None where
    they use the best; `name` says so too. Where models run on a GPU, `gpu` is it, `name` its name, and all else is said
    of the machine that drives it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    isa: tuple[str, ...] = ()
    core_kinds: dict[str, int] = {}
    cores: int = 1
    cpu_limit: float | None = None
    caches: dict[str, int] = {}
    shared_caches: dict[str, int] = {}
    memory_bytes: int = 0
    page_bytes: int = 0
    machine: str = ""
    system: str = ""
    operators_isa: str | None = None
    runtimes: dict[str, str] = {}
    provenance: Provenance = "measured_device"
    gpu: Gpu | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A device without a GPU is written as it was before there were such: profiles and caches stay valid."""
        fields: dict[str, Any] = handler(self)
        return {name: value for name, value in fields.items() if name != "gpu" or value}

    @property
    def microarchitecture(self) -> str:
        """The designs of its cores: "Zen 5", "4 x Cortex-A55 + 4 x Cortex-A76", "unknown"."""
        return in_words(self.core_kinds)

    @property
    def default_threads(self) -> int:
        """As many threads as it has cores, and no more than the container may keep busy; a GPU is driven by one."""
        if self.gpu:
            return 1
        return self.cores if self.cpu_limit is None else max(1, min(self.cores, int(self.cpu_limit)))

    @property
    def fingerprint(self) -> str:
        """16 hex digits over what decides latency: GPU, CPU, instruction sets, cores, caches, limits, system.

        Runtime versions are not part of it: a profile names its own runtime and version, so that another
        runtime can be installed without losing what was measured. Neither is memory, which decides what fits.
        """
        facts = self.model_dump(mode="json", include={*_IDENTITY, "gpu"})
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def difference(self, other: Device) -> str | None:
        """Name every field that differs, with both values, of those that decide latency and the provenance; or None."""
        fields = (*_IDENTITY, "gpu", "provenance")
        pairs = ((field, getattr(self, field), getattr(other, field)) for field in fields)
        found = (
            f"{f} {_shown(mine, theirs)} against {_shown(theirs, mine)}" for f, mine, theirs in pairs if mine != theirs
        )
        return ", ".join(found) or None

    def in_force(self) -> AbstractContextManager[None]:
        """Within it, everything that this process or one it starts measures is measured on this very device.

        That is: the sparse operators use no more than `operators_isa`.
        """
        return dispatcher.limited_to(self.operators_isa)

    def limited(self, isa: str | None) -> Device:
        """The same machine with the sparse operators restricted to an instruction set, None to none; `name` says so."""
        name = self.name.removesuffix(_limit_in_words(self.operators_isa)) + _limit_in_words(isa)
        return self.model_copy(update={"name": name, "operators_isa": isa})


def resolve(name: str) -> Device:
    """Find a device that can be measured, by its name on the command line.

    "local" is this machine; "local:avx2" the same with the sparse operators restricted to an instruction set;
    "cuda" and "cuda:1" are its GPUs; "ssh://user@host" and "adb://serial" are looked at, unless they are in force. What
    is measured is measured there only within `reach`.
    Raises DeviceUnreachableError for all others, profiles among them, and for devices that do not answer.
    """
    if is_remote(name):
        from hardware_profiles.places import reach  # here, since a place has a device

        with reach(name) as device:
            return device
    if is_gpu(name):
        gpu = gpu_in_force()
        return on_gpu(gpu if gpu and gpu.is_named(name) else open_gpu(name))
    place, _, isa = name.partition(":")
    if place == LOCAL and (isa or name == LOCAL):
        return _with_runtimes(_limited(isa)) if isa else local_device()
    if place == "catalog" or name.endswith(".json"):
        raise DeviceUnreachableError(
            f"got device {name}, which is a profile, expected {LOCAL}: a profile predicts (`trimfit advise`,"
            " `trimfit profile`), it cannot run a model"
        )
    raise DeviceUnreachableError(
        f"got device {name!r}, expected {LOCAL}, {' or '.join(f'{scheme}...' for scheme in REMOTE)}, or cuda: name one"
    )


def is_remote(name: str) -> bool:
    """Whether a name on the command line is of a device behind a connection."""
    return name.startswith(REMOTE)


@lru_cache(maxsize=4)
def on_gpu(place: GpuPlace) -> Device:
    """This machine's GPU as a device, with the runtimes that work on it."""
    facts = {"name": place.gpu.name, "gpu": place.gpu, "provenance": place.provenance}
    with in_force(place):
        return _with_runtimes(_this_machine().model_copy(update=facts))


def local_device() -> Device:
    """Describe this machine, with the sparse operators restricted as the environment says."""
    return _with_runtimes(_this_machine().limited(dispatcher.current_limit()))


def _limited(isa: str) -> Device:
    """This machine restricted to `isa`; to the best that the operators have here, it is not restricted."""
    able = dispatcher.operator_isas()
    if isa not in able:
        raise DeviceUnreachableError(
            f"got device {LOCAL}:{isa}, expected {LOCAL}, or with one of the instruction sets that the sparse operators"
            f" can be limited to here: {', '.join(able[1:]) or 'none'}"
        )
    return _this_machine().limited(isa if isa != able[0] else None)


def _limit_in_words(isa: str | None) -> str:
    return (
        f", sparse operators limited to {dispatcher.in_words(isa)} (stock onnxruntime still sees all instructions)"
        if isa
        else ""
    )


def _with_runtimes(device: Device) -> Device:
    with device.in_force():
        return device.model_copy(update={"runtimes": {runtime.name: runtime.version for runtime in runtimes()}})


@lru_cache(maxsize=1)
def _this_machine() -> Device:
    environment = read_environment()
    device = described(
        environment,
        LocalPlace(),
        name=cpu_name(environment.cpu, read_core_kinds(()), read_board()),
        core_kinds=read_core_kinds(environment.affinity),
        caches=read_caches(environment.affinity),
        page_bytes=os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0,
    )
    if environment.affinity:
        return device
    return device.model_copy(update={"cores": psutil.cpu_count(logical=False) or os.cpu_count() or 1})


def described(
    environment: Environment,
    place: Place,
    *,
    name: str,
    core_kinds: dict[str, int],
    caches: tuple[dict[str, int], dict[str, int]],
    page_bytes: int,
) -> Device:
    """The device at a place, without its runtimes; `caches` as `read_caches` reads them."""
    memory = environment.memory_bytes
    sizes, shared = caches
    return Device(
        name=name,
        isa=instruction_sets(environment.isa),
        core_kinds=core_kinds,
        cores=len(environment.affinity) or environment.cores,
        cpu_limit=environment.container_cpus,
        caches=sizes,
        shared_caches=shared,
        memory_bytes=min(memory, environment.container_memory_bytes or memory),
        page_bytes=page_bytes,
        machine=place.machine,
        system=place.system,
        provenance=place.provenance,
    )


def device_in_force() -> Device:
    """The device where everything is measured now, with the limit of the sparse operators that is in force."""
    if gpu := gpu_in_force():
        return on_gpu(gpu)
    place = current_place()
    if place.is_here:
        return local_device()
    device: Device = place.device  # type: ignore[attr-defined]  # benchmarks knows no Device; places elsewhere have one
    return device


def check_in_force(device: Device) -> None:
    """Raise TrimfitError unless what is measured now is measured on this device."""
    if (here := device_in_force()).fingerprint != device.fingerprint:
        raise TrimfitError(
            f"got {device.name} to be measured while {here.name} is in force ({device.difference(here)}), expected one"
            " device: reach it first"
        )


def _shown(mine: object, theirs: object) -> str:
    """A tuple is shown by what the other lacks: instruction sets are long lists."""
    if isinstance(mine, tuple) and isinstance(theirs, tuple):
        extra = [str(item) for item in mine if item not in theirs]
        return f"with {', '.join(extra)}" if extra else "without them"
    if isinstance(mine, dict):
        return " and ".join(f"{key}: {value}" for key, value in mine.items()) or "unknown"
    return str(mine)
