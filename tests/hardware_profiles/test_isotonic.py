"""Monotone regression."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles.isotonic import isotonic

values = st.lists(st.floats(0, 100), min_size=1, max_size=20)


@given(values)
def test_it_never_decreases_and_keeps_the_mean(y):
    x = isotonic(np.array(y))
    assert np.all(np.diff(x) >= 0)
    assert np.isclose(x.mean(), np.mean(y))


@given(values)
def test_what_is_monotone_stays_as_it_is(y):
    y = np.sort(y)
    np.testing.assert_array_equal(isotonic(y), y)


def test_violators_are_pooled_by_weight():
    np.testing.assert_allclose(isotonic(np.array([1.0, 4.0, 2.0]), np.array([1.0, 1.0, 3.0])), [1, 2.5, 2.5])
