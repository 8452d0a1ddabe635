"""ZerosCurve: what zeros make of a block's time, between the sparsities that were measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hardware_profiles.cache_model import CacheModel
from hardware_profiles.clock import Clock
from hardware_profiles.profile import UnitTiming
from hardware_profiles.unit import Kind, Pattern, packed_share

__all__ = ["ZerosCurve", "memory_seconds"]

_SKIPPED_BELOW = 0.95  # of the dense time: then the zeros are skipped, and not stored either
_STREAMED = 0.5  # of what a byte of dense weights from memory costs: sparse operators read theirs in one stream


@dataclass(frozen=True)
class ZerosCurve:
    """Time over dense time at the measured sparsities, `points` ascending; layers are dense below `pays_from`."""

    points: tuple[tuple[float, float], ...] = ()
    pays_from: float = 0.0

    @property
    def most(self) -> float:
        """The most zeros that were measured; 0 where none were."""
        return self.points[-1][0] if self.points else 0.0

    def ratio(self, sparsity: float) -> float:
        """Time over dense time at a sparsity up to `most`, linear between the points."""
        s, ratio = zip((self.pays_from, 1.0), *(p for p in self.points if p[0] > self.pays_from), strict=True)
        return float(np.interp(sparsity, s, ratio))

    @classmethod
    def of(
        cls,
        kind: Kind,
        pattern: Pattern,
        entries: Iterable[UnitTiming],
        clock: Clock,
        cache: CacheModel,
        pays_from: float,
    ) -> ZerosCurve:
        """The curve of a kind of block, each timing compared with the dense one of its width, both in cache."""
        mine = [entry for entry in entries if entry.unit.kind == kind and entry.unit.pattern in ("dense", pattern)]
        dense = {entry.unit.width: entry for entry in mine if not entry.unit.sparsity}
        points = (
            (entry.unit.sparsity, _ratio(entry, dense[entry.unit.width], clock, cache))
            for entry in mine
            if entry.unit.sparsity and entry.unit.width in dense and dense[entry.unit.width].unit_seconds
        )
        return cls(tuple(sorted(points)), pays_from)


def memory_seconds(cache: CacheModel, dense_bytes: float, ratio: float, sparsity: float) -> float:
    """What a model takes more than the sum of its blocks in cache.

    `dense_bytes` is what its weights would hold without zeros, `ratio` its time over that of the dense one: where zeros
    are not skipped they are read like other weights.
    """
    if ratio >= _SKIPPED_BELOW:
        return cache.extra_seconds(dense_bytes)
    return _STREAMED * cache.extra_seconds(dense_bytes * packed_share(sparsity))


def _ratio(sparse: UnitTiming, dense: UnitTiming, clock: Clock, cache: CacheModel) -> float:
    seconds, dense_seconds = (x.unit_seconds * clock.factor(x) for x in (sparse, dense))
    whole = seconds / dense_seconds
    in_memory = memory_seconds(cache, sparse.total_bytes, whole, sparse.unit.sparsity) / sparse.repeat
    dense_in_memory = cache.extra_seconds(dense.total_bytes) / dense.repeat
    if in_memory >= seconds or dense_in_memory >= dense_seconds:
        return whole
    return (seconds - in_memory) / (dense_seconds - dense_in_memory)
