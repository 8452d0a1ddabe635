"""The same model as each engine wants it: at fixed shapes, with zeros, in int8, converted."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from benchmarks.inputs import concrete_shape, graph_inputs
from benchmarks.workload import Workload
from hardware_profiles.runtimes.mnn_converter import SPARSE, SUFFIX, convert

__all__ = ["as_it_is", "fixed", "int8", "mnn", "with_zeros"]

PRODUCTS = ("MatMul", "Gemm")
SMALLEST = 4096  # weights; smaller matrices are left dense


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
    """MNN's form, with sparse matrices detected. Raises TrimfitError where the converter refuses the model."""
    return convert(model, folder / f"{model.stem}{SUFFIX}", SPARSE, python=python)
