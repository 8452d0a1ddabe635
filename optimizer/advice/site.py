"""Site: a model's shape at a workload on a device, and what each way to make it faster is predicted to bring there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from benchmarks.workload import Workload
from hardware_profiles.catalog import UnverifiedZeros
from hardware_profiles.prediction import Prediction
from hardware_profiles.unit import Pattern, block_weights
from optimizer.advice.published_engine import PublishedEngine
from optimizer.advice.record import MEASURED, Forecast, Ratio, Way
from optimizer.architecture import Architecture, LayerShape
from optimizer.candidates import PredictionsAt
from optimizer.engine import Engine

__all__ = ["Site"]


@dataclass(frozen=True)
class Site:
    """`engines` has the stock runtime first; `no_zeros` says why there is none beside it that skips zeros.

    `unverified` are zeros that may pay there in engines nobody timed there; `notes` is what to know before believing.
    """

    architecture: Architecture
    workload: Workload
    engines: tuple[Engine | PublishedEngine, ...]
    no_zeros: str | None = None
    unverified: tuple[UnverifiedZeros, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def measured(self) -> bool:
        """Whether its numbers come from measurements of trimfit's."""
        return self.stock.profile.device.provenance in MEASURED

    @property
    def stock(self) -> Engine | PublishedEngine:
        """What runs everything without zeros."""
        return self.engines[0]

    @property
    def sparse(self) -> Engine | PublishedEngine | None:
        """What skips zeros, where there is such a runtime."""
        return next((engine for engine in self.engines if engine.skips_zeros), None)

    def skips_zeros(self, precision: str) -> bool:
        """Whether there is a runtime that skips zeros at a precision."""
        return self.sparse is not None and precision in self.sparse.precisions

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions at which the stock runtime was profiled, fp32 first."""
        return self.stock.precisions

    def engine(self, name: str) -> Engine | PublishedEngine:
        """The engine of a runtime's name."""
        return next(engine for engine in self.engines if engine.name == name)

    def predictions(self, precision: str, engine: Engine | PublishedEngine | None = None) -> PredictionsAt:
        """What models take at a precision; with the stock runtime unless another is given."""
        return PredictionsAt((engine or self.stock).latency, self.architecture, self.workload, precision)

    # -- ways -----------------------------------------------------------------------------------------------

    def dense(self, precision: str, layers: Sequence[LayerShape] | None = None, cut: str = "") -> Way:
        """A way without zeros: all layers, or these, which `cut` describes."""
        kept = self.architecture.layers if layers is None else tuple(layers)
        return Way(layers=kept, cut=cut, precision=precision, runtime=self.stock.name)

    def with_zeros(self, way: Way, sparsity: float) -> Way:
        """The same way with this share of zeros, run by what skips them."""
        assert self.sparse is not None
        pattern = self.skipped(way.precision)
        return way.model_copy(update={"pattern": pattern, "sparsity": sparsity, "runtime": self.sparse.name})

    def skipped(self, precision: str) -> Pattern:
        """Which zeros are made use of at a precision."""
        return (self.sparse and self.sparse.skipped(precision)) or "unstructured"

    # -- what they bring ------------------------------------------------------------------------------------

    @cached_property
    def teacher(self) -> Prediction:
        """The uncompressed model in fp32 with the stock runtime."""
        return self.predictions(self.precisions[0]).predict(self.architecture)

    def forecast(self, way: Way) -> Forecast:
        """What a way is predicted to take. Raises TrimfitError for what was not measured."""
        shape = self.architecture.model_copy(update={"layers": way.layers})
        found = self.predictions(way.precision, self.engine(way.runtime)).predict(shape, way.pattern, way.sparsity)
        return Forecast(
            way=way,
            ms=found.ms,
            low_ms=found.low_ms,
            high_ms=found.high_ms,
            speedup=_ratio(self.teacher, found),
            weights_left=self._weights(way.layers) * (1 - way.sparsity) / self._weights(self.architecture.layers),
        )

    def _weights(self, layers: Sequence[LayerShape]) -> int:
        sizes = self.architecture.hidden_size, self.architecture.head_size
        return sum(
            block_weights("attention", layer.heads, *sizes) + block_weights("ffn", layer.ffn, *sizes)
            for layer in layers
        )


def _ratio(teacher: Prediction, other: Prediction) -> Ratio:
    value, low, high = teacher.speedup_of(other)
    return Ratio(value=value, low=low, high=high)
