"""Break-even: from which share of zeros on a linear layer is faster sparse than dense on this device.

Each is asked inside an encoder whose other layers are sparse: activations are then in the sparse operators' layout and
threads awake, as they are in the model that is deployed. Alone, a layer would pay for both by itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.place import current_place
from benchmarks.rig import Rig
from hardware_profiles.bench import graph_of, timings, with_room
from hardware_profiles.micro_graph import encoder_graph, random_inputs
from hardware_profiles.profile import BreakEven
from hardware_profiles.profile_request import ProfileRequest
from hardware_profiles.runtimes import Runtime
from hardware_profiles.shape import EncoderShape

__all__ = ["NEVER", "crossing", "measure_break_even"]

_FEWER, _MOST = 0.5, 0.8  # shares of zeros that are timed; time grows evenly with the weights that are left
_DEPTH = 2  # layers of the encoder
_MUST_WIN_BY = 0.02  # of its own time: a layer becomes sparse only where it is faster by more than this
_LEAST = 0.3  # what is measured says nothing about layers with fewer zeros
_ALWAYS = 0.01  # layers without any zeros, such as the pooler, stay dense as they do in a model
NEVER = 2.0
"""More than all weights: dense whatever the zeros."""


def measure_break_even(
    runtime: Runtime,
    request: ProfileRequest,
    shapes: Sequence[tuple[int, int]],
    precision: str,
    seed: int = 0,
) -> list[BreakEven]:
    """Time an encoder of which each of these kinds of layer (out_features, in_features) is dense, then less sparse.

    `shapes` are some or all of the request's; the others are sparse throughout.
    """
    everywhere = dict.fromkeys(request.linears(), _MOST)
    with current_place().rig() as rig:
        _load(rig, _name(), runtime, request, everywhere, (), precision, seed)
        for shape in shapes:
            _load(rig, _name(shape), runtime, request, everywhere, (shape,), precision, seed)
            _load(rig, _name(shape, _FEWER), runtime, request, everywhere | {shape: _FEWER}, (), precision, seed)
        found = with_room(lambda: timings(rig, request.budget, seed), rig.threads, request.budget)
    seconds = {name: timing.seconds for name, timing in found.items()}
    return [
        BreakEven(
            out_features=shape[0],
            in_features=shape[1],
            workload=request.workload,
            precision=precision,
            sparsity=crossing(
                seconds[_name(shape)], (_FEWER, _MOST), (seconds[_name(shape, _FEWER)], seconds[_name()])
            ),
        )
        for shape in shapes
    ]


def _name(shape: tuple[int, int] | None = None, sparsity: float | None = None) -> str:
    """Of an encoder: all sparse, one kind of layer dense, or with fewer zeros."""
    if shape is None:
        return f"all {_MOST}"
    return f"{shape}" if sparsity is None else f"{shape} {sparsity}"


def crossing(dense: float, sparsities: Sequence[float], seconds: Sequence[float]) -> float:
    """The sparsity at which a line through (sparsity, seconds) falls below `dense` seconds by 2 % of the layer's own.

    What is left of the line where all weights are zero is not the layer's. At least 0.3, and NEVER where that would be
    beyond 1.
    """
    slope, start = np.polyfit(sparsities, seconds, 1)
    wanted = dense - _MUST_WIN_BY * (dense - max(0.0, slope + start))
    if slope >= 0:
        return _LEAST if max(seconds) <= wanted else NEVER
    found = float((wanted - start) / slope)
    return round(max(_LEAST, found), 3) if found < 1 else NEVER


def _load(
    rig: Rig,
    name: str,
    runtime: Runtime,
    request: ProfileRequest,
    zeros: Mapping[tuple[int, int], float],
    dense: Collection[tuple[int, int]],
    precision: str,
    seed: int,
) -> None:
    """Load the encoder with these shares of zeros, sparse but for the layers that are to be dense."""
    forced = {precision: {f"{out}x{into}": NEVER if (out, into) in dense else _ALWAYS for out, into in zeros}}
    runtime = runtime.with_options({**runtime.options(), "break_even": forced})
    shape = EncoderShape.uniform(
        request.hidden_size, request.head_size, min(_DEPTH, request.depth), request.max_heads, request.max_ffn
    )
    with tempfile.TemporaryDirectory(prefix="trimfit-") as folder:
        path = encoder_graph(
            shape,
            Path(folder) / "fp32.onnx",
            activation=request.activation,
            pattern=request.pattern(precision),
            sparsity=zeros,
            seq_len=request.workload.seq_len,
            seed=seed,
        )
        model = runtime.prepare(path, precision, Path(folder) / "prepared.onnx")
        rig.load(name, graph_of(runtime, model, random_inputs(request.workload, seed), request.workload.threads))
