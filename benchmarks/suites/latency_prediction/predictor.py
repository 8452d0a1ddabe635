"""Predictor: the latency models of a group, made as the main job makes them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.errors import TrimfitError
from benchmarks.suites.latency_prediction.group import Group
from benchmarks.suites.latency_prediction.model import Model
from hardware_profiles.device import Device
from hardware_profiles.graph import VOCABULARY
from hardware_profiles.latency_model import Prediction
from hardware_profiles.profile import Anchor, LatencyProfile
from hardware_profiles.profile_request import Effort as Budget
from hardware_profiles.runtimes import Runtime
from optimizer.architecture import Architecture, LayerShape
from optimizer.effort import DEFAULT
from optimizer.engine import Engine
from optimizer.preparation import SPARSE_RUNTIME, profile_of, sparse_profile_of
from optimizer.progress import Progress

__all__ = ["Predictor", "Profiles"]


@dataclass(frozen=True)
class Profiles:
    """What was measured of a group's blocks: with the stock runtime, and with sparse operators where there are any."""

    stock: LatencyProfile
    sparse: LatencyProfile | None

    @classmethod
    def measured(cls, group: Group, device: Device, budget: Budget, cache: Path, progress: Progress) -> Profiles:
        """Profile the group as the main job does, into the folder `cache`; what is there already is taken from it."""
        layers = (LayerShape(heads=group.max_heads, ffn=group.max_ffn),) * group.depth
        full = Architecture(
            hidden_size=group.hidden_size, head_size=group.head_size, vocab_size=VOCABULARY, layers=layers
        )
        effort = replace(DEFAULT, profile=budget)
        with _cache_at(cache):
            stock = profile_of(device, full, group.workload, effort, progress)
            return cls(stock, sparse_profile_of(stock, full, group.workload, effort, progress))


@contextmanager
def _cache_at(folder: Path) -> Iterator[None]:
    """Profiles are read from and kept in `folder`: none of another day can enter the study."""
    before = os.environ.get("TRIMFIT_CACHE")
    os.environ["TRIMFIT_CACHE"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["TRIMFIT_CACHE"]
        else:
            os.environ["TRIMFIT_CACHE"] = before


@dataclass(frozen=True)
class Predictor:
    """Predicts the models of a group; `sparse` is None on a machine without sparse operators."""

    group: Group
    stock: Engine
    sparse: Engine | None

    @classmethod
    def of(cls, group: Group, profiles: Profiles, full_ms: Mapping[str, float] | None = None) -> Predictor:
        """Fit the profiles; `full_ms` is what the full model took by precision, which a job knows of its teacher."""
        anchors = [
            Anchor.of("full model", group.full, group.workload, precision, ms / 1e3)
            for precision, ms in (full_ms or {}).items()
        ]
        stock = Engine.of(profiles.stock.with_anchor(*anchors))
        if profiles.sparse is None:
            return cls(group, stock, None)
        return cls(group, stock, Engine.of(profiles.sparse.over(stock.profile), skips_zeros=True))

    def knows(self, model: Model) -> bool:
        """Whether the model's runtime is there."""
        return not model.sparsity or self.sparse is not None

    def predict(self, model: Model) -> Prediction:
        """Milliseconds. Raises TrimfitError for what was not measured."""
        latency = self._engine(model).latency
        return latency.predict(model.shape, self.group.workload, model.precision, model.pattern, model.sparsity)

    def runtime(self, model: Model) -> Runtime:
        """What the model is prepared for and run with. Raises TrimfitError where it is missing."""
        return self._engine(model).runtime

    def _engine(self, model: Model) -> Engine:
        if not model.sparsity:
            return self.stock
        if self.sparse is None:
            raise TrimfitError(f"got {model}, expected a machine with {SPARSE_RUNTIME}: leave models with zeros out")
        return self.sparse
