"""UnverifiedZeros: which zeros may pay on a device that nobody has measured them on."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from hardware_profiles.catalog.core_families import CoreFamily
from hardware_profiles.catalog.sparse_engines import SPARSE_ENGINES, SparseEngine
from hardware_profiles.interval import Interval

__all__ = ["UnverifiedZeros", "unverified_zeros"]

_WORDS = {"unstructured": "single zeros", "block": "zeros in blocks of four"}


class UnverifiedZeros(BaseModel):
    """Zeros of a pattern in an engine may pay `above` this share; no milliseconds, and not verified on the device."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: str
    pattern: str
    above: float
    threshold: float
    core: str
    modelled: Interval

    @classmethod
    def of(cls, engine: SparseEngine, pattern: str, core: CoreFamily) -> UnverifiedZeros:
        """Above the engine's own threshold, and above the upper end of what is modelled for the core."""
        threshold, modelled = engine.thresholds[pattern], core.interval(pattern)
        return cls(
            engine=engine.name,
            pattern=pattern,
            above=max(threshold, modelled.high),
            threshold=threshold,
            core=core.name,
            modelled=modelled,
        )

    def __str__(self) -> str:
        """E.g. "MNN, single zeros: above 66 % only (published 60 %, modelled 0 to 66 %): unverified on device"."""
        return (
            f"{self.engine}, {_WORDS[self.pattern]} in fp32: above {100 * self.above:.0f} % only (published"
            f" {100 * self.threshold:.0f} %, modelled {self.modelled.in_percent} on {self.core}): unverified on device"
        )


def unverified_zeros(
    core: CoreFamily | None, engines: Sequence[SparseEngine] = SPARSE_ENGINES
) -> tuple[UnverifiedZeros, ...]:
    """Of every engine with sparse kernels and every pattern it has them for; nothing for a core nobody modelled."""
    if core is None:
        return ()
    return tuple(UnverifiedZeros.of(engine, pattern, core) for engine in engines for pattern in engine.thresholds)
