"""Gpu: what a GPU is, as far as it decides latency; found by the name on the command line."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict

from benchmarks.errors import TrimfitError
from benchmarks.gpu.driver import CudaDriver
from benchmarks.gpu.nvml import Nvml

__all__ = ["CUDA", "Gpu", "gpu_index", "is_gpu", "read_gpu"]

CUDA = "cuda"
_NAME = re.compile(r"cuda(?::(\d+))?")
_NAMES = {0: "use --device local", 1: "use --device cuda"}
_TWO_OF_FOUR, _BF16, _HALF = (8, 0), (8, 0), (7, 0)  # compute capabilities of Ampere, Ampere, Volta


class Gpu(BaseModel):
    """A GPU. `cuda` is the newest CUDA its driver supports; clocks and power are None where NVML does not tell them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    compute_capability: tuple[int, int]
    memory_bytes: int
    multiprocessors: int
    l2_bytes: int
    cuda: str
    driver: str = ""
    most_sm_mhz: int | None = None
    most_memory_mhz: int | None = None
    power_limit_w: float | None = None

    @property
    def halves(self) -> tuple[str, ...]:
        """The 16-bit floats that its tensor cores multiply."""
        known = {"fp16": _HALF, "bf16": _BF16}
        return tuple(name for name, least in known.items() if self.compute_capability >= least)

    @property
    def skips_two_of_four(self) -> bool:
        """Whether its tensor cores skip 2:4 zeros."""
        return self.compute_capability >= _TWO_OF_FOUR

    def __str__(self) -> str:
        """E.g. "NVIDIA H200 (compute capability 9.0, 141 GB, driver 580.159.03)"."""
        capability = ".".join(map(str, self.compute_capability))
        driver = f", driver {self.driver}" if self.driver else ""
        return f"{self.name} (compute capability {capability}, {self.memory_bytes / 1e9:.0f} GB{driver})"


def is_gpu(name: str) -> bool:
    """Whether a name on the command line is of a GPU, however it is written."""
    return name.split(":")[0] == CUDA


def gpu_index(name: str) -> int:
    """The number of a GPU's name: "cuda" is the first one. Raises TrimfitError for another name."""
    found = _NAME.fullmatch(name)
    if not found:
        raise TrimfitError(f"got device {name!r}, expected cuda or cuda:N, e.g. cuda:0: give the GPU's number")
    return int(found[1] or 0)


def read_gpu(index: int, driver: CudaDriver | None = None, nvml: type[Nvml] = Nvml) -> Gpu:
    """The facts of a GPU of this machine. Raises TrimfitError, in one line, where there is none of this number."""
    driver = driver or CudaDriver()
    if index >= (count := driver.count()):
        raise TrimfitError(
            f"got device cuda:{index}, expected one of {count} GPU{'s' if count != 1 else ''} of this machine:"
            f" {_NAMES.get(count, f'cuda:0 to cuda:{count - 1}')}"
        )
    device = driver.device(index)
    facts = {
        "name": driver.name(device),
        "compute_capability": (driver.attribute(device, "major"), driver.attribute(device, "minor")),
        "memory_bytes": driver.memory_bytes(device),
        "multiprocessors": driver.attribute(device, "multiprocessors"),
        "l2_bytes": driver.attribute(device, "l2_bytes"),
        "cuda": driver.version(),
    }
    try:
        told = nvml(driver.pci(device))
    except TrimfitError:
        return Gpu.model_validate(facts)
    clocks = {"most_sm_mhz": told.most_sm_mhz, "most_memory_mhz": told.most_memory_mhz}
    return Gpu.model_validate({**facts, "driver": told.driver, **clocks, "power_limit_w": told.power_limit_w})
