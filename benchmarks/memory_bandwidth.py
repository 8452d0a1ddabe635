"""How fast the machine reads memory through the runtime, against which a model larger than the caches is judged."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import onnx
from onnx import TensorProto, helper
from pydantic import BaseModel, ConfigDict, Field

from benchmarks.budget import Budget
from benchmarks.place import Place, current_place
from benchmarks.rig import Graph

__all__ = ["MemoryBandwidth", "memory_bandwidth"]

MOST_BYTES = 1 << 28  # 256 MB: several times what caches hold
MEMORY_SHARE = 0.2  # of what is free
COLUMNS = 4096
SECONDS = 1.5


class MemoryBandwidth(BaseModel):
    """The best rate of reading float32 numbers that no cache holds: bytes over the fastest time."""

    model_config = ConfigDict(frozen=True)

    gigabytes_per_second: float = Field(gt=0)
    threads: int = Field(ge=1)
    bytes: int = Field(gt=0)
    """That were read in each call."""


def memory_bandwidth(threads: int = 1) -> MemoryBandwidth:
    """Measure it at the place in force: the faster of a sum of rows and a vector times a matrix; a few seconds."""
    return _bandwidth(current_place(), threads)


@lru_cache(maxsize=4)
def _bandwidth(place: Place, threads: int) -> MemoryBandwidth:
    room = min(MOST_BYTES, int(MEMORY_SHARE * place.free_memory()))
    matrix = np.ones((max(1, room // (4 * COLUMNS)), COLUMNS), np.float32)
    with place.rig() as rig:
        for name, graph in _GRAPHS.items():
            rig.load(name, Graph(graph(), _feed(name, matrix), threads))
        seconds = rig.measure(budget=Budget(max_seconds=SECONDS))
    fastest = min(float(samples.min()) for samples in seconds.values())
    return MemoryBandwidth(gigabytes_per_second=1e-9 * matrix.nbytes / fastest, threads=threads, bytes=matrix.nbytes)


def _feed(name: str, matrix: np.ndarray) -> dict[str, np.ndarray]:
    return {"m": matrix} if name == "sum" else {"m": matrix, "x": np.ones((1, len(matrix)), np.float32)}


def _sum() -> bytes:
    node = helper.make_node("ReduceSum", ["m", "axes"], ["y"], keepdims=0)
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    return _model([node], [_tensor("m", ["rows", "columns"])], _tensor("y", ["rows"]), [axes])


def _product() -> bytes:
    node = helper.make_node("MatMul", ["x", "m"], ["y"])
    inputs = [_tensor("x", [1, "rows"]), _tensor("m", ["rows", "columns"])]
    return _model([node], inputs, _tensor("y", [1, "columns"]), [])


_GRAPHS = {"sum": _sum, "product": _product}


def _tensor(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    output: onnx.ValueInfoProto,
    constants: list[onnx.TensorProto],
) -> bytes:
    graph = helper.make_graph(nodes, "stream", inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
