"""The runtimes there are."""

from __future__ import annotations

from benchmarks.errors import TrimfitError
from hardware_profiles.runtimes.onnxruntime_cpu import OnnxRuntimeCpu
from hardware_profiles.runtimes.onnxruntime_sparse import OnnxRuntimeSparse
from hardware_profiles.runtimes.openvino_ep import OpenVinoEp
from hardware_profiles.runtimes.runtime import Runtime

__all__ = ["STOCK", "get", "runtimes"]

STOCK = OnnxRuntimeCpu.name
_KINDS: tuple[type[OnnxRuntimeCpu] | type[OnnxRuntimeSparse] | type[OpenVinoEp], ...] = (
    OnnxRuntimeCpu,
    OnnxRuntimeSparse,
    OpenVinoEp,
)


def runtimes() -> tuple[Runtime, ...]:
    """Every runtime that works on this machine, with stock options, in order of preference."""
    usable: list[Runtime] = []
    for kind in _KINDS:
        try:
            usable.append(kind())
        except TrimfitError:  # `get` says why
            continue
    return tuple(usable)


def get(name: str) -> Runtime:
    """The runtime of this name, with stock options.

    Raises TrimfitError listing those there are, or saying why this one does not work on this machine.
    """
    for kind in _KINDS:
        if kind.name == name:
            return kind()
    raise TrimfitError(f"got runtime {name!r}, expected one of {', '.join(kind.name for kind in _KINDS)}")
