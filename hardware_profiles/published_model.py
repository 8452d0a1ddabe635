"""PublishedModel: predicts for a device from what others published of it: intervals, and what transfers badly."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmarks.errors import TrimfitError
from benchmarks.workload import Workload
from hardware_profiles.device import Device
from hardware_profiles.interval import Interval
from hardware_profiles.layer_zeros import Sparsity, has_zeros
from hardware_profiles.prediction import ScenarioPrediction
from hardware_profiles.shape import EncoderShape, HasShape
from hardware_profiles.unit import Pattern
from hardware_profiles.work import Work

__all__ = ["Calibration", "Costs", "PublishedModel", "Source"]

_FP32, _INT8 = "fp32", "int8"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Record):
    """Where figures come from, and what they are used for. No file of a source is copied, only figures are."""

    name: str
    reference: str
    licence: str
    used_for: str


class Costs(_Record):
    """What the pieces of an encoder cost in the engine that was published, fitted to whole encoders; milliseconds.

    `constant_ms` is what each of `layers` costs beyond arithmetic; whether it is paid by layer, by call or by row
    cannot be told from encoders of one depth at one length. `rows` and `hidden_size` are what was (on average) fitted.
    """

    ffn_ms_per_gflop: float = Field(ge=0)
    attention_ms_per_gflop: float = Field(ge=0)
    head_ms: float = Field(ge=0)
    constant_ms: float = Field(ge=0)
    layers: int = Field(gt=0)
    rows: int = Field(gt=0)
    hidden_size: float = Field(gt=0)

    def arithmetic_ms(self, work: Work) -> float:
        """All but the constant."""
        attention = self.attention_ms_per_gflop * (work.projection_gflop + work.core_gflop)
        return self.ffn_ms_per_gflop * work.ffn_gflop + attention + self.head_ms * work.heads


def _by_layer(costs: Costs, work: Work) -> float:
    return costs.arithmetic_ms(work) + costs.constant_ms * work.layers


def _by_call(costs: Costs, work: Work) -> float:
    return costs.arithmetic_ms(work) + costs.constant_ms * costs.layers


def _by_row(costs: Costs, work: Work) -> float:
    grown = work.rows * work.hidden_size / (costs.rows * costs.hidden_size)
    return costs.arithmetic_ms(work) + costs.constant_ms * work.layers * grown


def _arithmetic_alone(_costs: Costs, work: Work) -> float:
    """Another engine that has no such constant, and multiplies at one rate."""
    return work.gflop


READINGS: tuple[Callable[[Costs, Work], float], ...] = (_by_layer, _by_call, _by_row, _arithmetic_alone)
"""What the costs may mean in another engine; each is brought to the calibrating encoder's level."""


class Calibration(_Record):
    """One encoder that another engine was timed with on the same device: `ms` by threads.

    `extra_gflop` is what it does besides its layers. An engine like it may be `engine_factor` faster or slower: as much
    as the two published engines differ.
    """

    shape: EncoderShape
    rows: int = Field(gt=0)
    extra_gflop: float = Field(ge=0)
    ms: dict[int, float]
    engine_factor: float = Field(gt=1)

    def work(self) -> Work:
        """Its arithmetic; what it does besides its layers counts as an FFN's."""
        found = Work.of(self.shape, Workload(seq_len=self.rows))
        return Work(**{**vars(found), "ffn_gflop": found.ffn_gflop + self.extra_gflop})


class PublishedModel(_Record):
    """A device in published figures. A value: JSON on disk, and nothing in it was measured by trimfit.

    `residual`: 95 % of the held-out encoders lie within this share of their prediction; `int8`: how many times faster
    int8 networks were than their fp32 twins; `rows`: fewest and most tokens in all that were published.
    """

    format: Literal[1] = 1
    device: Device
    core: str
    sources: tuple[Source, ...] = Field(min_length=1)
    costs: Costs
    calibration: Calibration
    int8: Interval
    residual: float = Field(ge=0)
    rows: tuple[int, int]
    hidden_sizes: tuple[int, int]
    encoders: int = Field(gt=0)
    """How many whole encoders the costs were fitted to."""
    transfers_badly: tuple[str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _says_that_it_is_published(self) -> PublishedModel:
        if self.device.provenance != "published":
            raise ValueError(f"got provenance {self.device.provenance}, expected published: it was measured by others")
        return self

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those it can say something about, fp32 first."""
        return _FP32, _INT8

    @property
    def origin(self) -> str:
        """E.g. "published figures of HAT and ncnn"."""
        return f"published figures of {' and '.join(source.name for source in self.sources)}"

    def cautions(self, shape: HasShape) -> tuple[str, ...]:
        """What to know before believing a prediction about models of this shape."""
        least, most = self.hidden_sizes
        found = [f"not published: {sentence}" for sentence in self.transfers_badly]
        if not least <= shape.hidden_size <= most:
            found.insert(0, f"hidden size {shape.hidden_size} lies outside of those published ({least} to {most})")
        return tuple(found)

    def predict(
        self,
        shape: HasShape,
        workload: Workload,
        precision: str = _FP32,
        pattern: Pattern = "dense",
        sparsity: Sparsity = 0.0,
    ) -> ScenarioPrediction:
        """Milliseconds of a whole model with an engine like the published ones.

        The interval is no 95 % one: it spans what the costs may mean elsewhere, how far engines differ, the ends of
        what int8 brings, and beyond these the residual. Raises TrimfitError for other threads, lengths, precisions, and
        for zeros.
        """
        if has_zeros(sparsity):
            raise self._nothing_about_zeros()
        if precision not in self.precisions:
            raise TrimfitError(f"got {precision} for {self.device.name}, expected {' or '.join(self.precisions)}")
        parts = [share * self._scenarios(shape, point, precision) for point, share in workload.points()]
        return ScenarioPrediction.of(np.sum(parts, axis=0).tolist(), self.residual)

    def _scenarios(self, shape: HasShape, workload: Workload, precision: str) -> NDArray[np.float64]:
        """Milliseconds under every reading, at both ends of the engines and of int8, in one order for all."""
        self.check(workload)
        work, calibrating = Work.of(shape, workload), self.calibration.work()
        level = self.calibration.ms[workload.threads]
        factor, int8 = self.calibration.engine_factor, (self.int8.low, self.int8.high)
        return np.array(
            [
                level * reading(self.costs, work) / reading(self.costs, calibrating) * slower / faster
                for reading, slower, faster in product(
                    READINGS, (1 / factor, factor), int8 if precision == _INT8 else (1.0, 1.0)
                )
            ]
        )

    def check(self, workload: Workload) -> None:
        """Raise TrimfitError, naming what was published, for a workload that lies outside of it."""
        least, most = self.rows
        if workload.threads not in self.calibration.ms:
            known = " or ".join(str(threads) for threads in sorted(self.calibration.ms))
            raise TrimfitError(
                f"got {workload.threads} threads for {self.device.name}, expected {known} as published:"
                f" give --threads {max(self.calibration.ms)}"
            )
        if not least <= workload.batch * workload.seq_len <= most:
            raise TrimfitError(
                f"got batch {workload.batch}, {workload.seq_len} tokens for {self.device.name}, expected {least} to"
                f" {most} tokens in all as published: give another --seq-len"
            )

    def zeros_speedup(
        self,
        workload: Workload,
        precision: str,
        sparsity: float,
        pattern: Pattern = "unstructured",
        *,
        hidden_size: int | None = None,
    ) -> float:
        """Raise TrimfitError: no milliseconds with zeros were published."""
        raise self._nothing_about_zeros()

    def sparsity_range(
        self, workload: Workload, precision: str, pattern: Pattern, *, hidden_size: int | None = None
    ) -> tuple[float, float]:
        """Raise TrimfitError: no milliseconds with zeros were published."""
        raise self._nothing_about_zeros()

    def _nothing_about_zeros(self) -> TrimfitError:
        return TrimfitError(
            f"got zeros for {self.device.name}, expected none: nobody published milliseconds with zeros there"
        )

    def save(self, path: Path) -> Path:
        """Write JSON."""
        Path(path).write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
        return Path(path)

    @classmethod
    def load(cls, path: Path) -> PublishedModel:
        """Read JSON. Raises TrimfitError naming the broken field."""
        try:
            return cls.model_validate_json(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise TrimfitError(f"got {path}, expected published figures: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "device.provenance"
            raise TrimfitError(f"got {path} with a broken field {field}: {first['msg']}") from error
