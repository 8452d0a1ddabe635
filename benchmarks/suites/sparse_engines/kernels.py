"""Linear layers alone: our operator against onnxruntime's dense MatMul, and where they break even."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from benchmarks import Budget, Comparison, Contestant, Measurement, compare, measure
from benchmarks.suites.sparse_engines.bisection import smallest
from benchmarks.suites.sparse_engines.cell import Cell
from benchmarks.suites.sparse_engines.linear import in_tiles, sizes, write_input, write_linear
from benchmarks.suites.sparse_engines.targets import KERNEL_SPEEDUP
from hardware_profiles.runtimes.sparse.library import library_path
from hardware_profiles.runtimes.sparse.rewriting import sparsify

__all__ = ["measure_break_even", "measure_kernels"]

LOADER = Path(__file__).parent / "loaders" / "bound.py"
KERNEL_BUDGET = Budget(launches=4, min_launches=3, rounds=16, precision=0.01, max_seconds=15)
QUICK_BUDGET = Budget(launches=2, min_launches=2, rounds=4, precision=1, max_seconds=4)
POINT_BUDGET = Budget(launches=1, min_launches=1, rounds=12, min_samples=8, precision=1, max_seconds=3)
FEWEST_ZEROS, MOST_ZEROS = 0.2, 0.8
WIDTH = 0.01
DENSE = "dense"
SUFFIXES = {"tiles": "", "rows": "_in_rows"}  # of the lists in the result


def measure_kernels(cell: Cell, quick: bool) -> dict[str, list[dict[str, Any]]]:
    """Rows of "kernels" of one shape at every sparsity a target names."""
    with tempfile.TemporaryDirectory(prefix="trimfit-") as name:
        folder = Path(name)
        entries = [_dense(cell, folder), *(_sparse(cell, folder, share) for share in KERNEL_SPEEDUP)]
        dense, *sparse = measure(entries, budget=QUICK_BUDGET if quick else KERNEL_BUDGET)
    rows = [_row(cell, dense, m, share) for m, share in zip(sparse, KERNEL_SPEEDUP, strict=True)]
    return {f"kernels{SUFFIXES[cell.layout]}": rows}


def _row(cell: Cell, dense: Measurement, sparse: Measurement, sparsity: float) -> dict[str, Any]:
    comparison = compare(dense, sparse)
    out_features, in_features = sizes(cell.subject)
    operations = 2 * out_features * in_features * cell.tokens
    return {
        "shape": cell.subject,
        "tokens": cell.tokens,
        "threads": cell.threads,
        "layout": cell.layout,
        "sparsity": sparsity,
        "speedup_over_dense": comparison.speedup,
        "low": comparison.low,
        "high": comparison.high,
        "median_ms": sparse.median_ms,
        "dense_median_ms": dense.median_ms,
        "dense_gflops": operations / dense.median / 1e9,
        "sparse_gflops": operations * (1 - sparsity) / sparse.median / 1e9,
    }


def measure_break_even(cell: Cell, quick: bool) -> dict[str, list[dict[str, Any]]]:
    """The row of "break_even" of one shape: the smallest share of zeros at which sparse is faster than dense."""
    with tempfile.TemporaryDirectory(prefix="trimfit-") as name:
        folder, points = Path(name), []
        dense = _dense(cell, folder)

        def faster(sparsity: float) -> bool:
            comparison = _compared([dense, _sparse(cell, folder, sparsity)])
            points.append({"sparsity": sparsity, "speedup_over_dense": comparison.speedup})
            return comparison.speedup > 1

        found = smallest(faster, FEWEST_ZEROS, MOST_ZEROS, 0.1 if quick else WIDTH)
    about = {"shape": cell.subject, "tokens": cell.tokens, "threads": cell.threads, "layout": cell.layout}
    return {f"break_even{SUFFIXES[cell.layout]}": [{**about, "sparsity": found, "points": points}]}


def _compared(contestants: Sequence[Contestant]) -> Comparison:
    return compare(*measure(contestants, budget=POINT_BUDGET))


def _dense(cell: Cell, folder: Path) -> Contestant:
    return Contestant(
        name=DENSE,
        model=write_linear(folder / "dense.onnx", cell.subject),
        workload=cell.workload,
        inputs=write_input(folder / "rows.npz", (cell.tokens, sizes(cell.subject)[1])),
        loader=LOADER,
    )


def _sparse(cell: Cell, folder: Path, sparsity: float) -> Contestant:
    zeros = onnx.load(str(write_linear(folder / "zeros.onnx", cell.subject, sparsity)))
    packed = sparsify(zeros, "fp32", pays=lambda shape, share: True)
    shape: tuple[int, ...] = (cell.tokens, sizes(cell.subject)[1])
    if cell.layout == "tiles":
        shape = in_tiles(packed, cell.tokens)
    name = f"sparse-{sparsity:g}"
    onnx.save(packed, str(folder / f"{name}.onnx"))
    return Contestant(
        name=name,
        model=folder / f"{name}.onnx",
        options={"custom_op_library": str(library_path())},
        workload=cell.workload,
        inputs=write_input(folder / f"{cell.layout}.npz", shape),
        loader=LOADER,
        env=cell.env,
    )
