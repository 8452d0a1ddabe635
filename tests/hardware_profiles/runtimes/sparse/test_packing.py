"""Packed weights are the same matrix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles.runtimes.sparse.packing import (
    pack_blocks,
    pack_rows,
    share_of_zero_blocks,
    share_of_zeros,
    unpack_blocks,
    unpack_rows,
)


@st.composite
def matrices(draw):
    """Any size and sparsity, with empty rows and columns."""
    rows, columns = draw(st.integers(1, 9)), draw(st.integers(1, 13))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    kept = random.random((rows, columns)) >= draw(st.sampled_from([0.0, 0.3, 0.9, 1.0]))
    return np.where(kept, random.standard_normal((rows, columns)), 0).astype(np.float32)


@given(matrices())
def test_rows_unpack_to_the_same_matrix(weights):
    packed = pack_rows(weights)
    np.testing.assert_array_equal(unpack_rows(packed), weights)
    assert len(packed.values) == np.count_nonzero(weights)


def test_nan_and_infinity_are_kept_and_negative_zero_is_a_zero():
    weights = np.array([[np.nan, -0.0, np.inf], [0, -np.inf, 0]], np.float32)
    packed = pack_rows(weights)
    np.testing.assert_array_equal(unpack_rows(packed), weights)
    assert packed.counts.tolist() == [2, 1]


def test_rows_are_laid_out_one_after_the_other():
    packed = pack_rows(np.array([[0, 2, 3], [0, 0, 0], [1, 0, 0]], np.float32))
    assert packed.values.tolist() == [2, 3, 1]
    assert packed.columns.tolist() == [1, 2, 0]
    assert packed.counts.tolist() == [2, 0, 1]
    assert [array.dtype for array in packed[:3]] == [np.float32, np.uint16, np.int32]


@given(matrices())
def test_blocks_unpack_within_half_a_step_and_zeros_exactly(weights):
    packed = pack_blocks(weights)
    back = unpack_blocks(packed)
    assert back.shape == weights.shape
    assert (np.abs(back - weights) <= 0.5001 * packed.scales[:, None]).all()
    assert (back[weights == 0] == 0).all()


@given(matrices())
def test_every_block_with_a_weight_is_kept_and_no_other(weights):
    packed = pack_blocks(weights)
    blocks = np.pad(weights, ((0, 0), (0, -weights.shape[1] % 4))).reshape(len(weights), -1, 4)
    assert packed.counts.tolist() == blocks.any(axis=2).sum(axis=1).tolist()
    assert packed.values.shape == (packed.counts.sum(), 4)
    assert share_of_zero_blocks(weights) == pytest.approx(1 - packed.counts.sum() / (blocks.size / 4))


def test_blocks_are_named_by_a_quarter_of_their_column():
    weights = np.zeros((2, 10), np.float32)
    weights[0, 5], weights[1, 9] = 1.27, -2.54
    packed = pack_blocks(weights)
    assert packed.columns.tolist() == [1, 2]
    assert packed.values.tolist() == [[0, 127, 0, 0], [0, -127, 0, 0]]
    np.testing.assert_allclose(packed.scales, [0.01, 0.02], rtol=1e-6)
    assert [array.dtype for array in packed[:4]] == [np.int8, np.uint16, np.int32, np.float32]


def test_rows_too_small_for_a_scale_become_zeros():
    packed = pack_blocks(np.full((1, 4), 1e-45, np.float32))
    assert packed.values.tolist() == [[0, 0, 0, 0]]


def test_shares_count_weights_and_whole_blocks():
    weights = np.zeros((1, 8), np.float32)
    weights[0, 0] = 1
    assert share_of_zeros(weights) == 7 / 8
    assert share_of_zero_blocks(weights) == 1 / 2


@pytest.mark.parametrize(("pack", "columns"), [(pack_rows, 65537), (pack_blocks, 262145)])
def test_more_columns_than_16_bits_name_are_refused(pack, columns):
    with pytest.raises(ValueError, match=rf"got weights of shape \(1, {columns}\), expected \[M, K\] with K from 1"):
        pack(np.zeros((1, columns), np.float32))
    assert pack(np.ones((1, columns - 1), np.float32)).columns[-1] == 65535


def test_int8_has_no_infinity():
    with pytest.raises(ValueError, match="got weights with NaN or infinity"):
        pack_blocks(np.array([[np.inf]], np.float32))
