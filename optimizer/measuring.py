"""Measuring: teacher, strongest dense contestant and student timed in turns on the device, on real rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks import Budget, Contestant, Measurement, measure
from benchmarks.workload import Workload
from hardware_profiles.runtimes import Runtime
from hardware_profiles.runtimes.sparse.dispatcher import environment
from optimizer import files
from optimizer.encoding import Encoded
from optimizer.progress import Advance

__all__ = ["measure_models", "write_input_pool"]

POOL = 64  # different batches that calls draw from


def write_input_pool(path: Path, rows: Encoded, workload: Workload, seed: int) -> Path:
    """An .npz of real token sequences cut or padded to the workload: arrays [pool, batch, seq_len] by input name."""
    rng = np.random.default_rng(seed)
    shape = (POOL, workload.batch, workload.seq_len)
    ids = np.full(shape, rows.pad_token_id, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.int64)
    for place in np.ndindex(*shape[:2]):
        row = rows.input_ids[int(rng.integers(len(rows)))][: workload.seq_len]
        ids[place][: len(row)] = row
        mask[place][: len(row)] = 1

    def write(part: Path) -> None:
        with part.open("wb") as file:
            np.savez(file, input_ids=ids, attention_mask=mask, token_type_ids=np.zeros_like(ids))

    return files.write_atomically(path, write)


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
    contestants = [
        Contestant(
            name=name,
            model=path,
            runtime=runtime.name,
            options=runtime.options(),
            workload=workload,
            inputs=inputs,
            env=environment(),
        )
        for name, (path, runtime) in models.items()
    ]
    return {m.subject.name: m for m in measure(contestants, budget=budget, seed=seed, progress=advance)}
