"""measure_calls with a clock that only the calls move: exact numbers."""

import gc

import pytest

from benchmarks import Budget, TrimfitError, measure_calls


def test_seconds_per_call_are_the_clocks(clock):
    calls = {"slow": lambda: clock.advance(0.5), "fast": lambda: clock.advance(0.25)}
    seconds = measure_calls(calls, clock=clock)
    assert set(seconds["slow"]) == {0.5}
    assert set(seconds["fast"]) == {0.25}


def test_rounds_stop_when_every_median_is_precise(clock):
    seconds = measure_calls({"a": lambda: clock.advance(0.001)}, clock=clock)
    assert seconds["a"].shape == (8,)


def test_rounds_stop_at_the_end_of_time(clock):
    durations = iter([0.1, 0.1, 0.1] + [0.1, 0.3] * 1000)
    seconds = measure_calls({"a": lambda: clock.advance(next(durations))}, budget=Budget(max_seconds=2), clock=clock)
    assert clock.now <= 2
    assert 3 <= len(seconds["a"]) < 10


def test_three_rounds_are_made_however_little_time_there_is(clock):
    seconds = measure_calls({"a": lambda: clock.advance(10)}, budget=Budget(max_seconds=0.1), clock=clock)
    assert seconds["a"].tolist() == [10, 10, 10]


def test_hundreds_of_small_calls_share_a_light_budget(clock):
    calls = {str(i): (lambda: clock.advance(0.002)) for i in range(100)}
    seconds = measure_calls(calls, budget=Budget(max_seconds=0.5 * len(calls), precision=1e-9), clock=clock)
    assert clock.now <= 50
    assert all(len(values) >= 8 for values in seconds.values())


def test_every_call_has_its_turn_in_every_round_in_varying_order(clock):
    order = []

    def call(name):
        def run():
            order.append(name)
            clock.advance(1.0)

        return run

    measure_calls({name: call(name) for name in "abc"}, budget=Budget(max_seconds=100), clock=clock)
    rounds = [tuple(order[i : i + 3]) for i in range(len(order) - 24, len(order), 3)]
    assert all(sorted(turns) == ["a", "b", "c"] for turns in rounds)
    assert len(set(rounds)) > 1


def test_garbage_is_not_collected_while_timing_and_is_again_afterwards(clock):
    states = []

    def call():
        states.append(gc.isenabled())
        clock.advance(1.0)

    measure_calls({"a": call}, clock=clock)
    assert not any(states)
    assert gc.isenabled()


def test_garbage_collection_comes_back_after_an_error():
    with pytest.raises(ZeroDivisionError):
        measure_calls({"a": lambda: 1 // 0})
    assert gc.isenabled()


def test_no_calls_are_refused():
    with pytest.raises(TrimfitError, match="no calls"):
        measure_calls({})


@pytest.mark.parametrize(("threads", "rests"), [(1, 0), (2, 8)])
def test_threads_come_to_rest_after_each_turn(monkeypatch, clock, threads, rests):
    """Two calls: after the warm-up of each, and after each of 3 turns."""
    rested = []
    monkeypatch.setattr("benchmarks.worker.__main__.come_to_rest", lambda: rested.append(1))
    calls = {name: lambda: clock.advance(0.1) for name in "ab"}
    measure_calls(calls, budget=Budget(launches=1, rounds=3, max_seconds=100), threads=threads, clock=clock)
    assert len(rested) == rests
