"""Changes to an ONNX graph: other nodes for some of its nodes, and nothing left over that nobody reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx

from hardware_profiles.runtimes.sparse.graph_view import read_inside

__all__ = ["add_tensors", "declare", "replace_nodes", "sweep"]


def replace_nodes(graph: onnx.GraphProto, made: Mapping[str, Iterable[onnx.NodeProto]]) -> None:
    """Put other nodes where those are that make the tensors `made` names."""
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        nodes.extend(made.get(node.output[0], (node,)) if node.output else (node,))
    _set_nodes(graph, nodes)


def add_tensors(graph: onnx.GraphProto, tensors: Iterable[onnx.TensorProto]) -> None:
    """Add initializers, each name once: layers that share a weight share its packed tensors."""
    graph.initializer.extend({tensor.name: tensor for tensor in tensors}.values())


def declare(graph: onnx.GraphProto, types: Iterable[onnx.ValueInfoProto]) -> None:
    """Say of which type and shape tensors are, in place of what was said before."""
    entries = {entry.name: entry for entry in (*graph.value_info, *types)}
    kept = list(entries.values())
    del graph.value_info[:]
    graph.value_info.extend(kept)


def sweep(graph: onnx.GraphProto) -> None:
    """Drop the nodes that no output depends on, the initializers that no node reads, and what was said of both."""
    read = {entry.name for entry in graph.output}
    live: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if not read.isdisjoint(node.output):
            live.append(node)
            read.update(node.input, read_inside(node))
    _set_nodes(graph, reversed(live))
    for entries in (graph.initializer, graph.value_info):
        kept = [entry for entry in entries if entry.name in read]
        del entries[:]
        entries.extend(kept)


def _set_nodes(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    kept = list(nodes)
    del graph.node[:]
    graph.node.extend(kept)
