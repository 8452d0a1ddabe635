"""A clock that only moves when told, and measurements built by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from tiny_onnx import write_embedding, write_mlp

from benchmarks import Environment, LaunchFacts, Lengths, Measurement, Samples, Subject, Workload
from benchmarks.lengths import LengthShare

COLUMNS = ("launch", "round", "kind", "seconds", "cpu_seconds", "preemptions")


class FakeClock:
    """Seconds that pass only through `advance`, plus a fixed tick each time the clock is read."""

    def __init__(self, tick: float = 0.0) -> None:
        self.now, self.tick = 0.0, tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def mlp(tmp_path: Path) -> Path:
    return write_mlp(tmp_path / "mlp.onnx")


@pytest.fixture
def embedding(tmp_path: Path) -> Path:
    return write_embedding(tmp_path / "embedding.onnx")


def build(
    seconds: Sequence[Sequence[float]],
    *,
    name: str = "a",
    run: str = "run",
    workload: Workload | None = None,
    cpu: str = "test CPU",
    interrupted: Callable[[int, int], bool] = lambda launch, number: False,
) -> Measurement:
    """A measurement with one warm-up and the timed calls seconds[launch][round], one call a round."""
    rows = []
    for launch, values in enumerate(seconds):
        rows.append((launch, -1, "first", 1.0, 1.0, 0))
        for number, value in enumerate(values):
            hit = interrupted(launch, number)
            rows.append((launch, number, "timed", value, value / (2 if hit else 1), int(hit)))
    columns = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))
    return finished(columns, len(seconds), name=name, run=run, workload=workload or Workload(), cpu=cpu)


def build_mix(
    seconds: Mapping[int, Sequence[Sequence[float]]],
    shares: Sequence[float],
    *,
    name: str = "a",
    interrupted: Callable[[int, int, int], bool] = lambda launch, number, length: False,
) -> Measurement:
    """A measurement at several lengths, one call of each in every round: seconds[length][launch][round]."""
    parts = [
        build(times, interrupted=lambda launch, number, at=length: interrupted(launch, number, at))
        for length, times in seconds.items()
    ]
    columns = {column: sum((getattr(part.samples, column) for part in parts), ()) for column in COLUMNS}
    columns["seq_len"] = tuple(length for length, part in zip(seconds, parts, strict=True) for _ in part.samples.kind)
    points = tuple(map(LengthShare, seconds, shares))
    workload = Workload.over(Lengths(points=points, shortest=min(seconds), longest=max(seconds)))
    launches = len(next(iter(seconds.values())))
    return finished(columns, launches, name=name, run="run", workload=workload, cpu="test CPU")


def finished(
    columns: Mapping[str, tuple], launches: int, *, name: str, run: str, workload: Workload, cpu: str
) -> Measurement:
    return Measurement(
        subject=Subject(name=name, sha256="0" * 64, workload=workload),
        samples=Samples.model_validate(columns),
        launches=tuple(LaunchFacts(load_seconds=0.5) for _ in range(launches)),
        environment=Environment(cpu=cpu, cores=2, memory_bytes=1 << 30, system="test", python="3.11"),
        run=run,
    )


@pytest.fixture
def measurement() -> Callable[..., Measurement]:
    return build


@pytest.fixture
def mix() -> Callable[..., Measurement]:
    return build_mix
