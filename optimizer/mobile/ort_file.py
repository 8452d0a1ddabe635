"""OrtFile: a model in ORT format, the only one that small builds of onnxruntime read, and the operators they need."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import onnxruntime

from benchmarks.errors import TrimfitError
from benchmarks.onnx_file import file_bytes
from optimizer.mobile.operators import operators_listed
from optimizer.mobile.silence import silent

__all__ = ["OrtFile", "to_ort"]

MOST_BYTES = 1 << 31  # a flatbuffer's offsets are of 31 bits
_LIST = "required_operators_and_types.config"


@dataclass(frozen=True)
class OrtFile:
    """The model, and the list of operators with their types that `build.sh --include_ops_by_config` takes."""

    path: Path
    config: Path

    @property
    def operators(self) -> frozenset[str]:
        """Operators it needs, as DOMAIN:NAME."""
        return operators_listed(self.config)


def to_ort(model: Path, target: Path, library: Path | None = None) -> OrtFile:
    """Optimise an ONNX model for ARM and write it in ORT format, with the list of its operators beside it.

    onnxruntime's own converter, at its fixed style: graph optimisations are done here, once, but for the layout of
    convolutions that only x86 has.

    Args:
        model: ONNX, below 2 GB.
        target: NAME.ort to write or replace; the list becomes NAME.required_operators_and_types.config.
        library: of operators that the model needs, for this machine.

    Raises TrimfitError for a model that is larger, or that onnxruntime cannot load.
    """
    if (size := file_bytes(model)) >= MOST_BYTES:
        raise TrimfitError(f"got {model} of {size / 2**30:.1f} GiB, expected less than 2: ORT format ends there")
    model = model.resolve()  # the converter does, and names what it writes after that
    with tempfile.TemporaryDirectory(prefix=".ort-", dir=target.parent) as name:
        folder = Path(name)
        try:
            with silent():
                from onnxruntime.tools.convert_onnx_models_to_ort import OptimizationStyle, convert_onnx_models_to_ort

                convert_onnx_models_to_ort(
                    model,
                    output_dir=folder,
                    optimization_styles=[OptimizationStyle.Fixed],
                    custom_op_library_path=library,
                    target_platform="arm",
                    enable_type_reduction=True,
                )
        # onnxruntime raises its own classes, which it does not export
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise TrimfitError(f"got {model}, expected an ONNX model that ORT format can hold: {reason}") from error
        config = target.with_suffix(f".{_LIST}")
        text = _told(folder / model.with_suffix(f".{_LIST}").name, target.name)
        config.write_text(text, encoding="utf-8")
        os.replace(folder / model.with_suffix(".ort").name, target)
    return OrtFile(target, config)


def _told(config: Path, name: str) -> str:
    """The list under a heading that says what it is for, in place of one that names this machine's folders."""
    lines = [line for line in config.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    use = "build.sh --include_ops_by_config THIS_FILE --enable_reduced_operator_type_support"
    return "\n".join([f"# {name}, made by onnxruntime {onnxruntime.__version__}. {use}", *lines]) + "\n"
