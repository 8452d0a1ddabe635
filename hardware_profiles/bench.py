"""Bench: builds, prepares, loads and times the graphs of one precision, all in turns."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import Budget, TrimfitError
from benchmarks.crowding import cpus_of_others, is_crowded, wait_for_room
from benchmarks.environment import read_state
from benchmarks.gpu.place import gpu_in_force
from benchmarks.near_cores import near
from benchmarks.place import current_place
from benchmarks.rig import Graph, Rig
from hardware_profiles.layer_breaks import just_sparse
from hardware_profiles.micro_graph import encoder_graph, random_inputs, unit_graph
from hardware_profiles.profile import Anchor, LatencyProfile, UnitTiming
from hardware_profiles.profile_request import Effort, ProfileRequest, Whole
from hardware_profiles.refinement import refined_widths
from hardware_profiles.runtimes import Runtime
from hardware_profiles.unit import Kind, Unit, weight_bytes

__all__ = ["Bench", "Report", "Timing", "graph_of", "timings", "with_room"]

Report = Callable[[str, float], None]

_ROUNDS: dict[Effort, int] = {"fast": 16, "default": 40, "thorough": 120}
_SECONDS_PER_GRAPH: dict[Effort, float] = {"fast": 0.25, "default": 0.6, "thorough": 2.0}
_RESTING = 1.5  # times as long where threads have to come to rest after each turn
_PASSES: dict[Effort, int] = {"fast": 2, "default": 4, "thorough": 8}  # between them progress is told
_BYTES_PER_CHAIN = 3e6  # small, so that units are timed with their weights in the caches where they can be
_MOST_REPEAT = 8
_GPU_REPEAT = 4  # at least: a block takes 20 microseconds there, and the call as long again
_GPU_CACHE_SHARE = 0.5  # of its L2 cache, for the weights of a chain
_BUILDING = 0.4  # share of the time that building and loading takes
_MEMORY_SHARE = 0.25  # of the free memory, for the weights of the graphs that are timed together
_REFINING: dict[Effort, tuple[int, int]] = {"fast": (0, 1), "default": (8, 4), "thorough": (32, 4)}
"""Widths of each kind of block that are added at most in the search for steps, and how many at a time."""
_FIXED = 2  # graphs that are timed with every batch: the glue and the reference
_FOR_A_PACE = 5  # graphs at least: the pace of a round is not to be one graph's own noise
_SLOWER = 1.08  # times the reference's time in another batch, from which a batch is timed once more
_KINDS: tuple[Kind, ...] = ("attention", "ffn")
_PATIENCE: dict[Effort, float] = {"fast": 3.0, "default": 20.0, "thorough": 60.0}
"""Seconds to wait for other processes to leave room before what they disturbed is timed again."""
_COPIES_IN_MEMORY = 3  # of a weight while a model is loaded


@dataclass(frozen=True)
class Timing:
    """Median and interquartile range in seconds of `n` calls, and the CPUs that other processes kept busy meanwhile.

    The median, as in every measurement that a prediction is held against: on a machine whose caches others use
    too, a lower quantile would promise up to a tenth more than the median of a deployed model keeps.
    """

    seconds: float
    iqr: float
    n: int
    others: float = 0.0

    @classmethod
    def of(cls, seconds: NDArray[np.float64], threads: int = 1) -> Timing:
        """Summarise samples [n] in seconds, of several threads those of `near` CPUs."""
        counted = near(seconds, threads)
        low, middle, high = np.percentile(counted, (25, 50, 75))
        return cls(float(middle), float(high - low), len(counted))


@dataclass(frozen=True)
class _Graph:
    """A model to be timed: its name, how it is written to a path, the bytes of its weights, where its time is kept.

    `add` takes a profile and the timings of this graph, of the glue and of the reference encoder.
    """

    name: str
    build: Callable[[Path], Path]
    size: float
    add: Callable[[LatencyProfile, Timing, Timing, Timing], LatencyProfile]


class Bench:
    """Times units, whole models and option sets for one request in one precision."""

    def __init__(self, runtime: Runtime, request: ProfileRequest, precision: str, seed: int = 0):
        self.runtime = runtime.at(precision)
        self.request = request
        self.precision = precision
        self.seed = seed
        self._inputs = random_inputs(request.workload, seed)
        self._reference = self._encoder("reference", Whole(request.reference))
        self._glue = self._chain(request.unit("glue"), 1, _entry)
        self._batches: list[tuple[Sequence[_Graph], float]] = []  # what was timed, the reference's seconds beside it

    def steps(self, profile: LatencyProfile, report: Report) -> Iterator[LatencyProfile]:
        """Time what the profile lacks; yields the profile after each part, so that it can be kept.

        Blocks and the whole models that correct their sum take turns, so that a busy minute of the machine touches
        all alike; what only has to agree within itself comes in parts of its own, and so does what would not fit into
        memory together. Then the widths between which latency rises most are looked into. What was timed while the
        reference was slower than in another batch is timed once more.
        """
        batches = [batch for part in self._parts(profile) for batch in _batches(part)]
        most, each = (0, 1) if self.request.sparse else _REFINING[self.request.budget]
        total = sum(len(batch) + _FIXED for batch in batches) + most * (each + _FIXED) / each
        done = 0.0
        for batch in batches:
            profile = self._grown(profile, batch, _part(report, done / total, (len(batch) + _FIXED) / total))
            done += len(batch) + _FIXED
            yield profile
        yield from self._timed_again(profile, _part(report, done / max(total, 1), 0.0))
        while batch := self._between(profile, each, most):
            size = len(batch) * (each + _FIXED) / each
            profile = self._grown(profile, batch, _part(report, done / total, size / total))
            done += size
            yield profile
        yield from self._timed_again(profile, _part(report, 1.0, 0.0))

    def options(self, alternatives: Mapping[str, Runtime]) -> dict[str, Timing]:
        """Time a whole encoder under each option set."""
        name, whole = next(iter(self.request.anchors(self.precision).items()))
        with current_place().rig() as rig:
            with tempfile.TemporaryDirectory(prefix="trimfit-") as folder:
                model = self._prepared(self._encoder(name, whole), Path(folder))
                for number, (option, runtime) in enumerate(alternatives.items()):
                    try:
                        self._load(rig, option, runtime.at(self.precision), model)
                    except TrimfitError:  # a CUDA graph that cannot be captured, say
                        if not number:
                            raise
            return self._measure(rig, lambda label, share: None)

    def threads(self, counts: Sequence[int]) -> dict[int, Timing]:
        """Time the largest whole encoder with each number of threads."""
        name, whole = next(iter(self.request.anchors(self.precision).items()))
        with current_place().rig() as rig:
            with tempfile.TemporaryDirectory(prefix="trimfit-") as folder:
                model = self._prepared(self._encoder(name, whole), Path(folder))
                for count in counts:
                    self._load(rig, f"{count} threads", self.runtime, model, count)
            found = self._measure(rig, lambda label, share: None)
        return dict(zip(counts, found.values(), strict=True))

    # -- what is missing ------------------------------------------------------------------------------------

    def _parts(self, profile: LatencyProfile) -> Iterator[list[_Graph]]:
        units = self._missing_units(profile)
        zeros = [] if self.request.sparse else [unit for unit in units if unit.sparsity]
        blocks = [self._block(unit) for unit in units if unit not in zeros]
        wholes = self._missing_anchors(profile)
        together = blocks + [self._encoder(name, whole) for name, whole in wholes.items()]
        others = [self._block(unit) for unit in zeros]
        rungs = [self._chain(unit, copies, _ladder) for unit, copies in self._missing_ladder(profile)]
        # each part costs the glue and the reference once more, and is what a link that breaks loses
        if self.request.budget == "fast" and current_place().is_here:
            yield [*together, *others, *rungs]
        else:
            yield from (together, others, rungs)

    def _between(self, profile: LatencyProfile, each: int, most: int) -> list[_Graph]:
        """Blocks of widths where neighbours differ most; of a lesser length in a mix the first few do."""
        if self.request.thin:
            return []
        return [
            self._block(self.request.unit(kind, width))
            for kind in _KINDS
            for width in refined_widths(profile, self.request, kind, self.precision, count=each, most=most)
        ]

    def _missing_units(self, profile: LatencyProfile) -> list[Unit]:
        units = [
            unit
            for kind in _KINDS
            for unit in self.request.units(
                kind, self.precision, just_sparse(profile, self.request, kind, self.precision)
            )
        ]
        return [unit for unit in units if not profile.find(unit, self.request.workload, self.precision)]

    def _missing_ladder(self, profile: LatencyProfile) -> list[tuple[Unit, int]]:
        known = {(e.unit, e.repeat) for e in profile.ladder if self._is_mine(e)}
        return [rung for rung in self.request.ladder(self.precision) if rung not in known]

    def _missing_anchors(self, profile: LatencyProfile) -> dict[str, Whole]:
        built = [a for a in profile.anchors if a.source == "built" and self._is_mine(a)]
        known = [Whole(a.shape, a.pattern, a.sparsity) for a in built if a.activation == self.request.activation]
        return {name: whole for name, whole in self.request.anchors(self.precision).items() if whole not in known}

    def _is_mine(self, item: UnitTiming | Anchor) -> bool:
        return item.workload == self.request.workload and item.precision == self.precision

    # -- timing ---------------------------------------------------------------------------------------------

    def _grown(self, profile: LatencyProfile, graphs: Sequence[_Graph], report: Report) -> LatencyProfile:
        """The profile with the times of these graphs, taken in turns with the glue and the reference."""
        times = self._times(graphs, report)
        reference = times[self._reference.name]
        self._batches.append((graphs, reference.seconds))
        for graph in graphs:
            profile = graph.add(profile, times[graph.name], times[self._glue.name], reference)
        return profile

    def _timed_again(self, profile: LatencyProfile, report: Report) -> Iterator[LatencyProfile]:
        """The profile with the batches replaced that the machine was slower for: its clock, or threads far apart."""
        fastest = min((seconds for _, seconds in self._batches), default=0.0)
        slow = [batch for batch in self._batches if batch[1] > _SLOWER * fastest]
        for batch in slow:
            self._batches.remove(batch)
            profile = self._grown(profile, batch[0], report)
            yield profile

    def _times(self, graphs: Sequence[_Graph], report: Report) -> dict[str, Timing]:
        graphs = [*graphs, self._glue, self._reference]
        with current_place().rig() as rig:
            for done, graph in enumerate(graphs):
                report(f"{self.precision}: building {graph.name}", _BUILDING * done / len(graphs))
                with tempfile.TemporaryDirectory(prefix="trimfit-") as folder:
                    self._load(rig, graph.name, self.runtime, self._prepared(graph, Path(folder)))
            return self._measure(rig, report)

    def _load(self, rig: Rig, name: str, runtime: Runtime, model: Path, threads: int | None = None) -> None:
        workload = self.request.workload
        rig.load(name, graph_of(runtime, model, self._inputs, threads or workload.threads))

    def _measure(self, rig: Rig, report: Report) -> dict[str, Timing]:
        def part(share: float) -> None:
            report(f"{self.precision}: timing {len(rig)} graphs in turns", _BUILDING + (1 - _BUILDING) * share)

        effort = self.request.budget
        return with_room(lambda: timings(rig, effort, self.seed, part), rig.threads, effort)

    def _prepared(self, graph: _Graph, folder: Path) -> Path:
        fp32, target = graph.build(folder / "fp32.onnx"), folder / "prepared.onnx"
        return self.runtime.prepare(fp32, self.precision, target, calibration=[self._inputs])

    # -- graphs ---------------------------------------------------------------------------------------------

    def _block(self, unit: Unit) -> _Graph:
        return self._chain(unit, self._repeat(unit), _entry)

    def _chain(self, unit: Unit, copies: int, keep: Callable[[LatencyProfile, UnitTiming], LatencyProfile]) -> _Graph:
        seed = zlib.crc32(unit.model_dump_json().encode()) + self.seed
        length = self.request.workload.seq_len
        build = partial(unit_graph, unit, copies, seq_len=length, seed=seed)

        def add(profile: LatencyProfile, timing: Timing, glue: Timing, reference: Timing) -> LatencyProfile:
            record = UnitTiming(
                unit=unit,
                workload=self.request.workload,
                precision=self.precision,
                repeat=copies,
                **vars(timing),
                glue_seconds=glue.seconds,
                reference_seconds=reference.seconds,
            )
            return keep(profile, record)

        return _Graph(f"{copies} x {unit}", build, weight_bytes(copies * unit.weights, self.precision), add)

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

        def add(profile: LatencyProfile, timing: Timing, glue: Timing, reference: Timing) -> LatencyProfile:
            record = Anchor(
                name=name,
                **vars(whole),
                workload=request.workload,
                precision=self.precision,
                **vars(timing),
                activation=request.activation,
                source="built",
                reference_seconds=reference.seconds,
            )
            return profile.with_anchor(record)

        blocks = [(request.unit("attention", x.heads), request.unit("ffn", x.ffn)) for x in shape.layers]
        weights = sum(unit.weights for pair in blocks for unit in pair)
        return _Graph(name, build, weight_bytes(weights, self.precision), add)

    def _repeat(self, unit: Unit) -> int:
        """More copies of small units, whose time would drown in the glue's."""
        bytes_each = max(1.0, weight_bytes(unit.weights, self.precision))
        if place := gpu_in_force():
            fits = _GPU_CACHE_SHARE * place.gpu.l2_bytes / bytes_each
            return int(np.clip(round(fits), _GPU_REPEAT, _MOST_REPEAT))
        return int(np.clip(round(_BYTES_PER_CHAIN / bytes_each), 1, _MOST_REPEAT))


def graph_of(runtime: Runtime, model: Path, feed: Mapping[str, np.ndarray], threads: int) -> Graph:
    """A prepared model as a rig takes it: with the runtime's options, and how it loads it into this process."""
    return Graph(model, feed, threads, runtime.options(), lambda: runtime.session(model, threads).run, runtime.loader())


def timings(
    rig: Rig,
    effort: Effort,
    seed: int,
    advance: Callable[[float], None] = lambda share: None,
) -> dict[str, Timing]:
    """Time a rig's graphs in turns, in a few passes so that progress can be told."""
    count = _PASSES[effort]
    budget = Budget(
        launches=1,
        rounds=_ROUNDS[effort] // count,
        max_seconds=_SECONDS_PER_GRAPH[effort] * (_RESTING if rig.threads > 1 else 1) * len(rig) / count,
    )
    passes = []
    for number in range(count):
        advance(number / count)
        passes.append(rig.measure(budget=budget, seed=seed + number))
    found = {name: np.concatenate([samples[name] for samples in passes]) for name in passes[0]}
    steady = found if rig.threads > 1 else _at_one_pace(found)
    return {name: Timing.of(seconds, rig.threads) for name, seconds in steady.items()}


def _at_one_pace(samples: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Samples [rounds] by graph as if the machine had been as fast in every round as in the typical one.

    A machine whose clock changes every few seconds is faster in one round for all graphs alike; what it was in a round
    is the median over the graphs of their time in it over their usual one (a step of Tukey's median polish, 1977).
    """
    table = np.stack(list(samples.values()))
    if len(table) < _FOR_A_PACE:
        return dict(samples)
    pace = np.median(table / np.median(table, axis=1, keepdims=True), axis=0)
    return dict(zip(samples, table / pace, strict=True))


def with_room(measure: Callable[[], dict[str, Timing]], threads: int, effort: Effort) -> dict[str, Timing]:
    """The timings; where other processes left too few CPUs, taken once more when they rest, or after a while.

    At another place than this machine nothing is known of others.
    """
    if not current_place().is_here:
        return measure()
    found = _beside_others(measure)
    if not _crowded(found, threads):
        return found
    wait_for_room(threads, _PATIENCE[effort])
    return min(found, _beside_others(measure), key=lambda timed: next(iter(timed.values())).others)


def _beside_others(measure: Callable[[], dict[str, Timing]]) -> dict[str, Timing]:
    before = read_state()
    found = measure()
    others = round(cpus_of_others(before, read_state()), 2)
    return {name: replace(timing, others=others) for name, timing in found.items()}


def _crowded(found: Mapping[str, Timing], threads: int) -> bool:
    return any(is_crowded(timing.others, threads) for timing in found.values())


def _part(report: Report, start: float, size: float) -> Report:
    """The same report for a part of the whole, both shares of it."""
    return lambda label, share: report(label, min(1.0, start + share * size))


def _entry(profile: LatencyProfile, timing: UnitTiming) -> LatencyProfile:
    return profile.with_entries([timing])


def _ladder(profile: LatencyProfile, timing: UnitTiming) -> LatencyProfile:
    return profile.with_ladder([timing])


def _batches(graphs: Iterable[_Graph]) -> Iterator[list[_Graph]]:
    """Cut into runs whose weights fit into memory together; a graph that is too large alone goes alone."""
    room = _MEMORY_SHARE * current_place().free_memory() / _COPIES_IN_MEMORY
    batch: list[_Graph] = []
    for graph in graphs:
        if batch and sum(it.size for it in batch) + graph.size > room:
            yield batch
            batch = []
        batch.append(graph)
    if batch:
        yield batch
