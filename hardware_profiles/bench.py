"""Bench: builds, prepares, loads and times the graphs of one precision, in turns."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import Budget, Workload, measure_calls
from hardware_profiles.micro_graph import encoder_graph, random_inputs, unit_graph
from hardware_profiles.profile import Anchor, LatencyProfile, UnitTiming
from hardware_profiles.profile_request import ProfileRequest
from hardware_profiles.runtimes import Runtime, Session
from hardware_profiles.shape import EncoderShape
from hardware_profiles.unit import Unit, weight_bytes

__all__ = ["Bench", "Timing"]

Report = Callable[[str, float], None]
Builder = Callable[[Path], Path]

_REFERENCE, _GLUE = "reference", "glue"
_SECONDS_PER_GRAPH = {"fast": 0.3, "default": 0.7, "thorough": 2.0}
_BYTES_PER_CHAIN = 3e6  # small, so that units are timed with their weights in the caches where they can be
_MOST_REPEAT = 8
_BUILDING = 0.4  # share of a group's time that building and loading takes


@dataclass(frozen=True)
class Timing:
    """Median and interquartile range in seconds of `n` calls."""

    seconds: float
    iqr: float
    n: int

    @classmethod
    def of(cls, seconds: np.ndarray) -> Timing:
        """Summarise samples [n] in seconds."""
        low, middle, high = np.percentile(seconds, (25, 50, 75))
        return cls(float(middle), float(high - low), len(seconds))


class Bench:
    """Times units, whole models and option sets for one request in one precision."""

    def __init__(self, runtime: Runtime, request: ProfileRequest, precision: str, seed: int = 0):
        self.runtime = runtime
        self.request = request
        self.precision = precision
        self.seed = seed

    def units(self, units: Iterable[Unit], profile: LatencyProfile, report: Report) -> list[UnitTiming]:
        """Time those units that the profile lacks, with the glue and the reference in turns."""
        request = self.request
        missing = [unit for unit in units if not profile.find(unit, request.workload, self.precision)]
        if not missing:
            return []
        return self._chains([(unit, self._repeat(unit)) for unit in (request.unit("glue"), *missing)], report)

    def ladder(self, profile: LatencyProfile, report: Report) -> list[UnitTiming]:
        """Time those chains of growing length that the profile lacks."""
        known = {(e.unit, e.repeat) for e in profile.ladder if self._is_mine(e.workload, e.precision)}
        missing = [chain for chain in self.request.ladder(self.precision) if chain not in known]
        return self._chains(missing, report) if missing else []

    def _is_mine(self, workload: Workload, precision: str) -> bool:
        return workload == self.request.workload and precision == self.precision

    def _chains(self, chains: list[tuple[Unit, int]], report: Report) -> list[UnitTiming]:
        """Time (unit, copies) with the glue and the reference in turns."""
        graphs = {f"{copies} x {unit}": self._chain(unit, copies) for unit, copies in chains}
        times = self._times(graphs | {_GLUE: self._chain(self.request.unit("glue"), 1)}, report)
        return [
            UnitTiming(
                unit=unit,
                workload=self.request.workload,
                precision=self.precision,
                repeat=copies,
                **vars(times[f"{copies} x {unit}"]),
                glue_seconds=times[_GLUE].seconds,
                reference_seconds=times[_REFERENCE].seconds,
            )
            for unit, copies in chains
        ]

    def anchors(self, profile: LatencyProfile, report: Report) -> list[Anchor]:
        """Time those whole models that the profile lacks."""
        request = self.request
        known = {
            (a.shape, a.workload, a.precision, a.activation) for a in profile.anchors if a.source == "built"
        }
        missing = {
            name: shape
            for name, shape in request.anchors.items()
            if (shape, request.workload, self.precision, request.activation) not in known
        }
        if not missing:
            return []
        times = self._times({name: self._encoder(shape) for name, shape in missing.items()}, report)
        return [
            Anchor(
                name=name,
                shape=shape,
                workload=request.workload,
                precision=self.precision,
                **vars(times[name]),
                activation=request.activation,
                source="built",
                reference_seconds=times[_REFERENCE].seconds,
            )
            for name, shape in missing.items()
        ]

    def options(self, alternatives: Mapping[str, Runtime]) -> dict[str, Timing]:
        """Time the reference encoder under each option set."""
        with tempfile.TemporaryDirectory(prefix="trimfit-") as folder:
            model = self._prepared(self._encoder(self.request.reference), Path(folder))
            threads = self.request.workload.threads
            return self._measure({name: it.session(model, threads) for name, it in alternatives.items()})

    def _times(self, graphs: Mapping[str, Builder], report: Report) -> dict[str, Timing]:
        sessions = {}
        graphs = dict(graphs) | {_REFERENCE: self._encoder(self.request.reference)}
        for done, (name, build) in enumerate(graphs.items()):
            report(f"{self.precision}: {name}", _BUILDING * done / len(graphs))
            with tempfile.TemporaryDirectory(prefix="trimfit-") as folder:
                model = self._prepared(build, Path(folder))
                sessions[name] = self.runtime.session(model, self.request.workload.threads)
        report(f"{self.precision}: timing {len(graphs)} graphs in turns", _BUILDING)
        return self._measure(sessions)

    def _measure(self, sessions: Mapping[str, Session]) -> dict[str, Timing]:
        inputs = random_inputs(self.request.workload, self.seed)
        calls = {name: partial(session.run, None, inputs) for name, session in sessions.items()}
        budget = Budget(max_seconds=_SECONDS_PER_GRAPH[self.request.budget] * len(calls))
        samples = measure_calls(calls, budget=budget, seed=self.seed)
        return {name: Timing.of(seconds) for name, seconds in samples.items()}

    def _prepared(self, build: Builder, folder: Path) -> Path:
        return self.runtime.prepare(build(folder / "fp32.onnx"), self.precision, folder / "prepared.onnx")

    def _chain(self, unit: Unit, copies: int) -> Builder:
        seed = zlib.crc32(unit.model_dump_json().encode()) + self.seed
        length = self.request.workload.seq_len
        return lambda path: unit_graph(unit, copies, path, seq_len=length, seed=seed)

    def _encoder(self, shape: EncoderShape) -> Builder:
        seed = zlib.crc32(shape.model_dump_json().encode()) + self.seed
        request = self.request
        return lambda path: encoder_graph(
            shape, path, activation=request.activation, seq_len=request.workload.seq_len, seed=seed
        )

    def _repeat(self, unit: Unit) -> int:
        """More copies of small units, whose time would drown in the glue's."""
        if unit.kind == "glue":
            return 1
        bytes_each = max(1.0, weight_bytes(unit.weights, self.precision))
        return int(np.clip(round(_BYTES_PER_CHAIN / bytes_each), 1, _MOST_REPEAT))
