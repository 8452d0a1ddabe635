"""What a profile knows of a GPU itself: the peak of its arithmetic through a runtime, how fast its memory is."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.budget import Budget
from benchmarks.gpu.accelerator import STAND_IN
from benchmarks.gpu.place import GpuPlace
from benchmarks.machine_peak import MachinePeak, Precision
from benchmarks.memory_bandwidth import MemoryBandwidth
from hardware_profiles.bench import graph_of
from hardware_profiles.profile import LatencyProfile
from hardware_profiles.profile_request import ProfileRequest
from hardware_profiles.runtimes import Runtime

__all__ = ["gpu_peak", "measure_gpu", "write_products"]

_SHAPES = ((4096, 4096, 4096), (16384, 768, 3072))  # rows x in x out: square, and an encoder's at a large batch
_STAND_IN_SHAPES = ((64, 64, 64), (64, 32, 128))
_PAIRS = 4  # of products, there and back, in a call
_SECONDS = 2.0
_COPIED = 1 << 30  # bytes, far more than any cache holds
_COPIED_BY_STAND_IN = 1 << 24
_THREADS = 1  # one drives it
_ARITHMETICS: tuple[Precision, ...] = ("fp32", "fp16")


def measure_gpu(
    profile: LatencyProfile, request: ProfileRequest, place: GpuPlace, progress: Callable[[str], None]
) -> Iterator[LatencyProfile]:
    """Measure what the profile lacks; yields the profile after each step."""
    for precision in _ARITHMETICS:
        known = any(peak.precision == precision for peak in profile.peaks)
        if precision in request.precisions and not known:
            progress(f"{precision}: the GPU's peak")
            profile = profile.with_peaks(gpu_peak(profile.runtime, precision, place))
            yield profile
    if not profile.bandwidths:
        progress("how fast its memory is read")
        size = _COPIED_BY_STAND_IN if place.index == STAND_IN else _COPIED
        rate = place.accelerator.copy_rate(size) / 1e9
        yield profile.with_bandwidths(MemoryBandwidth(gigabytes_per_second=rate, threads=_THREADS, bytes=size))


def gpu_peak(runtime: Runtime, precision: Precision, place: GpuPlace) -> MachinePeak:
    """The best rate of products of matrices through a runtime, on random numbers: zeros are multiplied faster."""
    shapes = _STAND_IN_SHAPES if place.index == STAND_IN else _SHAPES
    with place.rig() as rig, tempfile.TemporaryDirectory(prefix="trimfit-") as folder:
        for number, shape in enumerate(shapes):
            fp32 = write_products(Path(folder) / f"{number}.onnx", shape)
            model = runtime.prepare(fp32, precision, Path(folder) / f"{number}-{precision}.onnx")
            feed = {"one": np.ones(1, np.float32)}
            rig.load(str(shape), graph_of(runtime.at(precision), model, feed, _THREADS))
        seconds = rig.measure(budget=Budget(max_seconds=_SECONDS))
    rates = {shape: 2e-9 * 2 * _PAIRS * float(np.prod(shape)) / float(seconds[str(shape)].min()) for shape in shapes}
    best = max(rates, key=lambda shape: rates[shape])
    return MachinePeak(gflops=rates[best], threads=_THREADS, precision=precision, shape=best)


def write_products(path: Path, shape: tuple[int, int, int]) -> Path:
    """Write a graph of products there and back, whose matrices are on the device: next to nothing goes in or comes out.

    `shape` is rows x in x out. Numbers keep their size on the way: they fit into fp16.
    """
    rows, width, out = shape
    rng = np.random.default_rng(0)

    def drawn(name: str, *sizes: int, scale: float) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.standard_normal(sizes, dtype=np.float32) * np.float32(scale), name)

    weights = [drawn("start", rows, width, scale=1.0), drawn("up", width, out, scale=width**-0.5)]
    weights.append(drawn("down", out, width, scale=out**-0.5))
    ends = [
        numpy_helper.from_array(np.array(values, np.int64), name) for name, values in (("none", [0]), ("first", [1]))
    ]
    nodes, x = [helper.make_node("Mul", ["start", "one"], ["x"])], "x"
    for number in range(_PAIRS):
        nodes.append(helper.make_node("MatMul", [x, "up"], [f"up_{number}"]))
        x = f"down_{number}"
        nodes.append(helper.make_node("MatMul", [f"up_{number}", "down"], [x]))
    nodes.append(helper.make_node("Slice", [x, "none", "first", "none"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("one", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, width])],
        [*weights, *ends],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save_model(model, str(path))
    return path
