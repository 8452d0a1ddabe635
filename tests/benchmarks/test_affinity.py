"""Where threads are pinned."""

import os

import numpy as np
import pytest

from benchmarks.affinity import choose_cpus, pick

ALONE = {cpu: (cpu,) for cpu in range(4)}
PAIRS = {0: (0, 1), 1: (0, 1), 2: (2, 3), 3: (2, 3)}
SAME = dict.fromkeys(range(4), 1.0)


def choose(threads, load, siblings=ALONE, speed=SAME, seed=0):
    return pick(threads, dict(enumerate(load)), siblings, speed, np.random.default_rng(seed))


def test_the_idlest_cpu_is_chosen():
    assert choose(1, [80, 3, 50, 90]) == (1,)


def test_a_cpu_whose_sibling_is_busy_is_not_idle():
    assert choose(1, [0, 100, 20, 20], PAIRS) in {(2,), (3,)}


def test_cores_are_filled_before_their_second_threads():
    assert choose(2, [0, 0, 40, 40], PAIRS) in {(a, b) for a in (0, 1) for b in (2, 3)}
    assert choose(4, [0, 0, 40, 40], PAIRS) == (0, 1, 2, 3)


def test_fast_cores_are_chosen_before_idle_ones():
    assert choose(1, [0, 0, 50, 60], speed={0: 400, 1: 400, 2: 1024, 3: 1024}) == (2,)


def test_ties_are_broken_at_random():
    assert len({choose(1, [0, 0, 0, 0], seed=seed) for seed in range(20)}) == 4


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_this_machine_offers_as_many_cpus_as_asked_for():
    allowed = sorted(os.sched_getaffinity(0))
    assert len(choose_cpus(1, np.random.default_rng(0), 0.01)) == 1
    assert choose_cpus(10_000, np.random.default_rng(0)) == tuple(allowed)
