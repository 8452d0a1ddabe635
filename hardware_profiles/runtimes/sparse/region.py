"""Region: the nodes that compute one tensor from others, which can be run by themselves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from hardware_profiles.runtimes.sparse.graph_view import GraphView

__all__ = ["Region", "region_of"]


class Region(NamedTuple):
    """`nodes` in the order of the graph. Values come in by `data`; of the tensors `shapes` only the shape is read.

    `constants` are the initializers that are read.
    """

    nodes: tuple[onnx.NodeProto, ...]
    data: frozenset[str]
    shapes: frozenset[str]
    constants: frozenset[str]

    def run(
        self, view: GraphView, outputs: Sequence[str], feed: Mapping[str, NDArray[Any]]
    ) -> tuple[NDArray[Any], ...]:
        """Compute `outputs` with onnx's reference implementation from `data` and `shapes`, all of which `feed` has."""
        graph = helper.make_graph(
            self.nodes,
            "region",
            [
                helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(feed[name].dtype), None)
                for name in feed
            ],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [view.initializers[name] for name in sorted(self.constants)],
        )
        model = helper.make_model(graph, opset_imports=view.opset_import)
        return tuple(ReferenceEvaluator(model).run(None, dict(feed)))


def region_of(view: GraphView, output: str, stops: Collection[str]) -> Region:
    """Everything that `output` depends on, back to the tensors `stops` and to inputs of the graph.

    A node Shape ends the walk too: what it reads is needed in its shape alone.
    """
    inside: set[str] = set()
    data: set[str] = set()
    measured: set[str] = set()
    constants: set[str] = set()
    waiting = [output]
    while waiting:
        name = waiting.pop()
        node = view.producer(name)
        if name in stops or name in view.inputs:
            data.add(name)
        elif node is None:
            constants.add(name)
        elif node.output[0] not in inside:
            inside.add(node.output[0])
            if node.op_type == "Shape":
                measured.add(node.input[0])
            else:
                waiting.extend(filter(None, node.input))
    nodes = tuple(node for node in view.nodes if node.output and node.output[0] in inside)
    made = {name for node in nodes for name in node.output}
    return Region(nodes, frozenset(data), frozenset(measured - made - data), frozenset(constants))
