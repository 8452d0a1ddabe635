"""GraphView: who makes and who reads each tensor of an ONNX graph, and which tensors are constant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

__all__ = ["GraphView", "attribute", "read_inside"]


class GraphView:
    """Looks at a graph without changing it. A node is known by the name of its first output, which is unique.

    `held` are the tensors that have to stay under their names: outputs of the graph, and whatever the bodies of
    its conditions and loops read.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.opset_import = list(model.opset_import)
        self.nodes: list[onnx.NodeProto] = list(graph.node)
        self.inputs = {entry.name: entry for entry in graph.input}
        self.held = {entry.name for entry in graph.output}.union(*map(read_inside, self.nodes))
        self.initializers = {tensor.name: tensor for tensor in graph.initializer if tensor.name not in self.inputs}
        self._producers = {name: node for node in self.nodes for name in node.output}
        self._consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.input):
                self._consumers.setdefault(name, []).append(node)

    def producer(self, name: str) -> onnx.NodeProto | None:
        """The node that makes a tensor; None for inputs and initializers."""
        return self._producers.get(name)

    def consumers(self, name: str) -> list[onnx.NodeProto]:
        """The nodes that read a tensor, each once."""
        return self._consumers.get(name, [])

    def sole_consumer(self, name: str) -> onnx.NodeProto | None:
        """The node that reads a tensor when it is the only one and nothing else needs the tensor."""
        readers = self.consumers(name)
        return readers[0] if len(readers) == 1 and name not in self.held else None

    def constant(self, name: str) -> NDArray[Any] | None:
        """The value of a tensor that no input changes; seen through Identity and Transpose."""
        if name in self.initializers:
            return _value(self.initializers[name])
        node = self.producer(name)
        if node is None:
            return None
        if node.op_type == "Constant":
            tensor = attribute(node, "value", None)
            return None if tensor is None else _value(tensor)
        if node.op_type not in ("Identity", "Transpose"):
            return None
        value = self.constant(node.input[0])
        if value is None or node.op_type == "Identity":
            return value
        return value.transpose(attribute(node, "perm", None))

    def other_input(self, node: onnx.NodeProto, name: str) -> str | None:
        """What a node of two inputs reads beside `name`; None when `name` is not exactly one of the two."""
        others = [entry for entry in node.input if entry != name]
        return others[0] if len(node.input) == 2 and len(others) == 1 else None

    def number_beside(self, node: onnx.NodeProto, name: str) -> float | None:
        """The constant scalar that a node of two inputs reads beside `name`."""
        other = self.other_input(node, name)
        value = self.constant(other) if other is not None else None
        return float(value.reshape(())) if value is not None and value.size == 1 else None


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Value of an attribute of a node."""
    for entry in node.attribute:
        if entry.name == name:
            return helper.get_attribute_value(entry)
    return default


def _value(tensor: onnx.TensorProto) -> NDArray[Any]:
    value: NDArray[Any] = numpy_helper.to_array(tensor)
    return value


def read_inside(node: onnx.NodeProto) -> set[str]:
    """Every tensor name that the graphs in a node's attributes read."""
    return {name for graph in _bodies(node.attribute) for name in _read(graph)}


def _bodies(attributes: Iterable[onnx.AttributeProto]) -> Iterator[onnx.GraphProto]:
    for entry in attributes:
        if entry.type == onnx.AttributeProto.GRAPH:
            yield entry.g
        yield from entry.graphs


def _read(graph: onnx.GraphProto) -> Iterator[str]:
    yield from (entry.name for entry in graph.output)
    for node in graph.node:
        yield from node.input
        yield from read_inside(node)
