"""LatencyModel: predicts what a model nobody has built yet will take, from a LatencyProfile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from benchmarks.errors import TrimfitError
from benchmarks.workload import Workload
from hardware_profiles.clock import Clock
from hardware_profiles.correction import Correction, Observations
from hardware_profiles.latency_table import Case, LatencyTable, tables_of
from hardware_profiles.layer_zeros import Sparsity, has_zeros
from hardware_profiles.prediction import Prediction
from hardware_profiles.profile import Anchor, LatencyProfile
from hardware_profiles.shape import HasShape
from hardware_profiles.unit import Kind, Pattern

__all__ = ["LatencyModel", "Prediction"]

_NORMAL_95 = 1.96
_BISECTIONS = 60
_MOST_OVER = 4.0  # a sum of large-model blocks is at most this many times what they take in a small one


class LatencyModel:
    """Additive over glue and blocks, monotone in every width, corrected by the profile's whole models.

    A model of more weights than the caches hold reads them from memory in every call: its blocks cost more
    than in a small one (`CacheModel`). `unit_ms` is what they cost in a large one, so that it can be added
    up; `budget_ms` knows what such a sum means in a model of that size, and `predict` knows the model.

    Of a workload of several lengths everything in milliseconds is the sum over the lengths of share x what it is there.
    """

    def __init__(self) -> None:
        self._tables: dict[Case, LatencyTable] = {}
        self._corrections: dict[Case, Correction] = {}
        self._fitted = False

    def fit(self, profile: LatencyProfile) -> LatencyModel:
        """Learn from a profile, forgetting what was learned before. Raises TrimfitError for an empty one."""
        if not profile.entries:
            raise TrimfitError("got a profile without measurements, expected some: run `trimfit profile`")
        clock = Clock(profile)
        self._tables = tables_of(profile, clock)
        self._corrections = {
            case: Correction(table.glue, _observations(table, profile.anchors, clock))
            for case, table in self._tables.items()
        }
        self._fitted = True
        return self

    def predict(
        self,
        shape: HasShape,
        workload: Workload,
        precision: str = "fp32",
        pattern: Pattern = "dense",
        sparsity: Sparsity = 0.0,
    ) -> Prediction:
        """Milliseconds of a whole model; a width of 0 is a removed block. Each layer may have zeros of its own.

        Of several lengths the interval's ends are summed too, as if all predictions erred alike: that is the widest it
        can be. Raises TrimfitError, naming what was measured, for anything outside the profile.
        """
        tables = self._tables_at(workload, precision, shape.hidden_size, shape.head_size)
        parts = [(self._prediction(table, shape, pattern, sparsity), share) for table, share in tables]
        return Prediction(
            ms=sum(share * part.ms for part, share in parts),
            low_ms=sum(share * part.low_ms for part, share in parts),
            high_ms=sum(share * part.high_ms for part, share in parts),
        )

    def _prediction(self, table: LatencyTable, shape: HasShape, pattern: Pattern, sparsity: Sparsity) -> Prediction:
        total = table.total(shape, pattern, sparsity)
        e, deviation = self._corrections[table.case].relative(total, zeros=has_zeros(sparsity))
        low, high = (max(0.0, 1 + e + z * deviation) for z in (-_NORMAL_95, _NORMAL_95))
        return Prediction(1e3 * total * (1 + e), 1e3 * total * low, 1e3 * total * high)

    def unit_ms(
        self,
        kind: Kind,
        width: int,
        workload: Workload,
        precision: str = "fp32",
        *,
        hidden_size: int | None = None,
    ) -> float:
        """Milliseconds of one block of a large model, before the correction learned from whole models."""
        tables = self._tables_at(workload, precision, hidden_size)
        return 1e3 * sum(share * table.streamed(kind, width) for table, share in tables)

    def overhead_ms(self, workload: Workload, precision: str = "fp32", *, hidden_size: int | None = None) -> float:
        """Milliseconds of the glue: embeddings, mask, pooler, classifier and the call."""
        return 1e3 * sum(share * table.glue for table, share in self._tables_at(workload, precision, hidden_size))

    def budget_ms(
        self, target_ms: float, workload: Workload, precision: str = "fp32", *, hidden_size: int | None = None
    ) -> float:
        """The largest `overhead_ms` + sum of `unit_ms` of a model that is predicted to take `target_ms`.

        For a model with an average share of attention; `predict` tells how far off an uneven one is. Of several lengths
        each has the part of the sum that it has in a whole model.
        """
        tables = self._tables_at(workload, precision, hidden_size)
        glue = sum(share * table.glue for table, share in tables)
        layers = [sum(table.streamed(*block) for block in _widest(tables)) for table, _ in tables]
        layer = sum(share * seconds for (_, share), seconds in zip(tables, layers, strict=True))
        low, high = 0.0, _MOST_OVER * 1e-3 * target_ms
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            total = sum(
                share * self._typical(table, table.glue + (middle - glue) * seconds / layer)
                for (table, share), seconds in zip(tables, layers, strict=True)
            )
            low, high = (middle, high) if total <= 1e-3 * target_ms else (low, middle)
        return 1e3 * low

    def _typical(self, table: LatencyTable, streamed: float) -> float:
        """Predicted seconds of a model whose glue and streamed blocks add up to this."""
        seconds = table.typical(streamed)
        return seconds * (1 + self._corrections[table.case].relative(seconds)[0])

    def widths(
        self, kind: Kind, workload: Workload, precision: str = "fp32", *, hidden_size: int | None = None
    ) -> tuple[int, ...]:
        """Measured widths in increasing order, 0 among them if it was measured.

        Of several lengths: those measured at any of them that have a price at all.
        """
        tables = self._tables_at(workload, precision, hidden_size)
        most = dict(_widest(tables))[kind]
        return tuple(sorted({int(width) for table, _ in tables for width in table.curves[kind][0] if width <= most}))

    def zeros_speedup(
        self,
        workload: Workload,
        precision: str,
        sparsity: float,
        pattern: Pattern = "unstructured",
        *,
        hidden_size: int | None = None,
    ) -> float:
        """Dense time over time with zeros, attention and FFN together, as measured."""
        tables = self._tables_at(workload, precision, hidden_size)
        dense = sparse = 0.0
        for table, share in tables:
            for kind, width in _widest(tables):
                dense += share * table.cached(kind, width)
                sparse += share * table.with_zeros(kind, width, pattern, sparsity)
        return dense / sparse

    def sparsity_range(
        self, workload: Workload, precision: str, pattern: Pattern, *, hidden_size: int | None = None
    ) -> tuple[float, float]:
        """(fewest, most) zeros with which times are known: from where layers break even, or else the least measured.

        Of several lengths: known, and paying, at all of them. Raises TrimfitError when none were measured.
        """
        ranges = [_sparsity_range(table, pattern) for table, _ in self._tables_at(workload, precision, hidden_size)]
        most = min(most for _, most in ranges)
        return min(max(fewest for fewest, _ in ranges), most), most

    def part_ms(
        self,
        kind: Kind,
        part: int,
        width: int,
        workload: Workload,
        precision: str,
        pattern: Pattern,
        sparsity: float,
        *,
        hidden_size: int | None = None,
    ) -> float:
        """Milliseconds of one part of a block of a large model, as `unit_ms`, with this share of zeros in it.

        Part 0 reads the hidden state (query, key and value; up), part 1 writes it (the output projection; down).
        """
        tables = self._tables_at(workload, precision, hidden_size)
        return 1e3 * sum(share * table.part_streamed(kind, part, width, pattern, sparsity) for table, share in tables)

    def part_range(
        self,
        kind: Kind,
        part: int,
        workload: Workload,
        precision: str,
        pattern: Pattern,
        *,
        hidden_size: int | None = None,
    ) -> tuple[float, float]:
        """(fewest zeros with which a part of a block is sparse at all lengths, most that were measured at all)."""
        ranges = [
            table.part_range(kind, part, pattern) for table, _ in self._tables_at(workload, precision, hidden_size)
        ]
        return max(least for least, _ in ranges), min(most for _, most in ranges)

    def cache_facts(
        self, workload: Workload, precision: str = "fp32", *, hidden_size: int | None = None
    ) -> tuple[float, float]:
        """(MB of weights of which half no longer stay in cache, ms that reading one MB from memory costs)."""
        cache = self._table(workload, precision, hidden_size).cache
        return cache.capacity / 1e6, cache.seconds_per_byte * 1e9

    def _tables_at(
        self, workload: Workload, precision: str, hidden_size: int | None = None, head_size: int | None = None
    ) -> list[tuple[LatencyTable, float]]:
        """The table of each length of the workload, with its share."""
        return [(self._table(point, precision, hidden_size, head_size), share) for point, share in workload.points()]

    def _table(
        self, workload: Workload, precision: str, hidden_size: int | None = None, head_size: int | None = None
    ) -> LatencyTable:
        if not self._fitted:
            raise TrimfitError("got a LatencyModel without data, expected a fitted one: call fit(profile) first")
        found = [
            table
            for key, table in self._tables.items()
            if key.workload == workload
            and key.precision == precision
            and hidden_size in (None, key.hidden_size)
            and head_size in (None, key.head_size)
        ]
        if len(found) == 1:
            return found[0]
        asked = ", ".join([f"hidden size {hidden_size or 'unnamed'}", str(workload), precision])
        measured = "; ".join(str(key) for key in self._tables)
        raise TrimfitError(f"got {asked}, expected one of the measured: {measured}; run `trimfit profile` for it")


def _widest(tables: Sequence[tuple[LatencyTable, float]]) -> list[tuple[Kind, int]]:
    """The widest block of each kind that all the tables know."""
    kinds = tables[0][0].curves
    return [(kind, min(int(table.curves[kind][0][-1]) for table, _ in tables)) for kind in kinds]


def _sparsity_range(table: LatencyTable, pattern: Pattern) -> tuple[float, float]:
    curves = [curve for (_, word), curve in table.zeros.items() if word == pattern and curve.points]
    if not curves:
        raise TrimfitError(f"got {pattern} zeros, expected some that were measured for {table.case}: profile them")
    fewest = min(curve.pays_from or curve.points[0][0] for curve in curves)
    most = min(curve.most for curve in curves)
    return min(fewest, most), most


def _observations(table: LatencyTable, anchors: Iterable[Anchor], clock: Clock) -> Observations:
    """The whole models of this table's case whose widths were all measured."""
    mine = [a for a in anchors if Case.of(a) == table.case and table.covers(a.shape, a.pattern, a.zeros)]
    return Observations(
        total=np.array([table.total(anchor.shape, anchor.pattern, anchor.zeros) for anchor in mine]),
        measured=np.array([anchor.seconds * clock.factor(anchor) for anchor in mine]),
        exported=np.array([float(anchor.source == "model") for anchor in mine]),
        zeros=np.array([float(anchor.sparsity > 0) for anchor in mine]),
    )
