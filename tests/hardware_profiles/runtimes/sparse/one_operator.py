"""ONNX models of one sparse operator, and what they must compute, in numpy."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from hardware_profiles.runtimes.sparse.library import library_path

LIBRARY = "TRIMFIT_TEST_LIBRARY"  # environment variable: another library than this machine's
FLOATS, INTEGERS = TensorProto.FLOAT, TensorProto.INT64


@dataclass(frozen=True)
class Operator:
    """One node: its constants in the order of its inputs, after the input X."""

    op_type: str
    constants: Mapping[str, np.ndarray]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[tuple[str, int], ...] = (("X", FLOATS),)

    def model(self) -> onnx.ModelProto:
        names = [name for name, _ in self.inputs]
        order = [names[0], *self.constants, *names[1:]]
        node = helper.make_node(self.op_type, order, ["Y"], name="it", domain="trimfit", **self.attributes)
        return graph_of([node], self.constants, self.inputs)

    def session(self, threads: int = 1, library: Path | None = None) -> onnxruntime.InferenceSession:
        return session(self.model(), threads, library)

    def __call__(self, **feed: np.ndarray) -> np.ndarray:
        return self.session().run(None, feed)[0]


def graph_of(
    nodes: Sequence[onnx.NodeProto], constants: Mapping[str, np.ndarray], inputs: Sequence[tuple[str, int]]
) -> onnx.ModelProto:
    """A model whose output is Y, of inputs of any shape."""
    graph = helper.make_graph(
        nodes,
        "operators",
        [helper.make_tensor_value_info(name, kind, None) for name, kind in inputs],
        [helper.make_tensor_value_info("Y", FLOATS, None)],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("trimfit", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def session(
    model: onnx.ModelProto | bytes, threads: int = 1, library: Path | None = None
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False  # every tensor has its own memory, where reading beyond it may be noticed
    options.register_custom_ops_library(str(library or os.environ.get(LIBRARY) or library_path()))
    content = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def sparse_weights(rng: np.random.Generator, rows: int, columns: int, sparsity: float) -> np.ndarray:
    weights = rng.standard_normal((rows, columns)).astype(np.float32)
    weights[rng.random((rows, columns)) < sparsity] = 0
    return weights


def linear(weights: np.ndarray, bias: np.ndarray, activation: str = "none", **attributes: Any) -> Operator:
    rows, columns = np.nonzero(weights)
    constants = {
        "values": weights[rows, columns],
        "columns": columns.astype(np.uint16),
        "counts": np.count_nonzero(weights, axis=1).astype(np.int32),
        "bias": bias,
    }
    return Operator("SparseLinear", constants, _attributes(weights, activation, attributes))


def linear_int8(weights: np.ndarray, bias: np.ndarray, activation: str = "none", **attributes: Any) -> Operator:
    """`weights` int8 are kept in the 1x4 blocks that hold one that is not 0; the scale of row i is (i + 1) / 1000."""
    blocks = _blocks(weights)
    rows, columns = np.nonzero(blocks.any(axis=2))
    constants = {
        "values": blocks[rows, columns],
        "columns": columns.astype(np.uint16),
        "counts": np.bincount(rows, minlength=len(weights)).astype(np.int32),
        "scales": row_scales(weights),
        "bias": bias,
    }
    return Operator("SparseLinearInt8", constants, _attributes(weights, activation, attributes))


def row_scales(weights: np.ndarray) -> np.ndarray:
    return (np.arange(1, len(weights) + 1) / 1000).astype(np.float32)


def expected_linear(x: np.ndarray, weights: np.ndarray, bias: np.ndarray, activation: str = "none") -> np.ndarray:
    """act(x W^T + b) in float64, where a weight of 0 takes nothing from its input, not even NaN."""
    x = x.astype(np.float64)
    y = np.empty((*x.shape[:-1], len(weights)))
    with np.errstate(invalid="ignore", over="ignore"):
        for row, values in enumerate(weights.astype(np.float64)):
            y[..., row] = x[..., values != 0] @ values[values != 0] + bias[row]
        return activated(y, activation)


def expected_int8(
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray,
    activation: str = "none",
    scales: np.ndarray | None = None,
) -> np.ndarray:
    """The same with int8 weights times row scales, and x rounded to 1/127 of the largest of its token."""
    scale = np.abs(x).max(axis=-1, keepdims=True).astype(np.float64) / 127
    rounded = np.rint(x / np.where(scale == 0, 1, scale))
    scales = row_scales(weights) if scales is None else scales
    y = (rounded @ weights.T.astype(np.float64)) * scale * scales + bias
    return activated(y, activation)


def activated(y: np.ndarray, activation: str) -> np.ndarray:
    if activation == "gelu":
        return y * 0.5 * (1 + np.vectorize(math.erf, otypes=[float])(y / math.sqrt(2)))
    return np.where(y < 0, 0, y) if activation == "relu" else y


def tile_sizes(tokens: int) -> tuple[int, int]:
    """How many tiles a sequence has, and how many tokens a tile has room for."""
    tiles = math.ceil(tokens / 64)
    return tiles, 16 * math.ceil(math.ceil(tokens / tiles) / 16)


def tiled(rows: np.ndarray, padding: float = 0.0) -> np.ndarray:
    """[B, T, F] -> [B, n, F, w]."""
    batch, tokens, features = rows.shape
    tiles, width = tile_sizes(tokens)
    padded = np.full((batch, tiles * width, features), padding, np.float32)
    padded[:, :tokens] = rows
    return np.ascontiguousarray(padded.reshape(batch, tiles, width, features).swapaxes(2, 3))


def untiled(tiles: np.ndarray, tokens: int) -> np.ndarray:
    """[B, n, F, w] -> [B, T, F]."""
    batch, count, features, width = tiles.shape
    return tiles.swapaxes(2, 3).reshape(batch, count * width, features)[:, :tokens]


def _blocks(weights: np.ndarray) -> np.ndarray:
    rows, columns = weights.shape
    padded = np.zeros((rows, -(-columns // 4) * 4), weights.dtype)
    padded[:, :columns] = weights
    return padded.reshape(rows, -1, 4)


def _attributes(weights: np.ndarray, activation: str, more: Mapping[str, Any]) -> dict[str, Any]:
    return {"in_features": weights.shape[1], "activation": activation, **more}
