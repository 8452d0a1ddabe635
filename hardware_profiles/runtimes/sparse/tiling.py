"""Keeps activations in tiles from one sparse layer to the next, so that they are not transposed in between.

Sparse operators work on tiles, in which up to 64 tokens lie side by side for each feature. In a row of sparse
layers attention, residuals and normalisations work on tiles too; Tile and Untile are left at the borders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import onnx
from onnx import helper

from hardware_profiles.runtimes.sparse.attention_cores import AttentionCore, attention_cores
from hardware_profiles.runtimes.sparse.graph_edits import declare, replace_nodes, sweep
from hardware_profiles.runtimes.sparse.graph_view import GraphView
from hardware_profiles.runtimes.sparse.linear_ends import LinearEnds, linear_ends
from hardware_profiles.runtimes.sparse.residual_norms import ResidualNorm, residual_norms
from hardware_profiles.runtimes.sparse.sequence_tensors import embedded_inputs, sequence_tensors
from hardware_profiles.runtimes.sparse.sparse_node import DOMAIN
from hardware_profiles.runtimes.sparse.tensor_types import tensor_types

__all__ = ["keep_tiles"]


class Step(NamedTuple):
    """A piece of the graph that can work on tiles: `output` from the activations `inputs`, all [batch, tokens, F]."""

    output: str
    inputs: tuple[str, ...]
    source: LinearEnds | AttentionCore | ResidualNorm

    @property
    def is_linear(self) -> bool:
        """Whether it is a sparse layer, which can read and write rows as well."""
        return isinstance(self.source, LinearEnds)


Steps = Mapping[str, Step]


def keep_tiles(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model with sparse layers, in which what lies between them works on tiles where it can."""
    view = GraphView(model)
    steps = _worthwhile(_steps(view))
    tiled = _tiled(steps)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    if tiled:
        sizes = embedded_inputs(view)[0]
        made = {step.output: _nodes(step, tiled, sizes) for step in steps.values()}
        for name in tiled.difference(steps):
            made[name] = [view.producer(name), _node("Tile", [name], _tiles(name))]
        declare(result.graph, tensor_types(model, steps))
        replace_nodes(result.graph, made)
        sweep(result.graph)
    return result


def _steps(view: GraphView) -> Steps:
    """Everything that could work on tiles, by output, in the order of the graph."""
    layers = list(linear_ends(view))
    cores = list(attention_cores(view, layers))
    sources = {end.output: end.input for end in layers} | {core.output: core.query for core in cores}
    sequences = sequence_tensors(view, sources)
    found = [
        *(Step(layer.output, (layer.input,), layer) for layer in layers if layer.sparse is not None),
        *(Step(core.output, (core.query, core.key, core.value), core) for core in cores),
        *(Step(norm.output, (norm.x, norm.residual), norm) for norm in residual_norms(view)),
    ]
    usable = {step.output: step for step in found if sequences.issuperset(step.inputs)}
    return {node.output[0]: usable[node.output[0]] for node in view.nodes if node.output and node.output[0] in usable}


def _worthwhile(steps: Steps) -> Steps:
    """Without the attention and the norms for which more would have to be tiled than their neighbours give."""
    kept = dict(steps)
    while True:
        read = {name for step in kept.values() for name in step.inputs}
        gone = [name for name, step in kept.items() if not _pays(step, kept, name in read)]
        if not gone:
            return kept
        for name in gone:
            del kept[name]


def _pays(step: Step, kept: Steps, is_read: bool) -> bool:
    given = [name in kept for name in step.inputs]
    if isinstance(step.source, ResidualNorm):
        return all(given) or (any(given) and is_read)
    return step.is_linear or all(given)


def _tiled(steps: Steps) -> set[str]:
    """Names of the tensors that there are in tiles: what steps pass on, and what comes in and is tiled once for all.

    A tensor that comes in to a single layer is not among them: the layer reads its rows.
    """
    readers: dict[str, int] = {}
    for step in steps.values():
        for name in step.inputs:
            readers[name] = readers.get(name, 0) + 1
    tiled: set[str] = set()
    for step in steps.values():
        tiled.update(name for name in step.inputs if name not in steps and (readers[name] > 1 or not step.is_linear))
        if not step.is_linear or step.output in readers or step.inputs[0] in tiled:
            tiled.add(step.output)
    return tiled


def _nodes(step: Step, tiled: Iterable[str], sizes: str) -> list[onnx.NodeProto]:
    """The node of a step and, after it, its rows for whoever reads those."""
    names = [_tiles(name) if name in tiled else name for name in (*step.inputs, step.output)]
    node = _step_node(step, names[:-1], names[-1])
    if step.output not in tiled:
        return [node]
    return [node, _node("Untile", [names[-1], sizes], step.output)]


def _step_node(step: Step, inputs: list[str], output: str) -> onnx.NodeProto:
    source = step.source
    if isinstance(source, AttentionCore):
        settings = {"heads": source.heads, "scale": source.scale}
        return _node("TiledAttention", [*inputs, source.attention_mask], output, **settings)
    if isinstance(source, ResidualNorm):
        constants = [source.gamma, source.beta]
        return _node("TiledAddLayerNormalization", [*inputs, *constants], output, epsilon=source.epsilon)
    node = onnx.NodeProto()
    node.CopyFrom(source.sparse)
    layouts = {"input_layout": (node.input[0], inputs[0]), "output_layout": (node.output[0], output)}
    for attribute, (before, now) in layouts.items():
        if now != before:
            node.attribute.append(helper.make_attribute(attribute, "tiles"))
    node.input[0], node.output[0] = inputs[0], output
    return node


def _tiles(name: str) -> str:
    return f"{name}.tiles"


def _node(operator: str, inputs: list[str], output: str, **attributes: float) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, [output], name=f"{output}/{operator}", domain=DOMAIN, **attributes)
