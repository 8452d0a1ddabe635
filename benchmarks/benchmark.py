"""benchmark_files: everything `trimfit benchmark A.onnx B.onnx` measures."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.answers import answer_differences
from benchmarks.benchmark_result import BenchmarkResult, ThroughputPoint
from benchmarks.budget import Budget
from benchmarks.contestant import Contestant, Launch
from benchmarks.energy import Counters, Energy, energy_per_call, read_counters
from benchmarks.errors import TrimfitError
from benchmarks.form import Form
from benchmarks.gpu.place import gpu_in_force
from benchmarks.inputs import random_pool
from benchmarks.machine_peak import MachinePeak, Precision, machine_peak
from benchmarks.measurement import Measurement
from benchmarks.model_file import ModelFile, gzip_bytes, read_model_file
from benchmarks.onnx_file import file_bytes, file_sha256
from benchmarks.place import current_place
from benchmarks.provenance import EMULATED
from benchmarks.sampling import measure
from benchmarks.workload import Workload

__all__ = ["benchmark_files", "throughput_workloads"]

THROUGHPUT_BATCHES = (1, 8, 32)
GPU_BATCHES = (1, 8, 32, 128, 256)
THROUGHPUT_BUDGET = Budget(launches=2, min_launches=2, rounds=4, max_seconds=4.0, min_samples=8, precision=0.05)
CALIBRATION_ROWS = 4  # made up: what they tell decides how a model answers, not how fast
_NEVER_WRAPS = 1 << 63
MEASURING_SHARE = 0.7  # of the progress, when throughput follows

Progress = Callable[[float], None]


def benchmark_files(
    paths: Sequence[str | Path],
    workload: Workload | None = None,
    *,
    dims: Mapping[str, int] | None = None,
    forms: Sequence[Form] = (Form(),),
    budget: Budget | None = None,
    options: Mapping[str, Any] | None = None,
    options_here: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    inputs: str | Path | None = None,
    throughput: bool = False,
    seed: int = 0,
    peak: Callable[[int, Precision], MachinePeak] = machine_peak,
) -> BenchmarkResult:
    """Time ONNX files side by side and read everything else that can be said about them.

    Args:
        paths: the files; the first is what the others are compared with.
        workload: batch, sequence length and threads; dimensions of such names take their sizes there.
        dims: sizes of other symbolic dimensions by name.
        forms: what runs the files; with several, each file is timed with each of them, all in turns.
        budget: of the timing, see `measure`.
        options: of onnxruntime, see `Contestant.options`; the same for all files, beside those of the form.
        options_here: what replaces some of them on this machine, when the files are timed elsewhere and their answers
            are held against those of this machine.
        env: environment variables of the processes, see `Contestant.env`.
        progress: called with the share done, 0 to 1.
        inputs: an .npz of real inputs, see `Contestant.inputs`; made up at random without.
        throughput: also measure rows a second at batches 1, 8 and 32 on one thread and on all cores; on a GPU at
            batches up to 256.
        seed: of order and made-up inputs.
        peak: measures the machine's peak with so many threads at a precision.

    Raises:
        TrimfitError: a file is missing, not ONNX or does not run, or a dimension is unknown; one line.
    """
    plain = [
        Contestant(
            name=name,
            model=Path(path),
            workload=workload or Workload(),
            options=dict(options or {}),
            env=dict(env or {}),
            inputs=Path(inputs) if inputs else None,
            dims=dict(dims or {}),
        )
        for path, name in zip(paths, _names(paths), strict=True)
    ]
    with tempfile.TemporaryDirectory(prefix="trimfit-") as folder:
        cases = [(form, entry) for form in forms for entry in plain]
        made = [_made(*case, Path(folder) / str(number), len(forms) > 1) for number, case in enumerate(cases)]
        files = [_file(*case, entry) for case, entry in zip(cases, made, strict=True)]
        return _timed(made, tuple(files), budget, options_here or {}, throughput, seed, progress, peak)


def _made(form: Form, entry: Contestant, folder: Path, named: bool) -> Contestant:
    """The contestant in a form, of which its name tells where there are several."""
    told: dict[str, Any] = {"runtime": form.runtime, "loader": form.loader}
    told["options"] = dict(form.options) if form.loader else {**form.options, **entry.options}
    if named:
        told["name"] = f"{entry.name} {form.name}"
    if form.make:
        point, _ = entry.workload.points()[0]
        pool = random_pool(entry.model, point, entry.dims, rows=CALIBRATION_ROWS)
        count = len(next(iter(pool.values())))
        rows = [{name: values[row] for name, values in pool.items()} for row in range(count)]
        folder.mkdir()
        path = form.make(entry.model, folder / entry.model.name, rows)
        told |= {"model": path, "source": None if path.suffix == ".onnx" else entry.model}
    return entry.model_copy(update=told)


def _file(form: Form, plain: Contestant, entry: Contestant) -> ModelFile:
    """The facts of what is timed, under the path it was given as; of a file that is not ONNX what its source tells."""
    facts = read_model_file(entry.onnx, entry.name, entry.workload, entry.dims)
    facts = facts.model_copy(update={"path": str(plain.model)})
    if entry.source is None:
        return facts
    own: dict[str, Any] = {
        "sha256": file_sha256(entry.model),
        "bytes": file_bytes(entry.model),
        "gzip_bytes": gzip_bytes(entry.model),
        "precision": "int8" if (form.precision or "").startswith("int8") else facts.precision,
    }
    return facts.model_copy(update=own)


def _timed(
    contestants: Sequence[Contestant],
    files: tuple[ModelFile, ...],
    budget: Budget | None,
    options_here: Mapping[str, Any],
    throughput: bool,
    seed: int,
    progress: Progress | None,
    peak: Callable[[int, Precision], MachinePeak],
) -> BenchmarkResult:
    share = MEASURING_SHARE if throughput else 1.0
    measurements = measure(contestants, budget=budget, seed=seed, progress=_part(progress, 0.0, share))
    answers = _answers(contestants, options_here, seed)
    if current_place().provenance == EMULATED:
        return BenchmarkResult(measurements=measurements, files=files, answers=answers)
    kinds = sorted({file.precision for file in files if file.flops is not None})
    return BenchmarkResult(
        measurements=measurements,
        files=files,
        peaks=tuple(peak(contestants[0].workload.threads, kind) for kind in kinds),
        energy=_energy(contestants, measurements, seed),
        throughput=_throughput(contestants, seed, _part(progress, share, 1.0)) if throughput else (),
        answers=answers,
    )


def _names(paths: Sequence[str | Path]) -> list[str]:
    """File names without suffix, with the folders it takes to tell them apart; else numbered."""
    if not paths:
        raise TrimfitError("got no files, expected at least one ONNX file: name it")
    parts = [Path(path).absolute().with_suffix("").parts for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{Path(path).stem} ({number})" for number, path in enumerate(paths, 1)]


def _part(progress: Progress | None, low: float, high: float) -> Progress | None:
    return None if progress is None else lambda share: progress(low + share * (high - low))


def throughput_workloads(workload: Workload, cores: int) -> list[Workload]:
    """The batches and thread counts at which throughput is measured."""
    threads = sorted({1, workload.threads, cores})
    batches = sorted({workload.batch, *(GPU_BATCHES if gpu_in_force() else THROUGHPUT_BATCHES)})
    settings = [{"batch": batch, "threads": count} for count in threads for batch in batches]
    return [workload.model_copy(update=setting) for setting in settings]


def _throughput(contestants: Sequence[Contestant], seed: int, progress: Progress | None) -> tuple[ThroughputPoint, ...]:
    workloads = throughput_workloads(contestants[0].workload, current_place().cores)
    points = []
    for number, workload in enumerate(workloads, 1):
        asked = [entry.model_copy(update={"workload": workload, "inputs": None}) for entry in contestants]
        points += [_point(m, workload) for m in measure(asked, budget=THROUGHPUT_BUDGET, seed=seed)]
        if progress:
            progress(number / len(workloads))
    return tuple(points)


def _point(measurement: Measurement, workload: Workload) -> ThroughputPoint:
    return ThroughputPoint(
        name=measurement.subject.name,
        batch=workload.batch,
        threads=workload.threads,
        rows_per_second=workload.batch / measurement.median,
    )


def _answers(contestants: Sequence[Contestant], options_here: Mapping[str, Any], seed: int) -> dict[str, float]:
    """None where the models ran here."""
    if current_place().is_here:
        return {}
    with tempfile.TemporaryDirectory(prefix="trimfit-") as folder:
        pools = {entry.name: entry.inputs or _pool(entry, Path(folder), seed) for entry in contestants}
        return answer_differences(contestants, pools, options_here)


def _pool(contestant: Contestant, folder: Path, seed: int) -> Path:
    path = folder / f"{len(list(folder.iterdir()))}.npz"
    np.savez(path, **random_pool(contestant.onnx, contestant.workload, contestant.dims, seed=seed))  # type: ignore[arg-type]
    return path


def _energy(contestants: Sequence[Contestant], measurements: Sequence[Measurement], seed: int) -> tuple[Energy, ...]:
    """Each contestant alone for a second, in one more launch; no launch where the counters cannot be read."""
    try:
        if not (place := current_place()).is_here:
            raise TrimfitError(f"energy unknown: counters are read on this machine only, not on {place.name}")
        _counters()
    except TrimfitError as error:
        return tuple(Energy(name=entry.name, reason=str(error)) for entry in contestants)
    return tuple(_energy_of(entry, m.median, seed) for entry, m in zip(contestants, measurements, strict=True))


def _energy_of(contestant: Contestant, call_seconds: float, seed: int) -> Energy:
    with tempfile.TemporaryDirectory(prefix="trimfit-") as folder:
        pool = _pool(contestant, Path(folder), seed)
        with Launch(contestant, pool, seed) as launch:
            launch.ready()
            launch.ask("load", cpus=[])
            return energy_per_call(
                contestant.name, lambda calls: launch.ask("turn", settle=0, timed=calls), call_seconds, read=_counters
            )


def _counters() -> Counters:
    """The GPU's where models run on one, else the processor's."""
    place = gpu_in_force()
    if place is None:
        return read_counters()
    return {place.name: (1000 * place.energy_mj(), _NEVER_WRAPS)}  # microjoules
