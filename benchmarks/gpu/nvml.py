"""Nvml: clocks, power, temperature and energy of a GPU, as far as this user may read them."""

from __future__ import annotations

import sys
from ctypes import byref, c_char_p, c_int, c_uint, c_ulonglong, c_void_p, create_string_buffer
from typing import Any

from pydantic import BaseModel, ConfigDict

from benchmarks.errors import TrimfitError
from benchmarks.gpu.driver import open_library

__all__ = ["NVML_LIBRARY", "GpuState", "Nvml"]

NVML_LIBRARY = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"
_SM, _MEMORY = 1, 2  # nvmlClockType_t
_CORE = 0  # nvmlTemperatureSensors_t
_SLOWED = {
    0x04: "the power limit",
    0x08: "a hardware slowdown",
    0x20: "heat",
    0x40: "heat (hardware)",
    0x80: "the power supply",
}
"""nvmlClocksEventReasons, those that make a busy GPU slower than its clocks promise."""
_BYTES = 96


class GpuState(BaseModel):
    """What changes from minute to minute; None where it cannot be read."""

    model_config = ConfigDict(frozen=True)

    sm_mhz: int | None = None
    memory_mhz: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    slowed: tuple[str, ...] = ()
    """What holds its clocks down at this moment."""


class Nvml:
    """The management library's view of one GPU. Making one raises TrimfitError where it cannot be had."""

    def __init__(self, pci: str, library: str = NVML_LIBRARY) -> None:
        self._library = open_library(library)
        self._handle = c_void_p()
        if self._library.nvmlInit_v2():
            raise TrimfitError(
                "got no answer from NVML, expected clocks and energy of the GPU: see what nvidia-smi says"
            )
        if self._library.nvmlDeviceGetHandleByPciBusId_v2(c_char_p(pci.encode()), byref(self._handle)):
            raise TrimfitError(
                f"got no GPU at {pci} from NVML, expected the one that CUDA sees: see what nvidia-smi says"
            )

    @property
    def driver(self) -> str:
        """Version of the driver, e.g. "580.159.03"; empty where it is not told."""
        buffer = create_string_buffer(_BYTES)
        failed = self._library.nvmlSystemGetDriverVersion(buffer, c_uint(_BYTES))
        return "" if failed else buffer.value.decode(errors="replace")

    @property
    def most_sm_mhz(self) -> int | None:
        """The highest clock of its multiprocessors."""
        return self._number("nvmlDeviceGetMaxClockInfo", c_int(_SM))

    @property
    def most_memory_mhz(self) -> int | None:
        """The highest clock of its memory."""
        return self._number("nvmlDeviceGetMaxClockInfo", c_int(_MEMORY))

    @property
    def power_limit_w(self) -> float | None:
        """The power at which it slows itself down."""
        return _thousandth(self._number("nvmlDeviceGetEnforcedPowerLimit"))

    @property
    def sm_mhz(self) -> int | None:
        """The present clock of its multiprocessors."""
        return self._number("nvmlDeviceGetClockInfo", c_int(_SM))

    def energy_mj(self) -> int:
        """Millijoules since the driver was loaded. Raises TrimfitError where that is not told."""
        found = c_ulonglong()
        if self._library.nvmlDeviceGetTotalEnergyConsumption(self._handle, byref(found)):
            raise TrimfitError("energy unknown: this GPU, or its driver, does not tell it")
        return found.value

    def state(self) -> GpuState:
        """What the GPU is doing now."""
        reasons = self._number("nvmlDeviceGetCurrentClocksThrottleReasons", kind=c_ulonglong) or 0
        return GpuState(
            sm_mhz=self.sm_mhz,
            memory_mhz=self._number("nvmlDeviceGetClockInfo", c_int(_MEMORY)),
            temperature_c=self._number("nvmlDeviceGetTemperature", c_int(_CORE)),
            power_w=_thousandth(self._number("nvmlDeviceGetPowerUsage")),
            slowed=tuple(word for bit, word in _SLOWED.items() if reasons & bit),
        )

    def _number(self, function: str, *arguments: Any, kind: Any = c_uint) -> int | None:
        found = kind()
        failed = getattr(self._library, function)(self._handle, *arguments, byref(found))
        return None if failed else int(found.value)


def _thousandth(value: int | None) -> float | None:
    return None if value is None else value / 1000
