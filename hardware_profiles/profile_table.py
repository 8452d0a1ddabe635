"""A profile as tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from benchmarks.workload import Workload
from hardware_profiles.latency_model import LatencyModel
from hardware_profiles.profile import LatencyProfile
from hardware_profiles.steadiness import profile_instability
from hardware_profiles.unit import Kind

__all__ = ["options_in_words", "profile_table"]

_BLOCKS: tuple[tuple[Kind, str], ...] = (("attention", "attention, heads"), ("ffn", "FFN, neurons"))


def profile_table(profile: LatencyProfile, workload: Workload | None = None) -> RenderableType:
    """Milliseconds of each block by width and precision, what zeros bring, and the options that won.

    `workload` limits it to one; None shows all that were measured.
    """
    model = LatencyModel().fit(profile)
    record = profile.runtime_record
    options = options_in_words(record.options)
    lines: list[RenderableType] = [f"{profile.device.name}, {record.name} {record.version}, {options}"]
    days = ", ".join(str(day) for day in profile.conditions) or "nobody knows when"
    lines.append(f"{profile.device.provenance}, {days}; microarchitecture {profile.device.microarchitecture}")
    lines += profile_instability(profile)
    lines += (str(trial) for trial in profile.contests if workload in (None, trial.workload))
    cases = dict.fromkeys((entry.workload, entry.unit.hidden_size) for entry in profile.entries)
    for measured, hidden_size in cases:
        if workload in (None, measured):
            lines += _tables(profile, model, measured, hidden_size)
    return Group(*lines)


def options_in_words(options: dict[str, Any]) -> str:
    """A runtime's options, e.g. "disabled_optimizers SkipLayerNormFusion; config session.intra_op.allow_spinning 0"."""
    return "; ".join(f"{key} {_value(value)}" for key, value in options.items()) or "stock options"


def _value(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(inner)}" for key, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _tables(
    profile: LatencyProfile, model: LatencyModel, workload: Workload, hidden_size: int
) -> Iterator[RenderableType]:
    precisions = tuple(
        dict.fromkeys(
            entry.precision
            for entry in profile.entries
            if (entry.workload, entry.unit.hidden_size) == (workload, hidden_size)
        )
    )
    glue = ", ".join(
        f"{model.overhead_ms(workload, precision, hidden_size=hidden_size):.3f} ({precision})"
        for precision in precisions
    )
    yield f"\nhidden size {hidden_size}, {workload}; once per call: {glue} ms"
    for precision in precisions:
        capacity, per_megabyte = model.cache_facts(workload, precision, hidden_size=hidden_size)
        if per_megabyte:
            yield (
                f"{precision}: weights beyond about {capacity:.0f} MB are read from memory in every call,"
                f" {1e3 * per_megabyte:.0f} us a MB (counted below)"
            )
    for kind, label in _BLOCKS:
        yield _widths_table(model, workload, hidden_size, precisions, kind, label)
    yield _zeros_table(profile, model, workload, hidden_size, precisions)


def _widths_table(
    model: LatencyModel,
    workload: Workload,
    hidden_size: int,
    precisions: tuple[str, ...],
    kind: Kind,
    label: str,
) -> Table:
    table = Table(label, *(f"{precision}, ms" for precision in precisions), title=f"one {kind} block")
    for width in model.widths(kind, workload, precisions[0], hidden_size=hidden_size):
        milliseconds = (
            model.unit_ms(kind, width, workload, precision, hidden_size=hidden_size) for precision in precisions
        )
        table.add_row(str(width), *(f"{value:.3f}" for value in milliseconds))
    return table


def _zeros_table(
    profile: LatencyProfile,
    model: LatencyModel,
    workload: Workload,
    hidden_size: int,
    precisions: tuple[str, ...],
) -> Table:
    sparse = [e for e in profile.entries if e.unit.sparsity and e.workload == workload]
    cases = sorted({(precisions.index(e.precision), e.unit.pattern) for e in sparse})
    columns = [(precisions[index], pattern) for index, pattern in cases]
    names = (f"{precision}, {pattern}" for precision, pattern in columns)
    table = Table("zeros", *names, title="speed-up that zeros bring, measured")
    for sparsity in sorted({e.unit.sparsity for e in sparse}):
        gains = (
            model.zeros_speedup(workload, precision, sparsity, pattern, hidden_size=hidden_size)
            for precision, pattern in columns
        )
        table.add_row(f"{sparsity:.0%}", *(f"{gain:.2f}x" for gain in gains))
    return table
