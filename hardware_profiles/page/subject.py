"""Subject: what a profile page is about: the profiles of one device for one model size at one workload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.errors import TrimfitError
from benchmarks.workload import Workload
from hardware_profiles.clock import Clock
from hardware_profiles.latency_table import LatencyTable, tables_of
from hardware_profiles.profile import Anchor, LatencyProfile
from hardware_profiles.unit import Kind

__all__ = ["BLOCKS", "WORDS", "Subject"]

BLOCKS: tuple[Kind, ...] = ("attention", "ffn")
WORDS: dict[Kind, tuple[str, str]] = {
    "attention": ("Attention", "heads"),
    "ffn": ("Feed-forward", "neurons"),
    "glue": ("Glue", "copies"),
}
"""What a kind of block and its width are called."""


@dataclass(frozen=True)
class Subject:
    """One profile for each runtime; the first is the stock runtime's, with every width."""

    profiles: tuple[LatencyProfile, ...]
    hidden_size: int
    workload: Workload

    @classmethod
    def of(cls, profiles: Sequence[LatencyProfile]) -> Subject:
        """What the profiles are about. Raises TrimfitError unless that is one model size and workload on one device."""
        cases = {
            (e.unit.hidden_size, e.unit.head_size, e.unit.activation, e.workload) for p in profiles for e in p.entries
        }
        if len(cases) != 1:
            raise TrimfitError(
                f"got profiles of {len(cases)} model sizes and workloads, expected one: take a part of them with `only`"
            )
        for profile in profiles:
            if difference := profiles[0].device.difference(profile.device):
                raise TrimfitError(f"got profiles with {difference}, expected one device: draw a page for each")
        ((hidden_size, _, _, workload),) = cases
        return cls(tuple(profiles), hidden_size, workload)

    @property
    def stock(self) -> LatencyProfile:
        """The profile that knows every width."""
        return self.profiles[0]

    @property
    def precisions(self) -> tuple[str, ...]:
        """All that were measured, "fp32" first where it is there."""
        found = dict.fromkeys(entry.precision for profile in self.profiles for entry in profile.entries)
        return tuple(sorted(found, key=lambda precision: precision != "fp32"))

    def tables(self, profile: LatencyProfile) -> dict[str, LatencyTable]:
        """What the latency model makes of a profile, by precision."""
        return {case.precision: table for case, table in tables_of(profile, Clock(profile)).items()}

    def anchors(self, profile: LatencyProfile) -> tuple[Anchor, ...]:
        """Whole models that were built to be timed; exported ones have other vocabularies."""
        return tuple(anchor for anchor in profile.anchors if anchor.source == "built")
