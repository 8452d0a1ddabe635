"""Candidate: one way to meet the target, with what it is predicted to cost and to lose before any training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.workload import Workload
from hardware_profiles.latency_model import LatencyModel, Prediction
from hardware_profiles.layer_zeros import Sparsity, has_zeros
from hardware_profiles.predictor import Predictor
from hardware_profiles.unit import Kind, Pattern
from optimizer.architecture import Architecture, LayerShape
from optimizer.decision_record import CandidateRecord, RaceHeat
from optimizer.pruning.patterns import (
    Block,
    Dense,
    Depth,
    Given,
    Hidden,
    NOfM,
    Plan,
    Uniform,
    Unstructured,
    Width,
    Zeros,
    n_of_m_named,
)

__all__ = ["PATTERNS", "Candidate", "PredictionsAt", "PricesAt", "shape_of"]

PATTERNS: dict[str, Any] = {
    "dense": Dense,
    "width": Width,
    "uniform": Uniform,
    "depth": Depth,
    "hidden": Hidden,
    "unstructured": Unstructured,
    "block": Block,
    "given": Given,
}
"""By name; groups of zeros such as 2:4 are named as they are."""


@dataclass(frozen=True)
class PredictionsAt:
    """What a runtime is predicted to take at one workload and precision."""

    latency: Predictor
    architecture: Architecture
    workload: Workload
    precision: str

    def predict(self, architecture: Architecture, pattern: Pattern = "dense", sparsity: Sparsity = 0.0) -> Prediction:
        """The whole model, with this share of zeros, or each layer's own."""
        return self.latency.predict(architecture, self.workload, self.precision, pattern, sparsity)

    def sparsity_range(self, pattern: Pattern) -> tuple[float, float]:
        """(fewest, most) zeros with which times are known on the device."""
        hidden = self.architecture.hidden_size
        return self.latency.sparsity_range(self.workload, self.precision, pattern, hidden_size=hidden)

    def zeros_speedup(self, pattern: Pattern, sparsity: float) -> float:
        """Dense time over time with zeros of all layers together, as measured."""
        hidden = self.architecture.hidden_size
        return self.latency.zeros_speedup(self.workload, self.precision, sparsity, pattern, hidden_size=hidden)


@dataclass(frozen=True)
class PricesAt(PredictionsAt):
    """A runtime's latency model at one workload and precision, as patterns ask it.

    `in_fp32` is the share of attention's and of the FFNs' weights that stays in fp32 all the same: which layers they
    are in is not known of a model that nobody has trained yet, so that every layer has its part of them.
    """

    latency: LatencyModel
    in_fp32: Mapping[Kind, float] = field(default_factory=dict)

    def at(self, hidden_size: int) -> PricesAt:
        """The same of models with this many hidden dimensions, which the profile must know."""
        return replace(self, architecture=self.architecture.model_copy(update={"hidden_size": hidden_size}))

    def room_ms(self, target_ms: float) -> float:
        """What the layers may add up to in a model that is predicted to take `target_ms`; below 0 nothing fits."""
        hidden = self.architecture.hidden_size
        overhead = self.latency.overhead_ms(self.workload, self.precision, hidden_size=hidden)
        return self.latency.budget_ms(target_ms, self.workload, self.precision, hidden_size=hidden) - overhead

    def widths(self, kind: Kind) -> tuple[int, ...]:
        """Widths that were measured on the device."""
        return self.latency.widths(kind, self.workload, self.precision, hidden_size=self.architecture.hidden_size)

    def fastest_ms(self) -> float:
        """The fastest model that could be left: one layer with the cheapest single block."""
        blocks = [(w, 0) for w in self.widths("attention") if w] + [(0, w) for w in self.widths("ffn") if w]
        return min(self.predict(self._only(LayerShape(heads=heads, ffn=ffn))).ms for heads, ffn in blocks)

    def narrowest_ms(self) -> float:
        """All layers, each with its narrowest blocks."""
        heads, ffn = (min(width for width in self.widths(kind) if width) for kind in ("attention", "ffn"))
        layer = LayerShape(heads=heads, ffn=ffn)
        layers = (layer,) * self.architecture.depth
        return self.predict(self.architecture.model_copy(update={"layers": layers})).ms

    def one_layer_ms(self) -> float:
        """The shallowest model: one whole layer."""
        return min(self.predict(self._only(layer)).ms for layer in self.architecture.layers)

    def _only(self, layer: LayerShape) -> Architecture:
        return self.architecture.model_copy(update={"layers": (layer,)})

    def layer_ms(self, heads: int, ffn: int) -> float:
        """One layer with these widths; nothing where both are 0, since the layer is then removed."""
        if not heads and not ffn:
            return 0.0
        units: tuple[tuple[Kind, int], ...] = (("attention", heads), ("ffn", ffn))
        return sum(self._unit_ms(kind, width, self.precision) + self._float_ms(kind, width) for kind, width in units)

    def zeros_speedup(self, pattern: Pattern, sparsity: Sparsity) -> float:
        """Dense time over time with zeros of all layers together, as measured; of differing shares as predicted."""
        if not isinstance(sparsity, tuple):
            return super().zeros_speedup(pattern, sparsity)
        hidden = self.architecture.hidden_size
        glue = self.latency.overhead_ms(self.workload, self.precision, hidden_size=hidden)
        whole, fewer = (
            super(PricesAt, self).predict(self.architecture, pattern, each).ms - glue for each in (0.0, sparsity)
        )
        return whole / fewer

    def part_ms(self, kind: Kind, side: int, width: int, pattern: Pattern, sparsity: float) -> float:
        """One part of a block of this width with a share of zeros: what reads the hidden state, or what writes it."""
        hidden = self.architecture.hidden_size
        return self.latency.part_ms(
            kind, side, width, self.workload, self.precision, pattern, sparsity, hidden_size=hidden
        )

    def part_range(self, kind: Kind, side: int, pattern: Pattern) -> tuple[float, float]:
        """(fewest zeros with which such a part is faster than dense, most that were measured)."""
        hidden = self.architecture.hidden_size
        return self.latency.part_range(kind, side, self.workload, self.precision, pattern, hidden_size=hidden)

    def predict(self, architecture: Architecture, pattern: Pattern = "dense", sparsity: Sparsity = 0.0) -> Prediction:
        """The whole model, with this share of zeros, or each layer's own."""
        found = super().predict(architecture, pattern, sparsity)
        if not any(self.in_fp32.values()):
            return found
        here = self.at(architecture.hidden_size)
        speedup = here.zeros_speedup(pattern, sparsity) if has_zeros(sparsity) else 1.0
        more = sum(
            here._float_ms("attention", layer.heads, speedup) + here._float_ms("ffn", layer.ffn, speedup)
            for layer in architecture.layers
        )
        return Prediction(found.ms + more, found.low_ms + more, found.high_ms + more)

    def _unit_ms(self, kind: Kind, width: int, precision: str) -> float:
        hidden = self.architecture.hidden_size
        return self.latency.unit_ms(kind, width, self.workload, precision, hidden_size=hidden)

    def _float_ms(self, kind: Kind, width: int, speedup: float = 1.0) -> float:
        """What a block takes more for the share of it that stays in fp32; the rest is sped up by zeros."""
        share = self.in_fp32.get(kind, 0.0)
        if not share:
            return 0.0
        quantised = self._unit_ms(kind, width, self.precision) / speedup
        return share * max(0.0, self._unit_ms(kind, width, "fp32") - quantised)

    def least_sparsity(self, architecture: Architecture, pattern: Pattern, target_ms: float) -> float | None:
        """The fewest zeros, in whole per cent, with which the model is predicted to take at most `target_ms`.

        None where even the most measured zeros are too few.
        """
        fewest, most = self.sparsity_range(pattern)
        for percent in range(math.ceil(100 * fewest - 1e-9), round(100 * most) + 1):
            if self.predict(architecture, pattern, percent / 100).ms <= target_ms * (1 + 1e-9):
                return percent / 100
        return None


@dataclass(frozen=True)
class Candidate:
    """Pattern x precision x runtime at a shape. `refused` says why it is not raced; `plan` what layers keep."""

    name: str
    pattern: Any
    precision: str
    runtime: str
    plan: Plan | None
    architecture: Architecture
    predicted: Prediction
    estimated_loss: float
    refused: str | None = None
    race: tuple[RaceHeat, ...] = ()
    tried_ms: tuple[float, ...] = ()
    """What its shape took at each length of the workload, see `shape_trial`."""

    @property
    def cut(self) -> str:
        """Its pattern's name among `PATTERNS`, or e.g. "2:4"."""
        if isinstance(self.pattern, NOfM):
            return f"{self.pattern.n}:{self.pattern.m}"
        return next(name for name, kind in PATTERNS.items() if type(self.pattern) is kind)

    @property
    def pattern_name(self) -> str:
        """The word for it in files: dense, structured, unstructured, block or given."""
        if isinstance(self.pattern, Zeros):
            return self.pattern.word
        if self.is_given:
            return "given"
        return "structured" if self.changes_shape else "dense"

    @property
    def zeros(self) -> Pattern:
        """Which weights are zero: "dense" where none is."""
        return self.pattern.word if isinstance(self.pattern, Zeros) else "dense"

    @property
    def changes_shape(self) -> bool:
        """Whether rows, columns or layers go."""
        return isinstance(self.pattern, (Width, Depth))

    @property
    def is_given(self) -> bool:
        """Whether it is a checkpoint that the person gave."""
        return isinstance(self.pattern, Given)

    @property
    def is_trained(self) -> bool:
        """Whether it is anything else than the teacher at a precision."""
        return self.changes_shape or self.sparsity > 0 or self.is_given

    @property
    def survivors(self) -> tuple[int, ...]:
        """The teacher's layers that are left in it; all where no plan says otherwise."""
        if self.plan is None:
            return tuple(range(self.architecture.depth))
        return tuple(index for index, entry in enumerate(self.plan) if entry)

    @property
    def sparsity(self) -> float:
        """Share of zeros in the linear layers."""
        return self.pattern.sparsity if isinstance(self.pattern, Zeros) else 0.0

    @property
    def shares(self) -> Sparsity:
        """What latency depends on: the share of zeros of all layers, or each layer's own."""
        return self.pattern.shares if isinstance(self.pattern, Zeros) else 0.0

    def refuse(self, reason: str) -> Candidate:
        """The same candidate, out of the race for this reason."""
        return replace(self, refused=reason)

    def record(self, teacher_ms: float, *, chosen: bool) -> CandidateRecord:
        """The candidate as `decision.json` holds it."""
        return CandidateRecord(
            name=self.name,
            pattern=self.pattern_name,
            precision=self.precision,
            runtime=self.runtime,
            sparsity=self.sparsity,
            hidden_size=self.architecture.hidden_size,
            layers=self.architecture.layers,
            predicted_ms=self.predicted.ms,
            predicted_low_ms=self.predicted.low_ms,
            predicted_high_ms=self.predicted.high_ms,
            predicted_speedup=teacher_ms / self.predicted.ms,
            estimated_loss_increase=self.estimated_loss if math.isfinite(self.estimated_loss) else None,
            refused=self.refused,
            race=self.race,
            chosen=chosen,
            cut=self.cut,
            importance=self.pattern.importance if isinstance(self.pattern, Width) else None,
            zeros_by=self.pattern.by if isinstance(self.pattern, Zeros) else None,
            layer_zeros=self.pattern.layers if isinstance(self.pattern, Zeros) else (),
            tried_ms=self.tried_ms,
        )

    @classmethod
    def from_record(cls, record: CandidateRecord, whole: Architecture) -> Candidate:
        """The candidate of a record; its plan is not kept, since compression measures anew what to cut.

        `whole` is what it is cut from: the teacher, or the student that was given.
        """
        hidden_size = record.hidden_size or whole.hidden_size
        return cls(
            name=record.name,
            pattern=_pattern_of(record, hidden_size),
            precision=record.precision,
            runtime=record.runtime,
            plan=None,
            architecture=whole.model_copy(update={"layers": record.layers, "hidden_size": hidden_size}),
            predicted=Prediction(record.predicted_ms, record.predicted_low_ms, record.predicted_high_ms),
            estimated_loss=math.inf if record.estimated_loss_increase is None else record.estimated_loss_increase,
            refused=record.refused,
            race=record.race,
            tried_ms=record.tried_ms,
        )


def _pattern_of(record: CandidateRecord, hidden_size: int) -> Any:
    settings: dict[str, Any] = {}
    if record.zeros_by is not None:
        settings["by"] = record.zeros_by
    if record.importance is not None:
        settings["importance"] = record.importance
    if groups := n_of_m_named(record.cut):
        return NOfM(n=groups[0], m=groups[1], **settings)
    kind = PATTERNS[record.cut]
    if issubclass(kind, Hidden):
        settings["size"] = hidden_size
    if issubclass(kind, Zeros):
        settings |= {"sparsity": record.sparsity, "layers": record.layer_zeros}
    return kind(**settings)


def shape_of(architecture: Architecture, plan: Plan) -> Architecture:
    """The shape that a model of `architecture` has after `plan`."""
    layers = tuple(LayerShape(heads=len(entry.heads), ffn=len(entry.ffn)) for entry in plan if entry)
    return architecture.model_copy(update={"layers": layers})
