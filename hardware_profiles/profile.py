"""LatencyProfile: what the pieces of a transformer take on one device with one runtime."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Collection, Hashable, Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmarks.environment import Environment
from benchmarks.errors import TrimfitError
from benchmarks.machine_peak import MachinePeak
from benchmarks.memory_bandwidth import MemoryBandwidth
from benchmarks.provenance import EMULATED
from benchmarks.workload import Workload
from hardware_profiles import runtimes
from hardware_profiles.conditions import Conditions
from hardware_profiles.device import Device
from hardware_profiles.layer_zeros import LayerZeros, Sparsity, mean_sparsity
from hardware_profiles.runtimes import Runtime
from hardware_profiles.shape import EncoderShape, HasShape
from hardware_profiles.unit import Pattern, Unit, weight_bytes

__all__ = [
    "FORMAT",
    "Anchor",
    "BreakEven",
    "LatencyProfile",
    "OptionTrial",
    "PrecisionTrial",
    "RuntimeRecord",
    "UnitTiming",
]

_NO_CHOICE = ("custom_op_library", "break_even")  # options that follow from the machine, or from `break_even`
_T = TypeVar("_T")
_TIMES = ("entries", "ladder", "anchors", "trials", "break_even", "contests", "peaks", "bandwidths", "thread_scaling")

_MUST_WIN_BY = 0.05  # a contested precision pays its own minute of profiling if it is faster than its rival by more
FORMAT: Literal[2] = 2  # 1 kept time by another reference model and knew no zeros that are skipped


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class RuntimeRecord(_Record):
    """What executed the graphs: its name, version and the options that won on this device."""

    name: str
    version: str
    options: dict[str, Any] = {}

    @classmethod
    def of(cls, runtime: Runtime) -> RuntimeRecord:
        """Describe a runtime."""
        return cls(name=runtime.name, version=runtime.version, options=runtime.options())

    @property
    def choices(self) -> dict[str, Any]:
        """The options that somebody chose or a trial won: what two profiles to be merged must agree on."""
        return _choices(self.options)


class UnitTiming(_Record):
    """One graph timed: the glue and `repeat` copies of a unit.

    `seconds` is the median of `n` calls of the whole graph and `iqr` their interquartile range;
    `glue_seconds` and `reference_seconds` are those of the glue alone and of the reference encoder, timed in
    turns with it: neither a slower minute of the machine nor the cost of a call ends in the unit. `others` are the CPUs
    that other processes kept busy meanwhile.
    """

    unit: Unit
    workload: Workload
    precision: str
    repeat: int = Field(ge=1)
    seconds: float = Field(gt=0)
    iqr: float = Field(ge=0)
    n: int = Field(ge=1)
    glue_seconds: float = Field(default=0.0, ge=0)
    reference_seconds: float | None = None
    others: float = 0.0

    @property
    def unit_seconds(self) -> float:
        """Seconds of one copy of the unit; of the glue itself for the glue."""
        if self.unit.kind == "glue":
            return self.seconds
        return max(0.0, (self.seconds - self.glue_seconds) / self.repeat)

    @property
    def total_bytes(self) -> float:
        """Bytes of the weights of all copies."""
        return weight_bytes(self.repeat * self.unit.weights, self.precision)


class Anchor(_Record):
    """A whole model timed on the device: "built" by the profiler, or a "model" that was exported.

    `sparsity` is the share of zeros of all its linear layers together; `layer_zeros` tells where they differ.
    """

    name: str
    shape: EncoderShape
    workload: Workload
    precision: str
    seconds: float = Field(gt=0)
    iqr: float = Field(default=0.0, ge=0)
    n: int = Field(default=1, ge=1)
    activation: str = "gelu"
    pattern: Pattern = "dense"
    sparsity: float = Field(default=0.0, ge=0, lt=1)
    layer_zeros: tuple[LayerZeros, ...] = ()
    source: Literal["built", "model"] = "model"
    reference_seconds: float | None = None
    others: float = 0.0

    @classmethod
    def of(
        cls,
        name: str,
        shape: HasShape,
        workload: Workload,
        precision: str,
        seconds: float,
        *,
        pattern: Pattern = "dense",
        sparsity: Sparsity = 0.0,
    ) -> Anchor:
        """A model of any `shape` that took `seconds` (the median) on the device."""
        return cls(
            name=name,
            shape=EncoderShape.of(shape),
            workload=workload,
            precision=precision,
            seconds=seconds,
            pattern=pattern,
            sparsity=mean_sparsity(shape, sparsity),
            layer_zeros=sparsity if isinstance(sparsity, tuple) else (),
        )

    @property
    def zeros(self) -> Sparsity:
        """The shares of zeros: of every layer alike, or of each its own."""
        return self.layer_zeros or self.sparsity


class OptionTrial(_Record):
    """One option set of the runtime, timed on a whole encoder."""

    name: str
    options: dict[str, Any]
    precision: str
    workload: Workload
    seconds: float = Field(gt=0)


class PrecisionTrial(_Record):
    """A whole encoder at a precision and at the one it has to beat, timed in turns: median seconds of each."""

    precision: str
    rival: str
    hidden_size: int
    workload: Workload
    seconds: float = Field(gt=0)
    rival_seconds: float = Field(gt=0)

    @property
    def pays(self) -> bool:
        """Whether the precision is faster by more than 5 %."""
        return self.rival_seconds / self.seconds > 1 + _MUST_WIN_BY

    def __str__(self) -> str:
        """E.g. "int8-static: 0.93x of int8 measured on this device: not profiled"."""
        verdict = "profiled" if self.pays else "not profiled"
        ratio = self.rival_seconds / self.seconds
        return f"{self.precision}: {ratio:.2f}x of {self.rival} measured on this device: {verdict}"


class BreakEven(_Record):
    """The share of zeros from which a linear layer of this shape is faster with a sparse operator than dense.

    Above 1 it never is.
    """

    out_features: int = Field(gt=0)
    in_features: int = Field(gt=0)
    workload: Workload
    precision: str
    sparsity: float = Field(ge=0)


class LatencyProfile(_Record):
    """Units and whole models measured on one device with one runtime. A value: adding gives a new one."""

    format: Literal[2] = FORMAT
    device: Device
    runtime_record: RuntimeRecord = Field(alias="runtime")
    entries: tuple[UnitTiming, ...] = ()
    ladder: tuple[UnitTiming, ...] = ()
    """One unit in ever longer chains: what it costs when the weights no longer fit into the caches."""
    anchors: tuple[Anchor, ...] = ()
    trials: tuple[OptionTrial, ...] = ()
    break_even: tuple[BreakEven, ...] = ()
    contests: tuple[PrecisionTrial, ...] = ()
    conditions: tuple[Conditions, ...] = ()
    """One for every day on which it grew; empty where that is not known."""
    environments: tuple[Environment, ...] = ()
    """The machine before and after each run in which it grew: governor, clock, heat, affinity."""

    peaks: tuple[MachinePeak, ...] = ()
    bandwidths: tuple[MemoryBandwidth, ...] = ()
    thread_scaling: tuple[Anchor, ...] = ()
    """One whole model timed in turns with each number of threads."""

    @model_validator(mode="after")
    def _holds_no_emulated_time(self) -> LatencyProfile:
        if self.device.provenance == EMULATED and (held := [name for name in _TIMES if getattr(self, name)]):
            raise ValueError(f"what is {EMULATED} can hold no milliseconds, got {held[0]}: measure on the device")
        return self

    @property
    def runtime(self) -> Runtime:
        """The runtime with the options that were measured: the one to deploy with."""
        return runtimes.get(self.runtime_record.name).with_options(self.runtime_record.options)

    def runtime_at(self, workload: Workload) -> Runtime:
        """The runtime that makes a layer sparse only where that was measured to pay at this workload.

        Of a workload of several lengths: at every one of them, so that no call is slower for it.
        """
        return runtimes.get(self.runtime_record.name).with_options(self._options_at(workload))

    def _options_at(self, workload: Workload) -> dict[str, Any]:
        known: dict[str, dict[str, float]] = {}
        points = [point for point, _ in workload.points()]
        for item in self.break_even:
            if item.workload in points:
                sizes, layer = known.setdefault(item.precision, {}), f"{item.out_features}x{item.in_features}"
                sizes[layer] = max(item.sparsity, sizes.get(layer, 0.0))
        return {**self.runtime_record.options, **({"break_even": known} if known else {})}

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions at which units were timed."""
        return tuple(dict.fromkeys(entry.precision for entry in self.entries))

    def find(self, unit: Unit, workload: Workload, precision: str) -> UnitTiming | None:
        """The timing of a unit, None if it was not measured."""
        for entry in self.entries:
            if entry.unit == unit and entry.workload == workload and entry.precision == precision:
                return entry
        return None

    def only(
        self,
        hidden_size: int,
        head_size: int,
        workload: Workload,
        activation: str,
        precisions: Collection[str] | None = None,
    ) -> LatencyProfile:
        """The part about models of these sizes at this workload; a profile grows with every model it is asked about.

        `precisions` leaves out others, None none.
        """
        points = [point for point, _ in workload.points()]

        def is_asked(timing: UnitTiming) -> bool:
            unit = timing.unit
            sizes = (unit.hidden_size, unit.head_size, unit.activation)
            return sizes == (hidden_size, head_size, activation) and timing.workload in points and is_wanted(timing)

        def is_near(anchor: Anchor) -> bool:
            sizes = (anchor.shape.hidden_size, anchor.shape.head_size, anchor.activation)
            return sizes == (hidden_size, head_size, activation) and is_wanted(anchor)

        def is_wanted(item: UnitTiming | Anchor) -> bool:
            return precisions is None or item.precision in precisions

        def with_same_rows(anchor: Anchor) -> bool:
            rows = {(point.batch, point.seq_len) for point in points}
            return (anchor.workload.batch, anchor.workload.seq_len) in rows

        return self.model_copy(
            update={
                "runtime_record": self.runtime_record.model_copy(update={"options": self._options_at(workload)}),
                "entries": tuple(e for e in self.entries if is_asked(e)),
                "ladder": tuple(e for e in self.ladder if is_asked(e)),
                "anchors": tuple(a for a in self.anchors if is_near(a) and a.workload in points),
                "break_even": tuple(item for item in self.break_even if item.workload in points),
                "thread_scaling": tuple(a for a in self.thread_scaling if is_near(a) and with_same_rows(a)),
                "contests": tuple(t for t in self.contests if t.hidden_size == hidden_size and t.workload in points),
            }
        )

    def over(self, stock: LatencyProfile) -> LatencyProfile:
        """This profile with the dense measurements of another runtime that runs the same graph where nothing is zero.

        Where both have a measurement this one's stays. Raises TrimfitError when they are of different devices.
        """
        if difference := self.device.difference(stock.device):
            raise TrimfitError(f"got profiles with {difference}, expected one device: keep them apart")
        dense = stock.model_copy(
            update={
                "entries": tuple(e for e in stock.entries if not e.unit.sparsity),
                "anchors": tuple(a for a in stock.anchors if not a.sparsity),
            }
        )
        whole = dense.with_entries(self.entries).with_ladder(self.ladder).with_anchor(*self.anchors)
        whole = whole.with_conditions(*self.conditions).with_environments(*self.environments)
        mine = {name: getattr(self, name) for name in ("runtime_record", "trials", "break_even", "contests")}
        return whole.model_copy(update=mine)

    def with_entries(self, entries: Iterable[UnitTiming]) -> LatencyProfile:
        """Add timings; one of the same unit, workload and precision is replaced."""
        return self._with("entries", entries, _entry_key)

    def with_ladder(self, chains: Iterable[UnitTiming]) -> LatencyProfile:
        """Add chains of one unit; one of the same unit, length, workload and precision is replaced."""
        return self._with("ladder", chains, lambda chain: (*_entry_key(chain), chain.repeat))

    def with_anchor(self, *anchors: Anchor) -> LatencyProfile:
        """Add whole models; one of the same name, shape, workload, precision and pattern is replaced."""
        return self._with("anchors", anchors, _anchor_key)

    def with_break_even(self, items: Iterable[BreakEven]) -> LatencyProfile:
        """Add break-even points; one of the same layer, workload and precision is replaced."""
        return self._with("break_even", items, _break_even_key)

    def with_peaks(self, *peaks: MachinePeak) -> LatencyProfile:
        """Add peaks; one of the same threads and precision is replaced."""
        return self._with("peaks", peaks, lambda peak: (peak.threads, peak.precision))

    def with_bandwidths(self, *bandwidths: MemoryBandwidth) -> LatencyProfile:
        """Add bandwidths; one of the same threads is replaced."""
        return self._with("bandwidths", bandwidths, lambda bandwidth: bandwidth.threads)

    def with_thread_scaling(self, *models: Anchor) -> LatencyProfile:
        """Add whole models with a number of threads; one as in `with_anchor` is replaced."""
        return self._with("thread_scaling", models, _anchor_key)

    def _with(self, field: str, items: Iterable[_T], key: Callable[[_T], Hashable]) -> LatencyProfile:
        """With these items added to a field; of those with one key the last stays, in the first's place."""
        table = {key(item): item for item in (*getattr(self, field), *items)}
        return self.model_copy(update={field: tuple(table.values())})

    def with_contest(self, *trials: PrecisionTrial) -> LatencyProfile:
        """Add contests; one of the same precision, rival, hidden size and workload is replaced."""
        table = {(t.precision, t.rival, t.hidden_size, t.workload): t for t in (*self.contests, *trials)}
        return self.model_copy(update={"contests": tuple(table.values())})

    def with_options(self, runtime: Runtime, trials: Iterable[OptionTrial]) -> LatencyProfile:
        """Set the runtime's options and the trials that chose them."""
        record = RuntimeRecord.of(runtime)
        return self.model_copy(update={"runtime_record": record, "trials": (*self.trials, *trials)})

    def merge(self, other: LatencyProfile) -> LatencyProfile:
        """Both profiles' measurements; `other` wins where both have one.

        Raises TrimfitError naming what differs when they are of different devices, provenance or runtimes.
        """
        found = self.device.difference(other.device), _of_runtimes(self.runtime_record, other.runtime_record)
        difference = ", ".join(filter(None, found))
        if difference:
            raise TrimfitError(f"got profiles with {difference}, expected one device and runtime: keep them apart")
        grown = self.with_entries(other.entries).with_ladder(other.ladder).with_anchor(*other.anchors)
        grown = grown.with_peaks(*other.peaks).with_bandwidths(*other.bandwidths)
        grown = grown.with_break_even(other.break_even).with_thread_scaling(*other.thread_scaling)
        grown = grown.with_contest(*other.contests).with_conditions(*other.conditions)
        return grown.with_environments(*other.environments)

    def with_conditions(self, *conditions: Conditions) -> LatencyProfile:
        """Add the days on which parts of it were measured."""
        return self.model_copy(update={"conditions": tuple(dict.fromkeys((*self.conditions, *conditions)))})

    def with_environments(self, *environments: Environment) -> LatencyProfile:
        """Add what the machine was like in runs; one of a run that is known, begun at the same second, is replaced."""
        return self._with("environments", environments, lambda environment: environment.before.unix_seconds)

    def shared(self) -> LatencyProfile:
        """The same for other people: without the options that name files of this machine."""

        def plain(item: Any) -> Any:
            return item.model_copy(update={"options": _choices(item.options)})

        trials = tuple(plain(trial) for trial in self.trials)
        return self.model_copy(update={"runtime_record": plain(self.runtime_record), "trials": trials})

    def difference(self, device: Device, runtime: Runtime) -> str | None:
        """What keeps it from being used for this device and runtime as if it had been measured now; None if nothing."""
        mine, asked = self.runtime_record, RuntimeRecord.of(runtime)
        found = [self.device.difference(device)]
        if (mine.name, mine.version) != (asked.name, asked.version):
            found.append(f"{mine.name} {mine.version} against {asked.name} {asked.version}")
        return ", ".join(filter(None, found)) or None

    def check(self, device: Device, runtime: Runtime) -> None:
        """Raise TrimfitError naming what differs unless the profile was made on this device and version."""
        if difference := self.difference(device, runtime):
            raise TrimfitError(
                f"got a profile of {self.device.name} with {difference}, expected one of this device:"
                " measure it with `trimfit profile`"
            )

    def save(self, path: Path) -> Path:
        """Write JSON, whole or not at all. Raises ValidationError for what could not be read again."""
        self.model_validate(self.model_dump(by_alias=True))  # growing a profile does not validate it
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = self.model_dump_json(by_alias=True, indent=1)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=path.name, suffix=".part", delete=False
        ) as file:
            file.write(text)
        os.replace(file.name, path)
        return path

    @classmethod
    def load(cls, path: Path) -> LatencyProfile:
        """Read JSON. Raises TrimfitError naming the broken field."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            found = content.get("format") if isinstance(content, dict) else None
            if found != FORMAT:
                raise TrimfitError(f"got {path} of format {found!r}, expected a latency profile of format {FORMAT}")
            return cls.model_validate(content)
        except OSError as error:
            raise TrimfitError(f"got {path}, expected a latency profile: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "device.provenance"
            raise TrimfitError(f"got {path} with a broken field {field}: {first['msg']}") from error
        except ValueError as error:
            raise TrimfitError(f"got {path}, expected a latency profile in JSON: {error}") from error


def _choices(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key not in _NO_CHOICE}


def _entry_key(entry: UnitTiming) -> tuple[Unit, Workload, str]:
    return entry.unit, entry.workload, entry.precision


def _break_even_key(item: BreakEven) -> tuple[object, ...]:
    return item.out_features, item.in_features, item.workload, item.precision


def _anchor_key(anchor: Anchor) -> tuple[object, ...]:
    return (
        anchor.name,
        anchor.shape,
        anchor.workload,
        anchor.precision,
        anchor.activation,
        anchor.pattern,
        anchor.sparsity,
        anchor.layer_zeros,
    )


def _of_runtimes(mine: RuntimeRecord, other: RuntimeRecord) -> str | None:
    for field in ("name", "version", "choices"):
        a, b = getattr(mine, field), getattr(other, field)
        if a != b:
            return f"runtime {'options' if field == 'choices' else field} {a} against {b}"
    return None
