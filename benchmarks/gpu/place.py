"""GpuPlace: this machine with a GPU as the place where models are timed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environment import Environment
from benchmarks.errors import TrimfitError
from benchmarks.gpu.accelerator import STAND_IN, Accelerator, open_accelerator
from benchmarks.gpu.driver import CudaDriver
from benchmarks.gpu.gpu import CUDA, Gpu, gpu_index, read_gpu
from benchmarks.gpu.nvml import GpuState, Nvml
from benchmarks.gpu.rig import GpuRig
from benchmarks.local_place import LocalPlace
from benchmarks.place import current_place
from benchmarks.process import LocalProcess
from benchmarks.provenance import Provenance

__all__ = ["GpuPlace", "gpu_in_force", "open_gpu", "stand_in"]

_STAND_IN = Gpu(
    name="no GPU, this CPU in its place",
    compute_capability=(9, 0),
    memory_bytes=4 << 30,
    multiprocessors=1,
    l2_bytes=32 << 20,
    cuda="0.0",
)


class GpuPlace(LocalPlace):
    """`gpu` is the `index`-th one; its sessions and workers run on it. See Place."""

    counts_starts = False  # a context, its libraries and a captured graph take seconds, a call less than one thousandth

    def __init__(self, gpu: Gpu, index: int) -> None:
        self.gpu, self.index = gpu, index

    @property
    def name(self) -> str:  # type: ignore[override]
        """See Place."""
        return f"{CUDA}:{self.index}" if self.index != STAND_IN else "this CPU in a GPU's place"

    def is_named(self, name: str) -> bool:
        """Whether a name on the command line is its own; a CPU in a GPU's place answers to all."""
        return self.index in (STAND_IN, gpu_index(name))

    @property
    def provenance(self) -> Provenance:  # type: ignore[override]
        """See Place; a CPU in a GPU's place is a proxy."""
        return "measured_proxy" if self.index == STAND_IN else "measured_device"

    cores = 1  # the thread that drives it

    @cached_property
    def accelerator(self) -> Accelerator:
        """It, for this process."""
        return open_accelerator(self.index)

    def free_memory(self) -> int:
        """See Place: what is free on the GPU, and here, where models are built."""
        free = self.gpu.memory_bytes - (self.accelerator.used_bytes() or 0)
        return min(super().free_memory(), free)

    def start(self, job: Mapping[str, Any], *, python: Path | None, env: Mapping[str, str]) -> LocalProcess:
        """See Place."""
        return super().start({**job, "gpu": self.index}, python=python, env=env)

    def rig(self) -> GpuRig:
        """See Place."""
        return GpuRig(self.accelerator.wake)

    def cpus(self, threads: int, rng: np.random.Generator) -> tuple[int, ...]:
        """None: what drives a GPU has threads of its own."""
        return ()

    def energy_mj(self) -> int:
        """Millijoules that the GPU used so far. Raises TrimfitError where that is not told."""
        return self._nvml.energy_mj()

    def environment(self) -> Environment:
        """See Place."""
        found = super().environment()
        before = found.before.model_copy(update={"gpu": self._state()})
        packages = found.packages | _torch()
        return found.model_copy(update={"gpu": self.gpu, "before": before, "packages": packages})

    def finished(self, environment: Environment, worked: float | None) -> Environment:
        """See Place."""
        done = super().finished(environment, worked)
        assert done.after is not None
        return done.model_copy(update={"after": done.after.model_copy(update={"gpu": self._state()})})

    def _state(self) -> GpuState | None:
        try:
            return self._nvml.state()
        except TrimfitError:
            return None

    @cached_property
    def _nvml(self) -> Nvml:
        if self.index == STAND_IN:
            raise TrimfitError("energy unknown: no GPU, this CPU is in its place")
        driver = CudaDriver()
        return Nvml(driver.pci(driver.device(self.index)))


def _torch() -> dict[str, str]:
    """Its version, where it is there: a reference on GPUs."""
    try:
        return {"torch": metadata.version("torch")}
    except metadata.PackageNotFoundError:
        return {}


def gpu_in_force() -> GpuPlace | None:
    """The place in force where that is a GPU."""
    place = current_place()
    return place if isinstance(place, GpuPlace) else None


def open_gpu(name: str) -> GpuPlace:
    """The GPU of a name on the command line, "cuda" or "cuda:N", as a place. Raises TrimfitError in one line."""
    index = gpu_index(name)
    return GpuPlace(read_gpu(index), index)


def stand_in() -> GpuPlace:
    """This CPU in the place of a GPU: everything that is done on a GPU is done, and no time means anything."""
    return GpuPlace(_STAND_IN, STAND_IN)
