"""The same model as each engine wants it: at fixed shapes, with zeros, in int8, converted."""

from __future__ import annotations

import contextlib
import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from benchmarks.errors import TrimfitError
from benchmarks.inputs import concrete_shape, graph_inputs
from benchmarks.workload import Workload

__all__ = ["as_it_is", "fixed", "int8", "mnn", "with_zeros"]

PRODUCTS = ("MatMul", "Gemm")
SMALLEST = 4096  # weights; smaller matrices are left dense
CONVERT = "import sys, _tools; sys.argv[0] = 'mnnconvert'; _tools.mnnconvert(sys.argv)"


def as_it_is(model: Path, folder: Path, python: Path | None) -> Path:
    """The model itself."""
    return model


def fixed(model: Path, target: Path, workload: Workload, dims: dict[str, int]) -> Path:
    """Write the model with every input at the workload's shape, which some engines need and all may use."""
    loaded = onnx.load(str(model))
    shapes = {entry.name: concrete_shape(entry, workload, dims) for entry in graph_inputs(loaded.graph)}
    for value in loaded.graph.input:
        if value.name in shapes:
            kind = value.type.tensor_type.elem_type
            value.CopyFrom(helper.make_tensor_value_info(value.name, kind, shapes[value.name]))
    for value in loaded.graph.output:
        value.type.tensor_type.ClearField("shape")
    del loaded.graph.value_info[:]
    onnx.save(onnx.shape_inference.infer_shapes(loaded), str(target))
    return target


def with_zeros(model: Path, target: Path, share: float) -> Path:
    """Write the model with the smallest weights of every large matrix set to zero: for timing, not for use.

    Args:
        model: to read.
        target: to write.
        share: of the weights of each matrix that become zero, in [0, 1).
    """
    loaded = onnx.load(str(model))
    used = {name for node in loaded.graph.node if node.op_type in PRODUCTS for name in node.input[:2]}
    for tensor in loaded.graph.initializer:
        if tensor.name in used and len(tensor.dims) == 2 and np.prod(tensor.dims) >= SMALLEST:
            weights = numpy_helper.to_array(tensor)
            limit = np.quantile(np.abs(weights), share)
            tensor.CopyFrom(numpy_helper.from_array(np.where(np.abs(weights) <= limit, 0, weights), tensor.name))
    onnx.save(loaded, str(target))
    return target


def int8(model: Path, folder: Path, python: Path | None) -> Path:
    """onnxruntime's dynamic quantisation: int8 weights by channel in MatMul and Gemm."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    target = folder / f"{model.stem}-int8.onnx"
    with _quiet():
        quantize_dynamic(
            model,
            target,
            op_types_to_quantize=list(PRODUCTS),
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    return target


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser logs advice on preprocessing through the root logger."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def mnn(model: Path, folder: Path, python: Path | None) -> Path:
    """MNN's converter, with sparse matrices detected.

    Not its command `mnnconvert`, which installs a package into whatever environment is active and reports to its maker.

    Raises:
        TrimfitError: the converter refuses the model.
    """
    assert python is not None
    target = folder / f"{model.stem}.mnn"
    files = ["--modelFile", str(model), "--MNNModel", str(target)]
    arguments = ["-f", "ONNX", *files, "--bizCode", "trimfit", "--detectSparseSpeedUp"]
    command = [str(python), "-c", CONVERT, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not target.exists():
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
        raise TrimfitError(f"mnnconvert could not convert {model.name}: {said[-1]}: leave mnn out with --engines")
    return target
