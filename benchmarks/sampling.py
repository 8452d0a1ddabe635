"""Warm up, calibrate, sample: contestants in processes of their own, started several times, taking turns."""

from __future__ import annotations

import math
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.budget import Budget, Turn, plan_turn
from benchmarks.calls import measure_calls
from benchmarks.comparison import compare
from benchmarks.contestant import Contestant, Launch
from benchmarks.environment import Environment
from benchmarks.errors import TrimfitError
from benchmarks.gpu.place import gpu_in_force
from benchmarks.inputs import check_pool, model_inputs, random_pool
from benchmarks.measurement import LaunchFacts, Measurement, Samples
from benchmarks.place import current_place
from benchmarks.provenance import EMULATED

__all__ = ["Budget", "measure", "measure_calls"]

WARMUP_CALLS = 3
WARMUP_SECONDS = 0.05
LAUNCHES_ON_A_GPU = 3
MOST_LAUNCHES_ELSEWHERE = 2  # times as many as the budget begins with

Progress = Callable[[float], None]


def measure(
    contestants: Sequence[Contestant],
    *,
    budget: Budget | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Measurement, ...]:
    """Time the contestants side by side and return a measurement of each, in the order given.

    Every launch starts a fresh process per contestant, all pinned to the same CPUs, and lets them take turns
    in rounds of random order, so that whatever the machine does meanwhile happens to all of them. Calls of several
    lengths have a turn each in every round, in one process, as in a deployed model. Launches are added until there
    are enough samples and the interval of every contestant's ratio to the first (of a lone one: of its
    median) is as narrow as the budget wants, or its time is over.

    All of it happens at the place in force. In an emulator every contestant is started and called once, and no time
    is kept.

    Args:
        contestants: at least one, with different names. Give the same workload to those to be compared.
        budget: how long and how precisely; the default is done with two 5 ms models in about 6 s.
        seed: of the order of turns and of the inputs.
        progress: called with the share done, 0 to 1.

    Raises:
        TrimfitError: no contestants, two of one name, a file that is missing or does not load, inputs that do
            not fit, or a process that died; one line, naming the contestant.
    """
    _check(contestants)
    with tempfile.TemporaryDirectory(prefix="trimfit-") as folder:
        entries = [_enter(contestant, Path(folder), i, seed) for i, contestant in enumerate(contestants)]
        race = _Race(entries, _affordable(budget or Budget()), seed)
        while not race.finished():
            race.launch()
            if progress:
                progress(race.share_done())
        return race.measurements()


def _affordable(budget: Budget) -> Budget:
    """On a GPU a start takes as long as thousands of calls, and starts differ little: few of them."""
    if gpu_in_force() is None:
        return budget
    return budget.model_copy(update={"launches": min(budget.launches, LAUNCHES_ON_A_GPU)})


def _check(contestants: Sequence[Contestant]) -> None:
    if not contestants:
        raise TrimfitError("got no contestants, expected at least one: name a model to measure")
    names = [contestant.name for contestant in contestants]
    if len(set(names)) < len(names):
        raise TrimfitError(f"got contestants named {', '.join(names)}, expected different names: rename one")


@dataclass
class _Entry:
    """A contestant with its pool of inputs and everything sampled of it so far."""

    contestant: Contestant
    inputs: Path
    names: tuple[str, ...] | None
    columns: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in Samples.model_fields})
    launches: list[LaunchFacts] = field(default_factory=list)

    @property
    def lengths(self) -> tuple[int | None, ...]:
        """The lengths of its calls, which have turns of their own; None for its only one."""
        workload = self.contestant.workload
        return tuple(point.seq_len for point, _ in workload.points()) if workload.lengths else (None,)

    def add(
        self, launch: int, number: int, kinds: Sequence[str], calls: Mapping[str, list[Any]], at: int | None
    ) -> None:
        """Store the calls of one turn (or of a warm-up: round -1), `at` the length they had if there are several."""
        count = len(calls["seconds"])
        self.columns["seq_len"] += [] if at is None else [at] * count
        self.columns["launch"] += [launch] * count
        self.columns["round"] += [number] * count
        self.columns["kind"] += kinds
        for name in ("seconds", "cpu_seconds", "preemptions"):
            self.columns[name] += calls[name]
        self.columns["device_seconds"] += calls.get("device_seconds", ())


def _enter(contestant: Contestant, folder: Path, number: int, seed: int) -> _Entry:
    if not contestant.model.exists():
        raise TrimfitError(f"got {contestant.model} for {contestant.name}, expected a model file: no such file")
    if contestant.inputs is None:
        path = folder / f"inputs{number}.npz"
        np.savez(path, **random_pool(contestant.onnx, contestant.workload, contestant.dims, seed=seed))  # type: ignore[arg-type]
        return _Entry(contestant, path, None)
    if contestant.onnx.suffix != ".onnx":
        return _Entry(contestant, contestant.inputs, None)
    check_pool(contestant.onnx, contestant.inputs, contestant.workload)
    return _Entry(contestant, contestant.inputs, tuple(declared.name for declared in model_inputs(contestant.onnx)))


class _Race:
    """The launches of one run."""

    def __init__(self, entries: Sequence[_Entry], budget: Budget, seed: int) -> None:
        self.entries, self.budget, self.seed = entries, budget, seed
        self.rng = np.random.default_rng(seed)
        self.turns = [(i, at) for i, entry in enumerate(entries) for at in entry.lengths]  # of a round
        self.limit = budget.seconds_for(len(entries), len(self.turns) - len(entries))
        self.start = time.perf_counter()
        self.waited = 0.0  # seconds that do not count: elsewhere, those of cooling and of starting processes
        self.worked = 0.0  # CPU seconds of the workers so far
        self.done = 0
        self.subjects = [entry.contestant.subject for entry in entries]
        self.place = current_place()
        self.environment = self.place.environment()
        self.run = uuid.uuid4().hex

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self.start - self.waited

    def share_done(self) -> float:
        """The nearer of the two ends: launches or time."""
        return min(1.0, max(self.elapsed / self.limit, self.done / (self.budget.launches + 1)))

    def finished(self) -> bool:
        """Enough launches, samples and precision; or no time for another launch."""
        if self.place.provenance == EMULATED:
            return self.done > 0
        if self.done < self.budget.min_launches:
            return False
        if self.elapsed * (self.done + 1) / self.done > self.limit or self.done >= self._most_launches:
            return True
        enough = self.done >= self.budget.launches and self._samples() >= self.budget.min_samples
        return enough and self._half_width() <= self.budget.precision

    @property
    def _most_launches(self) -> float:
        """Where starts take long they are not counted, but somebody waits for them."""
        return math.inf if self.place.counts_starts else MOST_LAUNCHES_ELSEWHERE * self.budget.launches

    def _samples(self) -> int:
        return min(entry.columns["kind"].count("timed") // len(entry.lengths) for entry in self.entries)

    def _half_width(self) -> float:
        """The widest relative half interval among what will be reported."""
        first, *others = self._measured(self.environment)
        if not others:
            return (first.interval.high - first.interval.low) / 2 / first.interval.center
        if any(other.subject.workload != first.subject.workload for other in others):
            return max((m.interval.high - m.interval.low) / 2 / m.interval.center for m in (first, *others))
        return max(math.log(c.high / c.low) / 2 for c in (compare(first, other) for other in others))

    def launch(self) -> None:
        """Start every contestant once, warm up, and let them take turns."""
        begin = time.perf_counter()
        self.place.rest()
        threads = max(entry.contestant.workload.threads for entry in self.entries)
        cpus = self.place.cpus(threads, self.rng)
        with ExitStack() as stack:
            processes = [stack.enter_context(self._process(entry)) for entry in self.entries]
            for process in processes:
                process.ready()
            turns: dict[tuple[int, int | None], Turn] = {}
            facts: list[dict[str, Any]] = [{}] * len(processes)
            for i in self.rng.permutation(len(processes)):
                facts[i], planned = self._load(self.entries[i], processes[i], cpus)
                turns |= {(int(i), at): turn for at, turn in planned.items()}
            setup = time.perf_counter() - begin
            if not self.place.counts_starts:
                self.waited, setup = self.waited + setup, 0.0
            self._rounds(processes, turns, setup)
            for entry, process, fact in zip(self.entries, processes, facts, strict=True):
                end = dict(process.ask("end"))
                self.worked += end.pop("cpu_seconds", 0.0)
                entry.launches.append(LaunchFacts(cpus=cpus, **fact, **end))
        self.done += 1

    def _process(self, entry: _Entry) -> Launch:
        return Launch(entry.contestant, entry.inputs, self.seed + self.done, entry.names)

    def _load(
        self, entry: _Entry, process: Launch, cpus: tuple[int, ...]
    ) -> tuple[dict[str, Any], dict[int | None, Turn]]:
        answer = dict(process.ask("load", cpus=cpus))
        entry.add(self.done, -1, ["first"], answer.pop("first"), entry.lengths[0])
        turns = {}
        for at in entry.lengths:
            warm = process.ask("warm", calls=WARMUP_CALLS, seconds=WARMUP_SECONDS, **_where(at))
            entry.add(self.done, -1, ["warmup"] * len(warm["seconds"]), warm, at)
            turns[at] = plan_turn(
                float(np.median(warm["seconds"][-WARMUP_CALLS:])), threads=entry.contestant.workload.threads
            )
        return answer, turns

    def _rounds(self, processes: Sequence[Launch], turns: Mapping[tuple[int, int | None], Turn], setup: float) -> None:
        """The rounds of one launch: as many as the budget says, fewer when the calls are slow."""
        rounds = self.budget.rounds_for(self.limit, setup, sum(turn.seconds for turn in turns.values()))
        if self.place.provenance == EMULATED:
            rounds = 0
        for number in range(rounds):
            for place in self.rng.permutation(len(self.turns)):
                i, at = self.turns[place]
                turn = turns[i, at]
                calls = processes[i].ask("turn", settle=turn.settle, timed=turn.timed, **_where(at))
                kinds = ["settle"] * turn.settle + ["timed"] * turn.timed
                self.entries[i].add(self.done, number, kinds, calls, at)

    def measurements(self) -> tuple[Measurement, ...]:
        """What was sampled so far."""
        return self._measured(self.place.finished(self.environment, self.worked))

    def _measured(self, environment: Environment) -> tuple[Measurement, ...]:
        emulated = self.place.provenance == EMULATED
        return tuple(
            Measurement(
                subject=subject,
                samples=Samples() if emulated else Samples.model_validate(entry.columns),
                launches=tuple(map(_untimed, entry.launches) if emulated else entry.launches),
                environment=environment,
                provenance=self.place.provenance,
                run=self.run,
                seed=self.seed,
            )
            for subject, entry in zip(self.subjects, self.entries, strict=True)
        )


def _untimed(launch: LaunchFacts) -> LaunchFacts:
    return launch.model_copy(update={"load_seconds": None})


def _where(at: int | None) -> dict[str, int]:
    """The worker's argument for the length of calls; none where there is only one."""
    return {} if at is None else {"at": at}
