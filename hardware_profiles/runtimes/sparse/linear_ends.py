"""Where linear layers begin and end in a graph in which some of them are sparse already."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import onnx

from hardware_profiles.runtimes.sparse.graph_view import GraphView
from hardware_profiles.runtimes.sparse.linear_layers import linear_layers
from hardware_profiles.runtimes.sparse.sparse_node import DOMAIN, OPERATORS

__all__ = ["LinearEnds", "linear_ends"]

_SPARSE = frozenset(operator.name for operator in OPERATORS.values())
_COUNTS = 3  # which input of a sparse operator has one number for each output feature


class LinearEnds(NamedTuple):
    """Names of what a layer reads and makes, its output features, and its node where it is sparse."""

    input: str
    output: str
    features: int
    sparse: onnx.NodeProto | None


def linear_ends(view: GraphView) -> Iterator[LinearEnds]:
    """Every linear layer, the dense ones first."""
    for layer in linear_layers(view):
        yield LinearEnds(layer.input, layer.output, layer.shape.out_features, None)
    for node in view.nodes:
        if node.domain == DOMAIN and node.op_type in _SPARSE:
            (features,) = view.initializers[node.input[_COUNTS]].dims
            yield LinearEnds(node.input[0], node.output[0], features, node)
