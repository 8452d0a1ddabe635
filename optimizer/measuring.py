"""Measuring: teacher, strongest dense contestant and student timed in turns on the device, on real rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks import Budget, Contestant, Measurement, measure
from benchmarks.answers import answer_differences
from benchmarks.contestant import LIBRARY
from benchmarks.inputs import pool_name
from benchmarks.place import current_place
from benchmarks.workload import Workload
from hardware_profiles.runtimes import Runtime
from hardware_profiles.runtimes.sparse.dispatcher import environment
from hardware_profiles.runtimes.sparse.library import library_here
from optimizer import files
from optimizer.encoding import Encoded
from optimizer.progress import Advance

__all__ = ["device_difference", "measure_models", "write_input_pool"]

POOL = 64  # different batches that calls draw from
DRAWN = 16  # times as many are drawn to find those of one length


def write_input_pool(path: Path, rows: Encoded, workload: Workload, seed: int, *, tokens: int | None = None) -> Path:
    """An .npz of real token sequences cut or padded to the workload: arrays [pool, batch, seq_len] by input name.

    With `tokens`, ids are below that many, so that a model with no more can read them too: which rows of a table are
    read takes no more or less time.

    Of a workload of several lengths each gets batches whose longest row is nearly that long, as `pool_name` names them.
    """
    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}
    for point, _ in workload.points():
        batches = rng.integers(len(rows), size=(DRAWN * POOL if workload.lengths else POOL, point.batch))
        if workload.lengths:
            batches = _nearest(batches, rows.lengths, point.seq_len)
        for name, values in _padded(batches, rows, point.seq_len).items():
            below = np.minimum(values, tokens - 1) if tokens and name == "input_ids" else values
            arrays[pool_name(name, point, workload)] = below

    def write(part: Path) -> None:
        with part.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # the stub takes all keywords for its own

    return files.write_atomically(path, write)


def _nearest(batches: np.ndarray, lengths: np.ndarray, seq_len: int) -> np.ndarray:
    """The POOL of the batches [n, batch] of row indices whose longest rows are nearest to `seq_len`."""
    distance = np.abs(lengths[batches].max(axis=1) - seq_len)
    return batches[np.argsort(distance, kind="stable")[:POOL]]


def _padded(batches: np.ndarray, rows: Encoded, seq_len: int) -> dict[str, np.ndarray]:
    """Inputs [pool, batch, seq_len] of the rows at these indices [pool, batch]."""
    ids = np.full((*batches.shape, seq_len), rows.pad_token_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for place in np.ndindex(*batches.shape):
        row = rows.input_ids[int(batches[place])][:seq_len]
        ids[place][: len(row)] = row
        mask[place][: len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def measure_models(
    models: Mapping[str, tuple[Path, Runtime]],
    workload: Workload,
    inputs: Path,
    *,
    seed: int,
    advance: Advance,
    budget: Budget | None = None,
) -> dict[str, Measurement]:
    """Time ONNX files by name, interleaved, each with its runtime in processes of its own; `budget` as of `measure`."""
    contestants = [_contestant(name, *model, workload, inputs) for name, model in models.items()]
    return {m.subject.name: m for m in measure(contestants, budget=budget, seed=seed, progress=advance)}


def device_difference(name: str, model: Path, runtime: Runtime, workload: Workload, inputs: Path) -> float | None:
    """How far a model's answers on the device are from this machine's, see `answer_differences`; None if it is this."""
    if current_place().is_here:
        return None
    contestant = _contestant(name, model, runtime, workload, inputs)
    mine = {LIBRARY: str(library_here())} if LIBRARY in contestant.options else {}
    return answer_differences([contestant], {name: inputs}, mine)[name]


def _contestant(name: str, model: Path, runtime: Runtime, workload: Workload, inputs: Path) -> Contestant:
    return Contestant(
        name=name,
        model=model,
        runtime=runtime.name,
        options=runtime.options(),
        workload=workload,
        inputs=inputs,
        env=environment(),
        loader=runtime.loader(),
    )
