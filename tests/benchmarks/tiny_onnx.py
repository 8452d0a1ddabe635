"""The smallest ONNX models, built by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH = 8


def write_mlp(path: Path, *, layers: int = 2, batch: int | str = "batch", length: int | str = "sequence") -> Path:
    """x [batch, sequence, 8] times `layers` square matrices."""
    weights = [numpy_helper.from_array(np.eye(WIDTH, dtype=np.float32) * 0.5, f"w{i}") for i in range(layers)]
    names = ["x", *(f"h{i}" for i in range(layers - 1)), "y"]
    nodes = [helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]]) for i in range(layers)]
    return _write(path, nodes, {"x": (TensorProto.FLOAT, [batch, length, WIDTH])}, [batch, length, WIDTH], weights)


def write_embedding(path: Path, *, vocabulary: int = 5) -> Path:
    """input_ids [batch, sequence] looked up in a table of `vocabulary` rows, times the attention mask."""
    table = numpy_helper.from_array(np.ones((vocabulary, WIDTH), np.float32), "table")
    axes = numpy_helper.from_array(np.array([2]), "axes")
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "axes"], ["mask3"]),
        helper.make_node("Mul", ["rows", "mask3"], ["y"]),
    ]
    tokens = (TensorProto.INT64, ["batch", "sequence"])
    inputs = {"input_ids": tokens, "attention_mask": tokens}
    return _write(path, nodes, inputs, ["batch", "sequence", WIDTH], [table, axes])


def _write(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, list[int | str]]],
    output: list[int | str],
    weights: list[onnx.TensorProto],
) -> Path:
    values = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, output)
    graph = helper.make_graph(nodes, "tiny", values, [result], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path
