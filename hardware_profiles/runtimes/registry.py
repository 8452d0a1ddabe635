"""The runtimes there are: those of a CPU, and those of a GPU where one is in force."""

from __future__ import annotations

from typing import Any

from benchmarks.errors import TrimfitError
from benchmarks.gpu.onnxruntime_session import INSTALL
from benchmarks.gpu.place import gpu_in_force
from hardware_profiles.runtimes.mnn_cpu import MnnCpu
from hardware_profiles.runtimes.onnxruntime_cpu import OnnxRuntimeCpu
from hardware_profiles.runtimes.onnxruntime_cuda import OnnxRuntimeCuda, OnnxRuntimeTensorRt
from hardware_profiles.runtimes.onnxruntime_sparse import OnnxRuntimeSparse
from hardware_profiles.runtimes.openvino_ep import OpenVinoEp
from hardware_profiles.runtimes.runtime import Runtime
from hardware_profiles.runtimes.torch_runtime import TorchCuda, TorchTwoOfFour

__all__ = ["STOCK", "get", "refused", "runtimes", "stock_name"]

STOCK = OnnxRuntimeCpu.name
_CPU_KINDS: tuple[Any, ...] = (OnnxRuntimeCpu, OnnxRuntimeSparse, OpenVinoEp, MnnCpu)
_GPU_KINDS: tuple[Any, ...] = (OnnxRuntimeCuda, OnnxRuntimeTensorRt, TorchCuda, TorchTwoOfFour)


def stock_name() -> str:
    """The runtime that others are compared with: onnxruntime; on a GPU the first one that works there.

    Raises TrimfitError, saying what to install, where none does.
    """
    if gpu_in_force() is None:
        return STOCK
    for runtime in runtimes():
        if not runtime.skips_zeros:
            return runtime.name
    raise TrimfitError(f"got a GPU and nothing that runs ONNX models on it, expected onnxruntime's CUDA: {INSTALL}")


def runtimes() -> tuple[Runtime, ...]:
    """Every runtime that works on the device in force, with stock options, in order of preference."""
    return tuple(found for found in _tried().values() if not isinstance(found, TrimfitError))


def refused() -> dict[str, str]:
    """Why the others do not work on the device in force, by name: what to install, or what it lacks."""
    return {name: str(found) for name, found in _tried().items() if isinstance(found, TrimfitError)}


def _tried() -> dict[str, Runtime | TrimfitError]:
    found: dict[str, Runtime | TrimfitError] = {}
    for kind in _kinds():
        try:
            found[kind.name] = kind()
        except TrimfitError as error:
            found[kind.name] = error
    return found


def get(name: str) -> Runtime:
    """The runtime of this name, with stock options.

    Raises TrimfitError listing those there are, or saying why this one does not work on the device in force.
    """
    for kind in _kinds():
        if kind.name == name:
            found: Runtime = kind()
            return found
    elsewhere = [kind.name for kind in (*_CPU_KINDS, *_GPU_KINDS)]
    hint = ""
    if name in elsewhere:
        hint = ": leave --device cuda out" if gpu_in_force() else ": it runs on GPUs, with --device cuda"
    raise TrimfitError(f"got runtime {name!r}, expected one of {', '.join(kind.name for kind in _kinds())}{hint}")


def _kinds() -> tuple[Any, ...]:
    return _GPU_KINDS if gpu_in_force() else _CPU_KINDS
