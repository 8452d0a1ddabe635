"""Every formula against scipy, a closed form or a known distribution."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks import statistics
from benchmarks.statistics import difference_interval, early_stopping_rank, median_interval, student_quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 8, 15, 30, 99, 1000])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_student_quantile_is_scipys(freedom, level):
    assert student_quantile(freedom, level) == pytest.approx(stats.t.ppf((1 + level) / 2, freedom), rel=1e-9)


def test_bootstrap_error_of_the_mean_is_the_textbook_standard_error():
    values = np.random.default_rng(0).normal(5, 2, 40)
    error = statistics.standard_error(values, np.arange(40), statistic="mean", resamples=20_000)
    assert error == pytest.approx(stats.sem(values), rel=0.02)


def test_bootstrap_error_of_the_mean_of_equal_launches_is_that_of_the_launch_means():
    rng = np.random.default_rng(1)
    values = rng.normal(0, 1, (6, 1)) + rng.normal(0, 0.5, (6, 9))
    error = statistics.standard_error(values.ravel(), np.repeat(np.arange(6), 9), statistic="mean", resamples=20_000)
    assert error == pytest.approx(stats.sem(values.mean(1)), rel=0.02)


def test_bootstrap_error_of_the_median_of_a_normal_sample_is_the_asymptotic_one():
    values = stats.norm.ppf((np.arange(2001) + 0.5) / 2001)
    error = statistics.standard_error(values, np.arange(2001))
    assert error == pytest.approx(math.sqrt(math.pi / 2 / 2001), rel=0.1)


@given(st.lists(st.tuples(st.floats(-9, 9), st.integers(1, 5)), min_size=1, max_size=12))
def test_a_weighted_median_is_the_median_of_repeated_values(pairs):
    values, weights = (np.array(column) for column in zip(*sorted(pairs), strict=True))
    expected = np.median(np.repeat(values, weights))
    assert statistics._weighted_medians(values.astype(float), weights[None].astype(int))[0] == expected


def test_equal_values_are_known_exactly():
    assert median_interval([3.0] * 8, [0, 0, 1, 1, 2, 2, 3, 3]) == (3.0, 3.0, 3.0)


def test_one_value_says_nothing_about_its_doubt():
    assert median_interval([3.0], [0]) == (3.0, -math.inf, math.inf)


def test_launches_that_disagree_widen_the_interval_however_many_rounds_they_have():
    rng = np.random.default_rng(2)
    launches = np.repeat(np.arange(6), 50)
    values = rng.normal(0, 1, 6)[launches] + rng.normal(0, 0.01, 300)
    by_launch, by_value = median_interval(values, launches), median_interval(values, np.arange(300))
    assert by_launch.high - by_launch.low > 3 * (by_value.high - by_value.low)


def test_the_same_data_give_the_same_interval():
    values = np.random.default_rng(3).normal(size=30)
    assert median_interval(values, np.arange(30)) == median_interval(values, np.arange(30))


def test_the_interval_covers_the_median_of_a_normal_sample_as_often_as_it_says():
    rng = np.random.default_rng(4)
    hits = 0
    for _ in range(300):
        interval = median_interval(rng.normal(0, 1, 32), np.repeat(np.arange(8), 4))
        hits += interval.low <= 0 <= interval.high
    assert stats.binomtest(hits, 300, 0.95).pvalue > 0.001


def test_separate_samples_use_welchs_degrees_of_freedom():
    rng = np.random.default_rng(5)
    first, second = rng.normal(1, 0.1, 400), rng.normal(0, 0.1, 400)
    interval = difference_interval(first, np.arange(400), second, np.arange(400))
    assert interval.center == np.median(first) - np.median(second)
    half = stats.norm.ppf(0.975) * 0.1 * math.sqrt(math.pi / 2 / 400) * math.sqrt(2)
    assert (interval.high - interval.low) / 2 == pytest.approx(half, rel=0.25)


def test_separate_samples_without_spread_differ_exactly():
    interval = difference_interval([2.0, 2.0], [0, 1], [1.0, 1.0], [0, 1])
    assert interval == (1.0, 1.0, 1.0)


def test_separate_samples_need_more_than_one_value():
    assert difference_interval([2.0], [0], [1.0, 1.0], [0, 1]).high == math.inf


@pytest.mark.parametrize(("samples", "rank"), [(63, None), (64, 64), (100, 98), (200, 191), (500, 467), (1000, 923)])
def test_p90_is_the_rank_of_mlperfs_table(samples, rank):
    assert early_stopping_rank(samples, 90) == rank


@pytest.mark.parametrize(("samples", "rank"), [(0, None), (661, None), (662, 662)])
def test_p99_needs_662_samples(samples, rank):
    assert early_stopping_rank(samples, 99) == rank


@pytest.mark.parametrize("samples", [64, 100, 777])
def test_the_rank_is_where_scipys_binomial_says(samples):
    allowed = max(t for t in range(1, samples) if stats.binom.cdf(t, samples, 0.1) <= 0.01)
    assert early_stopping_rank(samples, 90) == samples - allowed + 1


def test_outliers_are_counted_outside_tukeys_fences():
    assert statistics.outliers([1, 2, 3, 4, 100]) == 1
    assert statistics.outliers([1, 2, 3, 4]) == 0
    assert statistics.outliers([]) == 0
