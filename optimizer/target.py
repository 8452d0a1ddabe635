"""Target: what the person asked for, as a latency on the device or as an accuracy to keep."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.errors import TrimfitError

__all__ = ["DEFAULT_TARGET", "LatencyMs", "MaxDrop", "Speedup", "Target", "choose_target"]


@dataclass(frozen=True)
class Speedup:
    """At least `ratio` times faster than the fp32 teacher, with the whole 95 % interval above it."""

    ratio: float

    def __post_init__(self) -> None:
        if not self.ratio > 1:
            raise TrimfitError(f"speed-up must be above 1, got {self.ratio:g}: 3 means three times faster")

    def __str__(self) -> str:
        return f"speed-up >= {self.ratio:g}"

    def milliseconds(self, teacher_ms: float) -> float:
        """The latency this asks for, given the fp32 teacher's."""
        return teacher_ms / self.ratio


@dataclass(frozen=True)
class LatencyMs:
    """At most `ms` milliseconds an inference (median)."""

    ms: float

    def __post_init__(self) -> None:
        if not self.ms > 0:
            raise TrimfitError(f"latency must be above 0 ms, got {self.ms:g}: give milliseconds")

    def __str__(self) -> str:
        return f"latency <= {self.ms:g} ms"

    def milliseconds(self, teacher_ms: float) -> float:
        """The latency this asks for; the teacher's does not matter."""
        return self.ms


@dataclass(frozen=True)
class MaxDrop:
    """As fast as possible with a dev score at most `percent` per cent (relative) below the teacher's."""

    percent: float

    def __post_init__(self) -> None:
        if not 0 < self.percent < 100:
            raise TrimfitError(
                f"accuracy drop must be between 0 and 100 %, got {self.percent:g}: 1 keeps 99 % of the score"
            )

    def __str__(self) -> str:
        return f"drop <= {self.percent:g} % of the teacher's score"

    def lowest_score(self, teacher_score: float) -> float:
        """The lowest dev score that is still allowed."""
        return teacher_score * (1 - self.percent / 100)


Target = Speedup | LatencyMs | MaxDrop

DEFAULT_TARGET = MaxDrop(1.0)


def choose_target(speedup: float | None, latency: float | None, max_drop: float | None) -> Target:
    """Turn the three command-line options into one target; none given keeps 99 % of the teacher's score."""
    given = {"--speedup": speedup, "--latency": latency, "--max-drop": max_drop}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise TrimfitError(f"got {' and '.join(named)}, expected one target: give only one of them")
    if speedup is not None:
        return Speedup(speedup)
    if latency is not None:
        return LatencyMs(latency)
    return MaxDrop(max_drop) if max_drop is not None else DEFAULT_TARGET
