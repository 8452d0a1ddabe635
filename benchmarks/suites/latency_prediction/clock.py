"""Clock: how much slower a machine was while a model was timed than it was right after the profile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

import numpy as np

from benchmarks import Measurement
from benchmarks.near_cores import near

__all__ = ["clock", "near_ms"]

LEAST_ROUNDS = 8  # in common, to be compared one by one


def near_ms(m: Measurement) -> float:
    """The median of the calls that count, of several threads those of CPUs near each other, as profiles hold it."""
    return 1e3 * float(np.median(near(m.seconds, m.subject.workload.threads))) if m.seconds.size else math.nan


def clock(m: Measurement, full: Sequence[Measurement], full_ms: float) -> float:
    """What the full model took in the rounds of `m`, over `full_ms`: what a prediction grows by.

    A machine whose clock changes every few seconds is in another state for one model of a run than for the next; the
    turns of one round are near each other. Returned so that a model's `near_ms` over it is the time that the rounds,
    compared one by one, tell for the clock of `full_ms`.

    Args:
        m: the model's.
        full: copies of the full model, of the same run.
        full_ms: of the full model before.
    """
    mine, copies = _rounds(m), [_rounds(copy) for copy in full]
    shared = set(mine).intersection(*copies)
    if len(shared) < LEAST_ROUNDS:
        return median(map(near_ms, full)) / full_ms
    ratio = median(mine[key] / median(copy[key] for copy in copies) for key in shared)
    return near_ms(m) / (ratio * full_ms)


def _rounds(m: Measurement) -> dict[tuple[int, int], float]:
    """Seconds of each (launch, round), of several threads those of CPUs near each other."""
    medians = m.round_medians()
    most = near(np.array(list(medians.values())), m.subject.workload.threads).max(initial=0.0)
    return {key: seconds for key, seconds in medians.items() if seconds <= most}
