"""Calls of two threads in two states of a machine."""

import numpy as np
import pytest

from benchmarks.near_cores import near

FASTER, SLOWER = [74.0, 75.0, 73.0], [118.0, 120.0]


def test_of_two_states_the_calls_of_the_faster_one_are_left():
    assert near(np.array([*FASTER, *SLOWER]), threads=2).tolist() == FASTER


def test_the_faster_state_may_be_the_rarer_one():
    assert near(np.array([*SLOWER, *SLOWER, *FASTER]), threads=2).tolist() == FASTER


@pytest.mark.parametrize("seconds", [[], [1.0], [1.0, 1.05, 0.98]])
def test_one_state_stays_whole(seconds):
    assert near(np.array(seconds), threads=4).tolist() == seconds


def test_one_thread_has_no_other_to_be_far_from():
    assert near(np.array([*FASTER, *SLOWER]), threads=1).tolist() == [*FASTER, *SLOWER]
