"""CudaDriver: the calls of NVIDIA's driver library that timing needs, which takes no toolkit and no package."""

from __future__ import annotations

import ctypes
import sys
from ctypes import byref, c_char_p, c_float, c_int, c_size_t, c_ubyte, c_uint, c_uint64, c_void_p, create_string_buffer
from typing import Any

from benchmarks.errors import TrimfitError

__all__ = ["ATTRIBUTES", "CUDA_LIBRARY", "CudaDriver", "open_library"]

CUDA_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
ATTRIBUTES = {"multiprocessors": 16, "l2_bytes": 38, "major": 75, "minor": 76}
"""Of CUdevice_attribute, in cuda.h."""

_NAME_BYTES = 256
_NON_BLOCKING = 1  # a stream that does not wait for the default one


def open_library(name: str) -> ctypes.CDLL:
    """A library of the driver's. Raises TrimfitError where there is none, which is where there is no GPU."""
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise TrimfitError(
            f"got no NVIDIA driver on this machine ({name} cannot be loaded), expected one for --device cuda:"
            " install it, or use --device local"
        ) from error


class CudaDriver:
    """libcuda's functions by what they are for. Addresses, streams and events are integers.

    Making one raises TrimfitError where there is no driver, and where it finds no GPU.
    """

    def __init__(self, library: str = CUDA_LIBRARY) -> None:
        self._library = open_library(library)
        self._call("cuInit", c_uint(0))

    # -- what there is --------------------------------------------------------------------------------------

    def count(self) -> int:
        """GPUs that this process may use (CUDA_VISIBLE_DEVICES is obeyed)."""
        return self._int("cuDeviceGetCount")

    def version(self) -> str:
        """The newest CUDA that the driver supports, e.g. "13.0"."""
        number = self._int("cuDriverGetVersion")
        return f"{number // 1000}.{number % 1000 // 10}"

    def device(self, index: int) -> int:
        """The handle of a GPU."""
        return self._int("cuDeviceGet", c_int(index))

    def name(self, device: int) -> str:
        """What the GPU is called."""
        return self._text("cuDeviceGetName", device)

    def pci(self, device: int) -> str:
        """Where it is, as NVML finds it: "0000:01:00.0"."""
        return self._text("cuDeviceGetPCIBusId", device)

    def memory_bytes(self, device: int) -> int:
        """All memory of a GPU."""
        found = c_size_t()
        self._call("cuDeviceTotalMem_v2", byref(found), c_int(device))
        return found.value

    def attribute(self, device: int, name: str) -> int:
        """One of ATTRIBUTES."""
        found = c_int()
        self._call("cuDeviceGetAttribute", byref(found), c_int(ATTRIBUTES[name]), c_int(device))
        return found.value

    # -- its context ----------------------------------------------------------------------------------------

    def retain(self, device: int) -> int:
        """The GPU's primary context, which onnxruntime and torch use too."""
        found = c_void_p()
        self._call("cuDevicePrimaryCtxRetain", byref(found), c_int(device))
        return found.value or 0

    def enter(self, context: int) -> None:
        """Make a context this thread's."""
        self._call("cuCtxSetCurrent", c_void_p(context))

    def free_bytes(self) -> int:
        """Memory that is free on this thread's GPU."""
        free, total = c_size_t(), c_size_t()
        self._call("cuMemGetInfo_v2", byref(free), byref(total))
        return free.value

    # -- memory ---------------------------------------------------------------------------------------------

    def allocate(self, size: int) -> int:
        """The address of so many bytes on the GPU."""
        found = c_uint64()
        self._call("cuMemAlloc_v2", byref(found), c_size_t(size))
        return found.value

    def release(self, address: int) -> None:
        """Give memory back."""
        self._call("cuMemFree_v2", c_uint64(address))

    def fill(self, address: int, size: int, stream: int) -> None:
        """Write zeros."""
        self._call("cuMemsetD8Async", c_uint64(address), c_ubyte(0), c_size_t(size), c_void_p(stream))

    def copy_in(self, address: int, source: int, size: int, stream: int) -> None:
        """From this process to the GPU."""
        self._call("cuMemcpyHtoDAsync_v2", c_uint64(address), c_void_p(source), c_size_t(size), c_void_p(stream))

    def copy_out(self, target: int, address: int, size: int, stream: int) -> None:
        """From the GPU to this process."""
        self._call("cuMemcpyDtoHAsync_v2", c_void_p(target), c_uint64(address), c_size_t(size), c_void_p(stream))

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        """Within the GPU's memory."""
        self._call("cuMemcpyDtoDAsync_v2", c_uint64(target), c_uint64(source), c_size_t(size), c_void_p(stream))

    # -- order and time -------------------------------------------------------------------------------------

    def stream(self) -> int:
        """A new stream."""
        found = c_void_p()
        self._call("cuStreamCreate", byref(found), c_uint(_NON_BLOCKING))
        return found.value or 0

    def wait(self, stream: int) -> None:
        """Until everything in a stream is done."""
        self._call("cuStreamSynchronize", c_void_p(stream))

    def event(self) -> int:
        """A new event, which keeps time."""
        found = c_void_p()
        self._call("cuEventCreate", byref(found), c_uint(0))
        return found.value or 0

    def record(self, event: int, stream: int) -> None:
        """Note the time at which a stream gets here."""
        self._call("cuEventRecord", c_void_p(event), c_void_p(stream))

    def seconds_between(self, start: int, end: int) -> float:
        """Between two events that both are over; about half a microsecond fine."""
        self._call("cuEventSynchronize", c_void_p(end))
        found = c_float()
        self._call("cuEventElapsedTime", byref(found), c_void_p(start), c_void_p(end))
        return found.value * 1e-3

    # -------------------------------------------------------------------------------------------------------

    def _int(self, function: str, *arguments: Any) -> int:
        found = c_int()
        self._call(function, byref(found), *arguments)
        return found.value

    def _text(self, function: str, device: int) -> str:
        buffer = create_string_buffer(_NAME_BYTES)
        self._call(function, buffer, c_int(_NAME_BYTES), c_int(device))
        return buffer.value.decode(errors="replace")

    def _call(self, function: str, *arguments: Any) -> None:
        code = getattr(self._library, function)(*arguments)
        if code:
            raise TrimfitError(
                f"got {self._error(code)} from the NVIDIA driver ({function}), expected a GPU that works:"
                " see what nvidia-smi says, or use --device local"
            )

    def _error(self, code: int) -> str:
        found = c_char_p()
        if self._library.cuGetErrorName(c_int(code), byref(found)) or not found.value:
            return f"error {code}"
        return found.value.decode()
