"""BenchmarkResult: everything one `trimfit benchmark` found, as a value that goes to JSON and back."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from benchmarks.comparison import Comparison, compare
from benchmarks.energy import Energy
from benchmarks.errors import TrimfitError
from benchmarks.machine_peak import MachinePeak
from benchmarks.measurement import Measurement
from benchmarks.model_file import ModelFile
from benchmarks.provenance import EMULATED
from benchmarks.stability import instability

__all__ = ["BenchmarkResult", "Row", "ThroughputPoint"]

_PACKAGES = {"mnn-cpu": "MNN"}  # of runtimes that are none of onnxruntime's


class ThroughputPoint(BaseModel):
    """Rows a second of one contestant at one batch size and number of threads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    batch: int
    threads: int
    rows_per_second: float


class Row(BaseModel):
    """One line of the table, computed from the result."""

    model_config = ConfigDict(frozen=True)

    measurement: Measurement
    file: ModelFile
    comparison: Comparison | None
    """With the first contestant; None for the first itself."""
    gflops: float | None
    """Achieved rate; None when the operations could not be counted."""
    peak_share: float | None
    energy: Energy | None


class BenchmarkResult(BaseModel):
    """Measurements of files taken in turns, and what was read from the files themselves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    measurements: tuple[Measurement, ...]
    files: tuple[ModelFile, ...]
    peaks: tuple[MachinePeak, ...] = ()
    energy: tuple[Energy, ...] = ()
    throughput: tuple[ThroughputPoint, ...] = ()
    answers: dict[str, float] = {}
    """Of models that ran elsewhere, by name: the largest difference of their outputs from those here, relative to the
    largest output."""

    @model_validator(mode="after")
    def _holds_no_emulated_time(self) -> BenchmarkResult:
        held = [name for name in ("peaks", "energy", "throughput") if getattr(self, name)]
        if self.is_emulated and held:
            raise ValueError(f"what is {EMULATED} can hold no {held[0]}: measure on the device")
        return self

    @property
    def is_emulated(self) -> bool:
        """Whether models were only tried, in an emulator, and nothing was timed."""
        return any(m.provenance == EMULATED for m in self.measurements)

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Every other contestant against the first."""
        first, *others = self.measurements
        return () if self.is_emulated else tuple(compare(first, other) for other in others)

    @property
    def rows(self) -> tuple[Row, ...]:
        """The lines of the table, in the order the files were given."""
        comparisons = (None, *self.comparisons)
        energy = {entry.name: entry for entry in self.energy}
        return tuple(
            self._row(m, file, comparison, energy.get(file.name))
            for m, file, comparison in zip(self.measurements, self.files, comparisons, strict=True)
        )

    def _row(self, m: Measurement, file: ModelFile, comparison: Comparison | None, energy: Energy | None) -> Row:
        gflops = None if file.flops is None else file.flops / m.median / 1e9
        threads = m.subject.workload.threads
        peak = next((p for p in self.peaks if p.precision == file.precision and p.threads == threads), None)
        return Row(
            measurement=m,
            file=file,
            comparison=comparison,
            gflops=gflops,
            peak_share=peak.share(gflops) if peak and gflops is not None else None,
            energy=energy,
        )

    @property
    def conditions(self) -> str:
        """The sentence that belongs above every table of these numbers."""
        m = self.measurements[0]
        runtimes = " and ".join(dict.fromkeys(_runtime_of(each) for each in self.measurements))
        launches = len(m.launches)
        if self.is_emulated:
            return f"{m.subject.workload} on {m.environment.cpu}, emulated: models are tried, and nothing is timed"
        return (
            f"{m.subject.workload} on {m.environment.gpu or f'{m.environment.cpu} ({m.environment.cores} cores)'}, "
            f"{runtimes}; medians of {min(x.seconds.size for x in self.measurements)} "
            f"or more calls in {launches} launch{'es' if launches != 1 else ''}, "
            f"{'taking turns' if len(self.measurements) > 1 else 'alone'}"
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes a measurement unstable, with its name in front."""
        return tuple(f"{m.subject.name}: {sentence}" for m in self.measurements for sentence in instability(m))

    def to_json(self, path: str | Path) -> Path:
        """Write the result to `path`."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.model_dump_json() + "\n")
        return path

    @classmethod
    def from_json(cls, path: str | Path) -> BenchmarkResult:
        """Read what `to_json` wrote.

        Raises:
            TrimfitError: the file is missing or a field of it is wrong (named).
        """
        try:
            return cls.model_validate_json(Path(path).read_text())
        except OSError as error:
            raise TrimfitError(f"got {path}, expected a benchmark's JSON: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "the file"
            raise TrimfitError(
                f"got {path} with a broken benchmark ({field}: {first['msg']}), "
                "expected what trimfit benchmark --json wrote: run it again"
            ) from error


def _runtime_of(measurement: Measurement) -> str:
    """With the version of what it comes with."""
    name = measurement.subject.runtime
    return f"{name} {measurement.environment.packages.get(_PACKAGES.get(name, 'onnxruntime'), '')}".rstrip()
