"""A stored real run (a model and one of 3 % more work, 9 launches) gives the same figures for ever, and is replayed."""

from pathlib import Path

import pytest

from benchmarks import Budget, Contestant, Measurement, TrimfitError, compare, instability, measure, sampling

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def golden():
    return tuple(Measurement.from_json(GOLDEN / f"{name}.json") for name in ("model", "slower"))


def test_the_figures_of_a_real_run_stay_what_they_are(golden):
    m = golden[0]
    assert m.median_ms == pytest.approx(4.865126, rel=1e-9)
    assert m.iqr == pytest.approx(0.0003349695, rel=1e-9)
    assert m.p90_ms == pytest.approx(5.298002, rel=1e-9)
    assert m.p99_ms is None
    assert m.seconds.size == 267
    assert len(m.samples) == 450
    assert m.interrupted_share == pytest.approx(5 / 272)
    assert tuple(m.interval) == pytest.approx((0.00484404975, 0.004661469092, 0.005026630408), rel=1e-6)
    assert m.load_seconds == pytest.approx(0.023595002)
    assert instability(m) == []


def test_the_comparison_of_a_real_run_stays_what_it_is(golden):
    comparison = compare(*golden)
    assert comparison.sentence == "slower is 1.029x slower than model (1.019 to 1.039, 95%)"
    assert comparison.speedup == pytest.approx(0.9717162120, rel=1e-9)
    assert comparison.significant
    assert (comparison.rounds, comparison.launches) == (72, 9)


class Recorded:
    """In the place of a process: answers with what a stored measurement holds of one launch, and lets time pass."""

    def __init__(self, clock, measurement, launch):
        self.clock, self.facts = clock, measurement.launches[launch]
        columns = measurement.samples.model_dump()
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        self.left = [row for row in rows if row["launch"] == launch]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        assert self.left == []

    def ready(self):
        self.clock.advance(0.15)

    def ask(self, command, **arguments):
        if command == "load":
            facts = {"load_seconds": self.facts.load_seconds, "memory_before_bytes": self.facts.memory_before_bytes}
            return {**facts, "first": self.take(1)}
        if command == "warm":
            return self.take(sum(row["kind"] == "warmup" for row in self.left))
        if command == "turn":
            return self.take(arguments["settle"] + arguments["timed"])
        return {"peak_memory_bytes": self.facts.peak_memory_bytes}

    def take(self, count):
        rows, self.left = self.left[:count], self.left[count:]
        self.clock.advance(sum(row["seconds"] for row in rows))
        return {name: [row[name] for row in rows] for name in ("seconds", "cpu_seconds", "preemptions")}


def play(monkeypatch, clock, mlp, make, names, **arguments):
    """measure with processes from make(contestant, launch) and the clock's time."""
    started: dict[str, int] = {}

    def launch(contestant, inputs, seed, inputs_names):
        number = started.get(contestant.name, 0)
        started[contestant.name] = number + 1
        return make(contestant, number)

    monkeypatch.setattr(sampling, "Launch", launch)
    monkeypatch.setattr("benchmarks.local_place.choose_cpus", lambda threads, rng: ())
    monkeypatch.setattr(sampling.time, "perf_counter", clock)
    return measure([Contestant(name=name, model=mlp) for name in names], **arguments)


def test_a_replayed_run_makes_the_same_turns_and_stops_at_the_same_launch(monkeypatch, clock, mlp, golden):
    stored = {m.subject.name: m for m in golden}
    again = play(
        monkeypatch, clock, mlp, lambda contestant, number: Recorded(clock, stored[contestant.name], number), stored
    )
    assert [m.samples for m in again] == [m.samples for m in golden]
    assert compare(*again) == compare(*golden)


class Steady:
    """A process whose calls all take the same time."""

    def __init__(self, clock, seconds, setup=0.1):
        self.clock, self.seconds, self.setup = clock, seconds, setup

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def ready(self):
        self.clock.advance(self.setup)

    def ask(self, command, settle=0, timed=0, calls=0, **arguments):
        if command == "load":
            return {"load_seconds": 0.5, "memory_before_bytes": 1, "first": self.call(1)}
        if command == "end":
            return {"peak_memory_bytes": 2}
        return self.call(calls + settle + timed)

    def call(self, count):
        self.clock.advance(self.seconds * count)
        return {"seconds": [self.seconds] * count, "cpu_seconds": [self.seconds] * count, "preemptions": [0] * count}


def steady(monkeypatch, clock, mlp, seconds, **arguments):
    return play(
        monkeypatch,
        clock,
        mlp,
        lambda contestant, number: Steady(clock, seconds[contestant.name]),
        seconds,
        **arguments,
    )


def test_steady_contestants_are_done_after_the_launches_of_the_budget(monkeypatch, clock, mlp):
    slow, fast = steady(monkeypatch, clock, mlp, {"slow": 0.005, "fast": 0.0025})
    assert len(slow.launches) == 8
    assert len(slow.round_medians()) == 64
    assert compare(slow, fast).speedup == pytest.approx(2)


def test_slow_models_get_fewer_rounds_so_that_the_time_suffices(monkeypatch, clock, mlp):
    slow, _ = steady(monkeypatch, clock, mlp, {"slow": 0.4, "fast": 0.3})
    assert 3 <= len(slow.launches) < 8
    assert clock.now <= 15


def test_very_slow_models_are_still_launched_three_times(monkeypatch, clock, mlp):
    (slow,) = steady(monkeypatch, clock, mlp, {"slow": 20.0})
    assert len(slow.launches) == 3
    assert set(slow.round_medians()) == {(0, 0), (1, 0), (2, 0)}


def test_launches_are_added_until_the_wanted_precision(monkeypatch, clock, mlp):
    seconds = [0.005, 0.0051, 0.0049, 0.00505] * 10
    (m,) = play(
        monkeypatch,
        clock,
        mlp,
        lambda contestant, number: Steady(clock, seconds[number]),
        ["a"],
        budget=Budget(max_seconds=60, precision=0.012),
    )
    assert len(m.launches) > 8
    assert (m.interval.high - m.interval.low) / 2 / m.interval.center <= 0.012


def test_a_process_that_dies_ends_the_others_too(monkeypatch, clock, mlp):
    closed = []

    class Dying(Steady):
        def __exit__(self, *error):
            closed.append(self)

        def ready(self):
            raise TrimfitError("died")

    with pytest.raises(TrimfitError, match="died"):
        play(monkeypatch, clock, mlp, lambda contestant, number: Dying(clock, 1.0), ["a", "b"])
    assert len(closed) == 2
