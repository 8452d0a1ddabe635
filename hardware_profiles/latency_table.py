"""LatencyTable: what a profile knows for one hidden size, workload and precision."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import TrimfitError
from benchmarks.workload import Workload
from hardware_profiles.cache_model import CacheModel
from hardware_profiles.clock import Clock
from hardware_profiles.isotonic import isotonic
from hardware_profiles.layer_breaks import Breaks, layer_breaks
from hardware_profiles.layer_zeros import PART_SHARES, LayerZeros, Sparsity
from hardware_profiles.mixed_zeros import gained, is_sparse, mixed_seconds, part_breaks
from hardware_profiles.profile import Anchor, LatencyProfile, UnitTiming
from hardware_profiles.shape import HasShape
from hardware_profiles.unit import Kind, Pattern, block_weights, packed_share, weight_bytes, zeros_in_words
from hardware_profiles.zeros_curve import STREAMED, ZerosCurve, memory_seconds, packed_seconds

__all__ = ["Case", "LatencyTable", "in_cache", "spread", "tables_of"]

_WHAT = {"attention": "heads", "ffn": "neurons", "glue": "copies"}
_BLOCKS: tuple[Kind, ...] = ("attention", "ffn")
_LEAST_SPREAD = 1e-3  # of a graph's time: nothing is known more exactly


@dataclass(frozen=True)
class Case:
    """What a table is of."""

    hidden_size: int
    head_size: int
    workload: Workload
    precision: str

    def __str__(self) -> str:
        """E.g. "hidden size 384, batch 1, 64 tokens, 1 thread, int8"."""
        return f"hidden size {self.hidden_size}, {self.workload}, {self.precision}"

    @classmethod
    def of(cls, item: UnitTiming | Anchor) -> Case:
        """The case that a timing belongs to."""
        sizes = item.unit if isinstance(item, UnitTiming) else item.shape
        return cls(sizes.hidden_size, sizes.head_size, item.workload, item.precision)


@dataclass(frozen=True)
class LatencyTable:
    """Seconds of the glue and of blocks by width with their weights in cache; `cache` adds what memory costs.

    `curves`: by kind (widths [n] ascending, seconds [n] non-decreasing). `zeros`: by kind and pattern.
    """

    case: Case
    glue: float
    curves: dict[Kind, tuple[NDArray[np.int64], NDArray[np.float64]]]
    zeros: dict[tuple[Kind, Pattern], ZerosCurve]
    cache: CacheModel

    @classmethod
    def of(cls, case: Case, profile: LatencyProfile, clock: Clock) -> LatencyTable:
        """Build the table of a case. Raises TrimfitError when a kind of block was not measured."""
        entries = [entry for entry in profile.entries if Case.of(entry) == case]
        chains = [entry for entry in profile.ladder if Case.of(entry) == case]
        cache = _cache(chains, clock)
        patterns = sorted({entry.unit.pattern for entry in entries if entry.unit.sparsity})
        breaks = {kind: _breaks(case, kind, profile) for kind in _BLOCKS}
        return cls(
            case=case,
            glue=float(np.median([entry.glue_seconds * clock.factor(entry) for entry in entries])),
            curves={kind: _curve(case, kind, entries, clock, cache) for kind in _BLOCKS},
            zeros={
                (kind, pattern): ZerosCurve.of(kind, pattern, entries, clock, cache, breaks[kind])
                for kind in _BLOCKS
                for pattern in patterns
            },
            cache=cache,
        )

    def cached(self, kind: Kind, width: int) -> float:
        """Seconds of a block whose weights are in cache. Raises TrimfitError beyond the measured widths."""
        widths, seconds = self.curves[kind]
        if width > widths[-1]:
            raise TrimfitError(
                f"got {width} {_WHAT[kind]}, expected at most {widths[-1]} as measured for {self.case}:"
                " profile wider ones"
            )
        narrowest = int(widths[widths > 0][0]) if np.any(widths > 0) else 0
        return float(np.interp(max(width, narrowest) if width else 0, widths, seconds))

    def streamed(self, kind: Kind, width: int) -> float:
        """Seconds of a block in a model so large that its weights come from memory in every call."""
        return self.cached(kind, width) + self.cache.seconds_per_byte * self.bytes_of(kind, width)

    def bytes_of(self, kind: Kind, width: int) -> float:
        """Bytes of a block's weights."""
        weights = block_weights(kind, width, self.case.hidden_size, self.case.head_size)
        return weight_bytes(weights, self.case.precision)

    def total(self, shape: HasShape, pattern: Pattern = "unstructured", sparsity: Sparsity = 0.0) -> float:
        """Seconds of a whole model, before the correction learned from whole models."""
        if isinstance(sparsity, tuple):
            return self._mixed_total(shape, pattern, sparsity)
        blocks: list[tuple[Kind, int]] = []
        for layer in shape.layers:
            blocks += [("attention", layer.heads), ("ffn", layer.ffn)]
        parts = sum(self.with_zeros(kind, width, pattern, sparsity) for kind, width in blocks)
        total_bytes = sum(self.bytes_of(*block) for block in blocks)
        sparse_bytes = sum(self.bytes_of(*block) * self._sparse_share(block[0], pattern, sparsity) for block in blocks)
        return self.glue + parts + memory_seconds(self.cache, total_bytes - sparse_bytes, sparse_bytes, sparsity)

    def _mixed_total(self, shape: HasShape, pattern: Pattern, layers: tuple[LayerZeros, ...]) -> float:
        if len(layers) != len(shape.layers):
            raise TrimfitError(f"got zeros of {len(layers)} layers, expected {len(shape.layers)}: name every layer's")
        seconds, dense_bytes, packed_bytes = self.glue, 0.0, 0.0
        for layer, zeros in zip(shape.layers, layers, strict=True):
            blocks: tuple[tuple[Kind, int], ...] = (("attention", layer.heads), ("ffn", layer.ffn))
            for kind, width in blocks:
                shares = zeros.of(kind)
                curve = self._zeros_curve(kind, pattern, max(shares))
                seconds += mixed_seconds(curve, kind, width, shares, partial(self.cached, kind))
                for part, share in enumerate(shares):
                    part_bytes = PART_SHARES[kind][part] * self.bytes_of(kind, width)
                    if is_sparse(curve, part, share):
                        packed_bytes += part_bytes * packed_share(share)
                    else:
                        dense_bytes += part_bytes
        return seconds + packed_seconds(self.cache, dense_bytes, packed_bytes)

    def part_streamed(self, kind: Kind, part: int, width: int, pattern: Pattern, sparsity: float) -> float:
        """Seconds of one part of a block in a model so large that its weights come from memory in every call."""
        share = PART_SHARES[kind][part]
        curve = self._zeros_curve(kind, pattern, sparsity)
        if not is_sparse(curve, part, sparsity):
            return share * self.streamed(kind, width)
        packed = STREAMED * packed_share(sparsity) * share * self.bytes_of(kind, width)
        in_cache = share * self.cached(kind, width)
        off = gained(curve, kind, part, width, sparsity, partial(self.cached, kind))
        return max(0.0, in_cache - off) + self.cache.seconds_per_byte * packed

    def part_range(self, kind: Kind, part: int, pattern: Pattern) -> tuple[float, float]:
        """(fewest zeros with which a part of a block runs sparse, most that were measured)."""
        curve = self._zeros_curve(kind, pattern)
        least = part_breaks(curve)[part] or (curve.points[0][0] if curve.points else 0.0)
        return least, curve.most

    def _sparse_share(self, kind: Kind, pattern: Pattern, sparsity: float) -> float:
        curve = self.zeros.get((kind, pattern))
        return curve.sparse_share(sparsity) if curve and sparsity else 0.0

    def typical(self, streamed: float) -> float:
        """Seconds of one whose glue and `streamed` blocks add up to this, of the usual share of weights."""
        most = [(kind, int(widths[-1])) for kind, (widths, _) in self.curves.items()]
        bytes_per_second = sum(self.bytes_of(*block) for block in most) / sum(self.streamed(*block) for block in most)
        total_bytes = bytes_per_second * max(0.0, streamed - self.glue)
        in_memory = self.cache.seconds_per_byte * total_bytes
        return streamed - in_memory + self.cache.extra_seconds(total_bytes)

    def with_zeros(self, kind: Kind, width: int, pattern: Pattern, sparsity: float) -> float:
        """Seconds of a block with a share of zeros in cache. Raises TrimfitError beyond what was measured."""
        if not sparsity:
            return self.cached(kind, width)
        return self._zeros_curve(kind, pattern, sparsity).seconds(width, sparsity, partial(self.cached, kind))

    def _zeros_curve(self, kind: Kind, pattern: Pattern, sparsity: float = 0.0) -> ZerosCurve:
        curve = self.zeros.get((kind, pattern), ZerosCurve())
        if sparsity > curve.most + 1e-9:
            known = ", ".join(f"{known:.0%}" for known, _ in curve.points) or "none"
            raise TrimfitError(
                f"got {zeros_in_words(pattern, sparsity)} in {kind}, expected at most a measured sparsity ({known})"
                f" for {self.case}: profile it"
            )
        return curve

    def covers(self, shape: HasShape, pattern: Pattern, sparsity: Sparsity) -> bool:
        """Whether all of a model's widths and its sparsity were measured."""
        try:
            self.total(shape, pattern, sparsity)
        except TrimfitError:
            return False
        return True


def in_cache(entry: UnitTiming, clock: Clock, cache: CacheModel) -> float:
    """Seconds of one copy of a measured block with its weights in cache, on the profile's clock."""
    return max(0.0, entry.unit_seconds * clock.factor(entry) - cache.extra_seconds(entry.total_bytes) / entry.repeat)


def spread(entry: UnitTiming, clock: Clock) -> float:
    """Interquartile range in seconds of one copy of a measured block, on the profile's clock; never nothing."""
    return max(entry.iqr, _LEAST_SPREAD * entry.seconds) / entry.repeat * clock.factor(entry)


def tables_of(profile: LatencyProfile, clock: Clock) -> dict[Case, LatencyTable]:
    """One table for every case in a profile."""
    cases = dict.fromkeys(Case.of(entry) for entry in profile.entries)
    return {case: LatencyTable.of(case, profile, clock) for case in cases}


def _cache(chains: Iterable[UnitTiming], clock: Clock) -> CacheModel:
    chains = list(chains)
    total_bytes = np.array([chain.total_bytes for chain in chains])
    seconds = np.array([(chain.seconds - chain.glue_seconds) * clock.factor(chain) for chain in chains])
    return CacheModel.fit(total_bytes, seconds)


def _curve(
    case: Case, kind: Kind, entries: Iterable[UnitTiming], clock: Clock, cache: CacheModel
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    dense = [entry for entry in entries if entry.unit.kind == kind and not entry.unit.sparsity]
    if not dense:
        raise TrimfitError(f"got a profile without {kind} for {case}, expected some: profile it again")
    dense.sort(key=lambda entry: entry.unit.width)
    seconds = np.array([in_cache(entry, clock, cache) for entry in dense])
    # a block that was timed in a busy moment does not lift its steadier neighbours
    weights = np.array([spread(entry, clock) for entry in dense]) ** -2
    return np.array([entry.unit.width for entry in dense]), isotonic(seconds, weights)


def _breaks(case: Case, kind: Kind, profile: LatencyProfile) -> Breaks:
    """Of a case's widest block with zeros: dense ones may have been measured for a wider model."""
    mine = [e.unit for e in profile.entries if Case.of(e) == case and e.unit.kind == kind]
    widths = [unit.width for unit in mine if unit.sparsity] or [unit.width for unit in mine]
    features = max(widths, default=0) * (case.head_size if kind == "attention" else 1)
    return layer_breaks(profile, kind, features, case.hidden_size, case.workload, case.precision)
