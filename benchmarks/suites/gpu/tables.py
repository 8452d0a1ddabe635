"""The study as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

__all__ = ["tables"]

Entry = Mapping[str, Any]


def tables(parts: Mapping[str, Entry]) -> Iterator[Table]:
    """One for each part that has something."""
    makers = {
        "peaks": _peaks,
        "contestants": _contestants,
        "prediction": _prediction,
        "students": _students,
        "zeros": _zeros,
    }
    for part, make in makers.items():
        if parts.get(part):
            yield make(parts[part])


def _peaks(found: Entry) -> Table:
    table = Table("", "TFLOP/s", "GB/s", title="The GPU itself")
    for name, entry in found.items():
        flops = f"{entry['gflops'] / 1e3:.1f}" if "gflops" in entry else ""
        table.add_row(name, flops, f"{entry.get('gigabytes_per_second', '')}")
    return table


def _contestants(found: Entry) -> Table:
    table = Table("", "batch", "ms", "cold cache, ms", "rows/s", "of the peak", "J a call", title="The whole encoder")
    for batch, entries in found.items():
        for name, entry in entries.items():
            if "failed" in entry:
                table.add_row(name, batch.split()[-1], f"failed: {entry['failed'][:60]}")
                continue
            share, energy = entry["share_of_peak"], entry["joules"]
            table.add_row(
                name,
                batch.split()[-1],
                f"{entry['ms']:.3f}",
                f"{entry['cold_cache_ms']:.3f}",
                f"{entry['rows_per_second']:,.0f}",
                f"{share:.1%}" if share else "",
                f"{energy:.4f}" if energy else "",
            )
    return table


def _prediction(found: Entry) -> Table:
    table = Table("", "models", "within 5 %", "within 10 %", "bias", "worst", title="Held-out models")
    for batch, entry in found.items():
        figures = ("within_5_percent", "within_10_percent", "bias_percent", "worst_percent")
        table.add_row(batch, str(entry["models"]), *(f"{entry[figure]:.1f} %" for figure in figures))
    return table


def _students(found: Entry) -> Table:
    table = Table("", "batch", "weights left", "predicted, ms", "measured, ms", "versus dense", title="Students")
    for batch, entry in found.items():
        for name, student in entry["students"].items():
            table.add_row(
                f"{name}, {entry['precision']}",
                batch.split()[-1],
                f"{student['weights_left']:.0%}",
                f"{student['predicted_ms']:.3f}",
                f"{student['measured_ms']:.3f}",
                f"{student['speedup_versus_dense']:.2f}x",
            )
    return table


def _zeros(found: Entry) -> Table:
    ways = list(dict.fromkeys(way for entry in found.values() for way in entry["speedup"]))
    table = Table("batch", *ways, title="2:4 zeros over dense, fp16, the same file")
    for batch, entry in found.items():
        cells = (f"{entry['speedup'][way]:.2f}x" if way in entry["speedup"] else "" for way in ways)
        table.add_row(batch.split()[-1], *cells)
    return table
