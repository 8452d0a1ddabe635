"""What it costs to read weights from memory."""

from __future__ import annotations

import numpy as np
import pytest

from hardware_profiles.cache_model import CacheModel

BYTES = np.geomspace(1e6, 64e6, 12)
TRUTH = CacheModel(seconds_per_byte=6e-11, capacity=8e6, steepness=4.0)
CACHED_RATE = 15e-11


def chains(truth):
    return CACHED_RATE * BYTES + np.array([truth.extra_seconds(b) for b in BYTES])


def test_it_finds_what_the_chains_were_made_with():
    found = CacheModel.fit(BYTES, chains(TRUTH))
    assert found.seconds_per_byte == pytest.approx(6e-11, rel=0.05)
    assert found.capacity == pytest.approx(8e6, rel=0.1)


def test_chains_that_cost_the_same_per_byte_cost_nothing_extra():
    assert CacheModel.fit(BYTES, chains(CacheModel())).extra_seconds(64e6) == pytest.approx(0, abs=1e-12)


def test_chains_that_get_cheaper_cost_nothing_extra():
    assert CacheModel.fit(BYTES, CACHED_RATE * BYTES**0.9).seconds_per_byte == 0


def test_few_chains_teach_nothing():
    assert CacheModel.fit(BYTES[:3], chains(TRUTH)[:3]) == CacheModel()


def test_small_models_stay_in_the_caches_and_large_ones_do_not():
    assert TRUTH.miss(1e6) < 0.001
    assert TRUTH.miss(8e6) == 0.5
    assert TRUTH.miss(64e6) > 0.999
    assert TRUTH.extra_seconds(0.0) == pytest.approx(0)
