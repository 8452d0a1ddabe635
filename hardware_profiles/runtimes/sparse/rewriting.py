"""Rewrites an ONNX model: linear layers that pay when sparse become the operators that skip zeros."""

from __future__ import annotations

from collections.abc import Callable, Collection

import onnx
from onnx import helper

from benchmarks.errors import TrimfitError
from hardware_profiles.runtimes.sparse.graph_edits import add_tensors, declare, replace_nodes, sweep
from hardware_profiles.runtimes.sparse.graph_view import GraphView
from hardware_profiles.runtimes.sparse.linear_layers import LinearLayer, LinearShape, linear_layers
from hardware_profiles.runtimes.sparse.projections import join_projections
from hardware_profiles.runtimes.sparse.sparse_node import DOMAIN, OPERATORS, SparseOperator, sparse_node
from hardware_profiles.runtimes.sparse.tensor_types import tensor_types
from hardware_profiles.runtimes.sparse.tiling import keep_tiles

__all__ = ["LinearShape", "Pays", "is_sparse", "sparsify"]

_VERSION = 1  # of the operators

Pays = Callable[[LinearShape, float], bool]


def sparsify(
    model: onnx.ModelProto, precision: str, pays: Pays, *, tiled: bool = True, keep: Collection[str] = ()
) -> onnx.ModelProto:
    """A copy of the model in which linear layers are sparse where that pays.

    Args:
        model: any model with its weights inside; a MatMul or Gemm with a constant float32 weight is a linear
            layer, and takes in the Add of a constant bias, the Relu and the Gelu that follow it.
        precision: "fp32": zeros are skipped; "int8": weights are quantised and 1x4 blocks of zeros are skipped.
        pays: told the size of a layer and the share of zeros ("int8": of blocks of zeros) in its weight, says
            whether the layer shall be sparse.
        tiled: whether activations stay in the sparse operators' own layout between them.
        keep: names of MatMul and Gemm nodes that are left alone.

    Returns:
        The model; without a layer that pays it is an exact copy, otherwise the dense weights that are no longer
        read are gone.

    Raises:
        TrimfitError: for another precision.
    """
    if precision not in OPERATORS:
        raise TrimfitError(f"got precision {precision!r}, expected one of {', '.join(OPERATORS)}")
    operator = OPERATORS[precision]
    sparse = onnx.ModelProto()
    sparse.CopyFrom(model)
    found = (layer for layer in linear_layers(GraphView(sparse)) if layer.nodes[0].name not in keep)
    layers = [layer for layer in found if _is_chosen(layer, operator, pays)]
    if not layers:
        return sparse
    made = {layer.output: sparse_node(layer, operator) for layer in layers}
    replace_nodes(sparse.graph, {output: (node,) for output, (node, _) in made.items()})
    add_tensors(sparse.graph, (tensor for _, tensors in made.values() for tensor in tensors))
    declare(sparse.graph, tensor_types(model, made))
    sweep(sparse.graph)
    if not is_sparse(sparse):
        sparse.opset_import.append(helper.make_opsetid(DOMAIN, _VERSION))
    return join_projections(keep_tiles(sparse)) if tiled else sparse


def is_sparse(model: onnx.ModelProto) -> bool:
    """Whether the model needs the library of sparse operators."""
    return any(entry.domain == DOMAIN for entry in model.opset_import)


def _is_chosen(layer: LinearLayer, operator: SparseOperator, pays: Pays) -> bool:
    return operator.can_pack(layer.weight) and pays(layer.shape, operator.share(layer.weight))
