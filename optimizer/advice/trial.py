"""Trial: a way built with random weights at its real shape, and timed in turns with the teacher's shape.

Latency does not depend on what the weights are, only on how many there are and which of them are zero.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks import Budget, Measurement, compare, instability
from benchmarks.workload import Workload
from hardware_profiles.micro_graph import encoder_graph, random_inputs
from optimizer.advice.record import Measured, Ratio, Way
from optimizer.advice.site import Site
from optimizer.measuring import measure_models
from optimizer.progress import Advance

__all__ = ["Trials", "try_out"]

TEACHER = "teacher"
POOL = 16  # rows that calls draw from
SECONDS_EACH = 5.0  # a contestant: the advice as a whole takes two minutes

Trials = dict[str, Measured]


def try_out(
    site: Site, ways: Iterable[Way], activation: str, *, seed: int = 0, advance: Advance = lambda share: None
) -> tuple[Trials, tuple[str, ...]]:
    """Measure ways beside the teacher in one run: what each took by its name, and what was unsteady."""
    teacher = site.dense(site.precisions[0])
    with tempfile.TemporaryDirectory(prefix="trimfit-") as name:
        folder = Path(name)
        models = {TEACHER: (_built(site, teacher, activation, folder / "0", seed), site.stock.runtime)}
        for number, way in enumerate(ways, 1):
            path = _built(site, way, activation, folder / str(number), seed)
            models[way.name] = path, site.engine(way.runtime).runtime.at(way.precision)
        inputs = _pool(site.workload, folder / "inputs.npz", seed)
        budget = Budget(max_seconds=SECONDS_EACH * len(models))
        found = measure_models(models, site.workload, inputs, seed=seed, advance=advance, budget=budget)
    return _measured(found), _doubts(found.values())


def _built(site: Site, way: Way, activation: str, folder: Path, seed: int) -> Path:
    """The ONNX file of a way, as its runtime runs it."""
    folder.mkdir()
    shape = site.architecture.model_copy(update={"layers": way.layers})
    fp32 = encoder_graph(
        shape,
        folder / "fp32.onnx",
        activation=activation,
        pattern=way.pattern,
        sparsity=way.sparsity,
        seq_len=site.workload.seq_len,
        seed=seed,
    )
    rows = [random_inputs(site.workload, seed)]
    return site.engine(way.runtime).runtime.prepare(fp32, way.precision, folder / "prepared.onnx", calibration=rows)


def _pool(workload: Workload, path: Path, seed: int) -> Path:
    rows: Sequence[Mapping[str, np.ndarray]] = [random_inputs(workload, seed + number) for number in range(POOL)]
    np.savez(path, **{name: np.stack([row[name] for row in rows]) for name in rows[0]})  # type: ignore[arg-type]
    return path


def _measured(found: Mapping[str, Measurement]) -> Trials:
    teacher = found[TEACHER]
    trials = {}
    for name, measurement in found.items():
        if name == TEACHER:
            continue
        faster = compare(teacher, measurement)
        ratio = Ratio(value=faster.speedup, low=faster.low, high=faster.high)
        trials[name] = Measured(ms=measurement.median_ms, teacher_ms=teacher.median_ms, speedup=ratio)
    return trials


def _doubts(found: Iterable[Measurement]) -> tuple[str, ...]:
    """The most telling trouble of each measurement, with the names of all that had it."""
    troubled: dict[str, list[str]] = {}
    for measurement in found:
        for doubt in instability(measurement)[:1]:
            troubled.setdefault(doubt, []).append(measurement.subject.name)
    return tuple(f"{'; '.join(names)}: {doubt}" for doubt, names in troubled.items())
