"""Finds the LayerNormalization of a sum of two activations: what ends every block of an encoder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import onnx

from hardware_profiles.runtimes.sparse.graph_view import GraphView, attribute

__all__ = ["ResidualNorm", "residual_norms"]

_EPSILON = 1e-5  # ONNX's default


class ResidualNorm(NamedTuple):
    """output = LayerNormalization(x + residual) over the features, with the constants `gamma` and `beta`."""

    x: str
    residual: str
    gamma: str
    beta: str
    output: str
    epsilon: float


def residual_norms(view: GraphView) -> Iterator[ResidualNorm]:
    """Every LayerNormalization over the last axis whose input is a sum of two tensors that nothing else reads."""
    for node in view.nodes:
        if node.op_type == "LayerNormalization" and not node.domain and _is_plain(view, node):
            total = view.producer(node.input[0])
            if total is not None and total.op_type == "Add" and view.sole_consumer(total.output[0]) is not None:
                (x, residual), (_, gamma, beta) = total.input, node.input
                yield ResidualNorm(x, residual, gamma, beta, node.output[0], attribute(node, "epsilon", _EPSILON))


def _is_plain(view: GraphView, node: onnx.NodeProto) -> bool:
    """Over the last axis, with constant vectors, and only the normalised tensor as output."""
    if (
        attribute(node, "axis", -1) != -1
        or len(node.input) != 3
        or any(view.consumers(name) for name in node.output[1:])
    ):
        return False
    constants = [view.constant(name) for name in node.input[1:]]
    plain = all(value is not None and value.ndim == 1 and value.dtype == np.float32 for value in constants)
    return plain and len({value.size for value in constants if value is not None}) == 1
