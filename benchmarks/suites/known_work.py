"""Models of a known amount of work: chains of equal matrix products; 3 % more is 3 in 100."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

__all__ = ["WIDTH", "rows_for", "write_chain"]

WIDTH = 192
PRODUCTS = 100
FIRST_ROWS = 128


def write_chain(path: Path, products: int = PRODUCTS, width: int = WIDTH) -> Path:
    """x [batch, sequence, width] times `products` matrices of their own, written to `path`."""
    rng = np.random.default_rng(0)
    names = ["x", *(f"h{i}" for i in range(1, products)), "y"]
    shape = ["batch", "sequence", width]
    scale = 1 / np.sqrt(width)
    weights = [(rng.standard_normal((width, width)) * scale).astype(np.float32) for _ in range(products)]
    graph = helper.make_graph(
        [helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]]) for i in range(products)],
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weight, f"w{i}") for i, weight in enumerate(weights)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def rows_for(path: Path, seconds: float) -> int:
    """The sequence length at which the chain takes about `seconds` on one thread of this machine."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = {"x": np.ones((1, FIRST_ROWS, WIDTH), np.float32)}
    best = min(_seconds(session, feed) for _ in range(20))
    return max(8, 8 * round(FIRST_ROWS * seconds / best / 8))


def _seconds(session: onnxruntime.InferenceSession, feed: dict[str, np.ndarray]) -> float:
    start = time.perf_counter()
    session.run(None, feed)
    return time.perf_counter() - start
