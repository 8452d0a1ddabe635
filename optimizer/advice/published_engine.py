"""PublishedEngine: a runtime like those whose latencies others published for a device. Nothing runs in it."""

from __future__ import annotations

from dataclasses import dataclass

from hardware_profiles.profile import LatencyProfile, RuntimeRecord
from hardware_profiles.published_model import PublishedModel
from hardware_profiles.runtimes.elsewhere import RuntimeElsewhere
from hardware_profiles.runtimes.registry import STOCK
from hardware_profiles.unit import Pattern

__all__ = ["PublishedEngine"]


@dataclass(frozen=True)
class PublishedEngine:
    """What an Engine is to a Site, without a profile: `latency` predicts from published figures."""

    latency: PublishedModel

    name = STOCK
    """What would be deployed there; the figures are of engines like it."""
    skips_zeros = False
    not_profiled: tuple[str, ...] = ()

    @property
    def runtime(self) -> RuntimeElsewhere:
        """It refuses to run anything."""
        return RuntimeElsewhere(self.name, "of any version", self.precisions)

    @property
    def profile(self) -> LatencyProfile:
        """Nothing was measured: an empty one."""
        return LatencyProfile(
            device=self.latency.device, runtime=RuntimeRecord(name=self.name, version="of any version")
        )

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those that something was published about, fp32 first."""
        return self.latency.precisions

    def skipped(self, precision: str) -> Pattern | None:
        """No zeros are skipped."""
        return None
