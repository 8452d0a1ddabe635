"""Whether others leave room, from states of a machine that are made by hand."""

from __future__ import annotations

import pytest

from benchmarks.crowding import cpus_of_others, is_crowded, wait_for_room
from benchmarks.environment import MachineState


def state(seconds, busy, own=0.0):
    return MachineState(unix_seconds=seconds, busy_seconds=busy, own_seconds=own)


def test_others_are_what_is_busy_besides_this_process():
    assert cpus_of_others(state(0, 100, 10), state(10, 125, 20)) == pytest.approx(1.5)
    assert cpus_of_others(state(0, 100, 10), state(10, 105, 20)) == 0.0
    assert cpus_of_others(MachineState(), MachineState()) == 0.0


@pytest.mark.parametrize(
    ("others", "threads", "crowded"), [(1.0, 1, False), (1.2, 1, False), (1.3, 1, True), (0.5, 2, True)]
)
def test_a_quarter_of_a_cpu_too_few_is_no_crowd_yet(others, threads, crowded):
    assert is_crowded(others, threads, cpus=2) == crowded


def test_waiting_ends_when_there_is_room(monkeypatch):
    monkeypatch.setattr("benchmarks.crowding.psutil.cpu_count", lambda: 2)
    states = iter([state(0, 0), state(1, 1.5), state(2, 3), state(3, 3.1), state(4, 9)])
    naps = []
    assert wait_for_room(2, 20, read=lambda: next(states), sleep=naps.append)
    assert naps == [1.0] * 3


def test_waiting_is_given_up(monkeypatch):
    monkeypatch.setattr("benchmarks.crowding.psutil.cpu_count", lambda: 2)
    states = (state(second, 2 * second) for second in range(9))
    assert not wait_for_room(1, 5, read=lambda: next(states), sleep=lambda seconds: None)
