"""onnxruntime on an NVIDIA GPU: its CUDA execution provider, and TensorRT's."""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

import benchmarks.gpu
from benchmarks.errors import TrimfitError
from benchmarks.gpu.accelerator import STAND_IN
from benchmarks.gpu.onnxruntime_session import CUDA_PROVIDER, INSTALL, TENSORRT_PROVIDER, open_session
from benchmarks.gpu.place import GpuPlace, gpu_in_force
from hardware_profiles.runtimes.half_precision import write_fp16
from hardware_profiles.runtimes.runtime import Feeds, Session

__all__ = ["OnnxRuntimeCuda", "OnnxRuntimeTensorRt", "gpu_of"]

_LOADER = Path(benchmarks.gpu.__file__).parent / "load_onnxruntime.py"
_TENSORRT_LIBRARY = "libnvinfer.so.10"


def gpu_of(runtime: str) -> GpuPlace:
    """The GPU in force. Raises TrimfitError where there is none for a runtime."""
    if (place := gpu_in_force()) is None:
        raise TrimfitError(f"got {runtime} without a GPU in force, expected one: add --device cuda")
    return place


@dataclass(frozen=True)
class OnnxRuntimeCuda:
    """The CUDA execution provider, inputs and outputs in buffers on the GPU, fp32 without TF32.

    `cuda_graph` captures what a call launches and replays it as one: calls of small batches then no longer wait for the
    CPU that launches kernels. Making one raises TrimfitError where no GPU is in force, and where onnxruntime has no
    CUDA, or cannot load it, with the pip command.
    """

    cuda_graph: bool = False

    name = "onnxruntime-cuda"
    contested: ClassVar[Mapping[str, str]] = {}
    skips_zeros = False
    logit_tolerance = 1e-4

    def __post_init__(self) -> None:
        _check(gpu_of(self.name), CUDA_PROVIDER)

    @property
    def version(self) -> str:
        """Version of the installed onnxruntime."""
        return str(onnxruntime.__version__)

    @property
    def precisions(self) -> tuple[str, ...]:
        """fp32, and fp16 where the GPU's tensor cores multiply it."""
        return ("fp32", *(half for half in gpu_of(self.name).gpu.halves if half == "fp16"))

    def at(self, precision: str) -> OnnxRuntimeCuda:
        """Itself: the precision is in the model."""
        return self

    def options(self) -> dict[str, Any]:
        """Options that differ from stock, JSON-able."""
        return {"cuda_graph": True} if self.cuda_graph else {}

    def with_options(self, options: Mapping[str, Any]) -> OnnxRuntimeCuda:
        """The same runtime with exactly these options. Raises TrimfitError for an unknown one."""
        if unknown := set(options) - {"cuda_graph"}:
            raise TrimfitError(f"got option {min(unknown)!r} for {self.name}, expected cuda_graph")
        return replace(self, cuda_graph=bool(options.get("cuda_graph", False)))

    def alternatives(self, threads: int) -> dict[str, OnnxRuntimeCuda]:
        """Launching kernel by kernel, and replaying a CUDA graph."""
        return {"stock": self, "CUDA graphs": replace(self, cuda_graph=True)}

    def loader(self) -> Path:
        """What the worker loads its models with."""
        return _LOADER

    def session(self, path: Path, threads: int) -> Session:
        """Load a model on the GPU in force. Raises TrimfitError when it cannot be loaded, or would run elsewhere."""
        session: Session = open_session(str(path), self.options(), threads, gpu_of(self.name).index)
        return session

    def prepare(
        self,
        fp32_model: Path,
        precision: str,
        target: Path,
        calibration: Feeds | None = None,
        keep_fp32: Collection[str] = (),
    ) -> Path:
        """Make the model of a precision: "fp32" is the file itself; "fp16" writes `target`, see `half_precision`.

        Raises TrimfitError for another precision.
        """
        if precision not in self.precisions:
            raise TrimfitError(f"got precision {precision!r}, expected one of {', '.join(self.precisions)}")
        return Path(fp32_model) if precision == "fp32" else write_fp16(fp32_model, target, keep_fp32)


@dataclass(frozen=True)
class OnnxRuntimeTensorRt:
    """The TensorRT execution provider, which compiles a model for the GPU as it is loaded: half a minute for each.

    `precision` is what it may compute in. 2:4 zeros are made use of where that is faster (its own trial says so).
    Making one raises TrimfitError where TensorRT is not installed.
    """

    precision: str = "fp32"

    name = "onnxruntime-tensorrt"
    contested: ClassVar[Mapping[str, str]] = {}
    skips_zeros = False
    logit_tolerance = 2e-3  # it may use TF32

    def __post_init__(self) -> None:
        place = gpu_of(self.name)
        if place.index == STAND_IN:
            raise TrimfitError(f"got no GPU for {self.name}, expected one: it cannot be stood in for")
        _check(place, TENSORRT_PROVIDER)

    @property
    def version(self) -> str:
        """Versions of onnxruntime and of TensorRT."""
        return f"{onnxruntime.__version__}+{_tensorrt_version()}"

    @property
    def precisions(self) -> tuple[str, ...]:
        """fp32, and fp16 where the GPU's tensor cores multiply it."""
        return ("fp32", *(half for half in gpu_of(self.name).gpu.halves if half == "fp16"))

    def at(self, precision: str) -> OnnxRuntimeTensorRt:
        """The runtime that may compute at this precision."""
        return replace(self, precision=precision)

    def options(self) -> dict[str, Any]:
        """The provider and what it is told, JSON-able."""
        told = {"trt_fp16_enable": str(int(self.precision == "fp16")), "trt_sparsity_enable": "1"}
        return {"provider": TENSORRT_PROVIDER, "provider_options": told, "cuda_graph": True}

    def with_options(self, options: Mapping[str, Any]) -> OnnxRuntimeTensorRt:
        """The same runtime with exactly these options. Raises TrimfitError for an unknown one."""
        if unknown := set(options) - {"provider", "provider_options", "cuda_graph"}:
            raise TrimfitError(f"got option {min(unknown)!r} for {self.name}, expected provider_options")
        half = options.get("provider_options", {}).get("trt_fp16_enable") == "1"
        return replace(self, precision="fp16" if half else "fp32")

    def alternatives(self, threads: int) -> dict[str, OnnxRuntimeTensorRt]:
        """None but itself: it tries kernels out by itself."""
        return {"stock": self}

    def loader(self) -> Path:
        """What the worker loads its models with."""
        return _LOADER

    def session(self, path: Path, threads: int) -> Session:
        """Compile and load a model. Raises TrimfitError when that fails."""
        session: Session = open_session(str(path), self.options(), threads, gpu_of(self.name).index)
        return session

    def prepare(
        self,
        fp32_model: Path,
        precision: str,
        target: Path,
        calibration: Feeds | None = None,
        keep_fp32: Collection[str] = (),
    ) -> Path:
        """The file itself: it casts by itself. Raises TrimfitError for another precision."""
        if precision not in self.precisions:
            raise TrimfitError(f"got precision {precision!r}, expected one of {', '.join(self.precisions)}")
        return Path(fp32_model)


def _check(place: GpuPlace, provider: str) -> None:
    if place.index == STAND_IN:
        return
    if provider not in onnxruntime.get_available_providers():
        raise TrimfitError(
            f"got onnxruntime {onnxruntime.__version__} without CUDA, expected onnxruntime-gpu: {INSTALL}"
        )
    if provider == TENSORRT_PROVIDER:
        _tensorrt_version()
    if reason := _why_not(provider, place.index):
        raise TrimfitError(reason)


@lru_cache(maxsize=8)
def _why_not(provider: str, index: int) -> str:
    """Why a provider does not compute here, tried on a product of two matrices; empty where it does."""
    x, weight = np.ones((8, 8), np.float32), helper.make_tensor("w", TensorProto.FLOAT, [8, 8], [1.0] * 64)
    shapes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [8, 8]) for name in ("x", "y")]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "trial", shapes[:1], shapes[1:], [weight]
    )
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    try:
        session = open_session(model.SerializeToString(), {"provider": provider}, 1, index)
        (y,) = session.run(None, {"x": x})
    except TrimfitError as error:
        return str(error)
    # onnxruntime raises its own classes, which it does not export
    except Exception as error:  # noqa: BLE001
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return f"got {reason} from {provider}, expected it to compute: {INSTALL}"
    return (
        "" if np.array_equal(y, np.full((8, 8), 8.0)) else f"got wrong numbers from {provider}, expected 8: {INSTALL}"
    )


def _tensorrt_version() -> str:
    """Raises TrimfitError where its library is missing: onnxruntime-gpu lists the provider all the same."""
    try:
        number = int(ctypes.CDLL(_TENSORRT_LIBRARY).getInferLibVersion())
    except OSError as error:
        raise TrimfitError(
            f"got no TensorRT ({_TENSORRT_LIBRARY}), expected it for {OnnxRuntimeTensorRt.name}: pip install tensorrt"
        ) from error
    return f"tensorrt{number // 10000}.{number // 100 % 100}.{number % 100}"
