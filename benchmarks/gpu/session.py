"""What every session on a GPU can do besides computing: it is what the worker, and the rig, time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from benchmarks.gpu.accelerator import Accelerator

__all__ = ["FIRST", "GpuCall", "GpuSession", "as_feed", "wanted"]

FIRST: tuple[str, ...] = ("",)
"""Instead of names of outputs: the first one alone is brought back; the others are computed and stay there."""
_TYPES = {"float": np.float32, "float16": np.float16, "double": np.float64, "bool": np.bool_} | {
    name: np.dtype(name).type for name in ("int64", "int32", "int8", "uint8")
}


class GpuSession(Protocol):
    """A loaded model, as onnxruntime's `InferenceSession`; every call has ended when it returns.

    `device_seconds` are those that the last call took on the device, from the first input's copy to the last output.
    """

    accelerator: Accelerator
    device_seconds: float

    def run(self, outputs: Sequence[str] | None, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Compute the named outputs (None: all; FIRST)."""
        ...

    def get_inputs(self) -> list[Any]:
        """Names, types and shapes of the inputs."""
        ...

    def facts(self) -> dict[str, Any]:
        """What is to be known about it when it has been timed, see `LaunchFacts`."""
        ...


class GpuCall:
    """A session as the worker calls it. With `cold` the device's cache is emptied before every call, off the clock."""

    def __init__(self, session: GpuSession, *, cold: bool = False) -> None:
        self.session, self.cold = session, cold

    def __call__(self, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """All outputs."""
        return self.session.run(None, feed)

    @property
    def device_seconds(self) -> float:
        """Of the last call."""
        return self.session.device_seconds

    def ready(self) -> None:
        """Before each call."""
        if self.cold:
            self.session.accelerator.flush()

    def wake(self) -> None:
        """Before calls that follow an idle time."""
        self.session.accelerator.wake()

    def facts(self) -> dict[str, Any]:
        """See GpuSession."""
        return self.session.facts()


def as_feed(inputs: Sequence[Any], feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays that the declared `inputs` (name, type as "tensor(int64)") want, contiguous."""
    return {entry.name: np.ascontiguousarray(feed[entry.name], numpy_type(entry.type)) for entry in inputs}


def numpy_type(declared: str) -> Any:
    """The numpy type of onnxruntime's "tensor(float16)"."""
    return _TYPES[declared.removeprefix("tensor(").removesuffix(")")]


def wanted(outputs: Sequence[str] | None, names: Sequence[str]) -> list[str]:
    """The names of the outputs that are asked for."""
    if outputs == FIRST:
        return list(names[:1])
    return list(outputs or names)
