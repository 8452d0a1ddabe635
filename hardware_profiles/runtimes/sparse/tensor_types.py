"""Types and shapes of a graph's tensors, so that they stay known behind an operator that ONNX does not know.

onnxruntime fuses and its quantiser works only where it knows them.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import TensorProto, helper, shape_inference

__all__ = ["tensor_types"]

_LARGE = 1024  # bytes; smaller tensors may be shapes, which inference reads


def tensor_types(model: onnx.ModelProto, names: Iterable[str]) -> list[onnx.ValueInfoProto]:
    """Type and, as far as inference finds it, shape of these float32 tensors; the model's outputs are left out."""
    inferred = shape_inference.infer_shapes(_without_weights(model), data_prop=True).graph
    known = {entry.name: entry for entry in inferred.value_info}
    declared = {entry.name for entry in inferred.output}
    return [
        known.get(name) or helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in names
        if name not in declared
    ]


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its large initializers declared as inputs: inference copies what it is given, up to 2 GB."""
    skeleton = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    graph = skeleton.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.output.extend(model.graph.output)
    graph.input.extend(model.graph.input)
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) > _LARGE:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        else:
            graph.initializer.append(tensor)
    return skeleton
