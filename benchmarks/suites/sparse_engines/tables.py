"""What was asked and what was measured, as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from benchmarks.suites.sparse_engines.names import BLOCK_INT8, SPARSE_FP32
from benchmarks.suites.sparse_engines.targets import Verdict

__all__ = ["kernel_table", "model_table", "target_table"]

MARKS = {True: "met", False: "NOT met", None: "not measured"}
HEADINGS = ("model", "tokens", "threads", "zeros", "isa", "contestant", "median", "over onnxruntime fp32", "logits off")
MOST = 1e3  # a ratio's interval that goes further holds nothing
OURS = (SPARSE_FP32, BLOCK_INT8)

Entry = Mapping[str, Any]


def target_table(verdicts: Sequence[Verdict]) -> Table:
    """One line a target, with the value where it is hardest."""
    table = Table("what", "asked", "measured (worst)", "where", "", title="Targets")
    for verdict in verdicts:
        target = verdict.target
        asked = f"{'at most' if target.at_most else 'at least'} {target.text(target.asked)}"
        where, value = verdict.worst if verdict.values else ("", None)
        good = sum(map(target.meets, verdict.values.values()))
        several = f" ({good} of {len(verdict.values)})" if len(verdict.values) > 1 else ""
        shown = "" if value is None else target.text(value)
        table.add_row(target.what, asked, shown, where, MARKS[verdict.met] + several)
    return table


def kernel_table(kernels: Sequence[Entry], break_even: Sequence[Entry]) -> Table:
    """One line a shape and share of zeros; the break-even in a line of its own."""
    table = Table(
        "layer (out x in)", "layout", "isa", "zeros", "median", "over dense fp32", "GFLOP/s (dense)", title="Kernels"
    )
    for row in kernels:
        rate = f"{row['sparse_gflops']:.0f} ({row['dense_gflops']:.0f})"
        about = row["shape"], row["layout"], row["isa"], f"{row['sparsity']:.0%}"
        table.add_row(*about, f"{row['median_ms']:.3f} ms", _ratio(row, "speedup_over_dense"), rate)
    for row in break_even:
        found = row["sparsity"]
        zeros = "never up to 80%" if found is None else f"{found:.0%}"
        table.add_row(row["shape"], row["layout"], row["isa"], zeros, "", "breaks even", "")
    return table


def model_table(rows: Sequence[Entry]) -> Table:
    """One line a contestant of every cell."""
    table = Table(*HEADINGS, title="Models")
    previous = None
    for row in rows:
        if previous not in (None, row["cell"]):
            table.add_section()
        previous = row["cell"]
        table.add_row(*_cells(row))
    return table


def _cells(row: Entry) -> tuple[str, ...]:
    reference = row["contestant"] == row["reference"]
    return (
        row["model"],
        str(row["tokens"]),
        str(row["threads"]),
        f"{row['sparsity']:.0%}",
        row["isa"] if row["contestant"] in OURS else "",
        row["contestant"],
        f"{row['median_ms']:.2f} ms",
        "the reference" if reference else _ratio(row, "speedup_over_onnxruntime_fp32"),
        f"{row['max_abs_logit_difference']:.0e}",
    )


def _ratio(row: Entry, field: str) -> str:
    known = row["high"] < MOST
    return f"{row[field]:.2f}x" + (f" ({row['low']:.2f} to {row['high']:.2f})" if known else " (interval unknown)")
