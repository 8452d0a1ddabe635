"""Timing of the study: many models in one process, in turns; a process for each would take minutes to start."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import Budget, Measurement, Samples, Subject
from benchmarks.gpu.place import GpuPlace
from benchmarks.place import current_place
from benchmarks.rig import Graph
from benchmarks.suites.latency_prediction.model import Model
from benchmarks.suites.latency_prediction.timing import built
from benchmarks.workload import Workload
from hardware_profiles.micro_graph import random_inputs
from hardware_profiles.runtimes import Runtime
from optimizer.progress import Advance

__all__ = ["cold_ms", "joules", "rig_timer", "seconds_in_turns"]

COLD_CALLS, MOST_COLD_SECONDS = 40, 2.0
ROUNDS = 60
JOULE_SECONDS = 1.0
SECONDS_EACH, QUICK_SECONDS_EACH = 2.0, 0.2

Feed = Mapping[str, np.ndarray]


def seconds_in_turns(
    sessions: Mapping[str, Any], feed: Feed, *, seconds: float, seed: int = 0
) -> dict[str, NDArray[np.float64]]:
    """Seconds per call [rounds] of loaded sessions by name, at the place in force; `seconds` are for each of them."""
    with current_place().rig() as rig:
        for name, session in sessions.items():
            rig.load(name, Graph(b"", feed, session=lambda session=session: session.run))  # type: ignore[misc]
        return rig.measure(budget=Budget(launches=1, rounds=ROUNDS, max_seconds=seconds * len(sessions)), seed=seed)


def rig_timer(
    models: Mapping[str, tuple[Model, Runtime]],
    workload: Workload,
    *,
    seed: int = 0,
    quick: bool = False,
    advance: Advance = lambda share: None,
) -> dict[str, Measurement]:
    """As `latency_prediction.timing.time_models`, in one process: the median of each round's turn is a sample."""
    place = current_place()
    environment = place.environment()
    sessions = {}
    with tempfile.TemporaryDirectory(prefix="trimfit-") as folder:
        for number, (name, (model, runtime)) in enumerate(models.items()):
            path = built(model, runtime, workload, Path(folder) / str(number), seed + number)
            sessions[name] = runtime.at(model.precision).session(path, workload.threads)
            advance((number + 1) / len(models) / 2)
    each = QUICK_SECONDS_EACH if quick else SECONDS_EACH
    found = seconds_in_turns(sessions, random_inputs(workload, seed), seconds=each, seed=seed)
    return {
        name: Measurement(
            subject=Subject(name=name, runtime=models[name][1].name, workload=workload),
            samples=_samples(seconds),
            environment=environment,
            provenance=place.provenance,
            seed=seed,
        )
        for name, seconds in found.items()
    }


def _samples(seconds: NDArray[np.float64]) -> Samples:
    count = len(seconds)
    return Samples(
        launch=(0,) * count,
        round=tuple(range(count)),
        kind=tuple("timed" for _ in seconds),
        seconds=tuple(seconds.tolist()),
        cpu_seconds=tuple(seconds.tolist()),
        preemptions=(0,) * count,
    )


def cold_ms(place: GpuPlace, session: Any, feed: Feed) -> float:
    """Median milliseconds of calls before each of which the GPU's cache is emptied."""
    found: list[float] = []
    while len(found) < 3 or (len(found) < COLD_CALLS and sum(found) < MOST_COLD_SECONDS):
        place.accelerator.flush()
        start = time.perf_counter()
        session.run(None, feed)
        found.append(time.perf_counter() - start)
    return 1e3 * float(np.median(found))


def joules(place: GpuPlace, session: Any, feed: Feed, seconds: float = JOULE_SECONDS) -> float:
    """Of one call, the whole GPU's, over a second of them. Raises TrimfitError where the GPU does not tell."""
    before, start, calls = place.energy_mj(), time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        session.run(None, feed)
        calls += 1
    return (place.energy_mj() - before) / 1e3 / calls
