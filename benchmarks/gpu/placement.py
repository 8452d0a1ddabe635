"""What a measurement on a GPU says of where the time went, and of the nodes that ran elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.measurement import Measurement

__all__ = ["elsewhere", "on_device_in_words"]

_CPU = "CPUExecutionProvider"
_NAMED = 6  # operators


def elsewhere(nodes: Mapping[str, Mapping[str, int]]) -> tuple[int, int, str]:
    """(nodes that onnxruntime runs on the CPU, all of them, the former's operators, the most frequent first)."""
    mine = nodes.get(_CPU, {})
    most = sorted(mine, key=lambda operator: (-mine[operator], operator))
    words = ", ".join(f"{mine[operator]} {operator}" for operator in most[:_NAMED])
    more = ", ..." if len(most) > _NAMED else ""
    return sum(mine.values()), sum(sum(each.values()) for each in nodes.values()), words + more


def on_device_in_words(measurement: Measurement) -> str | None:
    """E.g. "0.412 of 0.455 ms on the GPU, 310 MB of its memory; 9 of 231 nodes run on the CPU: 5 Shape, 4 Gather".

    None where a model does not run on a device of its own.
    """
    if measurement.device_median is None:
        return None
    said = f"{1e3 * measurement.device_median:.3f} of {measurement.median_ms:.3f} ms on the GPU"
    if measurement.device_memory_bytes:
        said += f", {measurement.device_memory_bytes / 1e6:.0f} MB of its memory"
    here, count, words = elsewhere(measurement.nodes)
    return f"{said}; {here} of {count} nodes run on the CPU: {words}" if here else said
