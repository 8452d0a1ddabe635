"""How calls are dealt out."""

import pytest

from benchmarks import Budget
from benchmarks.budget import plan_turn


@pytest.mark.parametrize(
    ("call_seconds", "settle", "timed"),
    [(0.0001, 10, 150), (0.001, 1, 15), (0.005, 1, 3), (0.012, 1, 2), (0.02, 0, 1), (3.0, 0, 1)],
)
def test_a_turn_is_15_ms_of_calls_after_one_ms_of_settling(call_seconds, settle, timed):
    assert plan_turn(call_seconds)[:2] == (settle, timed)


def test_a_turn_takes_its_calls():
    assert plan_turn(0.005).seconds == 0.02


def test_calls_too_fast_for_the_clock_are_still_bounded():
    assert plan_turn(0.0).timed == 1000


def test_the_time_limit_grows_with_the_contestants_unless_given():
    assert Budget().seconds_for(2) == 15
    assert Budget(max_seconds=3).seconds_for(9) == 3


def test_a_further_length_is_half_a_contestant():
    assert Budget().seconds_for(2, further_lengths=4) == 30
    assert Budget(max_seconds=3).seconds_for(2, further_lengths=4) == 3


@pytest.mark.parametrize(("round_seconds", "rounds"), [(0.01, 8), (0.25, 4), (99, 1)])
def test_slow_calls_get_fewer_rounds_but_at_least_one(round_seconds, rounds):
    assert Budget().rounds_for(16, 1.0, round_seconds) == rounds
