"""The runtimes there are."""

from __future__ import annotations

from benchmarks.errors import TrimfitError
from hardware_profiles.runtimes.onnxruntime_cpu import OnnxRuntimeCpu
from hardware_profiles.runtimes.runtime import Runtime

__all__ = ["get", "runtimes"]

_RUNTIMES: tuple[Runtime, ...] = (OnnxRuntimeCpu(),)


def runtimes() -> tuple[Runtime, ...]:
    """Every runtime, with stock options, in order of preference."""
    return _RUNTIMES


def get(name: str) -> Runtime:
    """The runtime of this name, with stock options. Raises TrimfitError listing those there are."""
    for runtime in _RUNTIMES:
        if runtime.name == name:
            return runtime
    raise TrimfitError(f"got runtime {name!r}, expected one of {', '.join(runtime.name for runtime in _RUNTIMES)}")
