"""ModelFile: what can be said about an ONNX file without running it."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import onnx
from onnx import TensorProto, helper, shape_inference
from pydantic import BaseModel, ConfigDict

from benchmarks.gpu.place import gpu_in_force
from benchmarks.inputs import concrete_shape, graph_inputs
from benchmarks.machine_peak import Precision
from benchmarks.onnx_file import file_bytes, file_parts, file_sha256, load_graph
from benchmarks.workload import Workload

__all__ = ["ModelFile", "count_flops", "read_model_file"]

FLOAT_PRODUCTS = ("MatMul", "Gemm", "Conv")
INTEGER_PRODUCTS = ("MatMulInteger", "QLinearMatMul", "ConvInteger", "QLinearConv")
RIGHT_INPUT = {"QLinearMatMul": 3, "QLinearConv": 3}
NOT_PARAMETERS = (TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING)
GZIP_LEVEL = 6

Shape = tuple[int, ...]


class ModelFile(BaseModel):
    """Size, parameters and arithmetic of one file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    path: str
    sha256: str | None
    bytes: int
    gzip_bytes: int
    parameters: int
    """Numbers stored in the graph's weights; shapes and other 64-bit integers are not counted."""
    flops: int | None
    """Of the products and convolutions of one call, two a multiply-add; None: shapes are unknown."""
    precision: Precision
    """Of most of the products' weights."""


def read_model_file(path: Path, name: str, workload: Workload, dims: Mapping[str, int] | None = None) -> ModelFile:
    """Read the facts of an ONNX file at a workload.

    Raises:
        TrimfitError: it is missing or not ONNX, or an input has a dimension of unknown size.
    """
    graph = load_graph(path)
    shapes = {value.name: concrete_shape(value, workload, dims or {}) for value in graph_inputs(graph)}
    integer = sum(node.op_type in INTEGER_PRODUCTS for node in graph.node)
    floating = sum(node.op_type in FLOAT_PRODUCTS for node in graph.node)
    return ModelFile(
        name=name,
        path=str(path),
        sha256=file_sha256(path),
        bytes=file_bytes(path),
        gzip_bytes=sum(gzip_bytes(part) for part in file_parts(path)),
        parameters=count_parameters(graph),
        flops=count_flops(path, shapes),
        precision="int8" if integer > floating else _float_precision(graph),
    )


def _float_precision(graph: onnx.GraphProto) -> Precision:
    """By where most of the numbers are stored; a CPU multiplies fp16 as fp32."""
    if gpu_in_force() is None:
        return "fp32"
    sizes = dict.fromkeys((TensorProto.FLOAT, TensorProto.FLOAT16), 0)
    for tensor in graph.initializer:
        if tensor.data_type in sizes:
            sizes[tensor.data_type] += math.prod(tensor.dims)
    return "fp16" if sizes[TensorProto.FLOAT16] > sizes[TensorProto.FLOAT] else "fp32"


def count_parameters(graph: onnx.GraphProto) -> int:
    """Elements of all initializers and constants that hold weights."""
    constants = [
        attribute.t
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    ]
    tensors = [*graph.initializer, *constants]
    return sum(math.prod(tensor.dims) for tensor in tensors if tensor.data_type not in NOT_PARAMETERS)


def count_flops(path: Path, inputs: Mapping[str, Shape]) -> int | None:
    """Operations of the graph's products at these input shapes; None if a shape cannot be inferred."""
    model = onnx.load(str(path), load_external_data=False)
    for value in model.graph.input:
        if value.name in inputs:
            kind = value.type.tensor_type.elem_type
            value.CopyFrom(helper.make_tensor_value_info(value.name, kind, inputs[value.name]))
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception:  # noqa: BLE001  (the checker has error classes of its own; unknown is an honest answer)
        return None
    return _sum([_node_flops(node, _known_shapes(inferred)) for node in _products(inferred)])


def _products(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The products; an operator from outside ONNX may hide others, so it stands for itself as unknown."""
    kinds = (*FLOAT_PRODUCTS, *INTEGER_PRODUCTS)
    return [node for node in graph.node if node.op_type in kinds or node.domain not in ("", "ai.onnx")]


def _known_shapes(graph: onnx.GraphProto) -> dict[str, Shape]:
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            shapes[value.name] = tuple(dim.dim_value for dim in dims)
    return shapes


def _node_flops(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int | None:
    """2 x outputs x length of the sum behind each output."""
    if node.op_type not in (*FLOAT_PRODUCTS, *INTEGER_PRODUCTS):
        return None
    right = shapes.get(node.input[RIGHT_INPUT.get(node.op_type, 1)])
    left, output = shapes.get(node.input[0]), shapes.get(node.output[0])
    if right is None or left is None or output is None:
        return None
    return 2 * math.prod(output) * _summed(node, left, right)


def _summed(node: onnx.NodeProto, left: Shape, right: Shape) -> int:
    if "Conv" in node.op_type:
        return math.prod(right[1:])
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return left[0] if transposed else left[-1]


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) and known else None


def gzip_bytes(path: Path) -> int:
    """Size of the file after gzip at level 6; remembered while the file stays the same."""
    status = path.stat()
    return _gzip_bytes(str(path), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _gzip_bytes(path: str, size: int, changed: int) -> int:
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)
    total = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            total += len(packer.compress(block))
    return total + len(packer.flush())
