"""Finds the tensors that hold features for every token of every sequence: [batch, tokens, features]."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import TensorProto

from hardware_profiles.runtimes.sparse.graph_view import GraphView, attribute

__all__ = ["embedded_inputs", "sequence_tensors"]

# what keeps the number of sequences and tokens; their other inputs are broadcast
_KEEPS_TOKENS = frozenset(["Add", "Cast", "Div", "Erf", "Gelu", "Identity", "LayerNormalization", "Mul", "Relu", "Sub"])


def embedded_inputs(view: GraphView) -> list[str]:
    """Inputs of the graph, int64 [batch, tokens], that choose rows of a constant table: words, token types."""
    return [node.input[1] for node in view.nodes if _embeds(view, node)]


def sequence_tensors(view: GraphView, sources: Mapping[str, str]) -> set[str]:
    """Names of the tensors that are certain to be [batch, tokens, features] of the embedded inputs.

    `sources` maps tensors to others that have the same tokens: outputs of linear layers and of self-attention to
    their inputs, so that the nodes between need not be understood.
    """
    found: set[str] = set()
    for node in view.nodes:
        name = node.output[0] if node.output else ""
        keeps = node.op_type in _KEEPS_TOKENS and not node.domain and not found.isdisjoint(node.input)
        if keeps or _embeds(view, node) or sources.get(name) in found:
            found.add(name)
    return found


def _embeds(view: GraphView, node: onnx.NodeProto) -> bool:
    if node.op_type != "Gather" or attribute(node, "axis", 0) != 0 or node.input[1] not in view.inputs:
        return False
    kind = view.inputs[node.input[1]].type.tensor_type
    tensor = view.initializers.get(node.input[0])
    return (
        kind.elem_type == TensorProto.INT64
        and len(kind.shape.dim) == 2
        and tensor is not None
        and len(tensor.dims) == 2
    )
