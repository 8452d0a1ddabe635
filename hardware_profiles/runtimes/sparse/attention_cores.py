"""Finds self-attention between linear layers: by what a piece of the graph computes, not by how it is spelled.

Exporters write attention in many ways and change them from version to version. A piece between three linear
layers and a fourth is run on random numbers, and is attention if that is what comes out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from hardware_profiles.runtimes.sparse.graph_view import GraphView
from hardware_profiles.runtimes.sparse.linear_ends import LinearEnds
from hardware_profiles.runtimes.sparse.region import Region, region_of

__all__ = ["AttentionCore", "attention", "attention_cores"]

_OPERATORS = {
    "Add", "And", "Cast", "Concat", "Constant", "ConstantOfShape", "Div", "Equal", "Expand",
    "Gather", "Identity", "IsInf", "IsNaN", "MatMul", "Mul", "Not", "Or", "Reshape",
    "Shape", "Slice", "Softmax", "Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where",
}  # fmt: skip
_TRIALS = ((2, 3), (1, 6), (1, 70))  # sequences, tokens; a window over neighbours shows only in the long one
_TOLERANCE = 1e-4
_HIDDEN = np.finfo(np.float32).min

Array = NDArray[np.float32]


class AttentionCore(NamedTuple):
    """output = softmax(query keyᵀ scale + what hides tokens) value, for each of `heads` parts of the features.

    `query`, `key`, `value` and `output` are float32 [batch, tokens, features]; `attention_mask` int64
    [batch, tokens].
    """

    query: str
    key: str
    value: str
    attention_mask: str
    output: str
    heads: int
    scale: float


def attention(q: Array, k: Array, v: Array, attention_mask: NDArray[np.int64], heads: int, scale: float) -> Array:
    """Softmax(q kᵀ scale + mask) v of each head (Vaswani et al. 2017, equation 1), all [batch, tokens, features].

    A token of mask 0 gets float32's minimum added to its scores.
    """
    batch, tokens, features = q.shape
    q, k, v = (x.reshape(batch, tokens, heads, -1).transpose(0, 2, 1, 3) for x in (q, k, v))
    scores = q @ k.transpose(0, 1, 3, 2) * np.float32(scale)
    scores = scores + np.where(attention_mask[:, None, None] == 0, _HIDDEN, np.float32(0))
    p = np.exp(scores - scores.max(axis=-1, keepdims=True))
    context: Array = (p / p.sum(axis=-1, keepdims=True)) @ v
    return context.transpose(0, 2, 1, 3).reshape(batch, tokens, features)


def attention_cores(view: GraphView, layers: Collection[LinearEnds]) -> Iterator[AttentionCore]:
    """Every self-attention that lies between `layers`, which are all linear layers of the graph."""
    features = {layer.output: layer.features for layer in layers}
    readers = {layer.input for layer in layers}
    for node in view.nodes:
        output = _reader_behind(view, node.output[0], readers) if node.op_type == "Softmax" else None
        if output is not None:
            region = region_of(view, output, features)
            core = _candidate(view, region, output, features)
            found = _verified(view, core, region, node.output[0], features[core.value]) if core else None
            if found is not None:
                yield found


def _reader_behind(view: GraphView, name: str, readers: Collection[str]) -> str | None:
    """The one input of a linear layer that depends on a tensor without a linear layer between."""
    found, waiting, seen = set(), [name], {name}
    while waiting:
        name = waiting.pop()
        if name in readers:
            found.add(name)
            continue
        outputs = {output for node in view.consumers(name) for output in node.output}
        waiting.extend(outputs - seen)
        seen |= outputs
    return found.pop() if len(found) == 1 else None


def _candidate(view: GraphView, region: Region, output: str, features: Mapping[str, int]) -> AttentionCore | None:
    """Who plays which part, if the region looks like attention at all; heads and scale are not known yet."""
    products = [node for node in region.nodes if node.op_type == "MatMul"]
    if len(products) != 2 or any(node.domain or node.op_type not in _OPERATORS for node in region.nodes):
        return None
    sides = [_linear_layers_behind(view, name, features) for name in products[0].input]
    layers = [name for name in region.data if name in features]
    values = set(layers).difference(*sides)
    masks = [name for name in region.data if name not in features and _is_mask(view, name)]
    if len(layers) != 3 or [len(side) for side in (*sides, values)] != [1, 1, 1] or len(masks) != 1:
        return None
    if len(region.data) != 4 or len({features[name] for name in layers}) != 1:
        return None
    (query,), (key,), (value,) = *sides, values
    return AttentionCore(query, key, value, masks[0], output, heads=0, scale=0.0)


def _linear_layers_behind(view: GraphView, name: str, features: Mapping[str, int]) -> set[str]:
    return {entry for entry in region_of(view, name, features).data if entry in features}


def _is_mask(view: GraphView, name: str) -> bool:
    kind = view.inputs[name].type.tensor_type
    return kind.elem_type == TensorProto.INT64 and len(kind.shape.dim) == 2


def _verified(
    view: GraphView, core: AttentionCore, region: Region, weights: str, features: int
) -> AttentionCore | None:
    """With heads and scale when the region computes attention with them; `weights` are the Softmax's output."""
    found = core
    for batch, tokens in _TRIALS:
        feed = _random_feed(core, region, batch, tokens, features)
        try:
            context, p = region.run(view, [core.output, weights], feed)
        except Exception:  # noqa: BLE001  (whatever the evaluator cannot run is something else, and stays as it is)
            return None
        if p.ndim != 4 or features % p.shape[1]:
            return None
        found = core._replace(heads=p.shape[1], scale=(features / p.shape[1]) ** -0.5)
        q, k, v, mask = (feed[name] for name in core[:4])
        expected = attention(q, k, v, mask, found.heads, found.scale)
        if context.shape != expected.shape or not np.allclose(context, expected, rtol=_TOLERANCE, atol=_TOLERANCE):
            return None
    return found


def _random_feed(
    core: AttentionCore, region: Region, batch: int, tokens: int, features: int
) -> dict[str, NDArray[Any]]:
    """Random queries, keys and values, a mask that hides some tokens, and for shapes tensors of other features."""
    random = np.random.default_rng(0)
    mask = np.ones((batch, tokens), np.int64)
    mask[-1, 1::2] = 0
    feed: dict[str, NDArray[Any]] = {
        name: random.standard_normal((batch, tokens, features)).astype(np.float32) for name in core[:3]
    }
    sized = {name: np.zeros((batch, tokens, features + 1), np.float32) for name in region.shapes}
    return {**feed, core.attention_mask: mask, **sized}
