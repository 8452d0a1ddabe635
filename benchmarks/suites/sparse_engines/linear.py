"""Linear layers alone: ONNX models of one MatMul with its bias, and the inputs they are timed on."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["in_tiles", "sizes", "write_input", "write_linear"]

SCALE = 0.04
TILE, STEP = 64, 16  # most tokens of a tile, and what their number is a multiple of


def sizes(shape: str) -> tuple[int, int]:
    """(out, in) features of e.g. "3072x768"."""
    rows, columns = shape.split("x")
    return int(rows), int(columns)


def write_linear(path: Path, shape: str, sparsity: float = 0.0, seed: int = 0) -> Path:
    """x [batch, sequence, in] -> y [batch, sequence, out], as an exporter writes a linear layer.

    Args:
        path: of the file.
        shape: out x in features.
        sparsity: share of the weights that are zero, at random places.
        seed: of the weights.
    """
    out_features, in_features = sizes(shape)
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((in_features, out_features), dtype=np.float32) * np.float32(SCALE)
    weight *= rng.random(weight.shape, dtype=np.float32) >= sparsity
    bias = rng.standard_normal(out_features, dtype=np.float32) * np.float32(SCALE)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weight"], ["product"]), helper.make_node("Add", ["bias", "product"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "sequence", in_features])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "sequence", out_features])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def in_tiles(model: onnx.ModelProto, tokens: int) -> tuple[int, ...]:
    """Let the one sparse layer of a model take and give activations in tiles; the shape of a row of its input."""
    (node,) = model.graph.node
    for name in ("input_layout", "output_layout"):
        kept = [attribute for attribute in node.attribute if attribute.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, "tiles")])
    tiles = math.ceil(tokens / TILE)
    width = STEP * math.ceil(tokens / tiles / STEP)
    for value in (*model.graph.input, *model.graph.output):
        features = value.type.tensor_type.shape.dim[2].dim_value
        value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.FLOAT, ["batch", tiles, features, width]))
    return tiles, model.graph.input[0].type.tensor_type.shape.dim[2].dim_value, width


def write_input(path: Path, shape: tuple[int, ...], seed: int = 0) -> Path:
    """A pool of one row [1, 1, *shape]: activations come from the caches, as they do inside a model."""
    np.savez(path, x=np.random.default_rng(seed).standard_normal((1, 1, *shape), dtype=np.float32))
    return path
