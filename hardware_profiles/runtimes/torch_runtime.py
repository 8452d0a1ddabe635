"""PyTorch as a runtime on a GPU: the reference beside onnxruntime, and what is measured where that has no CUDA.

What is deployed is an ONNX file all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.errors import TrimfitError
from benchmarks.gpu.accelerator import STAND_IN
from hardware_profiles.runtimes.half_precision import write_fp16
from hardware_profiles.runtimes.onnxruntime_cuda import gpu_of
from hardware_profiles.runtimes.runtime import Feeds, Session

__all__ = ["TorchCuda", "TorchTwoOfFour"]

_LOADER = Path(__file__).parent / "torch_graph" / "load.py"
_OPTIONS = ("dtype", "cuda_graph", "compile", "two_of_four")
_INSTALL = "pip install torch (a build for CUDA, see pytorch.org)"


@dataclass(frozen=True)
class TorchCuda:
    """An ONNX file as PyTorch code with its fused functions (`torch_graph`), in fp32, fp16, or for reference bf16.

    `compile` gives the code to torch.compile, which takes half a minute a model: of whole models only. `cuda_graph` is
    as in OnnxRuntimeCuda. Making one raises TrimfitError where no GPU is in force, or PyTorch sees none.
    """

    dtype: str = "fp32"
    cuda_graph: bool = False
    compile: bool = False
    two_of_four: bool = False

    name = "torch-cuda"
    contested: ClassVar[Mapping[str, str]] = {}
    skips_zeros = False
    logit_tolerance = 1e-4
    reference = False

    def __post_init__(self) -> None:
        index = gpu_of(self.name).index
        if index != STAND_IN and not _sees(index):
            raise TrimfitError(
                f"got PyTorch {self.version} that sees no GPU {index}, expected one that does: {_INSTALL}"
            )

    @property
    def version(self) -> str:
        """Version of PyTorch."""
        return metadata.version("torch")

    @property
    def precisions(self) -> tuple[str, ...]:
        """fp32, and fp16 where the GPU's tensor cores multiply it: what an ONNX file can be deployed in."""
        return ("fp32", *(half for half in gpu_of(self.name).gpu.halves if half == "fp16"))

    def at(self, precision: str) -> TorchCuda:
        """The runtime that computes floats in this precision; "bf16" is for reference."""
        return replace(self, dtype=precision)

    def options(self) -> dict[str, Any]:
        """Options that differ from stock, JSON-able."""
        found: dict[str, Any] = {} if self.dtype == "fp32" else {"dtype": self.dtype}
        return found | {name: True for name in _OPTIONS[1:] if getattr(self, name)}

    def with_options(self, options: Mapping[str, Any]) -> TorchCuda:
        """The same runtime with exactly these options. Raises TrimfitError for an unknown one."""
        if unknown := set(options) - set(_OPTIONS):
            raise TrimfitError(f"got option {min(unknown)!r} for {self.name}, expected one of {', '.join(_OPTIONS)}")
        told = {name: bool(options.get(name, False)) for name in _OPTIONS[1:]}
        return replace(self, dtype=options.get("dtype", "fp32"), **told)

    def alternatives(self, threads: int) -> dict[str, TorchCuda]:
        """Launching kernel by kernel, and replaying a CUDA graph."""
        return {"stock": self, "CUDA graphs": replace(self, cuda_graph=True)}

    def loader(self) -> Path:
        """What the worker loads its models with."""
        return _LOADER

    def session(self, path: Path, threads: int) -> Session:
        """Load an ONNX file for the GPU in force. Raises TrimfitError for what is none, and for an unknown operator."""
        from hardware_profiles.runtimes.torch_graph.session import open_session

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
        """The file itself for "fp32"; for "fp16" the same ONNX file as onnxruntime gets, which is what is deployed.

        Nodes in `keep_fp32` are computed in fp16 here all the same. Raises TrimfitError for another precision.
        """
        if precision not in self.precisions:
            raise TrimfitError(f"got precision {precision!r}, expected one of {', '.join(self.precisions)}")
        return Path(fp32_model) if precision == "fp32" else write_fp16(fp32_model, target, keep_fp32)


@dataclass(frozen=True)
class TorchTwoOfFour(TorchCuda):
    """The same with kernels that skip 2:4 zeros: what those bring on a GPU. It is measured, and never deployed.

    Making one raises TrimfitError on a GPU without such kernels too.
    """

    two_of_four: bool = True

    name = "torch-cuda+2:4"
    skips_zeros = True
    reference = True
    """Whether it only tells: an ONNX file cannot be deployed with it."""
    n_of_m = ((2, 4),)
    """Groups of zeros that it has kernels for."""

    def __post_init__(self) -> None:
        super().__post_init__()
        gpu = gpu_of(self.name).gpu
        if not gpu.skips_two_of_four:
            raise TrimfitError(f"got {gpu}, expected compute capability 8.0 or above for 2:4 zeros: leave them out")

    @property
    def precisions(self) -> tuple[str, ...]:
        """fp16 alone: there are no such kernels for fp32."""
        return ("fp16",)

    def at(self, precision: str) -> TorchTwoOfFour:
        """The runtime that computes floats in this precision."""
        return replace(self, dtype=precision)

    def with_options(self, options: Mapping[str, Any]) -> TorchTwoOfFour:
        """The same runtime with these options; its kernels stay."""
        found = super().with_options({**options, "two_of_four": True})
        return TorchTwoOfFour(found.dtype, found.cuda_graph, found.compile)

    def alternatives(self, threads: int) -> dict[str, TorchCuda]:
        """As the runtime without these kernels."""
        return {"stock": self, "CUDA graphs": replace(self, cuda_graph=True)}


@lru_cache(maxsize=8)
def _sees(index: int) -> bool:
    from hardware_profiles.runtimes.torch_graph.available import sees

    return sees(index)
