"""Accelerator: memory, order and time of whatever runs a model; a GPU, or this CPU in its place."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from benchmarks.gpu.driver import CudaDriver

__all__ = ["STAND_IN", "Accelerator", "CudaAccelerator", "HostAccelerator", "open_accelerator"]

STAND_IN = -1
"""The number of a GPU whose place this CPU takes: everything is done as on a GPU, and no time means anything."""
_FLUSH_BYTES = 256 << 20  # as Triton's do_bench; at least twice the L2 cache
_COPIES = 5  # of which the fastest counts
_WAKE_SECONDS = 0.3  # an idle H200 runs at 345 MHz, a busy one at 1980


class Accelerator(Protocol):
    """Where buffers lie and calls run. Addresses are integers, sizes bytes."""

    @property
    def kind(self) -> str:
        """ "cuda" or "cpu", as onnxruntime and torch call it."""
        ...

    @property
    def index(self) -> int:
        """Which one of its kind."""
        ...

    @property
    def stream(self) -> int:
        """What calls are put into, in their order; 0 where there is no such thing."""
        ...

    def allocate(self, size: int) -> int:
        """So many bytes on it; their address."""
        ...

    def release(self, address: int) -> None:
        """Give memory back."""
        ...

    def copy_in(self, address: int, values: np.ndarray) -> None:
        """Bring an array there, in the order of the stream."""
        ...

    def copy_out(self, values: np.ndarray, address: int) -> None:
        """Bring an array back; it is there after `wait`."""
        ...

    def start(self) -> None:
        """Note the time on it."""
        ...

    def stop(self) -> float:
        """Wait for everything that was put into the stream; seconds on it since `start`."""
        ...

    def wait(self) -> None:
        """Until it is done with everything."""
        ...

    def flush(self) -> None:
        """Empty its cache."""
        ...

    def wake(self) -> None:
        """Keep it busy until its clocks are up."""
        ...

    def copy_rate(self, size: int) -> float:
        """Bytes read and written a second while so many are copied within its memory."""
        ...

    def used_bytes(self) -> int | None:
        """Memory of it that is in use, by whomever; None where that means nothing."""
        ...


class CudaAccelerator:
    """A GPU through its driver, with a stream of its own unless another one is named. See Accelerator."""

    kind = "cuda"

    def __init__(self, index: int, driver: CudaDriver | None = None, stream: int | None = None) -> None:
        self.driver, self.index = driver or CudaDriver(), index
        self._device = self.driver.device(index)
        self._context = self.driver.retain(self._device)
        self.driver.enter(self._context)
        self.stream = self.driver.stream() if stream is None else stream
        self._events = self.driver.event(), self.driver.event()
        self._scratch: tuple[int, int] | None = None

    def allocate(self, size: int) -> int:
        """See Accelerator."""
        self.driver.enter(self._context)
        return self.driver.allocate(max(1, size))

    def release(self, address: int) -> None:
        """See Accelerator."""
        self.driver.release(address)

    def copy_in(self, address: int, values: np.ndarray) -> None:
        """See Accelerator."""
        self.driver.copy_in(address, values.ctypes.data, values.nbytes, self.stream)

    def copy_out(self, values: np.ndarray, address: int) -> None:
        """See Accelerator."""
        self.driver.copy_out(values.ctypes.data, address, values.nbytes, self.stream)

    def start(self) -> None:
        """See Accelerator."""
        self.driver.record(self._events[0], self.stream)

    def stop(self) -> float:
        """See Accelerator."""
        self.driver.record(self._events[1], self.stream)
        return self.driver.seconds_between(*self._events)

    def wait(self) -> None:
        """See Accelerator."""
        self.driver.wait(self.stream)

    def flush(self) -> None:
        """See Accelerator. More than twice what it holds is written over it."""
        if self._scratch is None:
            size = max(_FLUSH_BYTES, 2 * self.driver.attribute(self._device, "l2_bytes"))
            self._scratch = self.allocate(size), size
        self.driver.fill(*self._scratch, self.stream)
        self.wait()

    def wake(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """See Accelerator."""
        start = clock()
        while clock() - start < _WAKE_SECONDS:
            self.flush()

    def copy_rate(self, size: int) -> float:
        """See Accelerator."""
        source, target = self.allocate(size), self.allocate(size)
        seconds = []
        for _ in range(_COPIES):
            self.start()
            self.driver.copy(target, source, size, self.stream)
            seconds.append(self.stop())
        self.release(source)
        self.release(target)
        return 2 * size / min(seconds)

    def used_bytes(self) -> int:
        """See Accelerator."""
        self.driver.enter(self._context)
        return self.driver.memory_bytes(self._device) - self.driver.free_bytes()


class HostAccelerator:
    """This CPU in the place of a GPU. See Accelerator."""

    kind, index, stream = "cpu", 0, 0

    def __init__(self) -> None:
        self._buffers: dict[int, Any] = {}
        self._start = 0.0

    def allocate(self, size: int) -> int:
        """See Accelerator."""
        buffer = (ctypes.c_ubyte * max(1, size))()
        address = ctypes.addressof(buffer)
        self._buffers[address] = buffer
        return address

    def release(self, address: int) -> None:
        """See Accelerator."""
        del self._buffers[address]

    def copy_in(self, address: int, values: np.ndarray) -> None:
        """See Accelerator."""
        ctypes.memmove(address, values.ctypes.data, values.nbytes)

    def copy_out(self, values: np.ndarray, address: int) -> None:
        """See Accelerator."""
        ctypes.memmove(values.ctypes.data, address, values.nbytes)

    def start(self) -> None:
        """See Accelerator."""
        self._start = time.perf_counter()

    def stop(self) -> float:
        """See Accelerator."""
        return time.perf_counter() - self._start

    def wait(self) -> None:
        """Nothing to wait for."""

    def flush(self) -> None:
        """Its caches are left alone."""

    def wake(self) -> None:
        """It is awake."""

    def copy_rate(self, size: int) -> float:
        """See Accelerator."""
        source = np.ones(size, np.uint8)
        target = np.empty_like(source)
        seconds = []
        for _ in range(_COPIES):
            self.start()
            np.copyto(target, source)
            seconds.append(self.stop())
        return 2 * size / min(seconds)

    def used_bytes(self) -> None:
        """See Accelerator."""
        return


def open_accelerator(index: int, stream: int | None = None) -> Accelerator:
    """The GPU of a number, or this CPU for STAND_IN. Raises TrimfitError where there is no such GPU."""
    return HostAccelerator() if index == STAND_IN else CudaAccelerator(index, stream=stream)
