"""OnnxRuntimeGpuSession: an onnxruntime session on a GPU, its inputs and outputs in fixed buffers there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.errors import TrimfitError
from benchmarks.gpu.accelerator import STAND_IN, Accelerator, open_accelerator
from benchmarks.gpu.session import as_feed, numpy_type, wanted

__all__ = [
    "CPU_PROVIDER",
    "CUDA_PROVIDER",
    "INSTALL",
    "OPTIONS",
    "TENSORRT_PROVIDER",
    "OnnxRuntimeGpuSession",
    "open_session",
]

CUDA_PROVIDER, TENSORRT_PROVIDER, CPU_PROVIDER = (f"{name}ExecutionProvider" for name in ("CUDA", "Tensorrt", "CPU"))
INSTALL = "pip uninstall onnxruntime; pip install 'onnxruntime-gpu[cuda,cudnn]'"
"""Both packages are named onnxruntime inside: one of them hides the other."""
OPTIONS = ("provider", "provider_options", "cuda_graph", "disabled_optimizers", "config", "cold_cache")
_RECORD = "session.record_ep_graph_assignment_info"
_MOST_GRAPHS = 8  # shapes of inputs that are captured; each keeps its memory
_CAPTURED_FROM = 2  # calls of one shape, so that rows of every length that come once are not captured
_MOST_PLANS = 64
_NOT_CAPTURED = -1


@dataclass
class _Plan:
    """Buffers for inputs and outputs of one shape each, bound; `graph` is the number of its captured CUDA graph."""

    binding: Any
    inputs: dict[str, int]
    outputs: dict[str, tuple[int, tuple[int, ...], Any]]
    graph: int = _NOT_CAPTURED
    calls: int = 0

    @property
    def addresses(self) -> list[int]:
        return [*self.inputs.values(), *(address for address, _, _ in self.outputs.values())]


class OnnxRuntimeGpuSession:
    """See GpuSession. With `graphs`, shapes that come again are captured as CUDA graphs and replayed.

    `session` has to put its work into the accelerator's stream.
    """

    def __init__(self, session: Any, accelerator: Accelerator, *, graphs: bool = False) -> None:
        self.session, self.accelerator, self.graphs = session, accelerator, graphs
        self.device_seconds = 0.0
        self.memory_bytes: int | None = None
        self._before = accelerator.used_bytes()
        self._inputs, self._outputs = session.get_inputs(), session.get_outputs()
        self._plans: dict[tuple[Any, ...], _Plan] = {}

    def get_inputs(self) -> list[Any]:
        """See GpuSession."""
        return list(self._inputs)

    def get_outputs(self) -> list[Any]:
        """Names, types and shapes of the outputs."""
        return list(self._outputs)

    def run(self, outputs: Sequence[str] | None, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """See GpuSession."""
        arrays = as_feed(self._inputs, feed)
        plan = self._plan(arrays)
        self.accelerator.start()
        self._copy_in(plan, arrays)
        self._compute(plan)
        self.device_seconds = self.accelerator.stop()
        found = {}
        for name in wanted(outputs, list(plan.outputs)):
            address, shape, dtype = plan.outputs[name]
            found[name] = np.empty(shape, dtype)
            self.accelerator.copy_out(found[name], address)
        self.accelerator.wait()
        if self.memory_bytes is None and self._before is not None:
            self.memory_bytes = (self.accelerator.used_bytes() or 0) - self._before
        return list(found.values())

    def facts(self) -> dict[str, Any]:
        """Memory that model and first call took on the device, and the nodes of each provider by operator."""
        return {"device_memory_bytes": self.memory_bytes, "nodes": self.nodes()}

    def nodes(self) -> dict[str, dict[str, int]]:
        """How many nodes of each operator every provider has; empty where onnxruntime is too old to tell (below 1.24).

        Those of the CPU's are the ones that do not run on the GPU; onnxruntime puts what only computes shapes there.
        """
        if not hasattr(self.session, "get_provider_graph_assignment_info"):
            return {}
        found: dict[str, Counter[str]] = {}
        for part in self.session.get_provider_graph_assignment_info():
            found.setdefault(part.ep_name, Counter()).update(node.op_type for node in part.get_nodes())
        return {provider: dict(sorted(operators.items())) for provider, operators in found.items()}

    # -- buffers --------------------------------------------------------------------------------------------

    def _plan(self, arrays: Mapping[str, np.ndarray]) -> _Plan:
        key = tuple(values.shape for values in arrays.values())
        if key not in self._plans:
            self._forget()
            self._plans[key] = self._bound(arrays)
        plan = self._plans[key]
        plan.calls += 1
        if self.graphs and plan.graph == _NOT_CAPTURED and plan.calls > _CAPTURED_FROM:
            captured = sum(known.graph != _NOT_CAPTURED for known in self._plans.values())
            plan.graph = captured + 1 if captured < _MOST_GRAPHS else _NOT_CAPTURED
        return plan

    def _bound(self, arrays: Mapping[str, np.ndarray]) -> _Plan:
        """Buffers for inputs of these shapes; those of the outputs are found by a call."""
        accelerator = self.accelerator
        where = accelerator.kind, accelerator.index
        plan = _Plan(
            self.session.io_binding(), {name: accelerator.allocate(x.nbytes) for name, x in arrays.items()}, {}
        )
        for name, values in arrays.items():
            plan.binding.bind_input(name, *where, values.dtype.type, list(values.shape), plan.inputs[name])
        for entry in self._outputs:
            plan.binding.bind_output(entry.name, *where)
        self._copy_in(plan, arrays)
        accelerator.wait()
        self._compute(plan)
        shapes = [tuple(value.shape()) for value in plan.binding.get_outputs()]
        plan.binding.clear_binding_outputs()
        for entry, shape in zip(self._outputs, shapes, strict=True):
            dtype = np.dtype(numpy_type(entry.type))
            address = accelerator.allocate(dtype.itemsize * int(np.prod(shape)))
            plan.outputs[entry.name] = address, shape, dtype
            plan.binding.bind_output(entry.name, *where, dtype.type, list(shape), address)
        return plan

    def _copy_in(self, plan: _Plan, arrays: Mapping[str, np.ndarray]) -> None:
        for name, values in arrays.items():
            self.accelerator.copy_in(plan.inputs[name], values)

    def _compute(self, plan: _Plan) -> None:
        try:
            self.session.run_with_iobinding(plan.binding, self._run_options(plan))
        # onnxruntime raises its own classes, which it does not export
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            hint = (
                ": leave cuda_graph out"
                if plan.graph != _NOT_CAPTURED
                else ": see that it takes these inputs, and that the GPU has memory"
            )
            raise TrimfitError(f"got {reason} from onnxruntime, expected the model to run{hint}") from error

    def _run_options(self, plan: _Plan) -> Any:
        if not self.graphs:
            return None
        import onnxruntime

        options = onnxruntime.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(plan.graph))
        return options

    def _forget(self) -> None:
        """Make room for another shape: the oldest one that is not captured goes."""
        if len(self._plans) < _MOST_PLANS:
            return
        oldest = next((key for key, plan in self._plans.items() if plan.graph == _NOT_CAPTURED), None)
        if oldest is not None:
            for address in self._plans.pop(oldest).addresses:
                self.accelerator.release(address)


def open_session(model: str | bytes, options: Mapping[str, Any], threads: int, index: int) -> OnnxRuntimeGpuSession:
    """Load a model (a file, or its content) on the GPU of this number, or on this CPU in its place (STAND_IN).

    `options`: "provider" (CUDA's unless another is named), "provider_options", "cuda_graph", "disabled_optimizers",
    "config"; "cold_cache" is for whoever times it.
    Raises TrimfitError, in one line, for an unknown option, a provider that is missing, and a model that does not load.
    """
    import onnxruntime

    if unknown := sorted(set(options) - set(OPTIONS)):
        raise TrimfitError(f"got runtime option {unknown[0]!r}, expected one of {', '.join(OPTIONS)}")
    provider = CPU_PROVIDER if index == STAND_IN else options.get("provider", CUDA_PROVIDER)
    if provider not in onnxruntime.get_available_providers():
        raise TrimfitError(
            f"got onnxruntime {onnxruntime.__version__} without {provider}, expected one that has it: {INSTALL}"
        )
    if index != STAND_IN and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # CUDA and cuDNN from packages of pip's
    accelerator, name = open_accelerator(index), "a model" if isinstance(model, bytes) else model
    graphs = bool(options.get("cuda_graph")) and index != STAND_IN
    try:
        session = onnxruntime.InferenceSession(
            model,
            _settings(onnxruntime, options, threads),
            providers=_providers(provider, options, accelerator, graphs),
            disabled_optimizers=list(options.get("disabled_optimizers", ())) or None,
            enable_fallback=0,
        )
    # onnxruntime raises its own classes, which it does not export
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrimfitError(f"got {name}, expected an ONNX model that {provider} loads: {reason}") from error
    if provider not in (found := session.get_providers()):
        raise TrimfitError(
            f"got {name} run by {', '.join(found)}, expected {provider}: CUDA or cuDNN does not fit this onnxruntime;"
            f" {INSTALL}"
        )
    return OnnxRuntimeGpuSession(session, accelerator, graphs=graphs)


def _settings(onnxruntime: Any, options: Mapping[str, Any], threads: int) -> Any:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    for key, value in {_RECORD: "1", **options.get("config", {})}.items():
        settings.add_session_config_entry(key, str(value))
    return settings


def _providers(
    provider: str, options: Mapping[str, Any], accelerator: Accelerator, graphs: bool
) -> list[tuple[str, dict[str, str]]]:
    """The provider and those that take what it leaves, all in the accelerator's stream."""
    if provider == CPU_PROVIDER:
        return [(CPU_PROVIDER, {})]
    place = {"device_id": str(accelerator.index), "user_compute_stream": str(accelerator.stream)}
    mine = {key: str(value) for key, value in options.get("provider_options", {}).items()}
    cuda = {**place, "use_tf32": "0", "enable_cuda_graph": str(int(graphs and provider == CUDA_PROVIDER))}
    if provider == CUDA_PROVIDER:
        return [(CUDA_PROVIDER, {**cuda, **mine}), (CPU_PROVIDER, {})]
    told = {**place, "trt_cuda_graph_enable": str(int(graphs)), **mine}
    return [(provider, told), (CUDA_PROVIDER, cuda), (CPU_PROVIDER, {})]
