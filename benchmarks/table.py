"""A BenchmarkResult as a table for the terminal, under a sentence with its conditions."""

from __future__ import annotations

import math

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchmarks.benchmark_result import BenchmarkResult, Row
from benchmarks.comparison import Comparison
from benchmarks.gpu.placement import on_device_in_words

__all__ = ["render"]

UNKNOWN = "unknown"


def render(result: BenchmarkResult) -> RenderableType:
    """Conditions, latencies, sizes, throughput, what the comparisons say and what is unstable."""
    if result.is_emulated:
        return Group(Text(result.conditions), *_answers(result))
    parts: list[RenderableType] = [Text(result.conditions), _latencies(result), _sizes(result)]
    if result.throughput:
        parts.append(_throughput(result))
    parts += [Text(comparison.sentence) for comparison in result.comparisons]
    parts += _answers(result)
    parts += _on_device(result)
    parts += [Text(reason) for reason in sorted({entry.reason for entry in result.energy if entry.reason})]
    parts += [Text(f"unstable: {warning}", style="yellow") for warning in result.warnings]
    return Group(*parts)


def _answers(result: BenchmarkResult) -> list[Text]:
    return [
        Text(f"{name} answers there within {difference:.1e} of its largest answer here")
        for name, difference in result.answers.items()
    ]


def _on_device(result: BenchmarkResult) -> list[Text]:
    said = ((m.subject.name, on_device_in_words(m)) for m in result.measurements)
    return [Text(f"{name}: {words}") for name, words in said if words]


def _latencies(result: BenchmarkResult) -> Table:
    table = _table(
        "model",
        "median",
        "95 % interval",
        "p90",
        f"against {result.files[0].name}",
        "GFLOP/s (of peak)",
        "J/inference",
    )
    for row in result.rows:
        m = row.measurement
        table.add_row(
            row.file.name,
            m.median_text,
            _interval(m.interval.low, m.interval.high),
            f"{m.p90_ms:.2f} ms" if m.p90_ms is not None else "needs 64 calls",
            _ratio(row.comparison),
            _rate(row),
            _joules(row),
        )
    return table


def _sizes(result: BenchmarkResult) -> Table:
    table = _table("model", "file", "gzip", "parameters", "load", "first inference", "memory (model)")
    for row in result.rows:
        m, file = row.measurement, row.file
        table.add_row(
            file.name,
            _bytes(file.bytes),
            _bytes(file.gzip_bytes),
            _count(file.parameters),
            _milliseconds(m.load_seconds),
            _milliseconds(m.first_inference_seconds),
            f"{_bytes(m.peak_memory_bytes)} ({_bytes(m.model_memory_bytes)})",
        )
    return table


def _throughput(result: BenchmarkResult) -> Table:
    table = _table("rows a second", *(file.name for file in result.files))
    rates = {(point.batch, point.threads, point.name): point.rows_per_second for point in result.throughput}
    for batch, threads in sorted({(point.batch, point.threads) for point in result.throughput}, key=lambda x: x[::-1]):
        cells = [f"{rates[batch, threads, file.name]:.4g}" for file in result.files]
        table.add_row(f"batch {batch}, {threads} thread{'s' if threads > 1 else ''}", *cells)
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(first)
    for heading in others:
        table.add_column(heading, justify="right")
    return table


def _interval(low: float, high: float) -> str:
    return f"{low * 1e3:.3g} to {high * 1e3:.3g} ms" if math.isfinite(high) else UNKNOWN


def _ratio(comparison: Comparison | None) -> str:
    if comparison is None:
        return ""
    if not comparison.significant:
        return "no difference"
    ratio, word = (comparison.speedup, "faster") if comparison.speedup > 1 else (1 / comparison.speedup, "slower")
    return f"{ratio:.2f}x {word}"


def _rate(row: Row) -> str:
    if row.gflops is None:
        return UNKNOWN
    share = f" ({row.peak_share:.0%} of {row.file.precision})" if row.peak_share is not None else ""
    return f"{row.gflops:.3g}{share}"


def _joules(row: Row) -> str:
    return UNKNOWN if row.energy is None or row.energy.joules is None else f"{row.energy.joules:.3g}"


def _milliseconds(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else f"{seconds * 1e3:.3g} ms"


def _bytes(count: int | None) -> str:
    if count is None:
        return UNKNOWN
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def _count(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count:,}"
