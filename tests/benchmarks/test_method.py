"""The whole method against machines whose noise is known: how often it cries wolf, how often it sees 3 %."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.comparison import CALL_LEVEL
from benchmarks.statistics import median_interval

TRIES = 200
LAUNCHES, MOST_LAUNCHES, ROUNDS, CALLS = 8, 20, 8, 3
PRECISION = 0.01

# standard deviations of the logarithm of a time: of a call, of a round, of a launch; share and size of spikes
MACHINES = {
    "quiet": {"call": 0.01, "round": 0.012, "launch": 0.003, "spikes": 0.02, "spike": 0.3},
    "busy neighbour": {"call": 0.02, "round": 0.02, "launch": 0.005, "spikes": 0.15, "spike": 0.8},
    "launches differ": {"call": 0.01, "round": 0.01, "launch": 0.01, "spikes": 0.02, "spike": 0.3},
}


def log_ratios(rng, machine, effect, launches):
    """[launches x ROUNDS] log of slower/faster round medians of two contestants under the machine's noise."""
    shape = (2, launches, ROUNDS, CALLS)
    logs = rng.normal(0, machine["call"], shape)
    logs += rng.normal(0, machine["round"], (*shape[:3], 1)) + rng.normal(0, machine["launch"], (2, launches, 1, 1))
    logs += rng.normal(0, 0.05, (1, *shape[1:3], 1))  # the weather: the same for both in a round
    logs += (rng.random(shape) < machine["spikes"]) * rng.exponential(machine["spike"], shape)
    medians = np.median(logs, axis=-1)
    return (medians[1] + np.log1p(effect) - medians[0]).ravel()


def called(rng, machine, effect):
    """Whether a difference is called; launches are added until precise enough, as in the real thing."""
    ratios = log_ratios(rng, machine, effect, MOST_LAUNCHES)
    for launches in range(LAUNCHES, MOST_LAUNCHES + 1):
        values, members = ratios[: launches * ROUNDS], np.repeat(np.arange(launches), ROUNDS)
        interval = median_interval(values, members)
        if (interval.high - interval.low) / 2 <= PRECISION:
            break
    interval = median_interval(values, members, level=CALL_LEVEL)
    return interval.low > 0 or interval.high < 0


@pytest.mark.parametrize("name", MACHINES)
def test_a_model_differs_from_itself_in_at_most_5_percent_of_comparisons(name):
    rng = np.random.default_rng(1)
    alarms = sum(called(rng, MACHINES[name], 0.0) for _ in range(TRIES))
    assert alarms / TRIES <= 0.03
    assert stats.binomtest(alarms, TRIES, 0.05, alternative="greater").pvalue > 0.1


@pytest.mark.parametrize("name", MACHINES)
def test_three_percent_slower_is_seen_in_at_least_90_percent_of_comparisons(name):
    rng = np.random.default_rng(2)
    assert sum(called(rng, MACHINES[name], 0.03) for _ in range(TRIES)) / TRIES >= 0.9
