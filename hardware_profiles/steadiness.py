"""How steady the machine was while a profile was made."""

from __future__ import annotations

import numpy as np

from benchmarks.crowding import is_crowded
from benchmarks.stability import machine_trouble
from hardware_profiles.profile import Anchor, LatencyProfile, UnitTiming

__all__ = ["profile_instability"]

_MOST_SPREAD = 0.1  # interquartile range over the time itself, of the typical graph
_MOST_DRIFT = 0.1  # between the references of batches


def profile_instability(profile: LatencyProfile) -> list[str]:
    """What was unsteady, with its size and the remedy; empty when the timings can be relied on."""
    timings: list[UnitTiming | Anchor] = [*profile.entries, *profile.ladder, *profile.anchors]
    if not timings:
        return []
    found = []
    crowded = [t for t in timings if is_crowded(t.others, t.workload.threads, profile.device.cores)]
    if crowded:
        found.append(
            f"{len(crowded)} of {len(timings)} graphs were timed while other processes kept up to"
            f" {max(t.others for t in crowded):.1f} CPUs busy: close other programs and profile again with --fresh"
        )
    spread = float(np.median([timing.iqr / timing.seconds for timing in timings]))
    if spread > _MOST_SPREAD:
        found.append(
            f"the typical graph's interquartile range is {spread:.0%} of its time (limit {_MOST_SPREAD:.0%}):"
            " close other programs and profile again with --fresh"
        )
    references: dict[object, list[float]] = {}
    for timing in profile.entries:
        if timing.reference_seconds:
            key = timing.workload, timing.precision, timing.unit.hidden_size, timing.unit.head_size
            references.setdefault(key, []).append(timing.reference_seconds)
    drift = max((max(seconds) / min(seconds) - 1 for seconds in references.values()), default=0.0)
    if drift > _MOST_DRIFT:
        found.append(
            f"the same encoder took up to {drift:.0%} longer in another part of the profile"
            f" (limit {_MOST_DRIFT:.0%}): let the machine come to rest and profile again with --fresh"
        )
    troubles = [trouble for environment in profile.environments for trouble in machine_trouble(environment)]
    found += [f"while it was measured {trouble}" for trouble in troubles]
    return list(dict.fromkeys(found))
