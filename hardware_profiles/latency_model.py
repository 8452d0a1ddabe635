"""LatencyModel: predicts what a model nobody has built yet will take, from a LatencyProfile."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from benchmarks.errors import TrimfitError
from benchmarks.workload import Workload
from hardware_profiles.correction import Correction, Observations
from hardware_profiles.isotonic import isotonic
from hardware_profiles.profile import Anchor, LatencyProfile, UnitTiming
from hardware_profiles.shape import HasShape
from hardware_profiles.unit import Kind, Pattern

__all__ = ["LatencyModel", "Prediction"]

_NORMAL_95 = 1.96
_BISECTIONS = 60


@dataclass(frozen=True)
class Prediction:
    """Predicted milliseconds of one call with a 95% interval."""

    ms: float
    low_ms: float
    high_ms: float

    def __str__(self) -> str:
        """E.g. "4.12 ms (3.9 to 4.3)"."""
        return f"{self.ms:.2f} ms ({self.low_ms:.2f} to {self.high_ms:.2f}, 95%)"


@dataclass(frozen=True)
class _Key:
    hidden_size: int
    head_size: int
    workload: Workload
    precision: str

    def __str__(self) -> str:
        return f"hidden size {self.hidden_size}, {self.workload}, {self.precision}"


@dataclass
class _Table:
    """What was measured for one key, in seconds, on the profile's common clock."""

    key: _Key
    glue: float
    curves: dict[Kind, tuple[np.ndarray, np.ndarray]]
    zeros: dict[Kind, list[tuple[float, float]]]
    correction: Correction = field(init=False)

    def unit(self, kind: Kind, width: int) -> float:
        widths, seconds = self.curves[kind]
        if width > widths[-1]:
            what = "heads" if kind == "attention" else "neurons"
            raise TrimfitError(
                f"got {width} {what}, expected at most {widths[-1]} as measured for {self.key}:"
                " profile wider ones"
            )
        smallest = widths[widths > 0][0] if np.any(widths > 0) else 0
        return float(np.interp(max(width, smallest) if width else 0, widths, seconds))

    def zeros_ratio(self, kind: Kind, sparsity: float) -> float:
        """Time at this sparsity over dense time, linear between what was measured."""
        if not sparsity:
            return 1.0
        points = self.zeros.get(kind) or []
        if not points or sparsity > points[-1][0] + 1e-9:
            known = ", ".join(f"{s:.0%}" for s, _ in points) or "none"
            raise TrimfitError(
                f"got {sparsity:.0%} zeros in {kind}, expected a measured sparsity ({known}) for {self.key}:"
                " profile it"
            )
        s, ratio = zip((0.0, 1.0), *points, strict=True)
        return float(np.interp(sparsity, s, ratio))

    def total(self, shape: HasShape, sparsity: float) -> float:
        sums = {
            "attention": sum(self.unit("attention", layer.heads) for layer in shape.layers),
            "ffn": sum(self.unit("ffn", layer.ffn) for layer in shape.layers),
        }
        parts = sum(sums[kind] * self.zeros_ratio(kind, sparsity) for kind in ("attention", "ffn"))
        return self.glue + parts


class LatencyModel:
    """Additive over glue and units, monotone in every width, corrected by the profile's whole models."""

    def __init__(self) -> None:
        self._tables: dict[_Key, _Table] = {}
        self._fitted = False

    def fit(self, profile: LatencyProfile) -> LatencyModel:
        """Learn from a profile, forgetting what was learned before. Raises TrimfitError for an empty one."""
        if not profile.entries:
            raise TrimfitError("got a profile without measurements, expected some: run `trimfit profile`")
        clock = _Clock(profile)
        groups: dict[_Key, list[UnitTiming]] = {}
        for entry in profile.entries:
            groups.setdefault(_key(entry), []).append(entry)
        self._tables = {key: _table(key, entries, clock) for key, entries in groups.items()}
        for table in self._tables.values():
            table.correction = Correction(table.glue, _observations(table, profile.anchors, clock))
        self._fitted = True
        return self

    def predict(
        self,
        shape: HasShape,
        workload: Workload,
        precision: str = "fp32",
        pattern: Pattern = "dense",
        sparsity: float = 0.0,
    ) -> Prediction:
        """Milliseconds of a whole model; a width of 0 is a removed block.

        Raises TrimfitError, naming what was measured, for anything outside the profile.
        """
        table = self._table(workload, precision, shape.hidden_size, shape.head_size)
        total = table.total(shape, sparsity if pattern == "unstructured" else 0.0)
        e, deviation = table.correction.relative(total)
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
        """Milliseconds of one block as measured in a micro-graph, before the correction of whole models."""
        return 1e3 * self._table(workload, precision, hidden_size).unit(kind, width)

    def overhead_ms(
        self, workload: Workload, precision: str = "fp32", *, hidden_size: int | None = None
    ) -> float:
        """Milliseconds of the glue: embeddings, mask, pooler, classifier and the call."""
        return 1e3 * self._table(workload, precision, hidden_size).glue

    def budget_ms(
        self, target_ms: float, workload: Workload, precision: str = "fp32", *, hidden_size: int | None = None
    ) -> float:
        """The largest `overhead_ms` + sum of `unit_ms` whose prediction is at most `target_ms`."""
        table = self._table(workload, precision, hidden_size)
        low, high = 0.0, 4e-3 * target_ms
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            fits = middle * (1 + table.correction.relative(middle)[0]) <= 1e-3 * target_ms
            low, high = (middle, high) if fits else (low, middle)
        return 1e3 * low

    def widths(
        self, kind: Kind, workload: Workload, precision: str = "fp32", *, hidden_size: int | None = None
    ) -> tuple[int, ...]:
        """Measured widths in increasing order, 0 among them if it was measured."""
        return tuple(int(width) for width in self._table(workload, precision, hidden_size).curves[kind][0])

    def zeros_speedup(
        self, workload: Workload, precision: str, sparsity: float, *, hidden_size: int | None = None
    ) -> float:
        """Dense time over time with unstructured zeros, attention and FFN together, as measured."""
        table = self._table(workload, precision, hidden_size)
        dense = {kind: float(seconds[-1]) for kind, (_, seconds) in table.curves.items()}
        sparse = sum(seconds * table.zeros_ratio(kind, sparsity) for kind, seconds in dense.items())
        return sum(dense.values()) / sparse

    def _table(
        self, workload: Workload, precision: str, hidden_size: int | None = None, head_size: int | None = None
    ) -> _Table:
        if not self._fitted:
            raise TrimfitError(
                "got a LatencyModel without data, expected a fitted one: call fit(profile) first"
            )
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
        raise TrimfitError(
            f"got {asked}, expected one of the measured: {measured}; run `trimfit profile` for it"
        )


class _Clock:
    """Puts timings of different minutes on one scale by the reference encoder that was timed with each."""

    def __init__(self, profile: LatencyProfile):
        seen: dict[tuple[object, ...], set[float]] = {}
        timed: list[UnitTiming | Anchor] = [*profile.entries, *profile.anchors]
        for item in timed:
            if item.reference_seconds:
                seen.setdefault(self._group(item), set()).add(item.reference_seconds)
        self._typical = {group: float(np.median(list(seconds))) for group, seconds in seen.items()}

    def factor(self, item: UnitTiming | Anchor) -> float:
        """What to multiply a timing by; 1 for one without a reference."""
        return self._typical[self._group(item)] / item.reference_seconds if item.reference_seconds else 1.0

    @staticmethod
    def _group(item: UnitTiming | Anchor) -> tuple[object, ...]:
        size = item.unit.hidden_size if isinstance(item, UnitTiming) else item.shape.hidden_size
        return item.workload, item.precision, size


def _key(entry: UnitTiming) -> _Key:
    return _Key(entry.unit.hidden_size, entry.unit.head_size, entry.workload, entry.precision)


def _table(key: _Key, entries: list[UnitTiming], clock: _Clock) -> _Table:
    curves: dict[Kind, tuple[np.ndarray, np.ndarray]] = {}
    glue = [entry.glue_seconds * clock.factor(entry) for entry in entries if entry.glue_seconds]
    kinds: tuple[Kind, ...] = ("attention", "ffn")
    for kind in kinds:
        dense = [entry for entry in entries if entry.unit.kind == kind and not entry.unit.sparsity]
        if not dense or not glue:
            raise TrimfitError(
                f"got a profile without {kind if glue else 'glue'} for {key}: profile it again"
            )
        dense.sort(key=lambda entry: entry.unit.width)
        seconds = isotonic(np.array([entry.unit_seconds * clock.factor(entry) for entry in dense]))
        curves[kind] = np.array([entry.unit.width for entry in dense]), seconds
    return _Table(key, float(np.median(glue)), curves, {kind: _zeros(kind, entries, clock) for kind in kinds})


def _zeros(kind: Kind, entries: list[UnitTiming], clock: _Clock) -> list[tuple[float, float]]:
    """(sparsity, time over dense time) by increasing sparsity."""
    mine = [entry for entry in entries if entry.unit.kind == kind]
    dense = {
        entry.unit.width: entry.unit_seconds * clock.factor(entry)
        for entry in mine
        if not entry.unit.sparsity
    }
    points = [
        (entry.unit.sparsity, entry.unit_seconds * clock.factor(entry) / dense[entry.unit.width])
        for entry in mine
        if entry.unit.sparsity and dense.get(entry.unit.width)
    ]
    return sorted(points)


def _observations(table: _Table, anchors: tuple[Anchor, ...], clock: _Clock) -> Observations:
    """The whole models of this table's key whose widths were all measured."""
    key = table.key
    mine = [
        anchor
        for anchor in anchors
        if _Key(anchor.shape.hidden_size, anchor.shape.head_size, anchor.workload, anchor.precision) == key
        and _within(table, anchor)
    ]
    return Observations(
        total=np.array([table.total(anchor.shape, anchor.sparsity) for anchor in mine]),
        measured=np.array([anchor.seconds * clock.factor(anchor) for anchor in mine]),
        exported=np.array([float(anchor.source == "model") for anchor in mine]),
    )


def _within(table: _Table, anchor: Anchor) -> bool:
    try:
        table.total(anchor.shape, anchor.sparsity)
    except TrimfitError:
        return False
    return True
