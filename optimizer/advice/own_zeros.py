"""What a runtime's own kernels make of zeros, at the precisions at which they gain by them."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.errors import TrimfitError
from benchmarks.workload import Workload
from hardware_profiles.unit import Pattern
from optimizer.architecture import Architecture
from optimizer.candidates import PredictionsAt
from optimizer.engine import Engine
from optimizer.judgement import WORTHWHILE

__all__ = ["own_zeros"]

PATTERN: Pattern = "unstructured"
_AT = "fp32"  # at lower precisions an engine skips other zeros than single ones, if any


def own_zeros(engine: Engine, architecture: Architecture, workload: Workload) -> Engine | None:
    """The engine as one that skips zeros in fp32; None where the most zeros measured are not worth while there."""
    prices = PredictionsAt(engine.latency, architecture, workload, _AT)
    try:
        speedup = prices.zeros_speedup(PATTERN, prices.sparsity_range(PATTERN)[1])
    except TrimfitError:  # none were measured
        return None
    if speedup < WORTHWHILE:
        return None
    sizes = architecture.hidden_size, architecture.head_size, workload
    activation = engine.profile.entries[0].unit.activation
    return replace(engine, profile=engine.profile.only(*sizes, activation, {_AT}), skips_zeros=True)
