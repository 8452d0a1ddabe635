"""Recognises the activation function that follows a tensor, however many nodes it is written in."""

from __future__ import annotations

from math import isclose, sqrt
from typing import NamedTuple

import onnx

from hardware_profiles.runtimes.sparse.graph_view import GraphView, attribute

__all__ = ["Activation", "activation_of"]


class Activation(NamedTuple):
    """`name` is "gelu" or "relu"; `nodes` compute it, the last of them makes `output`."""

    name: str
    nodes: tuple[onnx.NodeProto, ...]

    @property
    def output(self) -> str:
        """Name of the activated tensor."""
        return str(self.nodes[-1].output[0])


def activation_of(view: GraphView, x: str) -> Activation | None:
    """The activation that is the only reader of `x`: Relu, Gelu, or the nodes that exporters write Gelu as."""
    node = view.sole_consumer(x)
    if node is None:
        return _spelled_gelu(view, x)
    if node.op_type == "Relu":
        return Activation("relu", (node,))
    if node.op_type == "Gelu" and attribute(node, "approximate", b"none") == b"none":
        return Activation("gelu", (node,))
    return None


def _spelled_gelu(view: GraphView, x: str) -> Activation | None:
    """Gelu(x) = x * (1 + erf(x / sqrt 2)) * 0.5, the three factors multiplied in any order."""
    for first in view.consumers(x):
        inner = _one_plus_erf(view, x, first)
        outer = _product(view, x, inner[-1].output[0]) if inner else ()
        nodes = (*inner, *outer)
        readers = {node.output[0] for node in view.consumers(x)}
        if outer and x not in view.held and readers <= {node.output[0] for node in nodes}:
            return Activation("gelu", nodes)
    return None


def _one_plus_erf(view: GraphView, x: str, first: onnx.NodeProto) -> tuple[onnx.NodeProto, ...]:
    """The nodes of 1 + erf(x / sqrt 2) when `first` is their division; () otherwise."""
    if not _divides_by_root_two(view, x, first):
        return ()
    erf = view.sole_consumer(first.output[0])
    plus = view.sole_consumer(erf.output[0]) if erf is not None and erf.op_type == "Erf" else None
    if erf is None or plus is None or plus.op_type != "Add" or view.number_beside(plus, erf.output[0]) != 1:
        return ()
    return first, erf, plus


def _divides_by_root_two(view: GraphView, x: str, node: onnx.NodeProto) -> bool:
    number = view.number_beside(node, x)
    if number is None:
        return False
    if node.op_type == "Div":
        return node.input[0] == x and isclose(number, sqrt(2), rel_tol=1e-6)
    return node.op_type == "Mul" and isclose(number, sqrt(0.5), rel_tol=1e-6)


def _product(view: GraphView, x: str, factor: str) -> tuple[onnx.NodeProto, ...]:
    """The two multiplications of x, `factor` and 0.5; () when these are not what is multiplied."""
    first = view.sole_consumer(factor)
    if first is None or first.op_type != "Mul":
        return ()
    beside = view.other_input(first, factor)
    halved = view.producer(beside) if beside is not None else None
    if halved is not None and beside != x and _multiplies(view, halved, x, 0.5):
        return (halved, first) if view.sole_consumer(halved.output[0]) is not None else ()
    second = view.sole_consumer(first.output[0])
    if second is None or second.op_type != "Mul":
        return ()
    whole = (beside == x and _multiplies(view, second, first.output[0], 0.5)) or (
        _multiplies(view, first, factor, 0.5) and view.other_input(second, first.output[0]) == x
    )
    return (first, second) if whole else ()


def _multiplies(view: GraphView, node: onnx.NodeProto, x: str, number: float) -> bool:
    return node.op_type == "Mul" and view.number_beside(node, x) == number
