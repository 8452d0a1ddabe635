"""Advice: what was predicted, refused, recommended and measured, as `trimfit advise --json` writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, computed_field

from benchmarks.workload import Workload
from hardware_profiles.catalog import UnverifiedZeros
from hardware_profiles.unit import Pattern, zeros_in_words
from optimizer import files
from optimizer.architecture import Architecture, LayerShape
from optimizer.manifest import DeviceFacts

__all__ = [
    "MEASURED",
    "Advice",
    "AdviceAcross",
    "Elsewhere",
    "Forecast",
    "Kind",
    "LayerBreakEven",
    "Measured",
    "Ratio",
    "TargetAdvice",
    "Way",
]


MEASURED = ("measured_device", "measured_proxy")
"""Provenance of devices whose intervals are known; of others the order of what to try is fixed."""
Kind = Literal["dense", "zeros"]
"""Ways whose weights that are left are all there, and ways that make some zero."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Ratio(_Record):
    """A speed-up over the fp32 teacher with its interval; above 1 is faster.

    Of measured devices the interval is a 95 % one, of published figures it spans what engines may do.
    """

    value: float
    low: float
    high: float


class Way(_Record):
    """One way to a smaller model: the layers that are left, which of their weights are zero, and what runs it how.

    `cut` says in words what was removed; `sparsity` is the share of zeros in the linear layers that are left.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")  # the name is written, not read

    layers: tuple[LayerShape, ...]
    cut: str = ""
    pattern: Pattern = "dense"
    sparsity: float = 0.0
    precision: str
    runtime: str

    @computed_field  # type: ignore[prop-decorator]
    @property
    def name(self) -> str:
        """E.g. "3/6 layers, 80% zero blocks, int8"; "int8 alone"."""
        zeros = zeros_in_words(self.pattern, self.sparsity) if self.sparsity else ""
        parts = [part for part in (self.cut, zeros) if part]
        return ", ".join([*parts, self.precision]) if parts else f"{self.precision} alone"


class Forecast(_Record):
    """What a way is predicted to take. `weights_left` is the share of the teacher's linear weights that is not zero."""

    way: Way
    ms: float
    low_ms: float
    high_ms: float
    speedup: Ratio
    weights_left: float


class LayerBreakEven(_Record):
    """The share of zeros from which a linear layer is faster sparse than dense; None: never."""

    layer: str
    out_features: int
    in_features: int
    precision: str
    pattern: Pattern
    sparsity: float | None


class Measured(_Record):
    """A way built with random weights at its real shape, timed in turns with the teacher's shape; milliseconds."""

    ms: float
    teacher_ms: float
    speedup: Ratio


class TargetAdvice(_Record):
    """How a speed-up could be reached: the gentlest way of each kind, best first, and why others cannot.

    `aimed_ms` is a little less than `wanted_ms`, so that the measured interval may lie below it.
    `measured` is of the first; None where no way reaches the target.
    """

    speedup: float
    wanted_ms: float
    aimed_ms: float
    ways: tuple[Forecast, ...]
    refused: tuple[str, ...]
    measured: Measured | None = None


class Advice(_Record):
    """All that is advised for one model on one device at one workload. Milliseconds are predicted unless `measured`.

    `asked` is what the device was called; `origin` is where a stored profile comes from, "" for a device at hand.
    `notes` say what was not published of it; `unverified` are zeros that may pay there, without milliseconds.
    """

    format: Literal[1] = 1
    model: str
    architecture: Architecture
    activation: str
    asked: str = "local"
    origin: str = ""
    device: DeviceFacts
    workload: Workload
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    teacher: Forecast
    ways: tuple[Forecast, ...]
    refused: tuple[str, ...]
    break_even: tuple[LayerBreakEven, ...]
    unverified: tuple[UnverifiedZeros, ...] = ()
    targets: tuple[TargetAdvice, ...]
    doubts: tuple[str, ...] = ()

    @property
    def measured(self) -> bool:
        """Whether predictions come from measurements of trimfit's."""
        return self.device.provenance in MEASURED

    def write(self, path: Path) -> Path:
        """Write JSON, whole or not at all."""
        return files.write_text_atomically(Path(path), self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> Advice:
        """Read what `write` wrote."""
        return cls.model_validate_json(Path(path).read_text(encoding="utf-8"))


class Elsewhere(_Record):
    """What the way that is best on one device for a target is predicted to take on another.

    `forecast` is None where it cannot be said, and `reason` says why.
    """

    speedup: float
    kind: Kind
    tuned_for: str
    on: str
    way: Way
    forecast: Forecast | None
    reason: str | None = None


class AdviceAcross(_Record):
    """Advice on several devices, and what a model that is tuned for one costs on another.

    `cautions` say where numbers of different provenance stand side by side.
    """

    format: Literal[1] = 1
    advice: tuple[Advice, ...]
    elsewhere: tuple[Elsewhere, ...] = ()
    cautions: tuple[str, ...] = ()

    def write(self, path: Path) -> Path:
        """Write JSON, whole or not at all."""
        return files.write_text_atomically(Path(path), self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> AdviceAcross:
        """Read what `write` wrote."""
        return cls.model_validate_json(Path(path).read_text(encoding="utf-8"))
