"""ZerosCurve: what zeros make of a block's time, between the widths and sparsities that were measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
    """Time over dense time at the measured sparsities, ascending, of each measured width, ascending.

    Layers are dense below `pays_from`.
    """

    ratios: tuple[tuple[int, tuple[tuple[float, float], ...]], ...] = ()
    pays_from: float = 0.0

    @property
    def points(self) -> tuple[tuple[float, float], ...]:
        """(sparsity, time over dense time) of the widest block; none where nothing was measured."""
        return self.ratios[-1][1] if self.ratios else ()

    @property
    def most(self) -> float:
        """The most zeros that were measured; 0 where none were."""
        return self.points[-1][0] if self.points else 0.0

    def seconds(self, width: int, sparsity: float, dense: Callable[[int], float]) -> float:
        """Time of a block with a share of zeros up to `most`, all in cache; `dense` is that of a dense one by width.

        Sparse kernels have no steps, only what they do for each weight and what they do besides: time is linear between
        the measured widths and between the sparsities. Where zeros only begin to pay, some of the dense steps are left.
        """
        if sparsity <= self.pays_from or not self.ratios:
            return dense(width)
        if (
            min(ratio for _, ratio in self.points) >= _SKIPPED_BELOW
        ):  # nothing is skipped: dense kernels and their steps
            return dense(width) * self._ratio(self.points, sparsity)
        first = min((s for s, _ in self.points if s > self.pays_from), default=sparsity)
        widths = [0, *(known for known, _ in self.ratios)]
        ratios = (self._ratio(points, max(first, sparsity)) for _, points in self.ratios)
        seconds = [dense(0), *(dense(known) * ratio for known, ratio in zip(widths[1:], ratios, strict=True))]
        sparse = float(np.interp(width, widths, np.maximum.accumulate(seconds)))
        share = min(1.0, (sparsity - self.pays_from) / (first - self.pays_from))
        return (1 - share) * dense(width) + share * sparse

    def _ratio(self, points: Iterable[tuple[float, float]], sparsity: float) -> float:
        s, ratio = zip((self.pays_from, 1.0), *(p for p in points if p[0] > self.pays_from), strict=True)
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
        dense = {entry.unit.width: entry for entry in mine if not entry.unit.sparsity and entry.unit_seconds}
        found: dict[int, list[tuple[float, float]]] = {}
        for entry in mine:
            if entry.unit.sparsity and entry.unit.width in dense:
                ratio = _ratio(entry, dense[entry.unit.width], clock, cache)
                found.setdefault(entry.unit.width, []).append((entry.unit.sparsity, ratio))
        return cls(tuple((width, tuple(sorted(points))) for width, points in sorted(found.items())), pays_from)


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
