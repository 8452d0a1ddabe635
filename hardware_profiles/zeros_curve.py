"""ZerosCurve: what zeros make of a block's time, between the widths and sparsities that were measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from hardware_profiles.cache_model import CacheModel
from hardware_profiles.clock import Clock
from hardware_profiles.layer_breaks import Breaks
from hardware_profiles.profile import UnitTiming
from hardware_profiles.unit import Kind, Pattern, packed_share

__all__ = ["STREAMED", "ZerosCurve", "memory_seconds", "packed_seconds"]

_SKIPPED_BELOW = 0.95  # of the dense time: then the zeros are skipped, and not stored either
_NEAR = 0.05  # to a break: a line through both would tell of the step alone
STREAMED = 0.5  # of what a byte of dense weights from memory costs: sparse operators read theirs in one stream


Ratios = tuple[tuple[int, tuple[tuple[float, float], ...]], ...]
"""By width: (sparsity, time over dense time), all ascending."""


@dataclass(frozen=True)
class ZerosCurve:
    """Time over dense time at the measured sparsities, ascending, of each measured width, ascending.

    `breaks` are the block's layers, (share of its weights, sparsity below which the layer is dense); none: 0 for all.
    """

    ratios: Ratios = ()
    breaks: Breaks = ()

    @property
    def points(self) -> tuple[tuple[float, float], ...]:
        """(sparsity, time over dense time) of the widest block; none where nothing was measured."""
        return self.ratios[-1][1] if self.ratios else ()

    @property
    def most(self) -> float:
        """The most zeros that were measured; 0 where none were."""
        return self.points[-1][0] if self.points else 0.0

    @property
    def pays_from(self) -> float:
        """The sparsity below which all of its layers are dense."""
        return min((sparsity for _, sparsity in self.breaks), default=0.0)

    def seconds(self, width: int, sparsity: float, dense: Callable[[int], float]) -> float:
        """Time of a block with a share of zeros up to `most`, all in cache; `dense` is that of a dense one by width.

        Sparse kernels have no steps, only what they do for each weight and what they do besides: time is linear between
        the measured widths. As many of the dense steps are left as there are weights in dense layers.
        """
        if not self.ratios:
            return dense(width)
        share = self.sparse_share(sparsity)
        if not share:  # stock kernels and their steps
            return dense(width) * self._ratio(self.points, sparsity)
        widths = [0, *(known for known, _ in self.ratios)]
        gained = [0.0, *(dense(known) * (1 - self._ratio(points, sparsity)) for known, points in self.ratios)]
        sparse = [dense(known) - gain for known, gain in zip(widths, gained, strict=True)]
        even = float(np.interp(width, widths, np.maximum.accumulate(sparse)))
        stepped = dense(width) - float(np.interp(width, widths, gained))
        return share * even + (1 - share) * stepped

    def sparse_share(self, sparsity: float) -> float:
        """The share of the weights that is in layers which are sparse there."""
        if self.breaks:
            return sum(share for share, least in self.breaks if sparsity >= least)
        return float(min((ratio for _, ratio in self.points), default=1.0) < _SKIPPED_BELOW)

    def _ratio(self, points: Sequence[tuple[float, float]], sparsity: float) -> float:
        """Time over dense time: 1 where all layers are dense, linear between points at which the same layers are.

        Where a layer becomes sparse time makes no step that was not measured, and then falls as steeply as the others.
        """
        if not self.breaks:
            return _linear(sparsity, [(0.0, 1.0), *points])
        share = self.sparse_share(sparsity)
        if not share:
            return 1.0
        start = max(least for _, least in self.breaks if least <= sparsity)
        alike = [(s, r) for s, r in points if self.sparse_share(s) == share]
        if len(alike) > 1:
            return _linear(sparsity, alike)
        before = self._ratio(points, math.nextafter(start, 0.0))
        slope = share * self._slope(points)
        if not alike:
            return before - slope * (sparsity - start)
        ((at, ratio),) = alike
        if at - start < _NEAR or sparsity >= at or ratio > before:
            return ratio - slope * (sparsity - at)
        return _linear(sparsity, [(start, before), (at, ratio)])

    def _slope(self, points: Sequence[tuple[float, float]]) -> float:
        """How fast time falls with the zeros of sparse layers, where most are sparse."""
        (s, ratio), (more, less) = points[-2:] if len(points) > 1 else ((self.pays_from, 1.0), points[-1])
        return (ratio - less) / (more - s) / (self.sparse_share(more) or 1.0)

    @classmethod
    def of(
        cls,
        kind: Kind,
        pattern: Pattern,
        entries: Iterable[UnitTiming],
        clock: Clock,
        cache: CacheModel,
        breaks: Breaks,
    ) -> ZerosCurve:
        """The curve of a kind of block, each timing compared with the dense one of its width, both in cache."""
        mine = [entry for entry in entries if entry.unit.kind == kind and entry.unit.pattern in ("dense", pattern)]
        dense = {entry.unit.width: entry for entry in mine if not entry.unit.sparsity and entry.unit_seconds}

        def points(corrected: Callable[[UnitTiming, UnitTiming], float]) -> Ratios:
            found: dict[int, list[tuple[float, float]]] = {}
            for entry in mine:
                if entry.unit.sparsity and (like := dense.get(entry.unit.width)):
                    found.setdefault(entry.unit.width, []).append((entry.unit.sparsity, corrected(entry, like)))
            return tuple((width, tuple(sorted(ratios))) for width, ratios in sorted(found.items()))

        rough = cls(points(lambda sparse, like: _seconds(sparse, clock) / _seconds(like, clock)), breaks)
        return cls(points(partial(rough._in_cache, clock, cache)), breaks)

    def _in_cache(self, clock: Clock, cache: CacheModel, sparse: UnitTiming, dense: UnitTiming) -> float:
        """Time over dense time of one copy with its weights in cache, by what this rough curve tells of its layers."""
        seconds, dense_seconds = _seconds(sparse, clock), _seconds(dense, clock)
        share = self.sparse_share(sparse.unit.sparsity)
        parts = (1 - share) * sparse.total_bytes, share * sparse.total_bytes
        in_memory = memory_seconds(cache, *parts, sparse.unit.sparsity) / sparse.repeat
        dense_in_memory = cache.extra_seconds(dense.total_bytes) / dense.repeat
        if in_memory >= seconds or dense_in_memory >= dense_seconds:
            return seconds / dense_seconds
        return (seconds - in_memory) / (dense_seconds - dense_in_memory)


def memory_seconds(cache: CacheModel, dense_bytes: float, sparse_bytes: float, sparsity: float) -> float:
    """What a model takes more than the sum of its blocks in cache.

    `dense_bytes` are in layers that are dense, `sparse_bytes` is what the layers that are sparse would hold without
    zeros: they hold less, and read it in one stream.
    """
    return packed_seconds(cache, dense_bytes, sparse_bytes * packed_share(sparsity))


def packed_seconds(cache: CacheModel, dense_bytes: float, packed: float) -> float:
    """The same of layers that are sparse and hold `packed` bytes."""
    total = dense_bytes + packed
    return cache.extra_seconds(total) * (dense_bytes + STREAMED * packed) / total if total else 0.0


def _linear(x: float, points: Sequence[tuple[float, float]]) -> float:
    """Between the two points (ascending) around x, or through the two nearest of them."""
    places = [at for at, _ in points]
    right = min(max(1, int(np.searchsorted(places, x))), len(points) - 1)
    (x0, y0), (x1, y1) = points[right - 1], points[right]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def _seconds(timing: UnitTiming, clock: Clock) -> float:
    return timing.unit_seconds * clock.factor(timing)
