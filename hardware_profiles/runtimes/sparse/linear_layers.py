"""Finds the linear layers of an ONNX graph, with their bias and the activation after them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from hardware_profiles.runtimes.sparse.activations import activation_of
from hardware_profiles.runtimes.sparse.graph_view import GraphView, attribute

__all__ = ["LinearLayer", "LinearShape", "linear_layers"]


class LinearShape(NamedTuple):
    """Size of a weight matrix; as text e.g. "3072x768", the output first."""

    out_features: int
    in_features: int

    def __str__(self) -> str:
        return f"{self.out_features}x{self.in_features}"


class LinearLayer(NamedTuple):
    """output = activation(input weightᵀ + bias).

    `name` tells the weight apart from others: layers that share one weight share the name. `nodes` compute the
    layer, the last of them makes `output`. `weight` is float32 [out, in], `bias` float32 [out]; `activation` is
    "none", "gelu" or "relu".
    """

    name: str
    nodes: tuple[onnx.NodeProto, ...]
    input: str
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    activation: str

    @property
    def output(self) -> str:
        """Name of the tensor that the layer makes."""
        return str(self.nodes[-1].output[0])

    @property
    def shape(self) -> LinearShape:
        """Output and input features."""
        return LinearShape(*self.weight.shape)


def linear_layers(view: GraphView) -> Iterator[LinearLayer]:
    """Every MatMul and Gemm with a constant float32 weight, in the order of the graph."""
    for node in view.nodes:
        layer = _product(view, node)
        if layer is not None:
            yield _activated(view, _biased(view, layer))


def _product(view: GraphView, node: onnx.NodeProto) -> LinearLayer | None:
    if node.domain or node.op_type not in ("MatMul", "Gemm"):
        return None
    weight = view.constant(node.input[1])
    if weight is None or weight.ndim != 2 or weight.dtype != np.float32 or not weight.size:
        return None
    if node.op_type == "MatMul":
        return _layer(node, node.input[1], weight.T, None)
    return _gemm(view, node, weight)


def _gemm(view: GraphView, node: onnx.NodeProto, weight: NDArray[Any]) -> LinearLayer | None:
    plain = {"transA": 0, "alpha": 1.0, "beta": 1.0}
    if any(attribute(node, name, value) != value for name, value in plain.items()):
        return None
    transposed = bool(attribute(node, "transB", 0))
    rows, name = (weight, f"{node.input[1]}.rows") if transposed else (weight.T, node.input[1])
    if len(node.input) < 3 or not node.input[2]:
        return _layer(node, name, rows, None)
    bias = _bias(view, node.input[2], len(rows))
    return None if bias is None else _layer(node, name, rows, bias)


def _layer(node: onnx.NodeProto, name: str, weight: NDArray[Any], bias: NDArray[np.float32] | None) -> LinearLayer:
    bias = np.zeros(len(weight), np.float32) if bias is None else bias
    return LinearLayer(name, (node,), node.input[0], weight, bias, "none")


def _biased(view: GraphView, layer: LinearLayer) -> LinearLayer:
    """With the Add of a constant vector that follows a MatMul."""
    add = view.sole_consumer(layer.output)
    if layer.nodes[0].op_type != "MatMul" or add is None or add.op_type != "Add":
        return layer
    beside = view.other_input(add, layer.output)
    bias = _bias(view, beside, len(layer.weight)) if beside is not None else None
    return layer if bias is None else layer._replace(nodes=(*layer.nodes, add), bias=bias)


def _activated(view: GraphView, layer: LinearLayer) -> LinearLayer:
    activation = activation_of(view, layer.output)
    if activation is None:
        return layer
    return layer._replace(nodes=(*layer.nodes, *activation.nodes), activation=activation.name)


def _bias(view: GraphView, name: str, size: int) -> NDArray[np.float32] | None:
    """A constant that adds one number to each of `size` outputs, as a vector; None for any other tensor."""
    value = view.constant(name)
    if value is None or value.dtype != np.float32 or value.ndim > 1 or value.size not in (1, size):
        return None
    return np.broadcast_to(value, (size,)).astype(np.float32)
