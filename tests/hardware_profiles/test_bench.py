"""What is timed again because other processes left too few CPUs."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.environment import MachineState
from hardware_profiles import bench
from hardware_profiles.bench import Timing, timings, with_room


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


class Turns:
    """A rig of graphs that took these seconds [rounds] in every pass."""

    def __init__(self, seconds, threads=1):
        self.seconds, self.threads = seconds, threads

    def __len__(self):
        return len(self.seconds)

    def measure(self, *, budget, seed):
        return {name: np.array(values) for name, values in self.seconds.items()}


GRAPHS = {name: float(name) for name in "12345"}
HALF_SLOW = np.array([1.0, 1.0, 1.1, 1.1])  # the clock's pace in the rounds


def test_what_all_graphs_of_a_round_share_is_the_clock_s_and_not_theirs():
    rig = Turns({name: seconds * HALF_SLOW for name, seconds in GRAPHS.items()})
    rig.seconds["5"] = 5.0 * HALF_SLOW[::-1]  # of itself: slow while the others are fast
    found = timings(rig, "fast", seed=0)
    assert all(found[name].iqr == pytest.approx(0.0) for name in "1234")
    assert [found[name].seconds for name in "1234"] == pytest.approx([1.05 * GRAPHS[name] for name in "1234"])
    assert found["5"].iqr > 0.5


def test_a_few_graphs_tell_no_pace_and_several_threads_have_near_cores_instead():
    few = Turns({name: GRAPHS[name] * HALF_SLOW for name in "12"})
    assert timings(few, "fast", seed=0)["2"].iqr == pytest.approx(0.2)
    two = Turns({name: seconds * np.array([1.0, 1.0, 1.5, 1.5]) for name, seconds in GRAPHS.items()}, threads=2)
    assert timings(two, "fast", seed=0)["2"] == Timing(2.0, 0.0, 4)
