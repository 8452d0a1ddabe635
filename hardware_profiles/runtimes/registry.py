"""The runtimes there are."""

from __future__ import annotations

from benchmarks.errors import TrimfitError
from hardware_profiles.runtimes.mnn_cpu import MnnCpu
from hardware_profiles.runtimes.onnxruntime_cpu import OnnxRuntimeCpu
from hardware_profiles.runtimes.onnxruntime_sparse import OnnxRuntimeSparse
from hardware_profiles.runtimes.openvino_ep import OpenVinoEp
from hardware_profiles.runtimes.runtime import Runtime

__all__ = ["STOCK", "get", "refused", "runtimes"]

STOCK = OnnxRuntimeCpu.name
_KINDS: tuple[type[OnnxRuntimeCpu] | type[OnnxRuntimeSparse] | type[OpenVinoEp] | type[MnnCpu], ...] = (
    OnnxRuntimeCpu,
    OnnxRuntimeSparse,
    OpenVinoEp,
    MnnCpu,
)


def runtimes() -> tuple[Runtime, ...]:
    """Every runtime that works on this machine, with stock options, in order of preference."""
    return tuple(found for found in _tried().values() if not isinstance(found, TrimfitError))


def refused() -> dict[str, str]:
    """Why the others do not work on this machine, by name: what to install, or what it lacks."""
    return {name: str(found) for name, found in _tried().items() if isinstance(found, TrimfitError)}


def _tried() -> dict[str, Runtime | TrimfitError]:
    found: dict[str, Runtime | TrimfitError] = {}
    for kind in _KINDS:
        try:
            found[kind.name] = kind()
        except TrimfitError as error:
            found[kind.name] = error
    return found


def get(name: str) -> Runtime:
    """The runtime of this name, with stock options.

    Raises TrimfitError listing those there are, or saying why this one does not work on this machine.
    """
    for kind in _KINDS:
        if kind.name == name:
            return kind()
    raise TrimfitError(f"got runtime {name!r}, expected one of {', '.join(kind.name for kind in _KINDS)}")
