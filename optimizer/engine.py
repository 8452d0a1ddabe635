"""Engine: a runtime with the options it deploys with, what was measured with it, and what that predicts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.workload import Workload
from hardware_profiles.latency_model import LatencyModel
from hardware_profiles.layer_zeros import Sparsity
from hardware_profiles.profile import Anchor, LatencyProfile
from hardware_profiles.profile_request import SKIPPED
from hardware_profiles.runtimes import Runtime
from hardware_profiles.shape import HasShape
from hardware_profiles.unit import Pattern
from optimizer.pruning.patterns import NOfM, Zeros

__all__ = ["Engine", "anchors_of", "has_kernel"]


@dataclass(frozen=True)
class Engine:
    """One way to execute models on the device. `latency` is fitted to `profile`."""

    runtime: Runtime
    profile: LatencyProfile
    latency: LatencyModel
    skips_zeros: bool = False

    @classmethod
    def of(cls, profile: LatencyProfile, *, skips_zeros: bool = False) -> Engine:
        """The engine that a profile is of."""
        return cls(profile.runtime, profile, LatencyModel().fit(profile), skips_zeros)

    @property
    def name(self) -> str:
        """The runtime's name."""
        return self.runtime.name

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions that the runtime makes and the profile knows, fp32 first."""
        return tuple(precision for precision in self.runtime.precisions if precision in self.profile.precisions)

    @property
    def not_profiled(self) -> tuple[str, ...]:
        """Which precisions are left out, since they are no faster than another one here."""
        return tuple(str(trial) for trial in self.profile.contests if trial.precision not in self.precisions)

    def skipped(self, precision: str) -> Pattern | None:
        """Which zeros it makes use of at a precision; None for a runtime that multiplies by them."""
        return SKIPPED.get(precision) if self.skips_zeros else None

    def tells(self, pattern: Zeros) -> bool:
        """Whether its profile says what such zeros bring: n of m only where the runtime has a kernel for that."""
        return not isinstance(pattern, NOfM) or has_kernel(self.runtime, pattern.n, pattern.m)

    @property
    def reference(self) -> bool:
        """Whether its runtime only tells what something would bring: what is deployed cannot run with it."""
        return bool(getattr(self.runtime, "reference", False))

    def with_anchor(self, *anchors: Anchor) -> Engine:
        """The same engine with a latency model that has learned what real models took."""
        return Engine.of(self.profile.with_anchor(*anchors), skips_zeros=self.skips_zeros)


def has_kernel(runtime: Runtime, n: int, m: int) -> bool:
    """Whether a runtime is faster where n of every m inputs are left: it then lists (n, m) in `n_of_m`. No CPU's is."""
    return (n, m) in getattr(runtime, "n_of_m", ())


def anchors_of(
    name: str,
    shape: HasShape,
    workload: Workload,
    precision: str,
    ms: Iterable[float],
    *,
    pattern: Pattern = "dense",
    sparsity: Sparsity = 0.0,
) -> tuple[Anchor, ...]:
    """A real model that took `ms` milliseconds at each length of the workload, in their order: an anchor at each."""
    return tuple(
        Anchor.of(name, shape, point, precision, each / 1e3, pattern=pattern, sparsity=sparsity)
        for (point, _), each in zip(workload.points(), ms, strict=True)
    )
