"""TorchSession: an ONNX file run by PyTorch on a GPU, or on this CPU in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch

from benchmarks.errors import TrimfitError
from benchmarks.gpu.accelerator import STAND_IN, Accelerator, open_accelerator
from benchmarks.gpu.session import as_feed, wanted
from hardware_profiles.runtimes.torch_graph.program import OnnxProgram

__all__ = ["OPTIONS", "TorchSession", "is_two_of_four", "open_session"]

OPTIONS = ("dtype", "cuda_graph", "compile", "two_of_four", "cold_cache")
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_BACKEND = "inductor"
_WARM_UPS = 3  # calls before a CUDA graph is captured, as PyTorch asks for
_CAPTURED_FROM = 2  # calls of one shape
_MOST_GRAPHS = 8
_TYPES = {torch.int64: "tensor(int64)", torch.int32: "tensor(int32)", torch.float32: "tensor(float)"}


class Declared(NamedTuple):
    """An input's name, its type as onnxruntime says it, and its shape as the file does."""

    name: str
    type: str
    shape: tuple[Any, ...]


class _Plan:
    """The code for one shape of inputs, with the tensors it reads."""

    def __init__(self, code: Callable[..., Any], inputs: dict[str, torch.Tensor]) -> None:
        self.code, self.inputs = code, inputs
        self.calls = 0
        self.captured: tuple[Any, Sequence[torch.Tensor]] | None = None

    def run(self) -> Sequence[torch.Tensor]:
        if self.captured is not None:
            graph, outputs = self.captured
            graph.replay()
            return outputs
        found: Sequence[torch.Tensor] = self.code(*self.inputs.values())
        return found

    def capture(self) -> None:
        """Record what a call launches."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                self.code(*self.inputs.values())
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = self.code(*self.inputs.values())
        self.captured = graph, outputs


class TorchSession:
    """See GpuSession. `options`: "dtype" floats are computed in, "compile", "cuda_graph", "two_of_four".

    With "two_of_four" the linear layers whose weights have two zeros in every four run with kernels that skip them,
    where there are such kernels for their size; `facts` tells how many.
    """

    def __init__(self, model: onnx.ModelProto, options: Mapping[str, Any], accelerator: Accelerator) -> None:
        self.accelerator, self.options = accelerator, options
        self.device = torch.device("cpu" if accelerator.kind == "cpu" else f"cuda:{accelerator.index}")
        self.device_seconds = 0.0
        self.sparse_layers = 0
        self._before = accelerator.used_bytes()
        self.memory_bytes: int | None = None
        self._inputs = [_declared(entry) for entry in model.graph.input]
        self._names = [entry.name for entry in model.graph.output]
        self._program = OnnxProgram(model, _DTYPES[options.get("dtype", "fp32")], self._placed)
        self._plans: dict[tuple[Any, ...], _Plan] = {}

    def get_inputs(self) -> list[Any]:
        """See GpuSession."""
        return list(self._inputs)

    @torch.inference_mode()
    def run(self, outputs: Sequence[str] | None, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """See GpuSession."""
        arrays = as_feed(self._inputs, feed)
        plan = self._plan(arrays)
        self.accelerator.start()
        for name, tensor in plan.inputs.items():
            tensor.copy_(torch.from_numpy(arrays[name]), non_blocking=True)
        values = dict(zip(self._names, plan.run(), strict=True))
        self.device_seconds = self.accelerator.stop()
        found = [values[name].cpu().numpy() for name in wanted(outputs, self._names)]
        if self.memory_bytes is None and self._before is not None:
            self.memory_bytes = (self.accelerator.used_bytes() or 0) - self._before
        return found

    def facts(self) -> dict[str, Any]:
        """See GpuSession: all nodes are PyTorch's."""
        layers = {"2:4 linear layers": self.sparse_layers} if self.options.get("two_of_four") else {}
        return {"device_memory_bytes": self.memory_bytes, "nodes": {f"torch on {self.device.type}": layers}}

    def _plan(self, arrays: Mapping[str, np.ndarray]) -> _Plan:
        key = tuple(values.shape for values in arrays.values())
        if key not in self._plans:
            inputs = {name: torch.from_numpy(values).to(self.device) for name, values in arrays.items()}
            code: Callable[..., Any] = self._program.write(inputs)
            if self.options.get("compile"):
                code = torch.compile(code, backend=_BACKEND, dynamic=False)
            self._plans[key] = _Plan(code, inputs)
        plan = self._plans[key]
        plan.calls += 1
        captured = sum(known.captured is not None for known in self._plans.values())
        if self._captures and plan.calls > _CAPTURED_FROM and plan.captured is None and captured < _MOST_GRAPHS:
            plan.capture()
        return plan

    @property
    def _captures(self) -> bool:
        return bool(self.options.get("cuda_graph")) and self.device.type == "cuda"

    def _placed(self, tensor: torch.Tensor, linear: bool) -> torch.Tensor:
        there = tensor.to(self.device)
        if not linear or not self.options.get("two_of_four") or not is_two_of_four(tensor):
            return there
        if self.device.type == "cpu":  # which has no such kernels, and multiplies by the zeros
            self.sparse_layers += 1
            return there
        try:
            sparse: torch.Tensor = torch.sparse.to_sparse_semi_structured(there)
        except (RuntimeError, ValueError):  # no kernel for this size
            return there
        self.sparse_layers += 1
        return sparse


def is_two_of_four(weight: torch.Tensor) -> bool:
    """Whether of every four consecutive inputs of a weight [outputs, inputs] at least two are zero."""
    if weight.shape[1] % 4:
        return False
    return bool(((weight.reshape(len(weight), -1, 4) == 0).sum(dim=2) >= 2).all())


def open_session(path: str, options: Mapping[str, Any], threads: int, index: int) -> TorchSession:
    """Load an ONNX file for the GPU of this number, or for this CPU in its place (STAND_IN).

    Raises TrimfitError, in one line, for an unknown option, a file that is no ONNX model, an unknown operator.
    """
    if unknown := sorted(set(options) - set(OPTIONS)):
        raise TrimfitError(f"got runtime option {unknown[0]!r}, expected one of {', '.join(OPTIONS)}")
    torch.set_num_threads(threads)
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf raises its own classes
        raise TrimfitError(f"got {path}, expected an ONNX model: {type(error).__name__}") from error
    if index == STAND_IN:
        return TorchSession(model, options, open_accelerator(index))
    torch.cuda.set_device(index)
    return TorchSession(model, options, open_accelerator(index, torch.cuda.current_stream().cuda_stream))


def _declared(entry: onnx.ValueInfoProto) -> Declared:
    tensor = entry.type.tensor_type
    dtype = {1: torch.float32, 6: torch.int32, 7: torch.int64}.get(tensor.elem_type, torch.float32)
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in tensor.shape.dim)
    return Declared(entry.name, _TYPES[dtype], shape)
