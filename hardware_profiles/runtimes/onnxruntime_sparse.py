"""onnxruntime on the CPU with trimfit's operators for linear layers that skip zeros."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import onnx

from benchmarks.errors import TrimfitError
from benchmarks.onnx_file import file_parts, file_sha256
from benchmarks.place import current_place
from hardware_profiles.isa import instruction_sets
from hardware_profiles.runtimes.onnxruntime_cpu import OnnxRuntimeCpu
from hardware_profiles.runtimes.runtime import LOGIT_TOLERANCE, Feeds, Session
from hardware_profiles.runtimes.sparse.dispatcher import LIMIT
from hardware_profiles.runtimes.sparse.library import library_here, library_path
from hardware_profiles.runtimes.sparse.rewriting import LinearShape, is_sparse, sparsify

__all__ = ["OnnxRuntimeSparse"]

BREAK_EVEN = 0.7  # share of zeros from which a layer is made sparse where nothing was measured
_NEEDED_ON_X86 = {"avx2", "fma"}
_OWN_OPTIONS = ("custom_op_library", "break_even")

BreakEven = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class OnnxRuntimeSparse:
    """`cpu` with the library of sparse operators beside it; all that is not a sparse layer runs as with `cpu`.

    `break_even` is measured on a device: by precision and size of a layer ("3072x768", the output first), the
    lowest share of zeros ("int8": of 1x4 blocks of zeros) from which the layer is faster sparse than dense. A size
    that is not listed breaks even where the nearest one does; at 0.7 where none was measured.
    Making one raises TrimfitError on a machine that has no library, or not the instructions it needs.
    """

    cpu: OnnxRuntimeCpu = field(default_factory=OnnxRuntimeCpu)
    break_even: BreakEven = field(default_factory=dict, hash=False)
    custom_op_library: str = field(default_factory=lambda: str(library_path()))

    name = "onnxruntime-cpu+sparse"
    precisions = ("fp32", "int8")  # its int8 operators scale activations at run time
    contested: ClassVar[Mapping[str, str]] = {}
    skips_zeros = True
    logit_tolerance = LOGIT_TOLERANCE

    def __post_init__(self) -> None:
        found = set(instruction_sets())
        if "asimd" not in found and not found >= _NEEDED_ON_X86:
            raise TrimfitError(
                f"got a CPU without {' and '.join(sorted(_NEEDED_ON_X86 - found))}, expected them for {self.name}:"
                f" use {self.cpu.name}"
            )

    @property
    def version(self) -> str:
        """Version of onnxruntime, what identifies the library, and what the environment restricts it to."""
        parts = [f"{self.cpu.version}+sparse", file_sha256(Path(self.custom_op_library))[:8]]
        return ".".join([*parts, *filter(None, [os.environ.get(LIMIT)])])

    def at(self, precision: str) -> OnnxRuntimeSparse:
        """Itself: the precision is in the model."""
        return self

    def options(self) -> dict[str, Any]:
        """Options that differ from the stock wheel's, JSON-able."""
        options = {**self.cpu.options(), "custom_op_library": self.custom_op_library}
        if self.break_even:
            options["break_even"] = {precision: dict(shapes) for precision, shapes in self.break_even.items()}
        return options

    def with_options(self, options: Mapping[str, Any]) -> OnnxRuntimeSparse:
        """The same runtime with exactly these options; a library that is not there is replaced by this machine's.

        Raises TrimfitError for an unknown option.
        """
        library = str(options.get("custom_op_library", ""))
        return replace(
            self,
            cpu=self.cpu.with_options({key: value for key, value in options.items() if key not in _OWN_OPTIONS}),
            break_even=options.get("break_even", {}),
            custom_op_library=library if Path(library).is_file() else self.custom_op_library,
        )

    def alternatives(self, threads: int) -> dict[str, OnnxRuntimeSparse]:
        """The option sets of the CPU runtime."""
        return {name: replace(self, cpu=cpu) for name, cpu in self.cpu.alternatives(threads).items()}

    def loader(self) -> None:
        """The worker's own way: the library is among its options."""

    def session(self, path: Path, threads: int) -> Session:
        """Load a model with `threads` intra-op threads into this process, wherever it is to run in the end.

        Raises TrimfitError when it cannot be loaded.
        """
        options = self.cpu.session_options(threads)
        library = self.custom_op_library if current_place().is_here else str(library_here())
        try:
            options.register_custom_ops_library(library)
        # onnxruntime raises its own classes, which it does not export
        except Exception as error:
            raise TrimfitError(
                f"got {library}, expected a library that onnxruntime {self.cpu.version} loads:"
                f" {str(error).splitlines()[0]}"
            ) from error
        return self.cpu.load(path, options)

    def pays(self, precision: str, shape: LinearShape, share: float) -> bool:
        """Whether a layer of this size with this share of zeros, or of blocks of zeros, is faster sparse."""
        known = self.break_even.get(precision, {})
        nearest = min(known, key=lambda name: _distance(name, shape), default="")
        return share >= known.get(nearest, BREAK_EVEN)

    def prepare(
        self,
        fp32_model: Path,
        precision: str,
        target: Path,
        calibration: Feeds | None = None,
        keep_fp32: Collection[str] = (),
    ) -> Path:
        """Make the model of a precision.

        Layers that pay become sparse: "fp32" writes `target`, or is the file itself where none pays; "int8" writes
        `target`, with all other layers as the CPU runtime makes them, and those of `keep_fp32` dense in fp32.
        Raises TrimfitError for another precision.
        """
        if precision not in self.precisions:
            raise TrimfitError(f"got precision {precision!r}, expected one of {', '.join(self.precisions)}")
        kept = keep_fp32 if precision != "fp32" else ()
        sparse = sparsify(
            onnx.load(fp32_model), precision, lambda shape, share: self.pays(precision, shape, share), keep=kept
        )
        if not is_sparse(sparse):
            return self.cpu.prepare(fp32_model, precision, target, keep_fp32=kept)
        with tempfile.TemporaryDirectory(prefix=".sparse-", dir=Path(target).parent) as folder:
            between = Path(folder) / "sparse.onnx" if precision == "int8" else Path(target)
            _save(sparse, between, large=len(file_parts(Path(fp32_model))) > 1)
            return self.cpu.prepare(between, precision, target, keep_fp32=kept)


def _save(model: onnx.ModelProto, path: Path, *, large: bool) -> None:
    """Write a model, one of more than 2 GB with its weights in a second file."""
    onnx.save_model(model, path, save_as_external_data=large, location=f"{path.name}_data" if large else None)


def _distance(name: str, shape: LinearShape) -> float:
    """How far a size, "3072x768", is from another, on the scale of ratios."""
    return sum(abs(math.log(int(size) / other)) for size, other in zip(name.split("x"), shape, strict=True))
