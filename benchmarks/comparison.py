"""Comparison: how many times faster one contestant is than another, and how sure that is."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from benchmarks import statistics
from benchmarks.errors import TrimfitError
from benchmarks.measurement import Measurement
from benchmarks.statistics import Interval

__all__ = ["Comparison", "compare"]

CALL_LEVEL = 0.99  # of the interval that must exclude 1 for a difference to be called
LARGEST_LOG = 700.0  # a ratio nobody knows anything about must still fit into JSON
MIN_PAIRS = 8  # undisturbed rounds; with fewer the interrupted ones count too


class Comparison(BaseModel):
    """Speed-up of `other` over `baseline`: the ratio of their times, above 1 when `other` is faster."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    baseline: str
    other: str
    speedup: float
    low: float
    high: float
    """The 95 % interval."""
    low99: float
    high99: float
    """The 99 % interval, which decides whether a difference is called."""
    rounds: int
    """Pairs of rounds the ratio is the median of (the smaller sample when they were not taken in turns)."""
    launches: int
    interleaved: bool
    """Whether the two took turns; if not, they were measured one after the other."""

    @property
    def significant(self) -> bool:
        """Whether even the 99 % interval excludes "equally fast": one call in a hundred is a false alarm."""
        return self.low99 > 1 or self.high99 < 1

    @property
    def sentence(self) -> str:
        """E.g. "student is 1.83x faster than teacher (1.79 to 1.88, 95%)"."""
        if not self.significant:
            digits = _digits(self.low99, self.high99)
            return (
                f"no significant difference between {self.other} and {self.baseline} "
                f"({self.low99:.{digits}f} to {self.high99:.{digits}f}x, 99%)"
            )
        word, ratio, low, high = "faster", self.speedup, self.low, self.high
        if self.speedup < 1:
            word, ratio, low, high = "slower", 1 / ratio, 1 / high, 1 / low
        digits = _digits(low, high)
        return (
            f"{self.other} is {ratio:.{digits}f}x {word} than {self.baseline} "
            f"({low:.{digits}f} to {high:.{digits}f}, 95%)"
        )


def compare(baseline: Measurement, other: Measurement, *, seed: int = 0) -> Comparison:
    """Speed-up of `other` over `baseline` with its 95 % interval.

    Of contestants that took turns in one run, the median of the rounds' ratios, with the launches resampled;
    of two separate runs, the ratio of medians, with the launches of each resampled. A round of a workload of several
    lengths counts as the mean over the lengths, weighted by their shares.

    Raises:
        TrimfitError: they were asked for different work, ran on different devices, or their numbers are of
            different provenance; or one of them holds no timed call.
    """
    _check_conditions(baseline, other)
    interleaved = bool(baseline.run) and baseline.run == other.run
    evidence = (_paired if interleaved else _separate)(baseline, other)
    interval, wide = (evidence.interval(level, seed) for level in (statistics.LEVEL, CALL_LEVEL))
    return Comparison(
        baseline=baseline.subject.name,
        other=other.subject.name,
        speedup=math.exp(interval.center),
        low=math.exp(interval.low),
        high=math.exp(min(interval.high, LARGEST_LOG)),
        low99=math.exp(wide.low),
        high99=math.exp(min(wide.high, LARGEST_LOG)),
        rounds=min(evidence.counts),
        launches=min(len(set(launches.tolist())) for _, launches in evidence.sides),
        interleaved=interleaved,
    )


class _Evidence(NamedTuple):
    """Logarithms and the launch of each: of the rounds' ratios if paired, else of both sides' rounds."""

    sides: tuple[tuple[NDArray[np.float64], NDArray[np.int64]], ...]

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(len(values) for values, _ in self.sides)

    def interval(self, level: float, seed: int) -> Interval:
        if len(self.sides) == 1:
            return statistics.median_interval(*self.sides[0], level=level, seed=seed)
        return statistics.difference_interval(*self.sides[0], *self.sides[1], level=level, seed=seed)


def _paired(baseline: Measurement, other: Measurement) -> _Evidence:
    for undisturbed in (True, False):
        first, second = (measurement.round_medians(undisturbed) for measurement in (baseline, other))
        shared = sorted(first.keys() & second.keys())
        if len(shared) >= MIN_PAIRS and len({launch for launch, _ in shared}) > 1:
            break
    if not shared:
        raise TrimfitError(
            f"got no round in which both {baseline.subject.name} and {other.subject.name} were timed, "
            "expected several: measure for longer"
        )
    ratios = np.log([first[key] / second[key] for key in shared])
    return _Evidence(((ratios, np.array([launch for launch, _ in shared])),))


def _separate(baseline: Measurement, other: Measurement) -> _Evidence:
    sides = []
    for measurement in (baseline, other):
        medians = measurement.round_medians()
        if not medians:
            raise TrimfitError(f"got no timed call of {measurement.subject.name}, expected several: measure for longer")
        sides.append((np.log(list(medians.values())), np.array([launch for launch, _ in medians])))
    return _Evidence(tuple(sides))


def _check_conditions(baseline: Measurement, other: Measurement) -> None:
    first, second = (_conditions(measurement) for measurement in (baseline, other))
    for field, value in first.items():
        if value != second[field]:
            raise TrimfitError(
                f"cannot compare {baseline.subject.name} with {other.subject.name}: {field} is {value} and "
                f"{second[field]}, expected the same: measure both under the same conditions"
            )


def _conditions(measurement: Measurement) -> dict[str, object]:
    workload = measurement.subject.workload
    return {
        "batch": workload.batch,
        "seq_len": workload.seq_len,
        "lengths": workload.lengths and [tuple(point) for point in workload.lengths.points],
        "threads": workload.threads,
        "device": measurement.environment.device,
        "provenance": measurement.provenance,
    }


def _digits(low: float, high: float) -> int:
    """Two decimals, three where the interval is finer than that."""
    return 3 if high - low < 0.03 else 2
