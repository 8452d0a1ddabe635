"""Measurement: what was timed, every raw sample and the conditions; statistics are computed from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from benchmarks import statistics
from benchmarks.environment import Environment
from benchmarks.errors import TrimfitError
from benchmarks.provenance import EMULATED, Provenance
from benchmarks.samples import Samples
from benchmarks.statistics import Interval
from benchmarks.workload import Workload

__all__ = ["LaunchFacts", "Measurement", "Provenance", "Samples", "Subject"]

INTERRUPTED_SHARE = 0.02  # of a call's time that went to other processes, from which the call counts as interrupted
INTERRUPTED_SHARE_OF_THREADS = 0.1  # the same with several threads, which also wait for each other
BEST_CALLS = 95  # percentile of the CPUs in use that an undisturbed call has
INTERRUPTED_SECONDS = 20e-6  # below this, a difference between wall and CPU time is the clocks' own
MIN_UNDISTURBED_SHARE = 0.1  # with fewer calls left in peace, the figures are those of all calls
MIN_UNDISTURBED = 8


class Subject(BaseModel):
    """What was timed: a model file (sha256), in which runtime with which options, asked for what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str | None = None
    runtime: str = "onnxruntime-cpu"
    options: dict[str, Any] = {}
    workload: Workload = Workload()
    file_bytes: int | None = None
    inputs_sha256: str | None = None
    """Of the pool of inputs the calls drew from; None when they were made up at random."""


class LaunchFacts(BaseModel):
    """One start of the process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpus: tuple[int, ...] = ()
    load_seconds: float | None = None
    memory_before_bytes: int | None = None
    """Peak memory with the runtime imported and no model loaded."""
    peak_memory_bytes: int | None = None
    device_memory_bytes: int | None = None
    """What model and first call took of the memory of a device of its own, such as a GPU."""
    nodes: dict[str, dict[str, int]] = {}
    """Nodes by operator of each execution provider, where the model may be run by several; empty where it is not."""

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A launch without a device of its own is written as it was before there were such."""
        fields: dict[str, Any] = handler(self)
        return {name: value for name, value in fields.items() if value or name not in ("device_memory_bytes", "nodes")}


class Measurement(BaseModel):
    """One contestant under recorded conditions. Times in seconds unless the name says ms.

    The figures are those of the timed calls that no other process interrupted, as long as there are enough of
    them (`undisturbed`); interrupted calls are kept, labelled by `cpu_seconds` and `preemptions`, and
    reported by
    `benchmarks.instability`. Warm-ups are kept and never counted.

    A workload of several lengths is timed at each of them in turns (`parts`). Its figures are sums over the lengths,
    weighted by their shares: the median is the mean over the lengths of each one's median.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    subject: Subject
    samples: Samples
    launches: tuple[LaunchFacts, ...] = ()
    environment: Environment
    provenance: Provenance = "measured_device"
    run: str = ""
    """Names the run: contestants of one run took turns, so their rounds can be compared in pairs."""
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _holds_no_emulated_time(self) -> Measurement:
        after = self.environment.after
        timed = len(self.samples) or any(launch.load_seconds is not None for launch in self.launches)
        timed = timed or (after is not None and after.own_seconds is not None)
        if self.provenance == EMULATED and timed:
            raise ValueError(f"what is {EMULATED} can hold no time: measure on the device")
        return self

    @property
    def is_mix(self) -> bool:
        """Whether calls of several lengths were timed."""
        return self.subject.workload.lengths is not None

    @property
    def parts(self) -> tuple[tuple[Measurement, float], ...]:
        """The measurement at each length of its workload, with the length's share; of a plain workload, itself alone.

        A part holds the calls of its length and, of the launches, the CPUs: the rest belongs to the whole process.
        """
        return self._lengths if self.is_mix else ((self, 1.0),)

    @cached_property
    def _lengths(self) -> tuple[tuple[Measurement, float], ...]:
        return tuple((self._at(point), share) for point, share in self.subject.workload.points())

    def _at(self, point: Workload) -> Measurement:
        return Measurement(
            subject=self.subject.model_copy(update={"workload": point}),
            samples=self.samples.at(point.seq_len),
            launches=tuple(LaunchFacts(cpus=launch.cpus) for launch in self.launches),
            environment=self.environment,
            provenance=self.provenance,
            run=self.run,
            seed=self.seed,
        )

    def _of_parts(self, mask: Callable[[Measurement], NDArray[np.bool_]]) -> NDArray[np.bool_]:
        """[samples] what `mask` says of each part's calls, in the order all were made."""
        lengths, whole = np.array(self.samples.seq_len, int), np.zeros(len(self.samples), bool)
        for part, _ in self.parts:
            whole[lengths == part.subject.workload.seq_len] = mask(part)
        return whole

    def _weighted(self, figure: Callable[[Measurement], float]) -> float:
        return sum(share * figure(part) for part, share in self.parts)

    @cached_property
    def timed(self) -> NDArray[np.bool_]:
        """[samples] which calls were meant to count."""
        return np.array([kind == "timed" for kind in self.samples.kind], bool)

    @cached_property
    def interrupted(self) -> NDArray[np.bool_]:
        """[samples] which calls were interrupted by other processes: preempted, and part of the time off the CPU.

        One thread that runs all the time has as much CPU time as wall time; several have as much as in the best calls.
        """
        if self.is_mix:
            return self._of_parts(lambda part: part.interrupted)
        seconds, cpu = (np.array(column, float) for column in (self.samples.seconds, self.samples.cpu_seconds))
        threads = self.subject.workload.threads
        share = INTERRUPTED_SHARE if threads == 1 else INTERRUPTED_SHARE_OF_THREADS
        lost = seconds - cpu / (1.0 if threads == 1 else self._cpus_in_use)
        preempted = np.array(self.samples.preemptions, int) > 0
        return preempted & (lost > np.maximum(share * seconds, INTERRUPTED_SECONDS))

    @property
    def _cpus_in_use(self) -> float:
        """How many CPUs run in a call that nobody disturbs: nearly the most seen."""
        cpu, seconds = (np.array(x, float)[self.timed] for x in (self.samples.cpu_seconds, self.samples.seconds))
        return max(1.0, float(np.percentile(cpu / seconds, BEST_CALLS))) if seconds.size else 1.0

    @cached_property
    def undisturbed(self) -> bool:
        """Whether enough timed calls (of every length) ran without interruption for the figures to be theirs."""
        if self.is_mix:
            return all(part.undisturbed for part, _ in self.parts)
        peaceful = int(np.sum(self.timed & ~self.interrupted))
        return peaceful >= max(MIN_UNDISTURBED, MIN_UNDISTURBED_SHARE * np.sum(self.timed))

    @cached_property
    def interrupted_share(self) -> float:
        """Share of the timed calls that other processes interrupted."""
        return float(np.mean(self.interrupted[self.timed])) if self.timed.any() else 0.0

    def counted(self, undisturbed: bool | None = None) -> NDArray[np.bool_]:
        """[samples] the calls the figures are of: the timed, without the interrupted if `undisturbed`."""
        if self.is_mix:
            return self._of_parts(lambda part: part.counted(undisturbed))
        wanted = self.undisturbed if undisturbed is None else undisturbed
        return self.timed & ~self.interrupted if wanted else self.timed

    @cached_property
    def seconds(self) -> NDArray[np.float64]:
        """[n] the samples that count, in the order they were taken."""
        return np.array(self.samples.seconds, float)[self.counted()]

    def round_medians(self, undisturbed: bool | None = None) -> dict[tuple[int, int], float]:
        """Median seconds of each (launch, round) that has a counted call (of every length)."""
        if self.is_mix:
            parts = [(part.round_medians(undisturbed), share) for part, share in self.parts]
            shared = set.intersection(*(set(medians) for medians, _ in parts))
            return {key: sum(share * medians[key] for medians, share in parts) for key in sorted(shared)}
        counted = np.flatnonzero(self.counted(undisturbed))
        rounds: dict[tuple[int, int], list[float]] = {}
        for i in counted:
            rounds.setdefault((self.samples.launch[i], self.samples.round[i]), []).append(self.samples.seconds[i])
        return {key: float(np.median(values)) for key, values in rounds.items()}

    @property
    def median(self) -> float:
        """Median seconds of a call."""
        if self.is_mix:
            return self._weighted(lambda part: part.median)
        return float(np.median(self.seconds)) if self.seconds.size else math.nan

    @property
    def median_ms(self) -> float:
        """Median milliseconds of a call."""
        return self.median * 1e3

    @cached_property
    def interval(self) -> Interval:
        """The median of the rounds' medians (seconds) with its 95 % interval, launches resampled."""
        medians = self.round_medians()
        return statistics.median_interval(list(medians.values()), [launch for launch, _ in medians])

    @property
    def iqr(self) -> float:
        """Interquartile range in seconds."""
        if self.is_mix:
            return self._weighted(lambda part: part.iqr)
        if not self.seconds.size:
            return math.nan
        first, third = np.percentile(self.seconds, (25, 75))
        return float(third - first)

    @property
    def outliers(self) -> int:
        """Counted samples more than 1.5 interquartile ranges outside the quartiles (of their length)."""
        return sum(statistics.outliers(part.seconds) for part, _ in self.parts)

    def percentile(self, percentile: float) -> float | None:
        """Seconds below which `percentile` % of calls stay with 99 % confidence; None of too few samples.

        MLPerf's early-stopping estimate over *all* timed calls: interruptions belong to a tail. Of a mix, over as many
        calls of each length as its share allows.
        """
        everything = np.sort(self._in_proportion())
        rank = statistics.early_stopping_rank(everything.size, percentile)
        return None if rank is None else float(everything[rank - 1])

    def _in_proportion(self) -> NDArray[np.float64]:
        """Seconds of timed calls, every length with its share of them."""
        parts = [(np.array(part.samples.seconds, float)[part.timed], share) for part, share in self.parts]
        most = min(len(seconds) / share for seconds, share in parts)
        return np.concatenate([_evenly(seconds, int(most * share + 1e-9)) for seconds, share in parts])

    @property
    def p90_ms(self) -> float | None:
        """90th percentile in ms, None under 64 samples."""
        value = self.percentile(90)
        return None if value is None else value * 1e3

    @property
    def p99_ms(self) -> float | None:
        """99th percentile in ms, None under 662 samples."""
        value = self.percentile(99)
        return None if value is None else value * 1e3

    @property
    def load_seconds(self) -> float | None:
        """Median seconds from file to loaded session, over the launches."""
        return _median([launch.load_seconds for launch in self.launches])

    @property
    def first_inference_seconds(self) -> float | None:
        """Median seconds of the first call after loading, over the launches."""
        return _median([s for s, kind in zip(self.samples.seconds, self.samples.kind, strict=True) if kind == "first"])

    @property
    def peak_memory_bytes(self) -> int | None:
        """Largest resident memory of the process with the model loaded and running."""
        return max((x.peak_memory_bytes for x in self.launches if x.peak_memory_bytes), default=None)

    @property
    def model_memory_bytes(self) -> int | None:
        """What loading and running the model added: the peak minus that of the bare runtime."""
        added = [
            launch.peak_memory_bytes - launch.memory_before_bytes
            for launch in self.launches
            if launch.peak_memory_bytes and launch.memory_before_bytes
        ]
        return max(added, default=None)

    @cached_property
    def device_median(self) -> float | None:
        """Median seconds that a call took on a device of its own; None where there is none, or for several lengths."""
        known = np.array(self.samples.device_seconds, float)
        return float(np.median(known[self.counted()])) if known.size and not self.is_mix else None

    @property
    def device_memory_bytes(self) -> int | None:
        """What model and first call took of the memory of a device of its own."""
        return max((launch.device_memory_bytes for launch in self.launches if launch.device_memory_bytes), default=None)

    @property
    def nodes(self) -> dict[str, dict[str, int]]:
        """Nodes by operator of each execution provider, see `LaunchFacts`."""
        return next((launch.nodes for launch in self.launches if launch.nodes), {})

    @property
    def median_text(self) -> str:
        """The median in ms with the digits its interval supports, e.g. "5.03 ms"."""
        low, high = self.interval.low, self.interval.high
        half = (high - low) / 2 * 1e3
        digits = 2 if not math.isfinite(half) or half <= 0 else min(4, max(0, 1 - math.floor(math.log10(half))))
        return f"{self.median_ms:.{digits}f} ms"

    def to_json(self, path: str | Path) -> Path:
        """Write the measurement to `path`."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.model_dump_json() + "\n")
        return path

    @classmethod
    def from_json(cls, path: str | Path) -> Measurement:
        """Read what `to_json` wrote.

        Raises:
            TrimfitError: the file is missing or a field of it is wrong (named).
        """
        try:
            return cls.model_validate_json(Path(path).read_text())
        except OSError as error:
            raise TrimfitError(f"got {path}, expected a measurement file: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "the file"
            raise TrimfitError(
                f"got {path} with a broken measurement ({field}: {first['msg']}), "
                "expected what trimfit benchmark --json wrote: measure again"
            ) from error


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def _evenly(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """`count` of the values [n], evenly spread over them; all where they are as many."""
    return values[np.arange(count) * len(values) // max(count, 1)]
