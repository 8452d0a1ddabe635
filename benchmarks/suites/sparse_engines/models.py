"""Whole models: every contestant of a cell, taking turns, and how far its logits are from the dense fp32 ones."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from benchmarks import Budget, Contestant, Measurement, TrimfitError, compare, instability, measure
from benchmarks.suites.engines.__main__ import outputs_of
from benchmarks.suites.sparse_engines.cell import BEST_ISA, Cell
from benchmarks.suites.sparse_engines.names import BLOCK_INT8, DENSE_FP32, SPARSE_FP32, UNFUSED_FP32
from benchmarks.suites.sparse_engines.prepared import Prepared

__all__ = ["Models"]

# every cell takes three launches, however wide its intervals: what they would gain is time for other cells
BUDGET = Budget(launches=3, min_launches=2, rounds=8, min_samples=16, precision=1, max_seconds=90)
QUICK_BUDGET = Budget(launches=2, min_launches=2, rounds=4, min_samples=8, precision=1, max_seconds=15)
OURS = (SPARSE_FP32, BLOCK_INT8)
DENSE = (DENSE_FP32, UNFUSED_FP32)
DIGITS = 4

Logits = Mapping[str, np.ndarray]


class Models:
    """Measures cells of whole models; keeps the files of the last encoder, which the next cell often shares."""

    def __init__(self, quick: bool = False) -> None:
        self.budget = QUICK_BUDGET if quick else BUDGET
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._prepared: Prepared | None = None

    def __enter__(self) -> Models:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drop()

    def measure(self, cell: Cell) -> dict[str, list[dict[str, Any]]]:
        """The "rows" of a cell, and "refused" with the reason of each contestant that is missing."""
        prepared = self._prepare(cell)
        contestants, logits, refused = _enter(cell, prepared)
        measurements = measure(contestants, budget=self.budget)
        rows = _rows(cell, measurements, _differences(prepared, logits))
        reasons = {**prepared.refused, **refused}
        about = {"model": cell.subject, "tokens": cell.tokens, "threads": cell.threads, "sparsity": cell.sparsity}
        return {"rows": rows, "refused": [{**about, "contestant": x, "reason": why} for x, why in reasons.items()]}

    def _prepare(self, cell: Cell) -> Prepared:
        assert cell.sparsity is not None
        if self._prepared is None or not self._prepared.matches(cell.subject, cell.tokens, cell.sparsity):
            self._drop()
            self._folder = tempfile.TemporaryDirectory(prefix="trimfit-")
            self._prepared = Prepared(cell.subject, cell.tokens, cell.sparsity, Path(self._folder.name))
        return self._prepared

    def _drop(self) -> None:
        self._prepared = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def _enter(cell: Cell, prepared: Prepared) -> tuple[list[Contestant], Logits, dict[str, str]]:
    """The contestants of a cell that run, what they answer, and why the others do not."""
    wanted = None if cell.isa == BEST_ISA else (*DENSE, *OURS)
    contestants, logits, refused = [], {}, {}
    for name, made in prepared.contestants.items():
        if wanted is not None and name not in wanted:
            continue
        env = cell.env if name in OURS else {}
        contestant = made.model_copy(update={"workload": cell.workload, "env": env})
        try:
            (logits[name],) = outputs_of(contestant, prepared.inputs, prepared.folder).values()
            contestants.append(contestant)
        except TrimfitError as error:
            refused[name] = str(error)
    return contestants, logits, refused


def _differences(prepared: Prepared, logits: Logits) -> dict[str, dict[str, float]]:
    """Largest absolute difference of logits from onnxruntime's and PyTorch's in fp32, of the same weights."""
    return {
        name: {
            "max_abs_logit_difference": _largest(found - prepared.onnxruntime_logits(name)),
            "max_abs_logit_difference_to_torch": _largest(found - prepared.torch_logits(name)),
        }
        for name, found in logits.items()
    }


def _largest(difference: np.ndarray) -> float:
    return float(np.abs(difference).max())


def _rows(
    cell: Cell, measurements: Sequence[Measurement], differences: Mapping[str, dict[str, float]]
) -> list[dict[str, Any]]:
    by_name = {m.subject.name: m for m in measurements}
    reference = min((by_name[name] for name in DENSE if name in by_name), key=lambda m: m.median)
    return [_row(cell, m, reference, by_name) | differences[m.subject.name] for m in measurements]


def _row(cell: Cell, m: Measurement, reference: Measurement, others: Mapping[str, Measurement]) -> dict[str, Any]:
    name = m.subject.name
    own = m is reference
    over = {} if own else _speedup(reference, m)
    beaten = {other: _speedup(n, m) for other, n in others.items() if other != name} if name in OURS else {}
    return {
        "model": cell.subject,
        "tokens": cell.tokens,
        "threads": cell.threads,
        "sparsity": cell.sparsity,
        "contestant": name,
        "median_ms": round(m.median_ms, DIGITS),
        "speedup_over_onnxruntime_fp32": 1.0 if own else over["speedup"],
        "low": 1.0 if own else over["low"],
        "high": 1.0 if own else over["high"],
        "reference": reference.subject.name,
        "p90_ms": m.p90_ms,
        "file_bytes": m.subject.file_bytes,
        "speedup_over": beaten,
        "unstable": instability(m),
        "samples_ms": [round(seconds * 1e3, DIGITS) for seconds in m.seconds.tolist()],
    }


def _speedup(baseline: Measurement, other: Measurement) -> dict[str, float]:
    comparison = compare(baseline, other)
    return {"speedup": comparison.speedup, "low": comparison.low, "high": comparison.high}
