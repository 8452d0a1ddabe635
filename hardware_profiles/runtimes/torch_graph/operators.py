"""What ONNX operators are in PyTorch: functions of an Emitter and a node's inputs and attributes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from onnx import TensorProto

__all__ = ["OPERATORS", "Emitter", "Value", "attend", "shown"]

Value = Any
"""A tensor that is known already, or stands for one that a call computes; None for an input that is left out."""
Attributes = Mapping[str, Any]

_DTYPES = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.FLOAT16: torch.float32,  # floats are computed in whatever the session is asked for
    TensorProto.BFLOAT16: torch.float32,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.INT64: torch.int64,
    TensorProto.INT32: torch.int32,
    TensorProto.BOOL: torch.bool,
}


class Emitter(Protocol):
    """What operators are written with."""

    def do(self, function: Callable[..., Any], *arguments: Any) -> Value:
        """A function of tensors and plain values: computed now where all is known, else by every call."""
        ...

    def floats(self, value: Value) -> Value:
        """The tensor in the type that floats are computed in."""
        ...

    def known(self, value: Value) -> torch.Tensor:
        """The tensor itself. Raises TrimfitError where only a call will tell."""
        ...

    def is_known(self, value: Value) -> bool:
        """Whether it is."""
        ...

    def shape(self, value: Value) -> tuple[int, ...]:
        """Its shape."""
        ...

    def visible(self, mask: Value) -> Value:
        """The mask of attention as of `shown`, computed once for all layers."""
        ...


Operator = Callable[[Emitter, Sequence[Value], Attributes], Value]


def _ints(e: Emitter, value: Value) -> list[int]:
    return [int(x) for x in e.known(value).reshape(-1).tolist()]


def _plain(function: Callable[..., Any]) -> Operator:
    """An operator that is one function of its inputs."""
    return lambda e, x, a: e.do(function, *x)


def _cast(e: Emitter, x: Sequence[Value], a: Attributes) -> Value:
    dtype = _DTYPES[a["to"]]
    if dtype is torch.float32 and not e.is_known(x[0]):
        return e.floats(x[0])
    return e.do(torch.Tensor.to, x[0], dtype)


def _shape(e: Emitter, x: Sequence[Value], a: Attributes) -> Value:
    return torch.tensor(e.shape(x[0])[a.get("start", 0) : a.get("end", None)], dtype=torch.int64)


def _reshape(e: Emitter, x: Sequence[Value], a: Attributes) -> Value:
    before = e.shape(x[0])
    wanted = _ints(e, x[1])
    if not a.get("allowzero", 0):
        wanted = [before[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    return e.do(torch.reshape, x[0], tuple(wanted))


def _transpose(e: Emitter, x: Sequence[Value], a: Attributes) -> Value:
    rank = len(e.shape(x[0]))
    return e.do(torch.permute, x[0], tuple(a.get("perm") or range(rank)[::-1]))


def _axes(e: Emitter, x: Sequence[Value], a: Attributes) -> list[int]:
    return list(a["axes"]) if "axes" in a else _ints(e, x[1])


def _unsqueeze(e: Emitter, x: Sequence[Value], a: Attributes) -> Value:
    value = x[0]
    axes = _axes(e, x, a)
    rank = len(e.shape(value)) + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        value = e.do(torch.unsqueeze, value, axis)
    return value


def _squeeze(e: Emitter, x: Sequence[Value], a: Attributes) -> Value:
    value, shape = x[0], e.shape(x[0])
    axes = _axes(e, x, a) if "axes" in a or len(x) > 1 else [i for i, size in enumerate(shape) if size == 1]
    for axis in sorted((axis % len(shape) for axis in axes), reverse=True):
        value = e.do(torch.squeeze, value, axis)
    return value


def _concat(e: Emitter, x: Sequence[Value], a: Attributes) -> Value:
    return e.do(torch.cat, list(x), a["axis"])


def _gather(e: Emitter, x: Sequence[Value], a: Attributes) -> Value:
    data, indices = x
    axis, shape = a.get("axis", 0) % len(e.shape(data)), e.shape(data)
    if not e.is_known(indices):
        if axis == 0 and len(shape) == 2:
            return e.do(F.embedding, indices, data)
        flat = e.do(torch.reshape, indices, (-1,))
        found = e.do(torch.index_select, data, axis, flat)
        return e.do(torch.reshape, found, (*shape[:axis], *e.shape(indices), *shape[axis + 1 :]))
    wanted = e.known(indices).long() % shape[axis]
    if wanted.ndim == 0:
        return e.do(torch.select, data, axis, int(wanted))
    found = e.do(torch.index_select, data, axis, wanted.reshape(-1))
    return e.do(torch.reshape, found, (*shape[:axis], *wanted.shape, *shape[axis + 1 :]))


def _take(value: torch.Tensor, *slices: tuple[int, int, int]) -> torch.Tensor:
    return value[tuple(slice(*each) for each in slices)]


def _slice(e: Emitter, x: Sequence[Value], a: Attributes) -> Value:
    shape = e.shape(x[0])
    starts, ends = _ints(e, x[1]), _ints(e, x[2])
    axes = _ints(e, x[3]) if len(x) > 3 and x[3] is not None else list(range(len(starts)))
    steps = _ints(e, x[4]) if len(x) > 4 and x[4] is not None else [1] * len(starts)
    cuts = [(0, size, 1) for size in shape]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = shape[axis]
        cuts[axis] = (
            min(max(start + size if start < 0 else start, 0), size),
            min(end if end >= 0 else end + size, size),
            step,
        )
    return e.do(_take, x[0], *cuts)


def _layer_norm(e: Emitter, x: Sequence[Value], a: Attributes) -> Value:
    axis = a.get("axis", -1)
    shape = e.shape(x[0])
    return e.do(F.layer_norm, x[0], tuple(shape[axis % len(shape) :]), *_with_bias(x), a.get("epsilon", 1e-5))


def _with_bias(x: Sequence[Value]) -> tuple[Value, Value]:
    return x[1], (x[2] if len(x) > 2 else None)


def _gemm(e: Emitter, x: Sequence[Value], a: Attributes) -> Value:
    left = e.do(torch.t, x[0]) if a.get("transA") else x[0]
    right = e.do(torch.t, x[1]) if a.get("transB") else x[1]
    product = e.do(torch.matmul, left, right)
    if a.get("alpha", 1.0) != 1.0:
        product = e.do(torch.mul, product, a["alpha"])
    if len(x) < 3 or x[2] is None:
        return product
    bias = x[2] if a.get("beta", 1.0) == 1.0 else e.do(torch.mul, x[2], a["beta"])
    return e.do(torch.add, product, bias)


def _divide(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    whole = not torch.is_floating_point(torch.as_tensor(left)) and not torch.is_floating_point(torch.as_tensor(right))
    return torch.div(left, right, rounding_mode="trunc" if whole else None)


def _expand(e: Emitter, x: Sequence[Value], a: Attributes) -> Value:
    shape = torch.broadcast_shapes(e.shape(x[0]), tuple(_ints(e, x[1])))
    return e.do(torch.Tensor.expand, x[0], tuple(shape))


def _softmax(e: Emitter, x: Sequence[Value], a: Attributes) -> Value:
    return e.do(torch.softmax, x[0], a.get("axis", -1))


def _gelu(e: Emitter, x: Sequence[Value], a: Attributes) -> Value:
    return e.do(F.gelu, x[0]) if a.get("approximate", b"none") == b"none" else e.do(_tanh_gelu, x[0])


def _tanh_gelu(value: torch.Tensor) -> torch.Tensor:
    return F.gelu(value, approximate="tanh")


def _constant_of_shape(e: Emitter, x: Sequence[Value], a: Attributes) -> Value:
    value = a.get("value")
    return torch.zeros(_ints(e, x[0])) if value is None else value.reshape(()).expand(_ints(e, x[0])).clone()


def _range(e: Emitter, x: Sequence[Value], a: Attributes) -> Value:
    start, end, step = (e.known(value) for value in x)
    return torch.arange(start.item(), end.item(), step.item(), dtype=start.dtype)


def _cumsum(e: Emitter, x: Sequence[Value], a: Attributes) -> Value:
    return e.do(torch.cumsum, x[0], _ints(e, x[1])[0])


def _mean(e: Emitter, x: Sequence[Value], a: Attributes) -> Value:
    axes = _ints(e, x[1]) if len(x) > 1 and x[1] is not None else list(a.get("axes", range(len(e.shape(x[0])))))
    return e.do(torch.mean, x[0], tuple(axes), bool(a.get("keepdims", 1)))


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor, heads: int, scale: float
) -> torch.Tensor:
    """Self-attention of features [batch, tokens, features] with a `mask` as of `shown`."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale).transpose(1, 2).flatten(2)


def shown(mask: torch.Tensor) -> torch.Tensor:
    """[batch, 1, 1, tokens]: which tokens are attended to, of a mask [batch, tokens] that is 0 for the others."""
    return (mask != 0)[:, None, None, :]


def _attention(e: Emitter, x: Sequence[Value], a: Attributes) -> Value:
    scale = a.get("scale") or 1 / math.sqrt(e.shape(x[0])[-1] / a["num_heads"])
    return e.do(attend, x[0], x[1], x[2], e.visible(x[4]), a["num_heads"], scale)


OPERATORS: dict[str, Operator] = {
    "Abs": _plain(torch.abs),
    "Add": _plain(torch.add),
    "And": _plain(torch.logical_and),
    "Cast": _cast,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "CumSum": _cumsum,
    "Div": _plain(_divide),
    "Equal": _plain(torch.eq),
    "Erf": _plain(torch.erf),
    "Exp": _plain(torch.exp),
    "Expand": _expand,
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "Greater": _plain(torch.gt),
    "Identity": lambda e, x, a: x[0],
    "IsInf": _plain(torch.isinf),
    "IsNaN": _plain(torch.isnan),
    "LayerNormalization": _layer_norm,
    "Less": _plain(torch.lt),
    "MatMul": _plain(torch.matmul),
    "Max": _plain(torch.maximum),
    "Min": _plain(torch.minimum),
    "Mul": _plain(torch.mul),
    "MultiHeadAttention": _attention,
    "Neg": _plain(torch.neg),
    "Not": _plain(torch.logical_not),
    "Or": _plain(torch.logical_or),
    "Pow": _plain(torch.pow),
    "Range": _range,
    "ReduceMean": _mean,
    "Relu": _plain(torch.relu),
    "Reshape": _reshape,
    "Shape": _shape,
    "Sigmoid": _plain(torch.sigmoid),
    "Slice": _slice,
    "Softmax": _softmax,
    "Sqrt": _plain(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _plain(torch.sub),
    "Tanh": _plain(torch.tanh),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _plain(torch.where),
}
