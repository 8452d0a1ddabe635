"""Timing: models are built with random weights, prepared for their runtime, and timed in turns."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks import Budget, Measurement
from benchmarks.suites.latency_prediction.model import Model
from benchmarks.workload import Workload
from hardware_profiles.micro_graph import encoder_graph, random_inputs
from hardware_profiles.runtimes import Runtime
from optimizer.measuring import measure_models
from optimizer.progress import Advance

__all__ = ["HELD_OUT", "RANKED", "built", "time_models"]

POOL = 16  # rows that calls draw from
# max_seconds are of each model; more rounds than usual: loading the largest models takes most of a launch's time
HELD_OUT = Budget(launches=4, rounds=12, min_samples=32, precision=0.01, max_seconds=6)
# the fastest of twenty is the luckiest of them as long as their intervals are wider than their differences
RANKED = HELD_OUT.model_copy(update={"launches": 12, "precision": 0.005, "max_seconds": 15})
QUICK_SECONDS = 3.0


def time_models(
    models: Mapping[str, tuple[Model, Runtime]],
    workload: Workload,
    *,
    each: Budget = HELD_OUT,
    seed: int = 0,
    quick: bool = False,
    advance: Advance = lambda share: None,
) -> dict[str, Measurement]:
    """Measure models by name in one run, each in processes of its own; the seed is of weights, inputs and turns."""
    seconds = QUICK_SECONDS if quick or each.max_seconds is None else each.max_seconds
    budget = each.model_copy(update={"max_seconds": seconds * len(models)})
    with tempfile.TemporaryDirectory(prefix="trimfit-") as name:
        folder = Path(name)
        files = {}
        for number, (label, (model, runtime)) in enumerate(models.items()):
            path = built(model, runtime, workload, folder / str(number), seed + number)
            files[label] = path, runtime.at(model.precision)
        inputs = _pool(workload, folder / "inputs.npz", seed)
        return measure_models(files, workload, inputs, seed=seed, advance=advance, budget=budget)


def built(model: Model, runtime: Runtime, workload: Workload, folder: Path, seed: int) -> Path:
    """The ONNX file of a model, as its runtime runs it."""
    folder.mkdir()
    fp32 = encoder_graph(
        model.shape,
        folder / "fp32.onnx",
        pattern=model.pattern,
        sparsity=model.sparsity,
        seq_len=workload.seq_len,
        seed=seed,
    )
    rows = [random_inputs(workload, seed)]
    prepared = runtime.prepare(fp32, model.precision, folder / "prepared.onnx", calibration=rows)
    if prepared != fp32:
        fp32.unlink()  # hundreds of megabytes each
    return prepared


def _pool(workload: Workload, path: Path, seed: int) -> Path:
    rows = [random_inputs(workload, seed + number) for number in range(POOL)]
    np.savez(path, **{name: np.stack([row[name] for row in rows]) for name in rows[0]})  # type: ignore[arg-type]
    return path
