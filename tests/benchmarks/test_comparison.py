"""A comparison speaks English, knows doubt and refuses what cannot be compared."""

import numpy as np
import pytest

from benchmarks import TrimfitError, Workload, compare

STEADY = [[0.004, 0.004], [0.004, 0.004], [0.004, 0.004], [0.004, 0.004], [0.004, 0.004]]


def times(factor, noise=0.0, launches=6, rounds=8, seed=0, launch_noise=0.0):
    rng = np.random.default_rng(seed)
    logs = rng.normal(0, noise, (launches, rounds)) + rng.normal(0, launch_noise, (launches, 1))
    return (0.005 * factor * np.exp(logs)).tolist()


def test_half_the_time_is_a_speed_up_of_two(measurement):
    comparison = compare(measurement(times(1), name="teacher"), measurement(times(0.5), name="student"))
    assert comparison.speedup == pytest.approx(2)
    assert (comparison.low, comparison.high) == (pytest.approx(2), pytest.approx(2))
    assert comparison.significant
    assert comparison.interleaved


def test_the_sentence_says_faster_with_its_interval(measurement):
    sentence = compare(
        measurement(times(1.83, 0.02), name="teacher"), measurement(times(1, 0.02, seed=1), name="student")
    ).sentence
    assert sentence.startswith("student is 1.8")
    assert "x faster than teacher (" in sentence
    assert sentence.endswith(", 95%)")


def test_the_sentence_says_slower_as_a_number_above_one(measurement):
    sentence = compare(measurement(times(1), name="a"), measurement(times(1.25), name="b")).sentence
    assert sentence == "b is 1.250x slower than a (1.250 to 1.250, 95%)"


def test_equal_contestants_do_not_differ(measurement):
    comparison = compare(measurement(times(1, 0.02), name="a"), measurement(times(1, 0.02, seed=1), name="b"))
    assert not comparison.significant
    assert comparison.sentence.startswith("no significant difference between b and a (0.9")


def test_a_difference_is_called_only_beyond_the_99_percent_interval(measurement):
    comparison = compare(measurement(times(1), name="a"), measurement(times(1), name="b"))
    near = comparison.model_copy(update={"low": 1.001, "high": 1.009, "low99": 0.999, "high99": 1.011})
    assert not near.significant
    assert near.model_copy(update={"low99": 1.0001}).significant


def test_what_happens_to_both_in_a_round_cancels(measurement):
    weather = np.exp(np.random.default_rng(2).normal(0, 0.5, (6, 8)))
    first, second = (measurement((0.005 * factor * weather).tolist()) for factor in (1.03, 1))
    comparison = compare(first, second)
    assert comparison.speedup == pytest.approx(1.03)
    assert comparison.high - comparison.low < 1e-6


def test_launches_that_disagree_leave_doubt(measurement):
    first = measurement(times(1, 0.001, launch_noise=0.05), name="a")
    second = measurement(times(1.01, 0.001, launch_noise=0.05, seed=1), name="b")
    assert not compare(first, second).significant


def test_separate_runs_are_compared_without_pairs(measurement):
    first = measurement(times(1.5, 0.01), name="a", run="monday")
    second = measurement(times(1, 0.01, seed=1), name="b", run="tuesday")
    comparison = compare(first, second)
    assert not comparison.interleaved
    assert comparison.significant
    assert comparison.low < 1.5 < comparison.high


def test_interrupted_rounds_are_left_out_of_the_pairs(measurement):
    values = times(1, launches=6, rounds=8)
    for launch in values:
        launch[0] = 0.05
    hit = measurement(values, name="b", interrupted=lambda launch, number: number == 0)
    comparison = compare(measurement(times(1), name="a"), hit)
    assert comparison.rounds == 42
    assert comparison.speedup == pytest.approx(1)


def test_without_peaceful_rounds_all_rounds_count(measurement):
    busy = [measurement(times(1), name=name, interrupted=lambda launch, number: True) for name in "ab"]
    assert compare(*busy).rounds == 48


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"workload": Workload(threads=2)}, "threads is 1 and 2"),
        ({"workload": Workload(batch=8)}, "batch is 1 and 8"),
        ({"workload": Workload(seq_len=64)}, "seq_len is 128 and 64"),
        ({"cpu": "other CPU"}, "device is test CPU, 2 cores and other CPU, 2 cores"),
    ],
)
def test_different_conditions_refuse_to_be_compared(measurement, change, words):
    with pytest.raises(TrimfitError, match=words):
        compare(measurement(STEADY, name="a"), measurement(STEADY, name="b", **change))


def test_numbers_of_different_provenance_refuse_to_be_compared(measurement):
    modelled = measurement(STEADY).model_copy(update={"provenance": "measured_proxy"})
    with pytest.raises(TrimfitError, match="provenance is measured_device and measured_proxy"):
        compare(measurement(STEADY), modelled)


def test_measurements_without_calls_refuse_to_be_compared(measurement):
    with pytest.raises(TrimfitError, match="no timed call"):
        compare(measurement(STEADY), measurement([[]], name="b", run="other"))
    with pytest.raises(TrimfitError, match="no round in which both"):
        compare(measurement(STEADY), measurement([[]], name="b"))


def test_mixes_are_compared_by_their_weighted_means(mix):
    first = mix({10: times(2), 40: times(8)}, (0.75, 0.25), name="teacher")
    second = mix({10: times(1), 40: times(2)}, (0.75, 0.25), name="student")
    comparison = compare(first, second)
    assert comparison.speedup == pytest.approx((0.75 * 2 + 0.25 * 8) / (0.75 * 1 + 0.25 * 2))
    assert comparison.interleaved
    assert (comparison.rounds, comparison.launches) == (48, 6)


def test_what_happens_to_both_mixes_in_a_round_cancels(mix):
    weather = np.exp(np.random.default_rng(2).normal(0, 0.5, (6, 8)))
    first, second = (
        mix({n: (n * factor * 1e-4 * weather).tolist() for n in (10, 40)}, (0.5, 0.5)) for factor in (1.5, 1)
    )
    comparison = compare(first, second)
    assert comparison.speedup == pytest.approx(1.5)
    assert comparison.high - comparison.low < 1e-6


def test_mixes_of_other_shares_refuse_to_be_compared(mix):
    values = {10: times(1), 11: times(1)}
    with pytest.raises(TrimfitError, match=r"lengths is \[\(10, 0.8\), \(11, 0.2\)\] and"):
        compare(mix(values, (0.8, 0.2)), mix(values, (0.9, 0.1), name="b"))
