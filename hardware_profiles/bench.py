"""Bench: builds, prepares, loads and times the graphs of one precision, all in turns."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks import Budget, measure_calls
from hardware_profiles.micro_graph import encoder_graph, random_inputs, unit_graph
from hardware_profiles.profile import Anchor, LatencyProfile, UnitTiming
from hardware_profiles.profile_request import Effort, ProfileRequest, Whole
from hardware_profiles.runtimes import Runtime, Session
from hardware_profiles.unit import Kind, Unit, weight_bytes

__all__ = ["Bench", "Report", "Timing", "timings"]

Report = Callable[[str, float], None]

_ROUNDS: dict[Effort, int] = {"fast": 16, "default": 40, "thorough": 120}
_SECONDS_PER_GRAPH: dict[Effort, float] = {"fast": 0.25, "default": 0.6, "thorough": 2.0}
_PASSES: dict[Effort, int] = {"fast": 2, "default": 4, "thorough": 8}  # between them progress is told
_BYTES_PER_CHAIN = 3e6  # small, so that units are timed with their weights in the caches where they can be
_MOST_REPEAT = 8
_BUILDING = 0.4  # share of the time that building and loading takes
_MEMORY_SHARE = 0.25  # of the free memory, for the weights of the graphs that are timed together
_KINDS: tuple[Kind, ...] = ("attention", "ffn")
_COPIES_IN_MEMORY = 3  # of a weight while a model is loaded


@dataclass(frozen=True)
class Timing:
    """Median and interquartile range in seconds of `n` calls.

    The median, as in every measurement that a prediction is held against: on a machine whose caches others use
    too, a lower quantile would promise up to a tenth more than the median of a deployed model keeps.
    """

    seconds: float
    iqr: float
    n: int

    @classmethod
    def of(cls, seconds: NDArray[np.float64]) -> Timing:
        """Summarise samples [n] in seconds."""
        low, middle, high = np.percentile(seconds, (25, 50, 75))
        return cls(float(middle), float(high - low), len(seconds))


@dataclass(frozen=True)
class _Graph:
    """A model to be timed: its name, how it is written to a path, and the bytes of its weights."""

    name: str
    build: Callable[[Path], Path]
    size: float


class Bench:
    """Times units, whole models and option sets for one request in one precision."""

    def __init__(self, runtime: Runtime, request: ProfileRequest, precision: str, seed: int = 0):
        self.runtime = runtime.at(precision)
        self.request = request
        self.precision = precision
        self.seed = seed
        self._reference = self._encoder("reference", Whole(request.reference))
        self._glue = self._chain(request.unit("glue"), 1)

    def complete(self, profile: LatencyProfile, report: Report) -> LatencyProfile:
        """Time the units, ladder and whole models that the profile lacks and add them.

        All take turns, so that a busy minute of the machine touches all alike; only what would not fit into
        memory together is timed in batches.
        """
        units = [(unit, self._repeat(unit)) for unit in self._missing_units(profile)]
        ladder = self._missing_ladder(profile)
        wholes = self._missing_anchors(profile)
        graphs = [self._chain(unit, copies) for unit, copies in (*units, *ladder)]
        graphs += [self._encoder(name, whole) for name, whole in wholes.items()]
        times: dict[str, tuple[Timing, Timing, Timing]] = {}
        batches = list(_batches({graph.name: graph for graph in graphs}.values()))
        for number, batch in enumerate(batches):

            def part(label: str, share: float, done: int = number) -> None:
                report(label, (done + share) / len(batches))

            mine = self._times(batch, part)
            fixed = mine[self._glue.name], mine[self._reference.name]
            times |= {graph.name: (mine[graph.name], *fixed) for graph in batch}
        return (
            profile.with_entries(self._unit_timing(*chain, times) for chain in units)
            .with_ladder(self._unit_timing(*chain, times) for chain in ladder)
            .with_anchor(*(self._anchor(name, whole, times) for name, whole in wholes.items()))
        )

    def options(self, alternatives: Mapping[str, Runtime]) -> dict[str, Timing]:
        """Time a whole encoder under each option set."""
        name, whole = next(iter(self.request.anchors(self.precision).items()))
        with tempfile.TemporaryDirectory(prefix="trimfit-") as folder:
            model = self._prepared(self._encoder(name, whole), Path(folder))
            threads = self.request.workload.threads
            sessions = {n: runtime.at(self.precision).session(model, threads) for n, runtime in alternatives.items()}
        return self._measure(sessions, lambda label, share: None)

    # -- what is missing ------------------------------------------------------------------------------------

    def _missing_units(self, profile: LatencyProfile) -> list[Unit]:
        units = [unit for kind in _KINDS for unit in self.request.units(kind, self.precision)]
        return [unit for unit in units if not profile.find(unit, self.request.workload, self.precision)]

    def _missing_ladder(self, profile: LatencyProfile) -> list[tuple[Unit, int]]:
        known = {(e.unit, e.repeat) for e in profile.ladder if self._is_mine(e)}
        return [chain for chain in self.request.ladder(self.precision) if chain not in known]

    def _missing_anchors(self, profile: LatencyProfile) -> dict[str, Whole]:
        built = [a for a in profile.anchors if a.source == "built" and self._is_mine(a)]
        known = [Whole(a.shape, a.pattern, a.sparsity) for a in built if a.activation == self.request.activation]
        return {name: whole for name, whole in self.request.anchors(self.precision).items() if whole not in known}

    def _is_mine(self, item: UnitTiming | Anchor) -> bool:
        return item.workload == self.request.workload and item.precision == self.precision

    # -- what comes out -------------------------------------------------------------------------------------

    def _unit_timing(self, unit: Unit, copies: int, times: Mapping[str, tuple[Timing, Timing, Timing]]) -> UnitTiming:
        timing, glue, reference = times[_chain_name(unit, copies)]
        return UnitTiming(
            unit=unit,
            workload=self.request.workload,
            precision=self.precision,
            repeat=copies,
            **vars(timing),
            glue_seconds=glue.seconds,
            reference_seconds=reference.seconds,
        )

    def _anchor(self, name: str, whole: Whole, times: Mapping[str, tuple[Timing, Timing, Timing]]) -> Anchor:
        timing, _, reference = times[name]
        return Anchor(
            name=name,
            **vars(whole),
            workload=self.request.workload,
            precision=self.precision,
            **vars(timing),
            activation=self.request.activation,
            source="built",
            reference_seconds=reference.seconds,
        )

    # -- timing ---------------------------------------------------------------------------------------------

    def _times(self, graphs: Sequence[_Graph], report: Report) -> dict[str, Timing]:
        sessions = {}
        graphs = [*graphs, self._glue, self._reference]
        for done, graph in enumerate(graphs):
            report(f"{self.precision}: building {graph.name}", _BUILDING * done / len(graphs))
            with tempfile.TemporaryDirectory(prefix="trimfit-") as folder:
                model = self._prepared(graph, Path(folder))
                sessions[graph.name] = self.runtime.session(model, self.request.workload.threads)
        return self._measure(sessions, report)

    def _measure(self, sessions: Mapping[str, Session], report: Report) -> dict[str, Timing]:
        inputs = random_inputs(self.request.workload, self.seed)
        calls = {name: partial(session.run, None, inputs) for name, session in sessions.items()}

        def part(share: float) -> None:
            report(f"{self.precision}: timing {len(calls)} graphs in turns", _BUILDING + (1 - _BUILDING) * share)

        return timings(calls, self.request.budget, self.seed, part)

    def _prepared(self, graph: _Graph, folder: Path) -> Path:
        fp32, target = graph.build(folder / "fp32.onnx"), folder / "prepared.onnx"
        rows = [random_inputs(self.request.workload, self.seed)]
        return self.runtime.prepare(fp32, self.precision, target, calibration=rows)

    # -- graphs ---------------------------------------------------------------------------------------------

    def _chain(self, unit: Unit, copies: int) -> _Graph:
        seed = zlib.crc32(unit.model_dump_json().encode()) + self.seed
        length = self.request.workload.seq_len
        build = partial(unit_graph, unit, copies, seq_len=length, seed=seed)
        size = weight_bytes(copies * unit.weights, self.precision)
        return _Graph(_chain_name(unit, copies), build, size)

    def _encoder(self, name: str, whole: Whole) -> _Graph:
        request, shape = self.request, whole.shape
        seed = zlib.crc32(shape.model_dump_json().encode()) + self.seed
        build = partial(
            encoder_graph,
            shape,
            activation=request.activation,
            pattern=whole.pattern,
            sparsity=whole.sparsity,
            seq_len=request.workload.seq_len,
            seed=seed,
        )
        blocks = [(request.unit("attention", x.heads), request.unit("ffn", x.ffn)) for x in shape.layers]
        weights = sum(unit.weights for pair in blocks for unit in pair)
        return _Graph(name, build, weight_bytes(weights, self.precision))

    def _repeat(self, unit: Unit) -> int:
        """More copies of small units, whose time would drown in the glue's."""
        bytes_each = max(1.0, weight_bytes(unit.weights, self.precision))
        return int(np.clip(round(_BYTES_PER_CHAIN / bytes_each), 1, _MOST_REPEAT))


def timings(
    calls: Mapping[str, Callable[[], object]],
    effort: Effort,
    seed: int,
    advance: Callable[[float], None] = lambda share: None,
) -> dict[str, Timing]:
    """Time calls in turns, in a few passes so that progress can be told."""
    count = _PASSES[effort]
    budget = Budget(
        launches=1,
        rounds=_ROUNDS[effort] // count,
        max_seconds=_SECONDS_PER_GRAPH[effort] * len(calls) / count,
    )
    passes = []
    for number in range(count):
        advance(number / count)
        passes.append(measure_calls(calls, budget=budget, seed=seed + number))
    return {name: Timing.of(np.concatenate([samples[name] for samples in passes])) for name in calls}


def _chain_name(unit: Unit, copies: int) -> str:
    return f"{copies} x {unit}"


def _batches(graphs: Iterable[_Graph]) -> Iterator[list[_Graph]]:
    """Cut into runs whose weights fit into memory together; a graph that is too large alone goes alone."""
    room = _MEMORY_SHARE * psutil.virtual_memory().available / _COPIES_IN_MEMORY
    batch: list[_Graph] = []
    for graph in graphs:
        if batch and sum(it.size for it in batch) + graph.size > room:
            yield batch
            batch = []
        batch.append(graph)
    if batch:
        yield batch
