"""Break-even: from which share of zeros on a linear layer is faster sparse than dense on this device."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.place import current_place
from benchmarks.rig import Rig
from hardware_profiles.bench import graph_of, timings
from hardware_profiles.linear_graph import linear_graph
from hardware_profiles.profile import BreakEven
from hardware_profiles.profile_request import ProfileRequest
from hardware_profiles.runtimes import Runtime

__all__ = ["NEVER", "crossing", "measure_break_even"]

_SPARSITIES = (0.5, 0.8)  # where the sparse operator is timed; its time grows evenly with the weights that are left
_MUST_WIN_BY = 0.02  # a layer becomes sparse only where it is faster by more than this
_LEAST = 0.3  # what is measured says nothing about layers with fewer zeros
_ALWAYS = 0.0
NEVER = 2.0
"""More than all weights: dense whatever the zeros."""


def measure_break_even(
    runtime: Runtime,
    request: ProfileRequest,
    shapes: Sequence[tuple[int, int]],
    precision: str,
    seed: int = 0,
) -> list[BreakEven]:
    """Time each layer (out_features, in_features) alone: dense, and sparse at a few sparsities, all in turns."""
    with current_place().rig() as rig:
        for shape in shapes:
            _load(rig, f"{shape}", runtime, request, shape, precision, 0.0, seed)
            for sparsity in _SPARSITIES:
                _load(rig, f"{shape} {sparsity}", runtime, request, shape, precision, sparsity, seed)
        seconds = {name: timing.seconds for name, timing in timings(rig, request.budget, seed).items()}
    return [
        BreakEven(
            out_features=shape[0],
            in_features=shape[1],
            workload=request.workload,
            precision=precision,
            sparsity=crossing(seconds[f"{shape}"], _SPARSITIES, [seconds[f"{shape} {s}"] for s in _SPARSITIES]),
        )
        for shape in shapes
    ]


def crossing(dense: float, sparsities: Sequence[float], seconds: Sequence[float]) -> float:
    """The sparsity at which a line through (sparsity, seconds) falls 2 % below `dense` seconds.

    At least 0.3, and NEVER where that would be beyond 1.
    """
    slope, start = np.polyfit(sparsities, seconds, 1)
    wanted = dense * (1 - _MUST_WIN_BY)
    if slope >= 0:
        return _LEAST if max(seconds) <= wanted else NEVER
    found = float((wanted - start) / slope)
    return round(max(_LEAST, found), 3) if found < 1 else NEVER


def _load(
    rig: Rig,
    name: str,
    runtime: Runtime,
    request: ProfileRequest,
    shape: tuple[int, int],
    precision: str,
    sparsity: float,
    seed: int,
) -> None:
    """Load the layer: forced to be sparse where there are zeros, else to be dense."""
    forced = {precision: {f"{shape[0]}x{shape[1]}": _ALWAYS if sparsity else NEVER}}
    runtime = runtime.with_options({**runtime.options(), "break_even": forced})
    size = (request.workload.batch, request.workload.seq_len, shape[1])
    x = np.random.default_rng(seed).standard_normal(size, dtype=np.float32)
    with tempfile.TemporaryDirectory(prefix="trimfit-") as folder:
        path = linear_graph(
            *shape, Path(folder) / "fp32.onnx", pattern=request.pattern(precision), sparsity=sparsity, seed=seed
        )
        model = runtime.prepare(path, precision, Path(folder) / "prepared.onnx")
        rig.load(name, graph_of(runtime, model, {"x": x}, request.workload.threads))
