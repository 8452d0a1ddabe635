"""The ONNX graph of one linear layer, with zeros among its weights or without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hardware_profiles.graph import kept
from hardware_profiles.unit import Pattern

__all__ = ["linear_graph"]

_OPSET, _IR_VERSION = 18, 8
_WEIGHT_SCALE = 0.04


def linear_graph(
    out_features: int,
    in_features: int,
    path: Path,
    *,
    pattern: Pattern = "dense",
    sparsity: float = 0.0,
    seed: int = 0,
) -> Path:
    """Write `x` float32 [batch, sequence, in_features] W + b = `y` [batch, sequence, out_features], W and b random."""
    random = np.random.default_rng(seed)
    weight = _WEIGHT_SCALE * random.standard_normal((in_features, out_features), dtype=np.float32)
    if sparsity:
        weight[~kept(in_features, out_features, pattern, sparsity, random)] = 0
    bias = _WEIGHT_SCALE * random.standard_normal(out_features, dtype=np.float32)
    batch = ["batch_size", "sequence_length"]
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "weight"], ["product"], name="MatMul"),
            helper.make_node("Add", ["bias", "product"], ["y"], name="Add"),
        ],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [*batch, in_features])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [*batch, out_features])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    opset = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION, producer_name="trimfit")
    onnx.save_model(model, str(path))
    return path
