"""The machine's matrix-product peak, against which a latency is judged."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from pydantic import BaseModel, ConfigDict

from benchmarks.budget import Budget
from benchmarks.place import Place, current_place
from benchmarks.rig import Graph

__all__ = ["MachinePeak", "machine_peak"]

Precision = Literal["fp32", "int8", "fp16"]

SHAPES = (
    (128, 768, 3072),
    (256, 1024, 1024),
    (512, 512, 512),
)  # rows x in x out: an encoder's, larger, square
SECONDS = 1.0
TYPES = {"fp32": (TensorProto.FLOAT, np.float32), "int8": (TensorProto.INT8, np.int8)}


class MachinePeak(BaseModel):
    """The best rate of a matrix product through onnxruntime: 2 x rows x in x out over its fastest time."""

    model_config = ConfigDict(frozen=True)

    gflops: float
    threads: int
    precision: Precision = "fp32"
    shape: tuple[int, int, int]
    """Rows, in, out of the product that reached it."""

    def share(self, gflops: float) -> float:
        """Which part of the peak a rate is."""
        return gflops / self.gflops


def machine_peak(threads: int = 1, precision: Precision = "fp32") -> MachinePeak:
    """Measure the peak of the place in force; about a second the first time, remembered afterwards.

    Args:
        threads: of the session.
        precision: "fp32", or "int8" (8-bit integers accumulated in 32 bits).
    """
    return _peak(current_place(), threads, precision)


@lru_cache(maxsize=8)
def _peak(place: Place, threads: int, precision: Precision) -> MachinePeak:
    with place.rig() as rig:
        for shape in SHAPES:
            rig.load(str(shape), _product(shape, threads, precision))
        seconds = rig.measure(budget=Budget(max_seconds=SECONDS))
    rates = {shape: 2e-9 * np.prod(shape) / float(seconds[str(shape)].min()) for shape in SHAPES}
    best = max(rates, key=lambda shape: rates[shape])
    return MachinePeak(gflops=float(rates[best]), threads=threads, precision=precision, shape=best)


def _product(shape: tuple[int, int, int], threads: int, precision: Precision) -> Graph:
    rows, width, out = shape
    kind, dtype = TYPES[precision]
    rng = np.random.default_rng(0)
    weights = rng.integers(-9, 9, (width, out)).astype(dtype)
    left = rng.integers(0, 9, (rows, width)).astype(np.float32 if precision == "fp32" else np.uint8)
    result = TensorProto.FLOAT if precision == "fp32" else TensorProto.INT32
    graph = helper.make_graph(
        [helper.make_node("MatMul" if precision == "fp32" else "MatMulInteger", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", kind if precision == "fp32" else TensorProto.UINT8, [rows, width])],
        [helper.make_tensor_value_info("y", result, [rows, out])],
        [numpy_helper.from_array(weights, "w")],
    )
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return Graph(model.SerializeToString(), {"x": left}, threads)
