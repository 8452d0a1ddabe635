"""OnnxProgram: an ONNX encoder as PyTorch code, a straight line of calls for inputs of given shapes.

Whatever only shapes decide is computed once, as the code is written. Linear layers, their activations and
self-attention are found by what they compute, and become PyTorch's own fused functions: a strong contestant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import fx

from benchmarks.errors import TrimfitError
from hardware_profiles.runtimes.sparse.attention_cores import AttentionCore, attention_cores
from hardware_profiles.runtimes.sparse.graph_view import GraphView
from hardware_profiles.runtimes.sparse.linear_ends import linear_ends
from hardware_profiles.runtimes.sparse.linear_layers import LinearLayer, linear_layers
from hardware_profiles.runtimes.torch_graph.operators import OPERATORS, Value, attend, shown

__all__ = ["OnnxProgram"]

Place = Callable[[torch.Tensor, bool], torch.Tensor]
_DOMAINS = ("", "ai.onnx", "com.microsoft")
_ACTIVATIONS = {"gelu": F.gelu, "relu": torch.relu}


class _Traced(NamedTuple):
    """A tensor that a call computes: its node in the code, and its type and shape."""

    node: fx.Node
    meta: torch.Tensor


class OnnxProgram:
    """A loaded model, to be written for any shapes of its inputs.

    Args:
        model: with its weights inside; weights in fp16 are read as fp32.
        dtype: that floats are computed in.
        place: puts a tensor where it is computed with; told whether it is the weight [outputs, inputs] of a linear
            layer. Each weight is placed once.

    Raises TrimfitError for an operator that is not known here.
    """

    def __init__(self, model: onnx.ModelProto, dtype: torch.dtype, place: Place) -> None:
        _widen(model)
        self.dtype = dtype
        self._place, self._placed = place, dict[str, torch.Tensor]()
        self._view = GraphView(model)
        self._outputs = list(model.graph.output)
        self._layers = {layer.output: layer for layer in linear_layers(self._view)}
        self._cores = {core.output: core for core in attention_cores(self._view, list(linear_ends(self._view)))}
        self._live = self._needed()
        for node in self._live:
            self._check(node)

    def write(self, inputs: Mapping[str, torch.Tensor]) -> fx.GraphModule:
        """The code for inputs like these: called with them in this order, it returns every output, floats as fp32."""
        writer = _Writer(self.dtype, self._placed, self._place)
        known: dict[str, Value] = {name: writer.input(name, values) for name, values in inputs.items()}
        for name, tensor in self._view.initializers.items():
            known[name] = writer.constant(name, torch.from_numpy(numpy_helper.to_array(tensor).copy()))
        for node in self._live:
            known |= self._computed(writer, node, known)
        return writer.finished([(known[entry.name], _is_float(entry)) for entry in self._outputs])

    def _computed(self, writer: _Writer, node: onnx.NodeProto, known: Mapping[str, Value]) -> dict[str, Value]:
        output = node.output[0]
        if layer := self._layers.get(output):
            return {output: writer.linear(layer, known[layer.input])}
        if core := self._cores.get(output):
            return {output: writer.attention(core, [known[name] for name in core[:4]])}
        if node.op_type == "Constant":
            return {output: writer.constant(output, _constant(node))}
        found = [known[name] if name else None for name in node.input]
        return {output: OPERATORS[node.op_type](writer, found, _attributes(node))}

    def _needed(self) -> list[onnx.NodeProto]:
        """The nodes that are computed, in order: of a layer or an attention, the one that makes its output."""
        waiting, found = [entry.name for entry in self._outputs], set[str]()
        while waiting:
            node = self._view.producer(waiting.pop())
            if node is not None and node.output[0] not in found:
                found.add(node.output[0])
                waiting.extend(filter(None, self._read(node)))
        return [node for node in self._view.nodes if node.output and node.output[0] in found]

    def _read(self, node: onnx.NodeProto) -> Sequence[str]:
        output = node.output[0]
        if layer := self._layers.get(output):
            return [layer.input]
        core = self._cores.get(output)
        return core[:4] if core else list(node.input)

    def _check(self, node: onnx.NodeProto) -> None:
        whole = node.output[0] in self._layers or node.output[0] in self._cores or node.op_type == "Constant"
        if not whole and (node.op_type not in OPERATORS or node.domain not in _DOMAINS):
            raise TrimfitError(
                f"got operator {node.domain or 'ai.onnx'}.{node.op_type}, expected one of an encoder's:"
                " use onnxruntime for this model"
            )


class _Writer:
    """Writes the code, and computes what is known already. See Emitter."""

    def __init__(self, dtype: torch.dtype, placed: dict[str, torch.Tensor], place: Place) -> None:
        self.dtype, self._placed, self._place = dtype, placed, place
        self._graph, self._root = fx.Graph(), torch.nn.Module()
        self._names: dict[int, tuple[str, torch.Tensor, bool]] = {}
        self._nodes: dict[int, fx.Node] = {}
        self._visible: dict[int, tuple[Value, Value]] = {}
        self._kept: list[torch.Tensor] = []  # whose ids are names

    def input(self, name: str, values: torch.Tensor) -> _Traced:
        """An input of the code."""
        return _Traced(self._graph.placeholder(_as_name(name)), values.to("meta"))

    def constant(self, name: str, value: torch.Tensor, *, linear: bool = False) -> torch.Tensor:
        """A tensor of the model by its name there, by which it is placed once for all shapes."""
        self._names[id(value)] = name, value, linear
        return value

    def linear(self, layer: LinearLayer, x: Value) -> Value:
        """A linear layer with its activation."""
        weight, bias = torch.tensor(np.ascontiguousarray(layer.weight)), torch.tensor(layer.bias)
        rows = self.constant(f"{layer.name}.linear", weight, linear=True)
        y = self.do(F.linear, x, rows, self.constant(f"{layer.output}.bias", bias))
        return self.do(_ACTIVATIONS[layer.activation], y) if layer.activation in _ACTIVATIONS else y

    def attention(self, core: AttentionCore, tensors: Sequence[Value]) -> Value:
        """A self-attention."""
        query, key, value, mask = tensors
        return self.do(attend, query, key, value, self.visible(mask), core.heads, core.scale)

    def finished(self, outputs: Sequence[tuple[Value, bool]]) -> fx.GraphModule:
        """The code with these (tensor, whether it is to be fp32) returned."""
        found = [self.do(torch.Tensor.to, value, torch.float32) if wide else value for value, wide in outputs]
        self._graph.output(tuple(self._node(value) for value in found))
        self._graph.eliminate_dead_code()
        return fx.GraphModule(self._root, self._graph)

    # -- Emitter --------------------------------------------------------------------------------------------

    def do(self, function: Callable[..., Any], *arguments: Any) -> Value:
        """See Emitter."""
        if not any(isinstance(each, _Traced) for each in _flat(arguments)):
            return function(*arguments)
        node = self._graph.call_function(function, tuple(_mapped(each, self._node) for each in arguments))
        return _Traced(node, function(*(_mapped(each, self._meta) for each in arguments)))

    def visible(self, mask: Value) -> Value:
        """See Emitter."""
        if id(mask) not in self._visible:
            self._visible[id(mask)] = mask, self.do(shown, mask)
        return self._visible[id(mask)][1]

    def floats(self, value: Value) -> Value:
        """See Emitter."""
        return value if self._meta(value).dtype == self.dtype else self.do(torch.Tensor.to, value, self.dtype)

    def known(self, value: Value) -> torch.Tensor:
        """See Emitter."""
        if isinstance(value, _Traced):
            raise TrimfitError(
                "got a shape that depends on what the model is given, expected one that its size decides:"
                " use onnxruntime for this model"
            )
        found: torch.Tensor = value
        return found

    def is_known(self, value: Value) -> bool:
        """See Emitter."""
        return not isinstance(value, _Traced)

    def shape(self, value: Value) -> tuple[int, ...]:
        """See Emitter."""
        return tuple(self._meta(value).shape)

    # -------------------------------------------------------------------------------------------------------

    def _meta(self, value: Value) -> torch.Tensor:
        if isinstance(value, _Traced):
            return value.meta
        dtype = self.dtype if value.is_floating_point() else value.dtype
        return torch.empty(value.shape, dtype=dtype, device="meta")

    def _node(self, value: Value) -> fx.Node:
        """The node of a tensor; a known one becomes a buffer of the code."""
        if isinstance(value, _Traced):
            return value.node
        if id(value) not in self._nodes:
            self._kept.append(value)
            name = f"c{len(self._nodes)}"
            self._root.register_buffer(name, self._there(value), persistent=False)
            self._nodes[id(value)] = self._graph.get_attr(name)
        return self._nodes[id(value)]

    def _there(self, value: torch.Tensor) -> torch.Tensor:
        name, _, linear = self._names.get(id(value), ("", value, False))
        if name in self._placed:
            return self._placed[name]
        if value.is_floating_point():
            range_ = torch.finfo(self.dtype)
            value = value.clamp(range_.min, range_.max).to(self.dtype)  # masks are as low as fp32 goes
        found = self._place(value, linear)
        if name:
            self._placed[name] = found
        return found


def _flat(arguments: Any) -> Iterator[Any]:
    for each in arguments:
        if isinstance(each, list):
            yield from _flat(each)
        else:
            yield each


def _mapped(argument: Any, change: Callable[[Value], Any]) -> Any:
    """An argument with its tensors changed; lists hold tensors, tuples plain numbers."""
    if isinstance(argument, list):
        return [_mapped(each, change) for each in argument]
    return change(argument) if isinstance(argument, (_Traced, torch.Tensor)) else argument


def _widen(model: onnx.ModelProto) -> None:
    """Weights that are stored in fp16 as fp32, in place: they are looked for, and rounded again where that is asked."""
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            wide = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
            tensor.CopyFrom(wide)


def _constant(node: onnx.NodeProto) -> torch.Tensor:
    (entry,) = node.attribute
    value = helper.get_attribute_value(entry)
    if isinstance(value, onnx.TensorProto):
        return _read(value)
    dtype = torch.float32 if "float" in entry.name else torch.int64
    return torch.tensor(value, dtype=dtype)


def _read(tensor: onnx.TensorProto) -> torch.Tensor:
    array = numpy_helper.to_array(tensor)
    return torch.from_numpy(array.astype(np.float32) if array.dtype == np.float16 else array.copy())


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    values = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    return {name: _read(value) if isinstance(value, onnx.TensorProto) else value for name, value in values.items()}


def _is_float(entry: onnx.ValueInfoProto) -> bool:
    return entry.type.tensor_type.elem_type in (TensorProto.FLOAT, TensorProto.FLOAT16)


def _as_name(name: str) -> str:
    return "".join(each if each.isalnum() else "_" for each in name)
