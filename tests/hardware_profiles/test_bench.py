"""What is timed again because other processes left too few CPUs."""

from __future__ import annotations

import pytest

from benchmarks.environment import MachineState
from hardware_profiles import bench
from hardware_profiles.bench import Timing, with_room


@pytest.fixture
def busy(monkeypatch):
    """Others that keep so many CPUs busy in each second that is measured, of two there are; waiting is noted."""
    seconds, waited = iter(range(99)), []

    def choose(*others):
        used = [0.0]
        for each in others:  # a state before and one after every measurement
            used += [used[-1] + each, used[-1] + each]
        states = (MachineState(unix_seconds=next(seconds), busy_seconds=total, own_seconds=0.0) for total in used)
        monkeypatch.setattr(bench, "read_state", lambda: next(states))
        monkeypatch.setattr(bench, "is_crowded", lambda others, threads: others + threads > 2)
        monkeypatch.setattr(bench, "wait_for_room", lambda threads, seconds: waited.append(seconds))
        return waited

    return choose


def measured(*seconds):
    times = iter(seconds)
    return with_room(lambda: {"a": Timing(next(times), 0.0, 3)}, threads=1, effort="fast")


def test_with_room_it_is_timed_once(busy):
    waited = busy(0.5)
    assert measured(1.0) == {"a": Timing(1.0, 0.0, 3, others=0.5)}
    assert waited == []


def test_what_was_crowded_is_timed_again_after_a_while(busy):
    waited = busy(1.8, 0.1)
    assert measured(2.0, 1.0) == {"a": Timing(1.0, 0.0, 3, others=0.1)}
    assert len(waited) == 1


def test_of_two_crowded_timings_the_less_crowded_stays(busy):
    busy(1.5, 1.9)
    assert measured(1.2, 2.0) == {"a": Timing(1.2, 0.0, 3, others=1.5)}
