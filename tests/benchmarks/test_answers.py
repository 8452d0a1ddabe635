"""Answers from elsewhere are held against those from here, relative to the largest."""

import numpy as np
import pytest

from benchmarks.answers import relative_difference
from benchmarks.errors import TrimfitError


def test_the_difference_is_relative_to_the_largest_answer_here():
    here = [np.array([1.0, -4.0]), np.array([[2.0]])]
    assert relative_difference(here, here, "a") == 0
    assert relative_difference([np.array([1.0, -4.0]), np.array([[3.0]])], here, "a") == 0.25


@pytest.mark.parametrize("there", [[], [np.zeros(3)], [np.array([1.0, np.nan])]])
def test_answers_that_are_none_are_refused_in_one_line(there):
    with pytest.raises(TrimfitError, match="got answers of a of shapes") as caught:
        relative_difference(there, [np.array([1.0, 2.0])], "a")
    assert "\n" not in str(caught.value)
