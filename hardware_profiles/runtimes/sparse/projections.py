"""Joins the three linear layers in front of an attention into one: their input is read, and quantised, once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import numpy_helper

from hardware_profiles.runtimes.sparse.graph_edits import add_tensors, replace_nodes, sweep
from hardware_profiles.runtimes.sparse.graph_view import GraphView
from hardware_profiles.runtimes.sparse.sparse_node import DOMAIN, OPERATORS

__all__ = ["join_projections"]

_SPARSE = frozenset(operator.name for operator in OPERATORS.values())

Nodes = list[onnx.NodeProto]


def join_projections(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model with tiled attention, in which it reads queries, keys and values from one tensor."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    view = GraphView(result)
    made: dict[str, Nodes] = {}
    tensors: list[onnx.TensorProto] = []
    for attention in view.nodes:
        layers = _projections(view, attention)
        if layers:
            initializers = [_stacked(view, attention, layers, place) for place in range(1, len(layers[0].input))]
            made[attention.output[0]] = _joined(attention, layers[0], [tensor.name for tensor in initializers])
            tensors += initializers
    add_tensors(result.graph, tensors)
    replace_nodes(result.graph, made)
    sweep(result.graph)
    return result


def _projections(view: GraphView, attention: onnx.NodeProto) -> Nodes:
    """The sparse layers that only make this attention's queries, keys and values, if they differ in weights alone."""
    if (attention.domain, attention.op_type) != (DOMAIN, "TiledAttention"):
        return []
    names = attention.input[:3]
    layers = [layer for layer in map(view.producer, names) if layer is not None]
    alone = all(view.sole_consumer(name) is attention for name in names)
    return layers if alone and len(layers) == 3 and len({_kind(layer) for layer in layers}) == 1 else []


def _kind(layer: onnx.NodeProto) -> tuple[object, ...] | None:
    """All but the weights; every layer of another operator is of a kind of its own."""
    if layer.op_type not in _SPARSE or layer.domain != DOMAIN:
        return (layer.output[0],)
    return layer.op_type, layer.input[0], *sorted(entry.SerializeToString() for entry in layer.attribute)


def _stacked(
    view: GraphView, attention: onnx.NodeProto, layers: Sequence[onnx.NodeProto], place: int
) -> onnx.TensorProto:
    """One initializer of the joined layer: rows follow rows in all of them."""
    parts = [numpy_helper.to_array(view.initializers[layer.input[place]]) for layer in layers]
    return numpy_helper.from_array(np.concatenate(parts), f"{attention.output[0]}.projections.{place}")


def _joined(attention: onnx.NodeProto, layer: onnx.NodeProto, initializers: Sequence[str]) -> Nodes:
    joined, reader = onnx.NodeProto(), onnx.NodeProto()
    joined.CopyFrom(layer)
    joined.name = f"{attention.name}/projections"
    joined.output[0] = f"{attention.output[0]}.projections"
    _read(joined, [layer.input[0], *initializers])
    reader.CopyFrom(attention)
    reader.op_type = "TiledSelfAttention"
    _read(reader, [joined.output[0], *attention.input[3:]])
    return [joined, reader]


def _read(node: onnx.NodeProto, names: Sequence[str]) -> None:
    del node.input[:]
    node.input.extend(names)
