"""The groups of linear layers in a model, and where they are in its ONNX export."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import onnx
from torch import nn
from transformers import PreTrainedModel

from optimizer.encoders import walk
from optimizer.float_layers import LinearGroup, Part

__all__ = ["node_names", "weights_of"]

_PARTS: dict[str, Part] = {"up": "ffn_up", "down": "ffn_down"}  # all others are attention's


def weights_of(model: PreTrainedModel) -> dict[LinearGroup, int]:
    """The number of weights in each group; removed blocks have none and are left out."""
    sizes: dict[LinearGroup, int] = {}
    for group, linear in _linears(model):
        sizes[group] = sizes.get(group, 0) + linear.weight.numel()
    return sizes


def node_names(model: PreTrainedModel, graph: onnx.GraphProto, groups: Collection[LinearGroup]) -> tuple[str, ...]:
    """Names of the nodes that multiply by the weights of `groups` in the model's own export.

    The exporter names a node by its module: "/bert/encoder/layer.0/output/dense/MatMul".
    """
    names = {module: name for name, module in model.named_modules()}
    wanted = {names[linear] for group, linear in _linears(model) if group in groups}
    products = (node.name for node in graph.node if node.op_type in ("MatMul", "Gemm"))
    return tuple(name for name in products if name.strip("/").replace("/", ".").rpartition(".")[0] in wanted)


def _linears(model: PreTrainedModel) -> Iterator[tuple[LinearGroup, nn.Linear]]:
    for index, layer in enumerate(walk(model).layers):
        for name, linear in layer.linears().items():
            yield LinearGroup(layer=index, part=_PARTS.get(name, "attention")), linear
