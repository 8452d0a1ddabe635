"""Clock: timings of different minutes on one scale."""

from __future__ import annotations

import numpy as np

from hardware_profiles.profile import Anchor, LatencyProfile, UnitTiming

__all__ = ["Clock"]


class Clock:
    """Compares by the reference encoder that was timed with everything: when it was slower, all was."""

    def __init__(self, profile: LatencyProfile):
        seen: dict[tuple[object, ...], set[float]] = {}
        timed: list[UnitTiming | Anchor] = [*profile.entries, *profile.ladder, *profile.anchors]
        for item in timed:
            if item.reference_seconds:
                seen.setdefault(_group(item), set()).add(item.reference_seconds)
        self._typical = {group: float(np.median(list(seconds))) for group, seconds in seen.items()}

    def factor(self, item: UnitTiming | Anchor) -> float:
        """What to multiply a timing by; 1 for one without a reference."""
        return self._typical[_group(item)] / item.reference_seconds if item.reference_seconds else 1.0


def _group(item: UnitTiming | Anchor) -> tuple[object, ...]:
    sizes = item.unit if isinstance(item, UnitTiming) else item.shape
    return item.workload, item.precision, sizes.hidden_size, sizes.head_size
