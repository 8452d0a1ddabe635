"""Predicted: held-out models, advice, and structured students, from the profile of the GPU at a batch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.suites.gpu.held_out import GpuModel, held_out_of_gpu
from benchmarks.suites.gpu.sizes import Sizes
from benchmarks.suites.gpu.timing import rig_timer
from benchmarks.suites.latency_prediction.session import Session
from benchmarks.suites.latency_prediction.study import Study
from benchmarks.workload import Workload
from hardware_profiles.device import device_in_force
from hardware_profiles.latency_model import LatencyModel
from hardware_profiles.profile import LatencyProfile
from hardware_profiles.shape import EncoderShape
from hardware_profiles.unit import block_weights
from optimizer.advice.advisor import TARGETS, advice_at
from optimizer.advice.cuts import narrower, shallower
from optimizer.advice.places import Measurable
from optimizer.architecture import LayerShape
from optimizer.effort import FAST
from optimizer.judgement import SAFETY
from optimizer.preparation import profile_of
from optimizer.progress import Progress

__all__ = ["advise_at_batch", "hold_out", "measure_students"]

Entry = dict[str, Any]
Layers = tuple[LayerShape, ...]
SPEEDUPS = (2.0, 4.0)
SHARES = tuple(share / 100 for share in range(95, 4, -5))


def hold_out(study: Study, sizes: Sizes, batch: int, progress: Progress, *, quick: bool, seed: int = 0) -> Entry:
    """Profile the GPU at a batch, predict its held-out models, and measure them; what is done is kept in the study."""
    session = Session(
        study,
        sizes.group(batch),
        progress,
        sizes.budget,
        quick,
        seed,
        draw=held_out_of_gpu,
        timer=rig_timer,
    )
    if not session.finished:
        session.run()
    return {**study.result["by_group"][sizes.group(batch).label], **study.groups[sizes.group(batch).label]}


def advise_at_batch(sizes: Sizes, batch: int, folder: Path, progress: Progress, seed: int = 0) -> Entry:
    """What is advised for the encoder at a batch, with its reasons; the best ways are measured."""
    place = Measurable("cuda", device_in_force())
    with _cache_at(folder), place.in_force():
        site = place.site(sizes.model, sizes.workload(batch), progress)
        advice = advice_at(place, site, TARGETS, sizes.model.activation, seed, progress)
    return advice.model_dump(mode="json")


def measure_students(sizes: Sizes, batch: int, folder: Path, progress: Progress, seed: int = 0) -> Entry:
    """Structured students at 2x and 4x of the dense fp16 model, by depth, by width and by both; all timed in turns.

    Of each kind it is the one that leaves most weights among those predicted to be fast enough.
    """
    workload, device = sizes.workload(batch), device_in_force()
    with _cache_at(folder):
        profile = profile_of(device, sizes.model.architecture, workload, FAST, progress)
    precision = profile.precisions[-1]
    latency = LatencyModel().fit(profile)
    dense_ms = latency.predict(sizes.whole, workload, precision).ms
    chosen: dict[str, tuple[EncoderShape, float]] = {"dense": (sizes.whole, dense_ms)}
    unreachable = []
    for speedup in SPEEDUPS:
        for kind, ways in _ways(sizes).items():
            predicted = ((shape, latency.predict(shape, workload, precision).ms) for shape in ways)
            able = [found for found in predicted if found[1] <= dense_ms / speedup * SAFETY]
            name = f"{speedup:g}x by {kind}"
            if able:
                chosen[name] = max(able, key=lambda found: _weights(found[0]))
            else:
                unreachable.append(name)
    return {"precision": precision, "unreachable": unreachable, **_measured(chosen, profile, precision, workload, seed)}


def _measured(
    chosen: dict[str, tuple[EncoderShape, float]],
    profile: LatencyProfile,
    precision: str,
    workload: Workload,
    seed: int,
) -> Entry:
    runtime = profile.runtime
    models = {name: (GpuModel(shape, precision), runtime) for name, (shape, _) in chosen.items()}
    found = {name: m.median_ms for name, m in rig_timer(models, workload, seed=seed).items()}
    dense = found["dense"]
    return {
        "runtime": runtime.name,
        "options": runtime.options(),
        "students": {
            name: {
                "layers": [[layer.heads, layer.ffn] for layer in shape.layers],
                "weights_left": round(_weights(shape) / _weights(chosen["dense"][0]), 4),
                "predicted_ms": round(ms, 5),
                "measured_ms": round(found[name], 5),
                "speedup_versus_dense": round(dense / found[name], 4),
            }
            for name, (shape, ms) in chosen.items()
        },
    }


def _ways(sizes: Sizes) -> dict[str, list[EncoderShape]]:
    whole: Layers = sizes.model.architecture.layers
    depths = [shallower(whole, depth) for depth in range(sizes.depth - 1, 0, -1)]
    widths = [narrower(whole, share) for share in SHARES]
    both = [narrower(layers, share) for layers in depths[len(depths) // 4 :: 2] for share in SHARES[::3]]
    return {
        kind: [_shape(sizes, layers) for layers in ways]
        for kind, ways in (("depth", depths), ("width", widths), ("both", both))
    }


def _shape(sizes: Sizes, layers: Layers) -> EncoderShape:
    return EncoderShape.of(sizes.model.architecture.model_copy(update={"layers": layers}))


def _weights(shape: EncoderShape) -> int:
    sizes = shape.hidden_size, shape.head_size
    return sum(
        block_weights("attention", layer.heads, *sizes) + block_weights("ffn", layer.ffn, *sizes)
        for layer in shape.layers
    )


@contextmanager
def _cache_at(folder: Path) -> Iterator[None]:
    """Profiles are those of the study."""
    before = os.environ.get("TRIMFIT_CACHE")
    os.environ["TRIMFIT_CACHE"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["TRIMFIT_CACHE"]
        else:
            os.environ["TRIMFIT_CACHE"] = before
